//! The HTTP server of `signaling` and `studio`: accepts connections within bounds, drives each on a task of its own, ends
//! them all.
//!
//! axum's own server knows no header timeout and no limit, so hyper is driven here. What is served is the caller's.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
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

/// The longest request head, bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// How long a connection may take its time.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a request's head to arrive, and between two requests.
    pub head: Duration,
    /// In all; then it is closed between two requests ...
    pub lifetime: Duration,
    /// ... or cut after this much more, whatever it is at. The end of the server grants as much.
    pub last_request: Duration,
}

impl Default for Patience {
    /// A browser on a bad mobile link sends a head within seconds; a page reconnects without anybody noticing.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            lifetime: Duration::from_secs(300),
            last_request: Duration::from_secs(2),
        }
    }
}

/// Pause after the system refused to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`; returns once every connection has ended. Requests know their peer by
/// [`ConnectInfo`]; what a connection was upgraded to is its taker's and not ended here.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, stop: CancellationToken) {
    let places = Places::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Both arms are cancel-safe.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.take(peer, stream.local_addr().ok()) {
                    Some(place) => {
                        connections.spawn(connection(stream, peer, router.clone(), patience, stop.clone(), place));
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

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = stop.cancelled() => None,
        () = sleep(patience.lifetime) => None,
    };
    let outcome = match outcome {
        Some(outcome) => Ok(outcome),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(patience.last_request, connection).await
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
    fn take(&self, peer: SocketAddr, here: Option<SocketAddr>) -> Option<OwnedSemaphorePermit> {
        let anyone = Arc::clone(&self.anyone).try_acquire_owned().ok();
        anyone.or_else(|| {
            // From an address of this machine to itself it is local, too.
            let is_local = peer.ip().to_canonical().is_loopback() || here.is_some_and(|here| here.ip() == peer.ip());
            is_local
                .then(|| Arc::clone(&self.local).try_acquire_owned().ok())
                .flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const QUICK: Patience = Patience {
        head: Duration::from_millis(100),
        lifetime: Duration::from_millis(300),
        last_request: Duration::from_millis(100),
    };

    /// What a server with `patience` answers to `sent`, until it closes the connection.
    async fn exchange(patience: Patience, sent: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/slow", get(std::future::pending::<()>));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router, patience, CancellationToken::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), client.read_to_end(&mut answer))
            .await
            .expect("closed in time")
            .unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn head_that_does_not_arrive_ends_its_connection() {
        assert_eq!(exchange(QUICK, b"GET / HTTP/1.1\r\nHost: loc").await, "");
    }

    #[tokio::test]
    async fn connection_that_idles_after_a_request_is_closed() {
        let answer = exchange(QUICK, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn request_that_never_ends_is_cut() {
        assert_eq!(
            exchange(QUICK, b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
            ""
        );
    }

    #[tokio::test]
    async fn head_over_the_limit_is_refused() {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(MAX_HEAD)
        );
        let answer = exchange(QUICK, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[test]
    fn this_machine_gets_a_place_when_others_have_taken_theirs() {
        let places = Places::new();
        let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
        let taken: Vec<_> = std::iter::from_fn(|| places.take(stranger, None)).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS - LOCAL_CONNECTIONS);
        assert!(places.take(SocketAddr::from(([127, 0, 0, 1], 1)), None).is_some());
        assert!(
            places.take(stranger, Some(stranger)).is_some(),
            "this machine, by its own address"
        );
    }
}
