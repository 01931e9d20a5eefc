//! What requests do.

use std::{fs, time::Duration};

use framebridge_ipc::RequestError;
use framebridge_proto::{
    RefusalKind,
    encoder::{EncoderAnswer, EncoderRequest, ImageFormat, Quality, QualityChange, SourceState, ToEncoder},
};
use tokio::time::timeout;

use crate::harness::Encoder;

const DEFAULT: Quality = Quality {
    bitrate: 2_500_000,
    fps: 30,
    longest_edge: 1280,
};

#[tokio::test]
async fn what_is_set_already_stays_as_it_is_and_that_is_said() {
    let encoder = Encoder::start("test:", "");
    let mut client = encoder.client().await;
    let change = QualityChange {
        bitrate: Some(800_000),
        ..QualityChange::default()
    };
    let quality = Quality {
        bitrate: 800_000,
        ..DEFAULT
    };
    for changed in [true, false, false] {
        let answer = client.request(EncoderRequest::SetQuality(change)).await.unwrap();
        assert_eq!(answer, EncoderAnswer::Quality { quality, changed });
    }
    let answer = client.request(EncoderRequest::GetQuality).await.unwrap();
    assert_eq!(
        answer,
        EncoderAnswer::Quality {
            quality,
            changed: false
        }
    );
    for changed in [true, false] {
        assert_eq!(
            client.request(EncoderRequest::Pause).await.unwrap(),
            EncoderAnswer::Done { changed }
        );
    }
    for changed in [true, false] {
        assert_eq!(
            client.request(EncoderRequest::Resume).await.unwrap(),
            EncoderAnswer::Done { changed }
        );
    }
}

#[tokio::test]
async fn a_value_out_of_range_is_refused_by_name_and_nothing_changes() {
    let encoder = Encoder::start("test:", "");
    let mut client = encoder.client().await;
    let none = QualityChange::default();
    for (change, named) in [
        (
            QualityChange {
                bitrate: Some(1),
                ..none
            },
            "bitrate = 1",
        ),
        (QualityChange { fps: Some(0), ..none }, "fps = 0"),
        (
            QualityChange {
                fps: Some(15),
                longest_edge: Some(9000),
                ..none
            },
            "longest_edge = 9000",
        ),
    ] {
        let Err(RequestError::Refused(refusal)) = client.request(EncoderRequest::SetQuality(change)).await else {
            panic!("{change:?} was taken");
        };
        assert_eq!(refusal.kind, RefusalKind::Invalid);
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
    let answer = client.request(EncoderRequest::GetQuality).await.unwrap();
    assert_eq!(
        answer,
        EncoderAnswer::Quality {
            quality: DEFAULT,
            changed: false
        }
    );
}

#[tokio::test]
async fn quality_changes_while_it_runs_and_outlives_the_process() {
    let mut encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let mut client = encoder.client().await;
    let change = QualityChange {
        fps: Some(15),
        longest_edge: Some(640),
        bitrate: Some(500_000),
    };
    client.request(EncoderRequest::SetQuality(change)).await.unwrap();
    let mut frame = subscriber.frame().await;
    while subscriber.parameters.as_ref().unwrap().width != 640 || subscriber.parameters.as_ref().unwrap().fps != 15 {
        frame = subscriber.frame().await;
    }
    assert!(frame.keyframe, "new parameters come with a keyframe");
    let parameters = subscriber.parameters.clone().unwrap();
    assert_eq!(
        (parameters.width, parameters.height, parameters.bitrate),
        (640, 360, 500_000)
    );
    let first = subscriber.frame().await;
    for _ in 0..15 {
        frame = subscriber.frame().await;
    }
    let seconds = (frame.captured_ns - first.captured_ns) as f64 / 1e9;
    assert!((0.8..2.5).contains(&seconds), "15 frames in {seconds} s");

    encoder.restart();
    let mut client = encoder.client().await;
    let quality = Quality {
        bitrate: 500_000,
        fps: 15,
        longest_edge: 640,
    };
    let answer = client.request(EncoderRequest::GetQuality).await.unwrap();
    assert_eq!(
        answer,
        EncoderAnswer::Quality {
            quality,
            changed: false
        }
    );

    fs::write(encoder.dir().join("encoder-s.quality.json"), "{ damaged").unwrap();
    encoder.restart();
    let mut client = encoder.client().await;
    let answer = client.request(EncoderRequest::GetQuality).await.unwrap();
    assert_eq!(
        answer,
        EncoderAnswer::Quality {
            quality: DEFAULT,
            changed: false
        }
    );
    assert!(encoder.log().contains("is damaged"), "{}", encoder.log());
}

#[tokio::test]
async fn a_pause_holds_the_frames_back_and_resuming_starts_with_an_idr() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let mut client = encoder.client().await;
    client.request(EncoderRequest::Pause).await.unwrap();
    subscriber.state(|state| *state == SourceState::Paused).await;
    // One frame may have been under way.
    let mut extra = 0;
    while timeout(Duration::from_millis(500), subscriber.frame()).await.is_ok() {
        extra += 1;
    }
    assert!(extra <= 2, "{extra} frames while paused");
    // Paused is not closed: a snapshot is of now.
    let answer = client
        .request(EncoderRequest::Snapshot(ImageFormat::Jpeg))
        .await
        .unwrap();
    assert!(matches!(answer, EncoderAnswer::Snapshot { age_ms: 0..1000, .. }));
    client.request(EncoderRequest::Resume).await.unwrap();
    assert!(subscriber.frame().await.keyframe);
}

#[tokio::test]
async fn a_pause_outlives_the_process_and_is_told_of_a_closed_source_too() {
    let mut encoder = Encoder::start("test:", "");
    let mut client = encoder.client().await;
    client.request(EncoderRequest::Pause).await.unwrap();
    encoder.link().await.state(|state| *state == SourceState::Paused).await;

    encoder.restart();
    let mut subscriber = encoder.subscribe().await;
    subscriber.state(|state| *state == SourceState::Paused).await;
    // Long enough for a picture to come, where one is let through.
    let picture = timeout(Duration::from_secs(2), subscriber.frame()).await;
    assert!(picture.is_err(), "a crash shows nothing that is paused");
    let mut client = encoder.client().await;
    client.request(EncoderRequest::Resume).await.unwrap();
    assert!(subscriber.frame().await.keyframe);

    encoder.restart();
    encoder.link().await.state(|state| *state == SourceState::Untried).await;
}

#[tokio::test]
async fn a_snapshot_opens_a_closed_source_for_as_long_as_it_takes() {
    let encoder = Encoder::start("test:", "linger_ms = 100");
    let mut watcher = encoder.link().await;
    let mut client = encoder.client().await;
    let answer = client
        .request(EncoderRequest::Snapshot(ImageFormat::Png))
        .await
        .unwrap();
    let EncoderAnswer::Snapshot {
        format: ImageFormat::Png,
        image,
        ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
    watcher.state(|state| *state == SourceState::Live).await;
    watcher.state(|state| *state == SourceState::Idle).await;
}

#[tokio::test]
async fn a_snapshot_of_a_source_that_is_not_there_is_refused_with_its_reason() {
    let encoder = Encoder::start("file:/nonexistent.mp4", "");
    let mut client = encoder.client().await;
    let answer = client.request(EncoderRequest::Snapshot(ImageFormat::Jpeg)).await;
    let Err(RequestError::Refused(refusal)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert!(refusal.message.contains("No such file"), "{}", refusal.message);
}

#[tokio::test]
async fn rubbish_ends_one_connection_and_no_other() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let mut rude = encoder.link().await;
    rude.send(ToEncoder::Subscribe).await;
    rude.frame().await;
    drop(rude);
    let socket = encoder.dir().join("encoder-s.sock");
    let mut stranger = std::os::unix::net::UnixStream::connect(socket).unwrap();
    std::io::Write::write_all(&mut stranger, &[0xff; 4096]).unwrap();
    for _ in 0..10 {
        subscriber.frame().await;
    }
}
