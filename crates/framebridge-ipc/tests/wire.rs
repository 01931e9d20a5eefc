//! The wire between real sockets, with friendly and hostile peers.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use bytes::Bytes;
use framebridge_ipc::{
    BindError, ConnectError, EncoderClient, HandshakeError, Identity, Link, Listener, ReceiveError, RequestError,
    RuntimeDir, connect, encode,
};
use framebridge_proto::{
    Refusal, RefusalKind, Role, StreamName,
    encoder::{EncoderAnswer, EncoderRequest, FromEncoder, SourceState, ToEncoder},
    limits::{MAX_CONNECTIONS, MAX_CONTROL_MESSAGE},
    media::AccessUnit,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

/// Long enough for any machine, short enough to end a test that hangs.
const BOUND: Duration = Duration::from_secs(20);

type ServerLink = Link<ToEncoder, FromEncoder>;
type ClientLink = Link<FromEncoder, ToEncoder>;
type EncoderListener = Listener<ToEncoder, FromEncoder>;

async fn bind(path: &Path) -> EncoderListener {
    Listener::bind(path, &Identity::new(Role::Encoder)).await.unwrap()
}

async fn accept(listener: &EncoderListener) -> Result<ServerLink, HandshakeError> {
    listener.accept().await.unwrap().handshake().await
}

async fn pair(path: &Path) -> (ClientLink, ServerLink) {
    let listener = bind(path).await;
    let identity = Identity::new(Role::Operator);
    let (client, server) = tokio::join!(connect(path, &identity, Role::Encoder), accept(&listener));
    (client.unwrap(), server.unwrap())
}

/// A hello as any build of protocol 1 sends it, then whatever `rest` is.
async fn hostile(path: &Path, rest: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let mut hello = b"FRMBRIDG\x00\x01\x00\x01\x05\x00\x00\x00\x00\x00\x00\x01".to_vec();
    hello.resize(68, 0);
    stream.write_all(&hello).await.unwrap();
    stream.write_all(rest).await.unwrap();
    stream
}

fn frame(sequence: u64, payload: Bytes) -> FromEncoder {
    FromEncoder::Frame(AccessUnit {
        sequence,
        captured_ns: 1,
        encoded_ns: 2,
        pts: 3,
        keyframe: sequence == 0,
        payload,
    })
}

#[tokio::test]
async fn messages_arrive_in_order_with_their_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, mut server) = pair(&dir.path().join("s")).await;
    assert_eq!((client.peer.role, server.peer.role), (Role::Encoder, Role::Operator));
    assert_eq!(server.peer.pid, std::process::id());

    let big = Bytes::from(vec![7; 3 << 20]);
    let sent = [
        FromEncoder::Source(SourceState::Live),
        frame(0, big),
        frame(1, Bytes::new()),
        FromEncoder::Lost { frames: 9 },
    ];
    let expected = sent.clone();
    let send = async move {
        for message in &sent {
            server.sender.send_encoded(&encode(message).unwrap()).await.unwrap();
        }
    };
    let receive = async {
        let mut got = Vec::new();
        while let Some(message) = client.receiver.recv().await.unwrap() {
            got.push(message);
        }
        got
    };
    let ((), got) = timeout(BOUND, async { tokio::join!(send, receive) }).await.unwrap();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn only_our_own_user_can_reach_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = RuntimeDir::at(dir.path().join("run"));
    fs::create_dir(runtime.path()).unwrap();
    fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o755)).unwrap();
    runtime.create().unwrap();
    let socket = runtime.socket(Role::Signaling, None);
    let _listener = bind(&socket).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(runtime.path()), mode(&socket)), (0o700, 0o600));
}

#[tokio::test]
async fn stale_socket_is_taken_over_and_a_live_one_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its file behind");
    let listener = bind(&path).await;
    let error = EncoderListener::bind(&path, &Identity::new(Role::Encoder))
        .await
        .unwrap_err();
    assert!(
        matches!(error, BindError::InUse { pid, .. } if pid == std::process::id()),
        "{error}"
    );
    drop(listener);
    assert!(!path.exists(), "the file goes with its listener");
}

#[tokio::test]
async fn something_else_than_a_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    fs::write(&path, "precious").unwrap();
    let error = EncoderListener::bind(&path, &Identity::new(Role::Encoder))
        .await
        .unwrap_err();
    assert!(matches!(error, BindError::Io { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn absent_process_and_wrong_process_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let identity = Identity::new(Role::Operator);
    let absent = connect::<FromEncoder, ToEncoder>(&path, &identity, Role::Encoder)
        .await
        .unwrap_err();
    assert!(matches!(absent, ConnectError::Absent { .. }), "{absent}");
    let listener = bind(&path).await;
    let (wrong, _server) = tokio::join!(
        connect::<FromEncoder, ToEncoder>(&path, &identity, Role::Signaling),
        accept(&listener)
    );
    let ConnectError::Handshake { source, .. } = wrong.unwrap_err() else {
        panic!("it was there")
    };
    assert!(matches!(source, HandshakeError::WrongRole { .. }), "{source}");
}

#[tokio::test]
async fn peer_of_another_version_is_told_ours_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let mut hello = b"FRMBRIDG\x00\x63\x00\x63\x05\x00\x00\x00\x00\x00\x00\x01".to_vec();
    hello.resize(68, 0);
    stream.write_all(&hello).await.unwrap();
    let error = accept(&listener).await.unwrap_err();
    assert!(error.to_string().contains("99-99"), "{error}");
    let mut ours = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut ours)).await.unwrap().unwrap();
    assert_eq!(&ours[8..12], &[0, 1, 0, 1]);
}

#[tokio::test]
async fn silent_peer_is_given_up_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).await;
    let _silent = UnixStream::connect(&path).await.unwrap();
    let mut silent = JoinSet::new();
    silent.spawn(listener.accept().await.unwrap().handshake());
    let identity = Identity::new(Role::Operator);
    let (client, server) = tokio::join!(
        connect::<FromEncoder, ToEncoder>(&path, &identity, Role::Encoder),
        accept(&listener)
    );
    assert!(client.is_ok() && server.is_ok() && silent.try_join_next().is_none());
    let error = timeout(BOUND, silent.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, HandshakeError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn hostile_bytes_end_their_own_connection_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).await;
    let identity = Identity::new(Role::Operator);
    let (client, good) = tokio::join!(connect(&path, &identity, Role::Encoder), accept(&listener));
    let (mut client, mut good): (ClientLink, ServerLink) = (client.unwrap(), good.unwrap());

    let over = u32::try_from(MAX_CONTROL_MESSAGE + 1).unwrap().to_be_bytes();
    let header_outside: &[u8] = &[0, 0, 0, 5, 0, 0, 0, 99, 0];
    let unknown_variant: &[u8] = &[0, 0, 0, 5, 0, 0, 0, 1, 250];
    let shorter_than_prefix: &[u8] = &[0, 0, 0, 2, 0, 0];
    let trailing: &[u8] = &[0, 0, 0, 6, 0, 0, 0, 2, 0, 0];
    let payload_without_place: &[u8] = &[0, 0, 0, 6, 0, 0, 0, 1, 0, 77];
    for bytes in [
        &over[..],
        header_outside,
        unknown_variant,
        shorter_than_prefix,
        trailing,
        payload_without_place,
    ] {
        let mut stream = hostile(&path, bytes).await;
        let mut link = accept(&listener).await.unwrap();
        let error = timeout(BOUND, link.receiver.recv()).await.unwrap().unwrap_err();
        assert!(
            matches!(error, ReceiveError::TooLong { .. } | ReceiveError::Decode(_)),
            "{bytes:?}: {error}"
        );
        drop(link);
        let mut rest = Vec::new();
        timeout(BOUND, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    }
    // Half a message and gone.
    let stream = hostile(&path, &[0, 0, 1, 0, 1, 2]).await;
    let mut link = accept(&listener).await.unwrap();
    drop(stream);
    let error = timeout(BOUND, link.receiver.recv()).await.unwrap().unwrap_err();
    assert!(matches!(error, ReceiveError::Io(_)), "{error}");

    client.sender.send(&ToEncoder::Subscribe).await.unwrap();
    assert_eq!(
        timeout(BOUND, good.receiver.recv()).await.unwrap().unwrap(),
        Some(ToEncoder::Subscribe)
    );
}

#[tokio::test]
async fn connections_past_the_limit_are_closed_and_places_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let stream = UnixStream::connect(&path).await.unwrap();
        held.push((stream, listener.accept().await.unwrap()));
    }
    let mut refused = UnixStream::connect(&path).await.unwrap();
    let closed = async {
        let mut rest = Vec::new();
        refused.read_to_end(&mut rest).await
    };
    tokio::select! {
        _ = listener.accept() => panic!("one too many"),
        end = timeout(BOUND, closed) => assert_eq!(end.unwrap().unwrap(), 0),
    }
    held.pop();
    let _next = UnixStream::connect(&path).await.unwrap();
    timeout(BOUND, listener.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn request_gets_the_answer_that_bears_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = RuntimeDir::at(dir.path());
    let stream: StreamName = "test".parse().unwrap();
    let listener = bind(&runtime.socket(Role::Encoder, Some(&stream))).await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut link = accept(&listener).await.unwrap();
        while let Some(message) = link.receiver.recv().await.unwrap() {
            let ToEncoder::Request { id, request } = message else {
                panic!("only requests here")
            };
            link.sender.send(&FromEncoder::Source(SourceState::Idle)).await.unwrap();
            let result = if request == EncoderRequest::Pause {
                Ok(EncoderAnswer::Done { changed: true })
            } else {
                Err(Refusal::new(RefusalKind::Unavailable, "no picture yet"))
            };
            link.sender.send(&FromEncoder::Response { id, result }).await.unwrap();
        }
    });
    let identity = Identity::new(Role::Operator);
    let mut client = EncoderClient::connect(&runtime, &identity, &stream).await.unwrap();
    assert_eq!(
        client.request(EncoderRequest::Pause).await.unwrap(),
        EncoderAnswer::Done { changed: true }
    );
    let refused = client.request(EncoderRequest::Resume).await.unwrap_err();
    assert!(matches!(&refused, RequestError::Refused(_)), "{refused}");
    drop(client);
    timeout(BOUND, server.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn listener_whose_file_somebody_deleted_can_be_reached_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("encoder-s.sock");
    let listener = bind(&path).await;
    fs::remove_file(&path).unwrap();
    let identity = Identity::new(Role::Operator);
    let reach = async {
        loop {
            match connect::<FromEncoder, ToEncoder>(&path, &identity, Role::Encoder).await {
                Err(ConnectError::Absent { .. }) => tokio::task::yield_now().await,
                reached => return reached,
            }
        }
    };
    let both = async { tokio::join!(reach, accept(&listener)) };
    let (client, server) = timeout(BOUND, both).await.unwrap();
    assert_eq!(client.unwrap().peer.role, Role::Encoder);
    server.unwrap();
    drop(listener);
    assert!(!path.exists(), "the file that was bound last goes with its listener");
}
