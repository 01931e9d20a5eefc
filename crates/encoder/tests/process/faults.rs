//! What becomes of an encoder whose source fails.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use framebridge_proto::encoder::{SourceState, ToEncoder};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Encoder;

/// An X server of a test's own, on a display that is free. Killed when dropped.
pub(crate) struct XServer {
    process: Child,
    pub(crate) display: String,
}

impl XServer {
    /// On `display`, or on one that is free.
    pub(crate) fn start(display: Option<&str>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the server under the source")]
        let mut command = Command::new("Xvfb");
        let mut process = command
            .args(display)
            .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let mut number = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut number)
            .unwrap();
        Self {
            process,
            display: format!(":{}", number.trim()),
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn is_unavailable(state: &SourceState) -> bool {
    matches!(state, SourceState::Unavailable { .. })
}

fn reason(state: &SourceState) -> &str {
    if let SourceState::Unavailable { reason, .. } = state {
        reason
    } else {
        panic!("{state:?}")
    }
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
}

/// A film of grey pictures at 25 fps, in the simplest format that FFmpeg reads.
fn film(pictures: u8) -> Vec<u8> {
    let mut film = b"YUV4MPEG2 W64 H64 F25:1 C420jpeg\n".to_vec();
    for shade in 0..pictures {
        film.extend(b"FRAME\n");
        film.extend([shade.wrapping_mul(10); 64 * 64 * 3 / 2]);
    }
    film
}

#[tokio::test]
async fn a_source_that_is_missing_is_unavailable_until_it_is_there() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("film.y4m");
    let encoder = Encoder::start(&format!("file:{}", path.display()), "");
    let mut subscriber = encoder.subscribe().await;
    let state = subscriber.state(is_unavailable).await;
    assert!(reason(&state).contains("No such file or directory"), "{state:?}");
    assert!(
        matches!(
            state,
            SourceState::Unavailable {
                retry_in_ms: 1..=500,
                ..
            }
        ),
        "{state:?}"
    );
    std::fs::write(&path, film(25)).unwrap();
    assert!(subscriber.frame().await.keyframe);
    assert_eq!(subscriber.states.last(), Some(&SourceState::Live));
}

#[tokio::test]
async fn a_fifo_that_nobody_writes_to_ends_the_process_with_74_and_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fifo");
    make_fifo(&path);
    let mut encoder = Encoder::start(&format!("file:{}", path.display()), "");
    let _subscriber = encoder.subscribe().await;
    assert_eq!(encoder.ended().await.code(), Some(74));
    assert!(
        encoder.log().contains("the source has been opening for"),
        "{}",
        encoder.log()
    );
}

#[tokio::test]
async fn a_fifo_plays_while_it_is_fed_and_ends_the_process_with_74_when_it_no_longer_is() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fifo");
    make_fifo(&path);
    let mut encoder = Encoder::start(&format!("file:{}", path.display()), "");
    let mut subscriber = encoder.subscribe().await;
    let feeding = std::thread::spawn(move || {
        let mut writer = std::fs::File::options().write(true).open(path).unwrap();
        writer.write_all(&film(50)).unwrap();
        writer
    });
    for _ in 0..25 {
        subscriber.frame().await;
    }
    let _open_and_silent = feeding.join().unwrap();
    assert_eq!(encoder.ended().await.code(), Some(74));
    assert!(
        encoder.log().contains("the source has given nothing for"),
        "{}",
        encoder.log()
    );
}

#[tokio::test]
async fn an_encoder_whose_source_hangs_still_ends_when_it_is_told_to() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fifo");
    make_fifo(&path);
    let mut encoder = Encoder::start(&format!("file:{}", path.display()), "stall_timeout_ms = 60000");
    let mut subscriber = encoder.subscribe().await;
    subscriber.state(|state| *state == SourceState::Opening).await;
    let pid = Pid::from_raw(i32::try_from(encoder.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(encoder.ended().await.code(), Some(0), "{}", encoder.log());
    assert!(!encoder.dir().join("encoder-s.sock").exists(), "no stale socket");
}

#[tokio::test]
async fn a_part_of_a_desktop_is_captured_at_its_size_and_one_beyond_it_is_refused() {
    let server = XServer::start(None);
    let encoder = Encoder::start(&format!("x11:{}+10,20,321x200", server.display), "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let parameters = subscriber.parameters.unwrap();
    assert_eq!((parameters.width, parameters.height), (320, 200));

    let beyond = Encoder::start(&format!("x11:{}+600,20,320x200", server.display), "");
    let state = beyond.subscribe().await.state(is_unavailable).await;
    assert!(reason(&state).contains("outside the screen"), "{state:?}");
}

#[tokio::test]
async fn a_display_server_that_is_stopped_ends_the_process_with_74_and_a_reason() {
    let server = XServer::start(None);
    let mut encoder = Encoder::start(&format!("x11:{}", server.display), "");
    let mut subscriber = encoder.subscribe().await;
    for _ in 0..10 {
        subscriber.frame().await;
    }
    server.signal(Signal::STOP);
    let status = encoder.ended().await;
    server.signal(Signal::CONT);
    assert_eq!(status.code(), Some(74), "{}", encoder.log());
    assert!(
        encoder.log().contains("the source has given nothing for"),
        "{}",
        encoder.log()
    );
}

#[tokio::test]
async fn a_display_server_that_dies_makes_the_source_unavailable_until_it_is_back() {
    let server = XServer::start(None);
    let display = server.display.clone();
    let encoder = Encoder::start(&format!("x11:{display}"), "");
    let mut subscriber = encoder.subscribe().await;
    let before = subscriber.frame().await;
    server.signal(Signal::KILL);
    drop(server);
    subscriber.state(is_unavailable).await;
    let _server = XServer::start(Some(&display));
    let after = loop {
        let frame = subscriber.frame().await;
        if subscriber.states.last() == Some(&SourceState::Live) && subscriber.states.iter().any(is_unavailable) {
            break frame;
        }
    };
    assert!(after.sequence > before.sequence && after.pts > before.pts);
}

#[tokio::test]
async fn an_encoder_that_was_stopped_as_a_whole_goes_on_instead_of_giving_up() {
    let mut encoder = Encoder::start("test:", "stall_timeout_ms = 500");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    let pid = Pid::from_raw(i32::try_from(encoder.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    kill_process(pid, Signal::CONT).unwrap();
    for _ in 0..60 {
        subscriber.frame().await;
    }
    subscriber.send(ToEncoder::Unsubscribe).await;
    encoder.restart();
}

#[tokio::test]
async fn a_stream_that_is_not_configured_is_a_fault_of_the_configuration() {
    #[expect(clippy::disallowed_methods, reason = "the process under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_encoder"));
    let dir = tempfile::tempdir().unwrap();
    let output = command
        .arg("nobody")
        .env("FRAMEBRIDGE_RUNTIME_DIR", dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no stream `nobody` is configured"));
}
