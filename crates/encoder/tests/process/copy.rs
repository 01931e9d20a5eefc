//! Sources that are sent on as they come.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use framebridge_proto::{
    encoder::{ClipSpan, EncoderAnswer, EncoderRequest, ImageFormat, QualityChange, SourceState, ToEncoder},
    media::{AccessUnit, Rung, Track},
};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::{
    harness::{BOUND, Encoder, Subscriber},
    rtsp::Camera,
};

fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    #[expect(
        clippy::disallowed_methods,
        reason = "makes what is tested with, and judges what came of it"
    )]
    let output = Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A film of eight seconds, 640x360 at 25 a second, with a keyframe each two, and what else x264 is told.
fn film(dir: &Path, name: &str, more: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let made = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25:duration=8,format=yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-profile:v",
        "main",
        "-g",
        "50",
        "-keyint_min",
        "50",
        "-bf",
        "0",
        "-sc_threshold",
        "0",
    ];
    run("ffmpeg", &[&made[..], more, &[path.to_str().unwrap()]].concat());
    path
}

fn source(path: &Path) -> String {
    format!("file:{}", path.display())
}

async fn frames(subscriber: &mut Subscriber, count: usize) -> Vec<AccessUnit> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        frames.push(subscriber.frame().await);
    }
    frames
}

/// Each picture as a hash, as FFmpeg decodes it.
fn pictures(file: &Path) -> Vec<String> {
    let text = run(
        "ffmpeg",
        &["-v", "error", "-i", file.to_str().unwrap(), "-f", "framemd5", "-"],
    );
    let hash = |line: &str| line.rsplit(',').next().unwrap().trim().to_owned();
    let text = String::from_utf8(text).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(hash).collect()
}

/// Frames as a film.
fn written(dir: &TempDir, frames: &[AccessUnit]) -> PathBuf {
    let path = dir.path().join("got.h264");
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn ask(encoder: &Encoder, request: EncoderRequest) -> EncoderAnswer {
    encoder.client().await.request(request).await.unwrap()
}

#[tokio::test]
async fn what_players_show_goes_on_as_it_came_picture_by_picture() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.mkv", "film.ts", "film.flv"] {
        let film = film(dir.path(), name, &[]);
        let encoder = Encoder::start_as(&source(&film), "");
        let mut subscriber = encoder.subscribe().await;
        let got = frames(&mut subscriber, 120).await;
        let parameters = subscriber.parameters.clone().unwrap();
        assert_eq!(
            (parameters.width, parameters.height, parameters.fps),
            (640, 360, 25),
            "{name}"
        );
        assert_eq!(
            (parameters.encoder.as_str(), parameters.copied.map(|id| id[0])),
            ("copy", Some(77))
        );
        assert_eq!(pictures(&written(&dir, &got)), pictures(&film)[..120], "{name}");
        let keyframes: Vec<usize> = (0..120).filter(|at| got[*at].keyframe).collect();
        assert_eq!(keyframes, [0, 50, 100], "{name}");
        for pair in got.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert!(pair[1].pts > pair[0].pts && pair[1].captured_ns > pair[0].captured_ns);
        }
        let seconds = (got[119].captured_ns - got[0].captured_ns) as f64 / 1e9;
        assert!((4.0..6.5).contains(&seconds), "{name}: 120 pictures in {seconds} s");
    }
}

#[tokio::test]
async fn who_comes_late_has_the_last_group_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = Encoder::start_as(&source(&film(dir.path(), "film.mp4", &[])), "");
    let mut first = encoder.subscribe().await;
    let seen = frames(&mut first, 40).await;
    let asked = Instant::now();
    let mut second = encoder.subscribe().await;
    let late = frames(&mut second, 38).await;
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(late[0].keyframe);
    assert_eq!(
        late[..38],
        seen[..38],
        "the whole group, though nobody can make a keyframe"
    );
}

#[tokio::test]
async fn a_film_that_begins_again_begins_with_a_keyframe() {
    let dir = tempfile::tempdir().unwrap();
    let short = film(dir.path(), "short.mp4", &["-t", "1.2"]);
    let encoder = Encoder::start_as(&source(&short), "encoder = \"copy\"");
    let mut subscriber = encoder.subscribe().await;
    let got = frames(&mut subscriber, 75).await;
    let keyframes: Vec<usize> = (0..75).filter(|at| got[*at].keyframe).collect();
    assert_eq!(keyframes, [0, 30, 60]);
    let step = got[30].captured_ns - got[29].captured_ns;
    assert!(
        step < 200_000_000,
        "a loop costs no more than a picture's time: {step} ns"
    );
}

#[tokio::test]
async fn what_players_do_not_show_is_encoded_and_the_reason_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (name, settings, reason, more) in [
        ("b.mp4", "", "it has B-frames", &["-bf", "2"][..]),
        (
            "ten.mp4",
            "",
            "it has 10 bits a colour",
            &["-profile:v", "high10", "-pix_fmt", "yuv420p10le"],
        ),
        (
            "four.mp4",
            "",
            "its colours are not 4:2:0",
            &["-profile:v", "high444", "-pix_fmt", "yuv444p"],
        ),
        (
            "fields.mp4",
            "",
            "it has fields",
            &["-flags", "+ildct", "-x264-params", "interlaced=1"],
        ),
        ("wide.mp4", "", "its pixels are not square", &["-aspect", "4:3"]),
        (
            "size.mp4",
            "longest_edge = 320",
            "longest_edge = 320, and it has 640",
            &[],
        ),
        ("rate.mp4", "fps = 10", "fps = 10, and it has 25", &[]),
    ] {
        let film = film(dir.path(), name, more);
        let encoder = Encoder::start_as(&source(&film), &format!("encoder = \"copy\"\n{settings}"));
        let mut subscriber = encoder.subscribe().await;
        let wanted = async {
            loop {
                subscriber.frame().await;
                if subscriber
                    .parameters
                    .as_ref()
                    .is_some_and(|found| found.copied.is_none())
                {
                    return;
                }
            }
        };
        timeout(BOUND, wanted)
            .await
            .unwrap_or_else(|_| panic!("{name}: {}", encoder.log()));
        assert!(encoder.log().contains(reason), "{name}: {}", encoder.log());
    }
}

#[tokio::test]
async fn another_quality_means_encoding_from_the_very_picture_on_and_the_configured_one_is_sent_on_again() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = Encoder::start_as(&source(&film(dir.path(), "film.mp4", &[])), "");
    let mut subscriber = encoder.subscribe().await;
    frames(&mut subscriber, 30).await;
    let set = |bitrate| {
        EncoderRequest::SetQuality(QualityChange {
            bitrate: Some(bitrate),
            ..QualityChange::default()
        })
    };
    ask(&encoder, set(300_000)).await;
    let mut last = subscriber.frame().await;
    while subscriber.parameters.as_ref().unwrap().copied.is_some() {
        last = subscriber.frame().await;
    }
    assert!(last.keyframe, "what is encoded leans on nothing that was sent on");
    let encoded = frames(&mut subscriber, 20).await;
    let gap = encoded[0].captured_ns - last.captured_ns;
    assert!(gap < 500_000_000, "nothing of the group comes again: {gap} ns");
    ask(&encoder, set(2_500_000)).await;
    while subscriber.parameters.as_ref().unwrap().copied.is_none() {
        last = subscriber.frame().await;
    }
    assert!(last.keyframe);
    let got = [vec![last], frames(&mut subscriber, 20).await].concat();
    assert_eq!(pictures(&written(&dir, &got)).len(), 21);
}

#[tokio::test]
async fn snapshot_clip_and_pause_work_as_with_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = Encoder::start_as(&source(&film(dir.path(), "film.mp4", &[])), "");
    // Of a source that is closed, too.
    let EncoderAnswer::Snapshot { image, age_ms, .. } = ask(&encoder, EncoderRequest::Snapshot(ImageFormat::Png)).await
    else {
        panic!("no snapshot")
    };
    assert!(image.starts_with(b"\x89PNG") && age_ms < 2_000, "{age_ms} ms old");
    let mut subscriber = encoder.subscribe().await;
    frames(&mut subscriber, 60).await;
    let EncoderAnswer::Clip { duration_ms, mp4, .. } =
        ask(&encoder, EncoderRequest::Clip(ClipSpan::Last { ms: 2_000 })).await
    else {
        panic!("no clip")
    };
    assert!(
        (1_500..6_000).contains(&duration_ms) && mp4.len() > 10_000,
        "{duration_ms} ms"
    );

    ask(&encoder, EncoderRequest::Pause).await;
    subscriber.state(|state| *state == SourceState::Paused).await;
    while timeout(Duration::from_millis(500), subscriber.frame()).await.is_ok() {}
    ask(&encoder, EncoderRequest::Resume).await;
    let resumed = Instant::now();
    let first = subscriber.frame().await;
    assert!(first.keyframe, "players go on with a keyframe");
    assert!(
        resumed.elapsed() < Duration::from_millis(500),
        "and don't wait for the source's next"
    );
    let after = frames(&mut subscriber, 100).await;
    assert!(after.windows(2).all(|pair| pair[1].pts > pair[0].pts));
    let got = [vec![first], after].concat();
    assert!(pictures(&written(&dir, &got)).len() >= 100, "all of it can be decoded");
}

#[tokio::test]
async fn a_lower_rung_is_made_of_decoded_pictures_while_the_full_one_goes_on_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = Encoder::start_as(&source(&film(dir.path(), "film.mp4", &[])), "");
    let mut full = encoder.subscribe().await;
    frames(&mut full, 20).await;
    let mut half = encoder.link().await;
    let (track, rung) = (Track::Video, Rung::Half);
    half.send(ToEncoder::SubscribeTo { track, rung }).await;
    let small = frames(&mut half, 30).await;
    assert!(small[0].keyframe);
    assert_eq!(
        half.parameters.as_ref().map(|found| (found.width, found.copied)),
        Some((320, None))
    );
    assert_eq!(pictures(&written(&dir, &small)).len(), 30);
    let rate = 29e9 / (small[29].captured_ns - small[0].captured_ns) as f64;
    assert!((18.0..30.0).contains(&rate), "{rate} pictures a second");
    let large = frames(&mut full, 60).await;
    assert!(full.parameters.as_ref().is_some_and(|found| found.copied.is_some()));
    assert!(large.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
}

#[tokio::test]
async fn a_camera_is_sent_on_through_silence_and_restart() {
    let camera = Camera::start();
    let url = format!("rtsp://{}/stream", camera.address);
    let encoder = Encoder::start_as(&url, "stall_timeout_ms = 700\npause_timeout_ms = 5000");
    let mut subscriber = encoder.subscribe().await;
    let got = frames(&mut subscriber, 60).await;
    assert_eq!(subscriber.parameters.as_ref().unwrap().encoder, "copy");
    assert!(got.iter().filter(|frame| frame.keyframe).count() >= 2);
    camera.silence(true);
    while timeout(Duration::from_secs(1), subscriber.frame()).await.is_ok() {}
    camera.silence(false);
    frames(&mut subscriber, 30).await;
    assert!(!subscriber.heard_unavailable(), "{:?}", subscriber.states);
    camera.turn_off();
    subscriber
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    let _camera = camera.turn_on();
    let first = subscriber.frame().await;
    assert!(first.keyframe);
    frames(&mut subscriber, 30).await;
    assert!(subscriber.parameters.as_ref().unwrap().copied.is_some());
}
