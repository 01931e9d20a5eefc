//! Media over TCP, where UDP does not get through: viewers connect (RFC 6544, passive), and each datagram goes in a frame of its
//! own (RFC 4571). A task per connection reads and writes at once; a worker sees the connection as one more path.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, split},
    sync::oneshot,
    time::{sleep, sleep_until},
};

use crate::{
    ice::Path,
    mailbox::{Command, Forwarded, Mailbox},
    outlet::{Outlet, socket_of},
    state::EngineState,
    stun::peek_ufrag,
    worker_number::worker_of,
};

/// How long a connection may take until an authentic check of a viewer has come over it.
const PROOF: Duration = Duration::from_secs(10);
/// How long a viewer may be silent: it checks its path every few seconds, and consent ends after 30 s.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest frame that is taken: nothing that a viewer sends is longer.
const MOST_FRAME: usize = 2048;

/// Serves a connection until it ends. Cancelling it ends the connection.
pub(crate) async fn serve(state: &EngineState, stream: impl AsyncRead + AsyncWrite, remote: SocketAddr) {
    let (reader, mut writer) = split(stream);
    let mut reader = BufReader::new(reader);
    let proof = Instant::now() + PROOF;
    let first = tokio::select! {
        frame = read(&mut reader) => frame,
        () = sleep_until(proof.into()) => return,
    };
    let Ok(first) = first else { return };
    let named = peek_ufrag(&first).and_then(worker_of);
    let Some(mailbox) = named.and_then(|worker| state.mailboxes.get(worker)) else {
        return;
    };
    let socket = socket_of(state.next_connection());
    let path = Path {
        socket,
        source: None,
        remote,
    };
    let (outlet, mut waiting) = Outlet::new();
    let shared = Arc::clone(&outlet.shared);
    let (taken, is_taken) = oneshot::channel();
    let command = Command::Connected(socket, outlet, taken);
    if mailbox.commands.send(command).await.is_err() {
        return;
    }
    mailbox.ring();
    // What comes before that would be answered nowhere.
    if is_taken.await.is_err() {
        return;
    }
    hand_on(mailbox, path, first);
    let frames = AtomicU64::new(0);
    let reading = async {
        while let Ok(frame) = read(&mut reader).await {
            frames.fetch_add(1, Relaxed);
            hand_on(mailbox, path, frame);
        }
    };
    let writing = async {
        while let Some((queued, frames)) = waiting.recv().await {
            shared.begin(queued);
            let written = writer.write_all(&frames).await;
            shared.end(frames.len());
            if written.is_err() {
                return;
            }
        }
        // What is on its way to a viewer that was told good-bye should get there.
        _ = writer.shutdown().await;
    };
    let watching = async {
        sleep_until(proof.into()).await;
        while shared.is_proven() {
            let before = frames.load(Relaxed);
            sleep(SILENCE).await;
            if frames.load(Relaxed) == before {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
        () = watching => {}
    }
}

fn hand_on(mailbox: &Mailbox, path: Path, datagram: Vec<u8>) {
    mailbox.forward(Forwarded::ByTcp { path, datagram });
}

/// The next frame.
async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = usize::from(reader.read_u16().await?);
    if len > MOST_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; len];
    reader.read_exact(&mut frame).await?;
    Ok(frame)
}
