//! Descriptors outlive who opened them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use framebridge_ipc::{Identity, KeepError, Keeper, MAX_KEPT, RuntimeDir, keep, kept};
use framebridge_proto::Role;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, task::JoinSet, time::timeout};

/// Long enough for any machine, short enough to end a test that hangs.
const BOUND: Duration = Duration::from_secs(20);

async fn keeper(dir: &RuntimeDir, tasks: &mut JoinSet<()>) -> Arc<Keeper> {
    let keeper = Arc::new(
        Keeper::bind(dir, &Identity::new(Role::Supervisor), Box::new(()))
            .await
            .unwrap(),
    );
    let serving = Arc::clone(&keeper);
    tasks.spawn(async move { serving.serve().await });
    keeper
}

#[tokio::test]
async fn connection_queued_on_a_dead_listener_is_accepted_by_its_next_owner() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let keeper = keeper(&dir, &mut tasks).await;

    let first = Identity::new(Role::Signaling);
    assert!(kept(&dir, &first).await.unwrap().is_empty(), "nothing yet");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    keep(&dir, &first, &[("http", listener.as_fd())]).await.unwrap();
    drop(listener);
    let mut client = TcpStream::connect(address).expect("the kept listener still queues");
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();

    let mut back = kept(&dir, &Identity::new(Role::Signaling)).await.unwrap();
    assert_eq!(back[0].name, "http");
    let (mut server, _) = TcpListener::from(back.remove(0).fd).accept().unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");

    assert!(
        kept(&dir, &Identity::new(Role::Bridge)).await.unwrap().is_empty(),
        "each role has its own"
    );
    keeper.forget(Role::Signaling);
    assert!(kept(&dir, &first).await.unwrap().is_empty());
    TcpStream::connect(address).expect_err("forgotten is closed");
}

#[tokio::test]
async fn as_many_as_the_limit_come_back_in_order_and_one_more_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let _keeper = keeper(&dir, &mut tasks).await;
    let me = Identity::new(Role::Signaling);
    let names: Vec<String> = (0..=MAX_KEPT).map(|n| format!("descriptor-{n:0>21}")).collect();
    let fds: Vec<_> = names.iter().map(|name| (name.as_str(), std::io::stdin())).collect();
    let borrowed: Vec<_> = fds.iter().map(|(name, fd)| (*name, fd.as_fd())).collect();
    assert!(matches!(keep(&dir, &me, &borrowed).await, Err(KeepError::TooMany)));
    keep(&dir, &me, &borrowed[..MAX_KEPT]).await.unwrap();
    let back: Vec<String> = kept(&dir, &me)
        .await
        .unwrap()
        .into_iter()
        .map(|kept| kept.name)
        .collect();
    assert_eq!(back, names[..MAX_KEPT]);
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_order_served() {
    let root = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::at(root.path());
    let mut tasks = JoinSet::new();
    let _keeper = keeper(&dir, &mut tasks).await;
    for garbage in [&b"X\x00"[..], b"K\x05\x01a", b"T\x00trailing", b"K"] {
        let mut stream = UnixStream::connect(root.path().join("keeper.sock")).await.unwrap();
        let mut hello = b"FRMBRIDG\x00\x01\x00\x01\x03\x00\x00\x00\x00\x00\x00\x01".to_vec();
        hello.resize(68, 0);
        stream.write_all(&hello).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    let me = Identity::new(Role::Signaling);
    assert!(timeout(BOUND, kept(&dir, &me)).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn no_keeper_is_said_so() {
    let root = tempfile::tempdir().unwrap();
    let error = kept(&RuntimeDir::at(root.path()), &Identity::new(Role::Signaling))
        .await
        .unwrap_err();
    assert!(matches!(error, KeepError::Absent { .. }), "{error}");
}
