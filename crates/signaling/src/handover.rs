//! Hands sockets and viewer files to the supervisor, and takes them up again at the next start.
//!
//! When this process is killed, requests queue on the listener and packets on the media sockets until the next life takes
//! them up, and the viewers of the media plane are those it had.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use framebridge_ipc::{FdStoreError, Identity, RuntimeDir, fetch_fds, store_fds};
use framebridge_rtc::Handover;
use tokio::{net::TcpListener, time::sleep};

/// The HTTP listener's name among what is kept; all others are the media plane's.
const HTTP: &str = "http";

/// How often the supervisor is given everything anew: one that has just started knows nothing of what the one before it
/// kept.
const STORE_INTERVAL: Duration = Duration::from_secs(2);

/// Connections that wait to be accepted, as tokio has it.
const BACKLOG: i32 = 1024;

/// What the life before left.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The HTTP listener, if it listens where it should.
    pub(crate) listener: Option<TcpListener>,
    /// The media plane's part.
    pub(crate) media: Handover,
}

/// Takes up what the life before left, if there was one and a supervisor kept it.
pub(crate) async fn restore(dir: &RuntimeDir, identity: &Identity, listen: SocketAddr) -> Restored {
    let (http, media) = match fetch_fds(dir, identity).await {
        Ok(kept) => kept.into_iter().partition::<Vec<_>, _>(|kept| kept.name == HTTP),
        Err(error) => {
            note(&error);
            return Restored::default();
        }
    };
    Restored {
        listener: http.into_iter().find_map(|kept| adopt(kept.fd, listen)),
        media: media.into_iter().map(|kept| (kept.name, kept.fd)).collect(),
    }
}

/// Has the supervisor keep what the next life needs, for as long as it is polled.
pub(crate) async fn hand_over(dir: RuntimeDir, identity: Identity, listener: OwnedFd, media: Handover) {
    loop {
        let http = std::iter::once((HTTP, listener.as_fd()));
        let all: Vec<_> = http.chain(media.iter()).collect();
        if let Err(error) = store_fds(&dir, &identity, &all).await {
            note(&error);
        }
        sleep(STORE_INTERVAL).await;
    }
}

fn adopt(fd: OwnedFd, listen: SocketAddr) -> Option<TcpListener> {
    let listener = std::net::TcpListener::from(fd);
    let local = listener.local_addr().ok()?;
    let fits = local.ip() == listen.ip() && (listen.port() == 0 || local.port() == listen.port());
    let listener = fits.then_some(listener)?;
    // One that was shut down is still bound: it listens again. For any other this changes nothing.
    rustix::net::listen(&listener, BACKLOG).ok()?;
    listener.set_nonblocking(true).ok()?;
    TcpListener::from_std(listener).ok()
}

/// Without a supervisor there is nobody to keep anything, and nothing wrong.
fn note(error: &FdStoreError) {
    match error {
        FdStoreError::Absent { .. } => tracing::trace!(%error, "nobody keeps descriptors"),
        FdStoreError::Handshake(_)
        | FdStoreError::Io(_)
        | FdStoreError::Malformed
        | FdStoreError::TooMany
        | FdStoreError::Owned { .. }
        | FdStoreError::Timeout => {
            tracing::warn!(%error, "the next life of this process may lose its viewers")
        }
    }
}
