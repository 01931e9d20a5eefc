//! What an encoder can't do, whatever gets hold of it through its source.

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use framebridge_proto::encoder::SourceState;

use crate::harness::Encoder;

#[tokio::test]
async fn an_encoder_whose_source_needs_no_network_has_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let caught = Arc::<AtomicUsize>::default();
    let counts = Arc::clone(&caught);
    thread::spawn(move || {
        for _client in listener.incoming() {
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    let encoder = Encoder::start(&format!("lavfi:movie=filename='tcp\\://127.0.0.1\\:{port}'"), "");
    let mut subscriber = encoder.subscribe().await;
    subscriber
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    assert_eq!(caught.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_display_that_is_not_there_is_told_as_that_and_not_by_the_network_that_is_missing() {
    let encoder = Encoder::start("x11::4711", "");
    let state = encoder
        .subscribe()
        .await
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    let told = "display :4711: can't connect to the display: No such file or directory";
    assert!(format!("{state:?}").contains(told), "{state:?}");
}

#[tokio::test]
async fn every_thread_of_an_encoder_is_confined() {
    for source in ["test:", "rtsp://127.0.0.1:1/s"] {
        let encoder = Encoder::start(source, "");
        drop(encoder.link().await);
        let tasks = fs::read_dir(format!("/proc/{}/task", encoder.pid())).unwrap();
        for task in tasks.flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            // One that has just ended has none.
            assert!(
                status.is_empty() || status.contains("Seccomp:\t2"),
                "{source}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn a_command_runs_where_it_is_allowed_and_sees_none_of_our_settings() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let source = format!("exec:env > {}; exit 3", seen.display());
    let encoder = Encoder::start(&source, "[sources]\nexec = true");
    let mut subscriber = encoder.subscribe().await;
    let state = subscriber
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    assert!(
        format!("{state:?}").contains("env: the command has ended: exit status: 3"),
        "{state:?}"
    );
    let environment = fs::read_to_string(&seen).unwrap();
    assert!(
        environment.contains("PATH=") && !environment.contains("FRAMEBRIDGE_"),
        "{environment}"
    );
}
