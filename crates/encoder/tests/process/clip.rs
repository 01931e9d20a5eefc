//! Clips, as FFmpeg's own tools read them.

use std::{path::Path, process::Command};

use bytes::Bytes;
use framebridge_ipc::RequestError;
use framebridge_proto::{
    RefusalKind, RequestId,
    encoder::{ClipSpan, EncoderAnswer, EncoderRequest, SourceState, ToEncoder},
};

use tokio::time::timeout;

use crate::harness::{BOUND, Encoder};

/// A clip, and what was said of it: how long it lasts and how old it is, in milliseconds.
async fn clip(encoder: &Encoder, span: ClipSpan) -> (Bytes, u64, u64) {
    let answer = encoder
        .client()
        .await
        .request(EncoderRequest::Clip(span))
        .await
        .unwrap();
    let EncoderAnswer::Clip {
        duration_ms,
        age_ms,
        mp4,
    } = answer
    else {
        panic!("{answer:?}")
    };
    (mp4, duration_ms, age_ms)
}

async fn refusal(encoder: &Encoder, span: ClipSpan) -> (RefusalKind, String) {
    match encoder.client().await.request(EncoderRequest::Clip(span)).await {
        Err(RequestError::Refused(refusal)) => (refusal.kind, refusal.message),
        other => panic!("{other:?}"),
    }
}

/// What a tool of FFmpeg's prints; on its error output there may be nothing.
fn tool(name: &str, arguments: &[&str], file: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the judge of what we wrote")]
    let mut tool = Command::new(name);
    let output = tool.args(["-v", "error"]).args(arguments).arg(file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name} finds fault");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The presentation times of a clip's pictures in ticks of 90 kHz, once all of them could be decoded.
fn times(mp4: &[u8]) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.mp4");
    std::fs::write(&file, mp4).unwrap();
    let moov = mp4.windows(4).position(|kind| kind == b"moov").unwrap();
    let mdat = mp4.windows(4).position(|kind| kind == b"mdat").unwrap();
    assert!(moov < mdat, "a browser has to read it all before it plays");
    let stream = "stream=codec_name,time_base,width,height";
    let stream = tool("ffprobe", &["-show_entries", stream, "-of", "csv=p=0"], &file);
    assert_eq!(stream.trim(), "h264,1280,720,1/90000");
    let decoded = [
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
    ];
    let decoded: usize = tool("ffprobe", &decoded, &file).trim().parse().unwrap();
    let packets = tool(
        "ffprobe",
        &["-show_entries", "packet=pts", "-of", "default=nw=1:nk=1"],
        &file,
    );
    let times: Vec<u64> = packets.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(times.len(), decoded);
    times
}

#[tokio::test]
async fn last_seconds_begin_at_a_keyframe_and_have_the_frames_own_times() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    let mut frames = Vec::new();
    for number in 0..150 {
        frames.push(subscriber.frame().await);
        if number == 30 {
            subscriber.send(ToEncoder::RequestKeyframe).await;
        }
    }
    let (mp4, duration_ms, age_ms) = clip(&encoder, ClipSpan::Last { ms: 2000 }).await;
    assert!(age_ms < 2000, "{age_ms}");
    let times = times(&mp4);
    // Frames went on being encoded after those that were read here; the clip's beginning is among them.
    let keyframe = frames.iter().rposition(|frame| frame.keyframe).unwrap();
    assert!(
        (30..80).contains(&keyframe),
        "the keyframe that was asked for is at {keyframe}"
    );
    let own: Vec<u64> = frames[keyframe..]
        .iter()
        .map(|frame| frame.pts - frames[keyframe].pts)
        .collect();
    assert_eq!(times[..own.len()], own);
    let last = times[times.len() - 1];
    assert!(last >= 2 * 90_000, "it lasts {last} ticks");
    assert!(
        duration_ms.abs_diff(last / 90) < 100,
        "{duration_ms} ms for {last} ticks"
    );
}

#[tokio::test]
async fn next_seconds_wake_an_idle_source_and_are_as_many_as_were_asked_for() {
    let encoder = Encoder::start("test:", "linger_ms = 100");
    let (mp4, duration_ms, _) = clip(&encoder, ClipSpan::Next { ms: 2000 }).await;
    let times = times(&mp4);
    // A machine that others keep busy leaves some out.
    assert!((20..=61).contains(&times.len()), "{} pictures in 2 s", times.len());
    assert!((1800..=2200).contains(&duration_ms), "{duration_ms} ms");

    // Idle again, it still has what it had, and says how old that is.
    let mut link = encoder.link().await;
    link.state(|state| *state == SourceState::Idle).await;
    let (again, kept_ms, age_ms) = clip(&encoder, ClipSpan::Last { ms: 1000 }).await;
    assert!(!again.is_empty() && kept_ms >= 1000 && age_ms > 0, "{kept_ms} {age_ms}");
}

#[tokio::test]
async fn clip_that_is_called_off_gives_its_place_back() {
    let encoder = Encoder::start("test:", "");
    let mut link = encoder.subscribe().await;
    link.frame().await;
    let request = EncoderRequest::Clip(ClipSpan::Next { ms: 60_000 });
    for id in [1, 2, 3].map(RequestId) {
        let request = request.clone();
        link.send(ToEncoder::Request { id, request }).await;
    }
    let short = ClipSpan::Next { ms: 200 };
    let full = async {
        while !matches!(encoder.client().await.request(EncoderRequest::Clip(short)).await,
            Err(RequestError::Refused(refusal)) if refusal.message.contains("are being made"))
        {}
    };
    timeout(BOUND, full).await.expect("all places are taken");
    link.send(ToEncoder::Cancel { id: RequestId(1) }).await;
    let free = async {
        while encoder
            .client()
            .await
            .request(EncoderRequest::Clip(short))
            .await
            .is_err()
        {}
    };
    timeout(BOUND, free).await.expect("one is free again");
}

#[tokio::test]
async fn clip_that_can_not_be_had_is_refused_and_why() {
    let encoder = Encoder::start("test:", "pre_roll_ms = 0");
    for span in [ClipSpan::Last { ms: 0 }, ClipSpan::Next { ms: 60_001 }] {
        assert_eq!(refusal(&encoder, span).await.0, RefusalKind::Invalid);
    }
    encoder.subscribe().await.frame().await;
    let (kind, message) = refusal(&encoder, ClipSpan::Last { ms: 1000 }).await;
    assert_eq!(kind, RefusalKind::Unavailable);
    assert!(message.contains("pre_roll_ms"), "{message}");
    let gone = Encoder::start("file:/nowhere/gone.mp4", "");
    let (kind, message) = refusal(&gone, ClipSpan::Next { ms: 1000 }).await;
    assert_eq!(kind, RefusalKind::Unavailable);
    assert!(message.contains("No such file"), "{message}");
}
