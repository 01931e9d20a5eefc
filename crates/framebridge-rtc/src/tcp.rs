//! Media over TCP, where UDP does not get through (RFC 6544): viewers connect to us, and we to receivers that wait for that; each
//! datagram goes in a frame of its own (RFC 4571). A task per connection reads and writes at once; a worker sees the connection as one more path.

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
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until},
};

use crate::{
    SessionId,
    ice::Path,
    mailbox::{Command, Forwarded, Mailbox},
    outlet::{Outlet, Shared, socket_of},
    state::EngineState,
    stun::peek_ufrag,
    worker_number::worker_of,
};

/// How long a connection may take until an authentic check of a viewer has come over it.
const PROOF: Duration = Duration::from_secs(10);
/// How long a viewer may be silent: it checks its path every few seconds, and consent ends after 30 s.
const SILENCE: Duration = Duration::from_secs(30);
/// How long what is said to who has gone may take to be written: somebody who reads nothing would have the connection for ever.
const GOODBYE: Duration = Duration::from_secs(3);
/// The longest frame that is taken: nothing that a viewer sends is longer.
const MOST_FRAME: usize = 2048;

/// Serves a connection that has come until it ends. Cancelling it ends the connection.
pub(crate) async fn serve(state: &EngineState, stream: impl AsyncRead + AsyncWrite, remote: SocketAddr) {
    let (reader, writer) = split(stream);
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
    let Some(connection) = Connection::make_known(state, mailbox, remote).await else {
        return;
    };
    hand_on(mailbox, connection.path, first);
    connection.serve((reader, writer), proof).await;
}

/// Likewise one that we have made to where a receiver waits for it, for a session that `worker` serves.
pub(crate) async fn serve_receiver(
    state: &EngineState,
    (session, worker): (&SessionId, usize),
    stream: impl AsyncRead + AsyncWrite,
    remote: SocketAddr,
) {
    let mailbox = &state.mailboxes[worker];
    let Some(connection) = Connection::make_known(state, mailbox, remote).await else {
        return;
    };
    let way = Command::Way(*session, connection.path);
    if mailbox.commands.send(way).await.is_err() {
        return;
    }
    mailbox.ring();
    let (reader, writer) = split(stream);
    let streams = (BufReader::new(reader), writer);
    let lost = Command::WayLost(*session, connection.path);
    connection.serve(streams, Instant::now() + PROOF).await;
    // Fails where the worker has gone, and its sessions with it.
    _ = mailbox.commands.send(lost).await;
    mailbox.ring();
}

/// A connection that its worker knows.
struct Connection<'a> {
    mailbox: &'a Mailbox,
    path: Path,
    shared: Arc<Shared>,
    /// What is to be written, and since when.
    waiting: mpsc::Receiver<(Instant, Vec<u8>)>,
}

impl<'a> Connection<'a> {
    /// `None`: the worker has gone. What comes before it knows would be answered nowhere.
    async fn make_known(state: &EngineState, mailbox: &'a Mailbox, remote: SocketAddr) -> Option<Self> {
        let socket = socket_of(state.next_connection());
        let path = Path {
            socket,
            source: None,
            remote,
        };
        let (outlet, waiting) = Outlet::new();
        let shared = Arc::clone(&outlet.shared);
        let (taken, is_taken) = oneshot::channel();
        mailbox
            .commands
            .send(Command::Connected(socket, outlet, taken))
            .await
            .ok()?;
        mailbox.ring();
        is_taken.await.ok()?;
        Some(Self {
            mailbox,
            path,
            shared,
            waiting,
        })
    }

    /// Reads and writes until either ends, or nothing is proven in time, or nothing more comes, or the session has ended and what was
    /// said then is written or takes too long.
    async fn serve(self, (mut reader, mut writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin), proof: Instant) {
        let Self {
            mailbox,
            path,
            shared,
            mut waiting,
        } = self;
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
        let leaving = async {
            shared.left().await;
            sleep(GOODBYE).await;
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
            () = watching => {}
            () = leaving => {}
        }
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

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::timeout};

    use super::*;
    use crate::outlet::Outlets;

    #[tokio::test]
    async fn who_reads_nothing_but_goes_on_writing_loses_the_connection_with_its_session() {
        let (mailbox, _inlet) = Mailbox::new().unwrap();
        let mut outlets = Outlets::default();
        let (outlet, waiting) = Outlet::new();
        let (socket, session) = (socket_of(1), SessionId::random());
        let path = Path {
            socket,
            source: None,
            remote: ([127, 0, 0, 1], 9).into(),
        };
        let connection = Connection {
            mailbox: &mailbox,
            path,
            shared: Arc::clone(&outlet.shared),
            waiting,
        };
        outlets.add(socket, outlet);
        outlets.prove(&path, session);
        outlets.send(socket, &[7; 1000], 1000);
        // It takes 100 bytes, and then no more.
        let (ours, mut theirs) = duplex(100);
        let (reader, writer) = split(ours);
        let served = connection.serve((reader, writer), Instant::now() + PROOF);
        let other = async {
            theirs.write_all(&[0, 0]).await.unwrap();
            outlets.leave(session);
            outlets.close();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = timeout(2 * GOODBYE, served) => ended.expect("it ends by itself"),
            () = other => {}
        }
    }
}
