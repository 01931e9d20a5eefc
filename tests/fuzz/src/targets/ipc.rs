//! Messages between the processes of one user.

use std::{path::PathBuf, sync::Mutex};

use bytes::Bytes;
use framebridge_ipc::{Identity, Listener, Message, decode, encode};
use framebridge_proto::{
    Role,
    bridge::{FromBridge, ToBridge},
    encoder::{FromEncoder, ToEncoder},
    supervisor::{FromSupervisor, ToSupervisor},
};
use tokio::{io::AsyncWriteExt as _, net::UnixStream, runtime::Runtime};

/// The direction, then a message: what can be read is written as it was read.
pub(super) fn codec(input: &[u8]) {
    let Some((direction, message)) = input.split_first() else {
        return;
    };
    let message = Bytes::copy_from_slice(message);
    match direction % 6 {
        0 => settles::<ToEncoder>(message),
        1 => settles::<FromEncoder>(message),
        2 => settles::<ToBridge>(message),
        3 => settles::<FromBridge>(message),
        4 => settles::<ToSupervisor>(message),
        _ => settles::<FromSupervisor>(message),
    }
}

fn settles<M: Message>(bytes: Bytes) {
    let Ok(message) = decode::<M>(bytes) else { return };
    // One for control may be read from more bytes than it may be written to: integers have longer forms.
    let Ok(written) = encode(&message) else { return };
    let written = written.to_bytes();
    let again = decode::<M>(written.slice(4..)).expect("what is written can be read");
    assert_eq!(encode(&again).expect("it was written before").to_bytes(), written);
}

/// A socket as the supervisor has it.
struct Socket {
    runtime: Runtime,
    listener: Listener<ToSupervisor, FromSupervisor>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Socket {
    fn bind() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("s");
        let identity = Identity::new(Role::Supervisor);
        let listener = runtime.block_on(Listener::bind(&path, &identity)).expect("a socket");
        Self {
            runtime,
            listener,
            path,
            _folder: folder,
        }
    }
}

/// What a process sends to a supervisor's socket, hello and all, before it closes it: the link ends, and says why.
pub(super) fn link(input: &[u8]) {
    /// As much as a socket holds without a reader.
    const MOST: usize = 64 << 10;
    static SOCKET: Mutex<Option<Socket>> = Mutex::new(None);
    let mut socket = SOCKET.lock().expect("no input has panicked");
    let Socket {
        runtime,
        listener,
        path,
        ..
    } = socket.get_or_insert_with(Socket::bind);
    runtime.block_on(async {
        let mut stream = UnixStream::connect(path).await.expect("the socket listens");
        let incoming = listener.accept().await.expect("the connection");
        stream
            .write_all(&input[..input.len().min(MOST)])
            .await
            .expect("room for the input");
        stream.shutdown().await.expect("an open socket");
        let Ok(mut link) = incoming.handshake().await else {
            return;
        };
        let mut messages = 0;
        while let Ok(Some(_)) = link.receiver.recv().await {
            messages += 1;
        }
        // Each has two lengths.
        assert!(messages <= input.len() / 8);
    });
}
