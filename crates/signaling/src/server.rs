//! The HTTP server: accepts connections within bounds, drives each on a task of its own, ends them all.
//!
//! axum's own server knows no header timeout and no limit, so hyper is driven here.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections served at once; further ones are closed as they come. A page holds one or two.
const MAX_CONNECTIONS: usize = 2048;

/// Kept for peers on this machine, of the number above: the supervisor's probe has to get through whatever others do.
const LOCAL_CONNECTIONS: usize = 256;

/// How long a request's head may take to arrive, and a connection may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest request head, bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// A connection is closed between two requests after this long, so that none is held for ever ...
const LIFETIME: Duration = Duration::from_secs(300);

/// ... and cut after this much more, whatever it is at. Requests under way at the end get as long as the latter.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// Pause after the system refused to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`; returns once every connection has ended.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Places::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Both arms are cancel-safe.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.take(peer) {
                    Some(place) => {
                        connections.spawn(connection(stream, router.clone(), stop.clone(), place));
                    }
                    None => tracing::debug!("closed a connection over the limit"),
                },
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, _place: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = stop.cancelled() => None,
        () = sleep(LIFETIME) => None,
    };
    let outcome = match outcome {
        Some(outcome) => Ok(outcome),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_REQUEST, connection).await
        }
    };
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, "connection");
    }
}

/// How many connections there may be.
struct Places {
    anyone: Arc<Semaphore>,
    local: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        Self {
            anyone: Arc::new(Semaphore::new(MAX_CONNECTIONS - LOCAL_CONNECTIONS)),
            local: Arc::new(Semaphore::new(LOCAL_CONNECTIONS)),
        }
    }

    /// A place for a connection from `peer`, if there is one left.
    fn take(&self, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let anyone = Arc::clone(&self.anyone).try_acquire_owned().ok();
        anyone.or_else(|| {
            let is_local = peer.ip().to_canonical().is_loopback();
            is_local
                .then(|| Arc::clone(&self.local).try_acquire_owned().ok())
                .flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_gets_a_place_when_others_have_taken_theirs() {
        let places = Places::new();
        let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
        let taken: Vec<_> = std::iter::from_fn(|| places.take(stranger)).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS - LOCAL_CONNECTIONS);
        assert!(places.take(SocketAddr::from(([127, 0, 0, 1], 1))).is_some());
    }
}
