//! What subscribers get.

use std::time::Duration;

use framebridge_proto::{
    encoder::{SourceState, ToEncoder},
    media::AccessUnit,
};
use tokio::time::Instant;

use crate::harness::{Encoder, Subscriber};

async fn frames(subscriber: &mut Subscriber, count: usize) -> Vec<AccessUnit> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        frames.push(subscriber.frame().await);
    }
    frames
}

#[tokio::test]
async fn a_subscriber_gets_states_parameters_and_an_unbroken_run_of_frames_from_an_idr() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    let frames = frames(&mut subscriber, 60).await;
    assert_eq!(
        subscriber.states,
        [SourceState::Untried, SourceState::Opening, SourceState::Live]
    );
    let parameters = subscriber.parameters.unwrap();
    assert_eq!((parameters.width, parameters.height, parameters.fps), (1280, 720, 30));
    assert_eq!(parameters.encoder, "libx264");
    assert!(frames[0].keyframe);
    assert!(
        frames[1..].iter().all(|frame| !frame.keyframe),
        "nobody asked for another"
    );
    for pair in frames.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert!(pair[1].pts > pair[0].pts);
        assert!(pair[1].captured_ns > pair[0].captured_ns);
    }
    assert!(
        frames
            .iter()
            .all(|frame| frame.encoded_ns >= frame.captured_ns && !frame.payload.is_empty())
    );
    let seconds = (frames[59].captured_ns - frames[0].captured_ns) as f64 / 1e9;
    assert!((1.5..4.0).contains(&seconds), "60 frames in {seconds} s");
}

#[tokio::test]
async fn the_source_is_closed_after_the_linger_and_starts_with_an_idr_again() {
    let encoder = Encoder::start("test:", "linger_ms = 300");
    let mut subscriber = encoder.subscribe().await;
    let last = frames(&mut subscriber, 10).await.pop().unwrap();
    subscriber.send(ToEncoder::Unsubscribe).await;
    subscriber.state(|state| *state == SourceState::Idle).await;
    subscriber.send(ToEncoder::Subscribe).await;
    let first = subscriber.frame().await;
    assert!(first.keyframe);
    assert!(
        first.sequence > last.sequence && first.pts > last.pts,
        "one life, one count"
    );
}

#[tokio::test]
async fn a_late_subscriber_starts_at_once_from_the_group_at_hand_or_an_idr_made_for_it() {
    let encoder = Encoder::start("test:", "");
    let mut first = encoder.subscribe().await;
    frames(&mut first, 5).await;
    let mut second = encoder.subscribe().await;
    let start = second.frame().await;
    assert!(start.keyframe);
    assert_eq!(start.sequence, 0, "the short group at hand, without a further IDR");
    frames(&mut first, 40).await;
    let asked = Instant::now();
    let mut third = encoder.subscribe().await;
    assert!(third.frame().await.keyframe);
    assert!(asked.elapsed() < Duration::from_secs(2), "waited {:?}", asked.elapsed());
}

#[tokio::test]
async fn keyframe_requests_are_answered_together() {
    let encoder = Encoder::start("test:", "");
    let (mut one, mut other) = (encoder.subscribe().await, encoder.subscribe().await);
    frames(&mut one, 30).await;
    for _ in 0..20 {
        one.send(ToEncoder::RequestKeyframe).await;
        other.send(ToEncoder::RequestKeyframe).await;
    }
    let keyframes = frames(&mut one, 45).await.iter().filter(|frame| frame.keyframe).count();
    // The forty may be read on both sides of one keyframe.
    assert!(
        (1..=2).contains(&keyframes),
        "{keyframes} keyframes for one burst of requests"
    );
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_changes_nothing_for_another() {
    let encoder = Encoder::start(
        "lavfi:testsrc2=size=640x360:rate=60,noise=alls=30:allf=t",
        "fps = 60\nbitrate = 8000000",
    );
    let mut stuck = encoder.subscribe().await;
    let mut reader = encoder.subscribe().await;
    assert!(stuck.frame().await.keyframe);
    // Four seconds fill the socket's buffers and the queue several times over.
    let run = frames(&mut reader, 240).await;
    assert_eq!(reader.lost, 0);
    assert!(run.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    let longest = run
        .windows(2)
        .map(|pair| pair[1].captured_ns - pair[0].captured_ns)
        .max()
        .unwrap();
    assert!(longest < 1_000_000_000, "a gap of {longest} ns");

    let mut before = stuck.frame().await;
    while stuck.lost == 0 {
        let frame = stuck.frame().await;
        if stuck.lost == 0 {
            assert_eq!(
                frame.sequence,
                before.sequence + 1,
                "frames went missing without a word"
            );
        } else {
            assert_eq!(frame.sequence, before.sequence + 1 + stuck.lost);
            assert!(frame.keyframe, "what follows the loss can be decoded");
        }
        before = frame;
    }
}

#[tokio::test]
async fn a_source_faster_than_the_stream_is_thinned_out() {
    let encoder = Encoder::start("lavfi:testsrc2=size=320x180:rate=50", "fps = 10");
    let mut subscriber = encoder.subscribe().await;
    let run = frames(&mut subscriber, 21).await;
    let seconds = (run[20].captured_ns - run[0].captured_ns) as f64 / 1e9;
    assert!((1.8..3.0).contains(&seconds), "20 frames in {seconds} s");
    assert_eq!(subscriber.parameters.unwrap().fps, 10);
}

#[tokio::test]
async fn whoever_comes_while_the_source_closes_waits_for_it_to_be_opened_again() {
    let encoder = Encoder::start("test:", "linger_ms = 0");
    for _ in 0..10 {
        let mut subscriber = encoder.subscribe().await;
        let run = frames(&mut subscriber, 3).await;
        assert!(run[0].keyframe);
        assert!(run.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
        subscriber.send(ToEncoder::Unsubscribe).await;
        subscriber.state(|state| *state == SourceState::Idle).await;
    }
}

#[tokio::test]
async fn a_slow_source_is_live_and_whoever_joins_has_its_picture_at_once() {
    let encoder = Encoder::start("lavfi:testsrc2=size=320x180:rate=1/4", "");
    let mut first = encoder.subscribe().await;
    let run = frames(&mut first, 16).await;
    for pair in run.windows(2) {
        let gap = pair[1].captured_ns - pair[0].captured_ns;
        assert!(gap < 1_000_000_000, "a gap of {gap} ns");
        assert!(pair[1].pts > pair[0].pts);
    }
    assert_eq!(
        first.states,
        [SourceState::Untried, SourceState::Opening, SourceState::Live]
    );
    let asked = Instant::now();
    let mut second = encoder.subscribe().await;
    assert!(second.frame().await.keyframe);
    assert!(asked.elapsed() < Duration::from_secs(2), "waited {:?}", asked.elapsed());
}
