//! What heartbeats say: three counters, each with its age, that tell where pictures stop.

use framebridge_ipc::{Identity, Link, Listener, RuntimeDir};
use framebridge_proto::{
    Role,
    encoder::{EncoderRequest, SourceState},
    supervisor::{EncoderProgress, FromSupervisor, Progress, ToSupervisor},
};
use tokio::time::timeout;

use crate::harness::{BOUND, Encoder};

/// The supervisor's end of an encoder's heartbeats.
pub(crate) struct Heartbeats(Link<ToSupervisor, FromSupervisor>);

impl Heartbeats {
    pub(crate) async fn of(encoder: &Encoder) -> Self {
        let path = RuntimeDir::at(encoder.dir()).socket(Role::Supervisor, None);
        let listener = Listener::bind(&path, &Identity::new(Role::Supervisor)).await.unwrap();
        let incoming = timeout(BOUND, listener.accept())
            .await
            .expect("the encoder connects")
            .unwrap();
        Self(incoming.handshake().await.unwrap())
    }

    /// Reads on until a heartbeat says what is `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&EncoderProgress) -> bool) -> EncoderProgress {
        let mut last = None;
        let reading = async {
            loop {
                let message = self
                    .0
                    .receiver
                    .recv()
                    .await
                    .unwrap()
                    .expect("the encoder keeps the link");
                if let ToSupervisor::Heartbeat(heartbeat) = message
                    && let Progress::Encoder(progress) = heartbeat.progress
                {
                    if wanted(&progress) {
                        return progress;
                    }
                    last = Some(progress);
                }
            }
        };
        let read = timeout(BOUND, reading).await;
        read.unwrap_or_else(|_| panic!("no such heartbeat comes; the last one: {last:?}"))
    }
}

#[tokio::test]
async fn heartbeats_count_what_was_captured_encoded_and_delivered() {
    let encoder = Encoder::start("test:", "");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let idle = heartbeats.until(|_any| true).await;
    assert_eq!(
        (idle.source.as_str(), idle.state, idle.subscribers),
        ("test:", SourceState::Untried, 0)
    );
    assert_eq!((idle.captured.count, idle.captured.age_ms), (0, None));

    let (mut one, mut other) = (encoder.subscribe().await, encoder.subscribe().await);
    for _ in 0..30 {
        one.frame().await;
        other.frame().await;
    }
    // A heartbeat may fall between a picture's encoding and its delivery.
    let live = heartbeats.until(|progress| progress.delivered.count >= 60).await;
    assert_eq!((&live.state, live.subscribers, live.lost), (&SourceState::Live, 2, 0));
    assert_eq!((live.width, live.height, live.encoder.as_str()), (1280, 720, "libx264"));
    assert_eq!(live.encoder_reason, "software, as configured");
    assert!(live.captured.count >= live.encoded.count);
    assert!(live.encoded.count >= 30, "30 to each of the two: {live:?}");
    assert!(live.captured.age_ms.is_some_and(|age| age < 2000));
}

#[tokio::test]
async fn encoder_that_is_too_slow_is_given_less_and_says_so() {
    // What no machine that runs this encodes in time. Its pictures are drawn once and cost nothing from then on: a source that
    // does not keep up itself, on a machine that has more to do, asks for less than can be encoded.
    let further = "fps = 60\nlongest_edge = 4096\nlower_rungs = false\n";
    let encoder = Encoder::start("lavfi:testsrc2=size=4096x2304:rate=60,loop=loop=-1:size=4", further);
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let _subscriber = encoder.subscribe().await;
    let says_so = "software, as configured; this machine encodes ";
    let given = heartbeats
        .until(|progress| progress.encoder_reason.starts_with(says_so) && progress.width > 0)
        .await;
    assert_eq!(given.state, SourceState::Live, "{given:?}");
    let load = given.load.expect("something is encoded");
    // A machine with more to do may get so few pictures that only a smaller size is less.
    let (is_rarer, is_smaller) = (load.fps < load.asked_fps, load.longest_edge < load.asked_longest_edge);
    assert!(load.fps <= 30 && (is_rarer || is_smaller), "{load:?}");
    assert_eq!(load.asked_longest_edge, 4096, "{load:?}");
    // Signaling is told the same, before its first frame.
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    assert!(subscriber.load.is_some());
}

#[tokio::test]
async fn a_paused_stream_goes_on_capturing_and_stops_encoding() {
    let encoder = Encoder::start("test:", "");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    encoder.client().await.request(EncoderRequest::Pause).await.unwrap();
    let paused = heartbeats.until(|progress| progress.state == SourceState::Paused).await;
    let later = heartbeats
        .until(|progress| progress.captured.count > paused.captured.count + 30)
        .await;
    // One picture may have been under way.
    assert!(later.encoded.count <= paused.encoded.count + 1);
    assert!(later.encoded.age_ms > paused.encoded.age_ms);
    assert!(later.captured.age_ms.is_some_and(|age| age < 1000));
}

#[tokio::test]
async fn a_silent_source_shows_as_no_captures_and_a_stuck_subscriber_as_no_deliveries() {
    let encoder = Encoder::start(
        "lavfi:testsrc2=size=640x360:rate=60,noise=alls=30:allf=t",
        "fps = 60\nbitrate = 8000000",
    );
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut stuck = encoder.subscribe().await;
    stuck.frame().await;
    let lossy = heartbeats.until(|progress| progress.lost > 0).await;
    assert!(lossy.encoded.age_ms.is_some_and(|age| age < 1000));
    assert!(lossy.delivered.age_ms > lossy.encoded.age_ms, "{lossy:?}");
}

#[tokio::test]
async fn a_picture_that_does_not_change_is_encoded_once_a_second_and_told_as_unchanged() {
    let encoder = Encoder::start("lavfi:color=c=red:size=640x360:rate=30", "");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut subscriber = encoder.subscribe().await;
    assert!(subscriber.frame().await.keyframe);
    let began = heartbeats.until(|progress| progress.pace.unchanged_ms > 1_000).await;
    let later = heartbeats.until(|progress| progress.pace.unchanged_ms > 4_500).await;
    let seconds = u64::from(later.pace.unchanged_ms - began.pace.unchanged_ms) / 1000;
    let (captured, encoded) = (
        later.captured.count - began.captured.count,
        later.encoded.count - began.encoded.count,
    );
    assert!(captured >= 20 * seconds, "{captured} captured in {seconds} s");
    assert!((1..=2 * seconds).contains(&encoded), "{encoded} encoded in {seconds} s");
    assert_eq!(later.pace.black_ms, 0);
    // Who comes now gets a keyframe without waiting for the next picture.
    let mut late = encoder.subscribe().await;
    assert!(late.frame().await.keyframe);
}

#[tokio::test]
async fn a_still_picture_is_never_ahead_of_its_time_also_after_a_pause() {
    let encoder = Encoder::start("lavfi:color=c=red:size=640x360:rate=30", "");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    encoder.client().await.request(EncoderRequest::Pause).await.unwrap();
    let paused = heartbeats.until(|progress| progress.state == SourceState::Paused).await;
    heartbeats
        .until(|progress| progress.captured.count > paused.captured.count + 75)
        .await;
    encoder.client().await.request(EncoderRequest::Resume).await.unwrap();
    for _ in 0..3 {
        let frame = subscriber.frame().await;
        assert!(frame.captured_ns <= frame.encoded_ns, "{frame:?}");
    }
}

#[tokio::test]
async fn black_is_told_and_a_picture_that_moves_is_neither() {
    let encoder = Encoder::start("lavfi:color=c=black:size=640x360:rate=30,noise=alls=4:allf=t", "");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let black = heartbeats.until(|progress| progress.pace.black_ms > 1_500).await;
    assert!(black.pace.unchanged_ms < 1_000, "its noise changes: {black:?}");
    let moving = Encoder::start("test:", "");
    let mut heartbeats = Heartbeats::of(&moving).await;
    let mut subscriber = moving.subscribe().await;
    subscriber.frame().await;
    let live = heartbeats.until(|progress| progress.encoded.count > 60).await;
    assert_eq!((live.pace.unchanged_ms, live.pace.black_ms), (0, 0));
}

#[tokio::test]
async fn a_frozen_picture_is_a_fault_where_the_operator_has_it_so() {
    let encoder = Encoder::start("lavfi:color=c=red:size=640x360:rate=30", "frozen_after_ms = 1200");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let state = subscriber
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    assert!(
        format!("{state:?}").contains("has not changed for 1 s (frozen_after_ms)"),
        "{state:?}"
    );
    subscriber.frame().await;
}

#[tokio::test]
async fn encoder_told_to_stall_lives_captures_and_encodes_nothing() {
    let encoder = Encoder::start_breakable();
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let mut client = encoder.client().await;
    client.request(EncoderRequest::Stall).await.unwrap();
    let stalled = heartbeats
        .until(|progress| progress.encoded.age_ms.is_some_and(|age| age > 2000))
        .await;
    assert_eq!(stalled.state, SourceState::Live);
    assert!(stalled.captured.age_ms.is_some_and(|age| age < 1000), "{stalled:?}");
}

#[tokio::test]
async fn encoder_that_may_not_be_broken_refuses_to_stall() {
    let encoder = Encoder::start("test:", "");
    let refused = encoder.client().await.request(EncoderRequest::Stall).await.unwrap_err();
    assert!(refused.to_string().contains("FRAMEBRIDGE_DEBUG_ENDPOINTS"), "{refused}");
}

#[tokio::test]
async fn slate_says_that_it_is_one_whatever_it_does_and_gives_pictures_to_who_subscribes() {
    let encoder = Encoder::start("slate:4102444800,exit%20code%2075", "");
    let is_slate = |state: &SourceState| matches!(state, SourceState::Slate { reason, .. } if reason == "exit code 75");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    heartbeats.until(|progress| is_slate(&progress.state)).await;
    let mut subscriber = encoder.subscribe().await;
    assert!(subscriber.frame().await.keyframe);
    assert!(subscriber.states.iter().all(is_slate), "{:?}", subscriber.states);
    heartbeats
        .until(|progress| is_slate(&progress.state) && (progress.width, progress.height) == (640, 360))
        .await;
}
