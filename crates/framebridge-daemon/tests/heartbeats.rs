//! Heartbeats against real sockets: they outlive the supervisor they go to.

use std::time::Duration;

use framebridge_daemon::{Args, Tasks, heartbeats, isolated, notify};
use framebridge_ipc::{Identity, Listener, RuntimeDir};
use framebridge_proto::{
    Role,
    status::BridgeState,
    supervisor::{BridgeProgress, FromSupervisor, Progress, ToSupervisor},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for any machine, short enough to end a test that hangs.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test]
async fn heartbeats_go_on_to_the_next_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = RuntimeDir::at(dir.path());
    let tasks = Tasks::new(CancellationToken::new());
    let progress = || {
        Progress::Bridge(BridgeProgress {
            state: BridgeState::Disabled,
            reason: None,
        })
    };
    let identity = Identity::new(Role::Bridge);
    tasks.spawn(heartbeats(runtime.clone(), identity.clone(), progress));
    let mut last = None;
    for _supervisor in 0..2 {
        let path = runtime.socket(Role::Supervisor, None);
        let supervisor = Identity::new(Role::Supervisor);
        let listener = Listener::<ToSupervisor, FromSupervisor>::bind(&path, &supervisor)
            .await
            .unwrap();
        let mut link = timeout(BOUND, listener.accept())
            .await
            .unwrap()
            .unwrap()
            .handshake()
            .await
            .unwrap();
        assert_eq!(link.peer.instance, identity.instance);
        for _second in 0..2 {
            let message = timeout(BOUND, link.receiver.recv()).await.unwrap().unwrap();
            let Some(ToSupervisor::Heartbeat(heartbeat)) = message else {
                panic!("a heartbeat")
            };
            assert!(
                last.is_none_or(|last| heartbeat.sequence > last),
                "counted within one life of the process"
            );
            last = Some(heartbeat.sequence);
        }
    }
    assert!(tasks.end(BOUND).await);
}

#[tokio::test]
async fn process_whose_work_loop_hangs_falls_silent_until_it_goes_on() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let dir = tempfile::tempdir().unwrap();
    let runtime = RuntimeDir::at(dir.path());
    let path = runtime.socket(Role::Supervisor, None);
    let listener = Listener::<ToSupervisor, FromSupervisor>::bind(&path, &Identity::new(Role::Supervisor))
        .await
        .unwrap();
    let tasks = Tasks::new(CancellationToken::new());
    let progress = || {
        Progress::Bridge(BridgeProgress {
            state: BridgeState::Disabled,
            reason: None,
        })
    };
    tasks.spawn(heartbeats(runtime.clone(), Identity::new(Role::Bridge), progress));
    let mut link = listener.accept().await.unwrap().handshake().await.unwrap();
    let mut pulse = notify::Pulse::new();
    pulse.beat().await;
    let silence = async { while timeout(PAUSE, link.receiver.recv()).await.is_ok() {} };
    timeout(BOUND, silence).await.expect("it falls silent");
    pulse.beat().await;
    assert!(timeout(PAUSE, link.receiver.recv()).await.is_ok(), "it speaks again");
    drop(pulse);
    assert!(tasks.end(BOUND).await);
}

#[tokio::test]
async fn isolated_work_that_panics_says_what_and_ends_nobody_else() {
    let panicked = isolated(async { "seven".parse::<u8>().expect("a number") }).await;
    assert!(panicked.unwrap_err().starts_with("a number: "));
    assert_eq!(isolated(async { 7 }).await, Ok(7));
}

#[test]
fn arguments_are_passed_on_as_they_came() {
    let args = Args {
        config: Some("/a b.toml".into()),
        streams: vec!["x=test:".into(), "y=file:/v".into()],
        streams_file: None,
        ..Args::default()
    };
    assert_eq!(
        args.forward(),
        ["--config", "/a b.toml", "--stream", "x=test:", "--stream", "y=file:/v"]
    );
}
