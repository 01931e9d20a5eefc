//! Descriptors outlive who opened them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use framebridge_ipc::{FdStore, FdStoreError, Identity, MAX_STORED, RuntimeDir, fetch_fds, store_fds};
use framebridge_proto::Role;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, task::JoinSet, time::timeout};

/// Long enough for any machine, short enough to end a test that hangs.
const BOUND: Duration = Duration::from_secs(20);

async fn fd_store(dir: &RuntimeDir, tasks: &mut JoinSet<()>) -> Arc<FdStore> {
    let fd_store = Arc::new(
        FdStore::bind(dir, &Identity::new(Role::Supervisor), Box::new(()))
            .await
            .unwrap(),
    );
    let serving = Arc::clone(&fd_store);
    tasks.spawn(async move { serving.serve().await });
    fd_store
}

#[tokio::test]
async fn connection_queued_on_a_dead_listener_is_accepted_by_its_next_owner() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let fd_store = fd_store(&dir, &mut tasks).await;

    let first = Identity::new(Role::Signaling);
    assert!(fetch_fds(&dir, &first).await.unwrap().is_empty(), "nothing yet");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    store_fds(&dir, &first, &[("http", listener.as_fd())]).await.unwrap();
    drop(listener);
    let mut client = TcpStream::connect(address).expect("the kept listener still queues");
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();

    let mut back = fetch_fds(&dir, &Identity::new(Role::Signaling)).await.unwrap();
    assert_eq!(back[0].name, "http");
    let (mut server, _) = TcpListener::from(back.remove(0).fd).accept().unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");

    assert!(
        fetch_fds(&dir, &Identity::new(Role::Bridge)).await.unwrap().is_empty(),
        "each role has its own"
    );
    fd_store.forget(Role::Signaling);
    assert!(fetch_fds(&dir, &first).await.unwrap().is_empty());
    TcpStream::connect(address).expect_err("forgotten is closed");
}

#[tokio::test]
async fn as_many_as_the_limit_come_back_in_order_and_one_more_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let _fd_store = fd_store(&dir, &mut tasks).await;
    let me = Identity::new(Role::Signaling);
    let names: Vec<String> = (0..=MAX_STORED).map(|n| format!("descriptor-{n:0>21}")).collect();
    let fds: Vec<_> = names.iter().map(|name| (name.as_str(), std::io::stdin())).collect();
    let borrowed: Vec<_> = fds.iter().map(|(name, fd)| (*name, fd.as_fd())).collect();
    assert!(matches!(
        store_fds(&dir, &me, &borrowed).await,
        Err(FdStoreError::TooMany)
    ));
    store_fds(&dir, &me, &borrowed[..MAX_STORED]).await.unwrap();
    let back: Vec<String> = fetch_fds(&dir, &me)
        .await
        .unwrap()
        .into_iter()
        .map(|kept| kept.name)
        .collect();
    assert_eq!(back, names[..MAX_STORED]);
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_order_served() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let _fd_store = fd_store(&dir, &mut tasks).await;
    for garbage in [&b"X\x00"[..], b"K\x05\x01a", b"T\x00trailing", b"K"] {
        let mut stream = UnixStream::connect(root.path().join("fd-store.sock")).await.unwrap();
        let mut hello = b"FRMBRIDG\x00\x01\x00\x01\x03\x00\x00\x00\x00\x00\x00\x01".to_vec();
        hello.resize(68, 0);
        stream.write_all(&hello).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    let me = Identity::new(Role::Signaling);
    assert!(timeout(BOUND, fetch_fds(&dir, &me)).await.unwrap().unwrap().is_empty());
}

/// Another process takes what is kept for a role, by its number, and ends; how many bytes it was answered.
const TAKE: &str = "
import socket, sys
path, role = sys.argv[1], int(sys.argv[2])
fd_store = socket.socket(socket.AF_UNIX)
fd_store.connect(path)
hello = b'FRMBRIDG' + bytes([0, 1, 0, 1, role])
fd_store.sendall(hello.ljust(68, b'\\0') + b'T\\0')
answer = b''
while part := fd_store.recv(4096):
    answer += part
print(len(answer))
";

async fn taken_by_another(dir: &RuntimeDir, role: Role) -> usize {
    #[expect(clippy::disallowed_methods, reason = "a process that is not this one")]
    let mut python = tokio::process::Command::new("python3");
    let path = dir.path().join("fd-store.sock");
    let output = python.args(["-c", TAKE]).arg(path).arg((role as u8).to_string());
    let output = timeout(BOUND, output.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn what_a_living_process_has_is_no_other_ones() {
    const HELLO: usize = 68;
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let _fd_store = fd_store(&dir, &mut tasks).await;
    let me = Identity::new(Role::Signaling);
    store_fds(&dir, &me, &[("keys", std::io::stdin().as_fd())])
        .await
        .unwrap();
    assert_eq!(taken_by_another(&dir, Role::Signaling).await, HELLO, "hung up on");
    assert_eq!(fetch_fds(&dir, &me).await.unwrap().len(), 1, "it is still ours");

    // Whoever has taken something is its owner, and an owner that is gone owns nothing.
    assert!(taken_by_another(&dir, Role::Bridge).await > HELLO);
    assert!(fetch_fds(&dir, &Identity::new(Role::Bridge)).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_fd_store_is_said_so() {
    let root = tempfile::tempdir().unwrap();
    let error = fetch_fds(&RuntimeDir::at(root.path()), &Identity::new(Role::Signaling))
        .await
        .unwrap_err();
    assert!(matches!(error, FdStoreError::Absent { .. }), "{error}");
}
