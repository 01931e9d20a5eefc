//! An encoder whose user is another than the others': who talks to it, and to whom it talks.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use framebridge_ipc::{ConnectError, HandshakeError, Identity, Link, Listener, RuntimeDir, connect};
use framebridge_proto::{
    Role, StreamName,
    encoder::{FromEncoder, ToEncoder},
    supervisor::{FromSupervisor, Progress, ToSupervisor},
};
use rustix::process::geteuid;
use tokio::time::{sleep, timeout};

use crate::harness::BOUND;

/// Users that no machine has for anything else; this one is the encoder's.
const ENCODER: u32 = 61_731;
const ANOTHER: u32 = 61_732;

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The directories that units make: ours, the encoders', the door, and that of the encoder of `s`.
fn directories(base: &Path) -> RuntimeDir {
    let encoders = base.join("encoders");
    for (path, mode, uid) in [
        (base.to_owned(), 0o755, 0),
        (base.join("run"), 0o700, 0),
        (encoders.clone(), 0o755, 0),
        // What is made in it is the encoders' group's.
        (encoders.join("_door"), 0o2755, 0),
        (encoders.join("s"), 0o770, ENCODER),
    ] {
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(uid), Some(ENCODER)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    RuntimeDir::at(base.join("run")).with_encoders_in(encoders)
}

fn start(base: &Path) -> Killed {
    // The one that was built may lie where only root may go.
    let program = base.join("encoder");
    fs::copy(env!("CARGO_BIN_EXE_encoder"), &program).unwrap();
    let home = base.join("encoders/s");
    let config = home.join("framebridge.toml");
    fs::write(&config, "[streams.s]\nsource = \"test:\"\nencoder = \"software\"\n").unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the process under test")]
    let mut command = Command::new(program);
    command
        .args(["s", "--config"])
        .arg(config)
        .env("FRAMEBRIDGE_RUNTIME_DIR", &home)
        .env("FRAMEBRIDGE_ENCODERS_DIR", base.join("encoders"))
        .uid(ENCODER)
        .gid(ENCODER)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Killed(command.spawn().unwrap())
}

async fn link(dir: &RuntimeDir, stream: &StreamName) -> Result<Link<FromEncoder, ToEncoder>, ConnectError> {
    let identity = Identity::new(Role::Signaling);
    let connecting = async {
        loop {
            match connect(dir.place(Role::Encoder, Some(stream)), &identity, Role::Encoder).await {
                Err(ConnectError::Absent { .. }) => sleep(Duration::from_millis(10)).await,
                outcome => return outcome,
            }
        }
    };
    timeout(BOUND, connecting).await.expect("the encoder listens")
}

fn is_refused<T>(outcome: Result<T, ConnectError>) -> bool {
    let Err(ConnectError::Handshake { source, .. }) = outcome else {
        return false;
    };
    matches!(source, HandshakeError::ForeignUser(ENCODER))
}

#[tokio::test]
async fn encoder_of_another_user_is_taken_where_its_directory_says_so_and_nowhere_else() {
    if !geteuid().is_root() {
        #[expect(clippy::print_stderr, reason = "what is left out is said")]
        {
            eprintln!("left out: only root may start a process as another user");
        }
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let dir = directories(base.path());
    let supervisor = Identity::new(Role::Supervisor);
    let mut door = Listener::<ToSupervisor, FromSupervisor>::bind(dir.door().unwrap(), &supervisor)
        .await
        .unwrap();
    let _encoder = start(base.path());

    // It reports at the door.
    let came = async { door.accept().await.unwrap().handshake().await.unwrap() };
    let mut reported = timeout(BOUND, came).await.expect("it comes");
    assert_eq!((reported.peer.uid, reported.peer.role), (ENCODER, Role::Encoder));
    let said = timeout(BOUND, reported.receiver.recv()).await.expect("it reports");
    let Ok(Some(ToSupervisor::Heartbeat(heartbeat))) = said else {
        panic!("{said:?}");
    };
    assert!(matches!(heartbeat.progress, Progress::Encoder(progress) if progress.stream.as_str() == "s"));

    // It gives frames to who knows its directory for that user's, and is a stranger to everybody else.
    let stream: StreamName = "s".parse().unwrap();
    let mut frames = link(&dir, &stream).await.expect("it is that user's");
    frames.sender.send(&ToEncoder::Subscribe).await.unwrap();
    let first = async {
        loop {
            if let Some(FromEncoder::Frame(_)) = frames.receiver.recv().await.unwrap() {
                return;
            }
        }
    };
    timeout(BOUND, first).await.expect("a frame");
    let plain = dir.socket(Role::Encoder, Some(&stream));
    let outcome = connect::<FromEncoder, ToEncoder>(&plain, &Identity::new(Role::Signaling), Role::Encoder).await;
    assert!(is_refused(outcome), "without the directory its user is nobody's");
    chown(base.path().join("encoders/s"), Some(ANOTHER), None).unwrap();
    assert!(is_refused(link(&dir, &stream).await), "the directory is another's");

    // At the door likewise: it links anew, and is not let in.
    drop((reported, door));
    door = Listener::bind(dir.door().unwrap(), &supervisor).await.unwrap();
    let came = async { door.accept().await.unwrap().handshake().await };
    let refused = timeout(BOUND, came).await.expect("it comes again");
    assert!(
        matches!(refused, Err(HandshakeError::ForeignUser(ENCODER))),
        "{refused:?}"
    );
}
