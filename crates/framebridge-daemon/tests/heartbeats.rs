//! Heartbeats against real sockets: they outlive the supervisor they go to.

use std::time::Duration;

use framebridge_daemon::{Args, Tasks, heartbeats};
use framebridge_ipc::{Identity, Listener, RuntimeDir};
use framebridge_proto::{
    Role,
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
            state: "disabled".into(),
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

#[test]
fn arguments_are_passed_on_as_they_came() {
    let args = Args {
        config: Some("/a b.toml".into()),
        streams: vec!["x=test:".into(), "y=file:/v".into()],
    };
    assert_eq!(
        args.forward(),
        ["--config", "/a b.toml", "--stream", "x=test:", "--stream", "y=file:/v"]
    );
}
