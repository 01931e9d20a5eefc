//! Lower rungs: what their subscribers get, and what they cost those on the full one.

use std::collections::BTreeSet;

use framebridge_proto::{
    encoder::{EncoderRequest, SourceState, ToEncoder},
    media::{AccessUnit, Rung, Track},
};

use crate::{
    harness::{Encoder, Subscriber},
    progress::Heartbeats,
};

async fn on(encoder: &Encoder, rung: Rung) -> Subscriber {
    let mut subscriber = encoder.link().await;
    let track = Track::Video;
    subscriber.send(ToEncoder::SubscribeTo { track, rung }).await;
    subscriber
}

async fn frames(subscriber: &mut Subscriber, count: usize) -> Vec<AccessUnit> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        frames.push(subscriber.frame().await);
    }
    frames
}

fn keyframes(frames: &[AccessUnit]) -> usize {
    frames.iter().filter(|frame| frame.keyframe).count()
}

#[tokio::test]
async fn lower_rung_shows_the_same_pictures_smaller_and_costs_the_full_one_no_keyframe() {
    let encoder = Encoder::start("test:", "");
    let mut full = encoder.subscribe().await;
    let begin = frames(&mut full, 20).await;
    assert_eq!(keyframes(&begin), 1);
    let mut half = on(&encoder, Rung::Half).await;
    let small = frames(&mut half, 40).await;
    half.send(ToEncoder::RequestKeyframe).await;
    let again = frames(&mut half, 30).await;
    assert!(small[0].keyframe);
    assert_eq!(keyframes(&small), 1, "one at the start");
    // A busy machine may have to begin again.
    assert!((1..=2).contains(&keyframes(&again)), "one on request");
    let parameters = half.parameters.unwrap();
    assert_eq!((parameters.width, parameters.height), (640, 360));
    assert_eq!((parameters.bitrate, parameters.fps), (625_000, 30));

    let large = frames(&mut full, 70).await;
    assert_eq!(keyframes(&large), 0, "nobody on the full rung asked for one");
    let taken: BTreeSet<u64> = begin.iter().chain(&large).map(|frame| frame.captured_ns).collect();
    let shared = small.iter().filter(|frame| taken.contains(&frame.captured_ns)).count();
    assert!(shared >= 30, "{shared} of 40 are of the same moments");
    let bytes =
        |frames: &[AccessUnit]| frames[1..].iter().map(|frame| frame.payload.len()).sum::<usize>() / frames.len();
    assert!(
        bytes(&small) * 2 < bytes(&large),
        "{} bytes a picture, and {} on the full rung",
        bytes(&small),
        bytes(&large)
    );
}

#[tokio::test]
async fn lower_rung_is_made_while_somebody_needs_it_and_starts_with_an_idr_again() {
    let encoder = Encoder::start("test:", "linger_ms = 300");
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut half = on(&encoder, Rung::Half).await;
    assert!(half.frame().await.keyframe, "it opens the source by itself");
    let report = heartbeats.until(|progress| !progress.rungs.is_empty()).await;
    assert_eq!((report.rungs[0].rung, report.rungs[0].subscribers), (Rung::Half, 1));
    assert_eq!(report.subscribers, 0, "of the full one");
    half.send(ToEncoder::Unsubscribe).await;
    half.state(|state| *state == SourceState::Idle).await;
    heartbeats.until(|progress| progress.rungs.is_empty()).await;
    let (track, rung) = (Track::Video, Rung::Quarter);
    half.send(ToEncoder::SubscribeTo { track, rung }).await;
    assert!(half.frame().await.keyframe);
    assert_eq!(half.parameters.map(|parameters| parameters.width), Some(320));
}

#[tokio::test]
async fn rung_that_can_not_be_or_may_not_be_is_refused_in_words() {
    for (source, settings, words) in [
        ("test:", "bitrate = 300000", "too low"),
        ("test:", "longest_edge = 160", "too small"),
        ("test:", "lower_rungs = false", "lower_rungs"),
    ] {
        let encoder = Encoder::start(source, settings);
        let mut full = encoder.subscribe().await;
        full.frame().await;
        let mut half = on(&encoder, Rung::Half).await;
        let reason = half.refusal().await;
        assert!(reason.contains(words), "{settings}: {reason}");
        frames(&mut full, 10).await;
    }
}

#[tokio::test]
async fn stalled_rung_leaves_the_others_alone() {
    let encoder = Encoder::start_breakable();
    let mut heartbeats = Heartbeats::of(&encoder).await;
    let mut full = encoder.subscribe().await;
    let mut half = on(&encoder, Rung::Half).await;
    let mut quarter = on(&encoder, Rung::Quarter).await;
    half.frame().await;
    let mut client = encoder.client().await;
    client.request(EncoderRequest::StallRung(Rung::Half)).await.unwrap();
    let stalled = heartbeats
        .until(|progress| {
            let half = progress.rungs.iter().find(|rung| rung.rung == Rung::Half);
            half.is_some_and(|half| half.encoded.age_ms.is_some_and(|age| age > 2000))
        })
        .await;
    assert!(stalled.encoded.age_ms.is_some_and(|age| age < 1000), "{stalled:?}");
    frames(&mut full, 60).await;
    frames(&mut quarter, 60).await;
    assert!(client.request(EncoderRequest::StallRung(Rung::Full)).await.is_err());
}

#[tokio::test]
async fn picture_that_stands_still_is_repeated_on_every_rung_and_serves_who_joins() {
    let encoder = Encoder::start("lavfi:color=c=red:size=640x360:rate=30", "");
    let mut full = encoder.subscribe().await;
    frames(&mut full, 3).await;
    let mut half = on(&encoder, Rung::Half).await;
    let frames = frames(&mut half, 3).await;
    assert!(frames[0].keyframe);
    assert!(frames[1..].iter().all(|frame| !frame.keyframe));
}

/// Names of the encoder's threads.
fn threads(encoder: &Encoder) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", encoder.pid())).unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}

#[tokio::test]
async fn nothing_is_done_for_a_rung_that_nobody_needs() {
    let encoder = Encoder::start("test:", "");
    let mut full = encoder.subscribe().await;
    frames(&mut full, 30).await;
    let works = |encoder: &Encoder| threads(encoder).contains(&"encode-half".to_owned());
    assert!(!works(&encoder), "{:?}", threads(&encoder));
    let mut half = on(&encoder, Rung::Half).await;
    half.frame().await;
    assert!(works(&encoder));
    half.send(ToEncoder::Unsubscribe).await;
    // Two seconds longer, and no more.
    for seconds in 0.. {
        assert!(seconds < 10, "{:?}", threads(&encoder));
        frames(&mut full, 30).await;
        if !works(&encoder) {
            break;
        }
    }
}
