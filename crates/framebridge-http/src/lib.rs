//! The HTTP server of `signaling` and `studio`: accepts connections within limits, drives each in a task of its
//! own, and ends them all.
//!
//! axum's own server has no header timeout and no limits, so this crate drives hyper itself. The caller supplies
//! the service.

mod crowd;
mod greeting;
mod places;
mod tls;
mod watched;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use crowd::MAX_PER_ADDRESS;
pub use greeting::{Framed, FramedServer};
use greeting::{Greeted, greet};
pub use places::{Client, Place, Places};
pub use tls::{Tls, TlsError};

use axum::{Router, extract::ConnectInfo};
use framebridge_core::places::network;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    crowd::{Crowd, Seat, most_connections},
    watched::{Activity, Watched},
};

/// Connections of this machine's own processes over their own socket: there are few of them.
const LOCAL_CONNECTIONS: usize = 256;

/// The longest request head, bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// How long a connection may take its time, and how many one address may have.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a request's head to arrive, and between two requests.
    pub head: Duration,
    /// For a write that waits: whoever takes nothing for so long has gone, or means to hold what it was to be sent.
    pub write: Duration,
    /// In all; then it is closed between two requests ...
    pub lifetime: Duration,
    /// ... or cut after this much more, whatever it is at. The end of the server grants as much.
    pub last_request: Duration,
    /// Connections of one address; past it the one that has gone longest without an answer goes. Behind a proxy on another
    /// machine all come from one.
    pub per_address: usize,
}

impl Default for Patience {
    /// A browser on a bad mobile link sends a head within seconds; a page reconnects without anybody noticing.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            write: Duration::from_secs(10),
            lifetime: Duration::from_secs(300),
            last_request: Duration::from_secs(2),
            per_address: MAX_PER_ADDRESS,
        }
    }
}

/// Pause after the system refused to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a request has come; an extension of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By TCP, readable for whoever is on the way.
    Plain,
    /// By TLS.
    Tls,
    /// From a process of this machine's own, over a socket that others don't reach.
    Local,
}

/// The address of this machine that a connection was made to; an extension of each request that came by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here(pub SocketAddr);

/// A socket of this machine's own processes.
pub trait LocalSocket: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. Cancel-safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Serves `router` on `listener` until `stop`; returns once every connection has ended. Requests know their peer by
/// [`ConnectInfo`], and whose they are, as far as limits go, by [`Client`]; what a connection was upgraded to is its taker's and
/// not ended here.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, stop: CancellationToken) {
    serve_over(listener, (None, None), router, patience, stop).await;
}

/// [`serve`] to this machine's own processes. There are few of them, and each has its place.
pub async fn serve_local(socket: impl LocalSocket, router: Router, patience: Patience, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Both arms are cancel-safe.
            accepted = socket.accept() => match accepted {
                Ok(stream) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let (router, stop) = (router.clone(), stop.clone());
                        connections.spawn(async move {
                            drive(stream, Transport::Local, None, router, patience, stop).await;
                            drop(place);
                        });
                    }
                    Err(_full) => tracing::warn!("closed a connection of our own over the limit"),
                },
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection of our own");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// [`serve`], by TLS where there is a certificate. What comes without it all the same is served too, for `router` to send it on:
/// requests know by [`Transport`] how they came. Framed datagrams are for `framed`, if there is one.
pub async fn serve_over(
    listener: TcpListener,
    (tls, framed): (Option<Tls>, Option<FramedServer>),
    router: Router,
    patience: Patience,
    stop: CancellationToken,
) {
    let all = most_connections(getrlimit(Resource::Nofile).current);
    let crowd = Shared(Arc::new(Mutex::new(Crowd::new(all, patience.per_address))));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Both arms are cancel-safe.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let here = stream.local_addr().ok();
                    let client = client(peer, here);
                    let activity = Activity::new();
                    let Some(seat) = crowd.lock().admit(client, Arc::clone(&activity)) else {
                        tracing::debug!("closed a connection over the limit");
                        continue;
                    };
                    let taken = Taken { crowd: crowd.clone(), seat };
                    let stream = Accepted { stream, activity, from: Origin { peer, here, client } };
                    let speaks = (tls.clone(), framed.clone());
                    let serving = connection(stream, speaks, router.clone(), patience, stop.clone(), taken);
                    let task = connections.spawn(serving);
                    crowd.lock().serve(seat, task);
                }
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

/// Whose a connection is. From an address of this machine to itself it is local, too.
fn client(peer: SocketAddr, here: Option<SocketAddr>) -> Client {
    let address = peer.ip().to_canonical();
    let is_local = address.is_loopback() || here.is_some_and(|here| here.ip().to_canonical() == address);
    Client((!is_local).then(|| network(address)))
}

/// The crowd, as the listener and every connection know it.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Crowd>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the crowd, until it is dropped.
#[derive(Debug)]
struct Taken {
    crowd: Shared,
    seat: Seat,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.crowd.lock().leave(self.seat);
    }
}

/// A connection that was let in.
struct Accepted {
    stream: TcpStream,
    activity: Arc<Activity>,
    from: Origin,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
struct Origin {
    peer: SocketAddr,
    here: Option<SocketAddr>,
    client: Client,
}

async fn connection(
    accepted: Accepted,
    (tls, framed): (Option<Tls>, Option<FramedServer>),
    router: Router,
    patience: Patience,
    stop: CancellationToken,
    _taken: Taken,
) {
    let Accepted { stream, activity, from } = accepted;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    // Nobody has said anything yet: to end here breaks no request off.
    let greeting = timeout(patience.head, greet(stream, tls.as_ref(), framed.is_some()));
    let Some(greeted) = stop.run_until_cancelled(greeting).await else {
        return;
    };
    match greeted {
        Ok(Ok(Greeted::Tls(stream))) => {
            let stream = Watched::new(*stream, activity, patience.write);
            drive(stream, Transport::Tls, Some(from), router, patience, stop).await;
        }
        Ok(Ok(Greeted::Plain(stream))) => {
            let stream = Watched::new(stream, activity, patience.write);
            drive(stream, Transport::Plain, Some(from), router, patience, stop).await;
        }
        Ok(Ok(Greeted::Framed(stream))) => {
            let stream = Watched::new(stream, activity, patience.write);
            if let Some(framed) = framed {
                let serving = framed.take(Framed::new(stream, from.peer));
                _ = stop.run_until_cancelled(serving).await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "greeting"),
        Err(_late) => tracing::debug!("nothing was said in time"),
    }
}

/// Serves what is asked on `stream` until its end.
async fn drive<S>(
    stream: S,
    transport: Transport,
    from: Option<Origin>,
    router: Router,
    patience: Patience,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(transport);
        if let Some(Origin { peer, here, client }) = from {
            extensions.insert(ConnectInfo(peer));
            extensions.insert(client);
            here.map(|here| extensions.insert(Here(here)));
        }
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const QUICK: Patience = Patience {
        head: Duration::from_millis(100),
        write: Duration::from_millis(300),
        lifetime: Duration::from_millis(300),
        last_request: Duration::from_millis(100),
        per_address: MAX_PER_ADDRESS,
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

    #[tokio::test]
    async fn answer_that_nobody_takes_is_given_up_with_all_it_holds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, given_up) = tokio::sync::oneshot::channel::<()>();
        let held = Arc::new(Mutex::new(Some(held)));
        let endless = move || {
            let held = held.lock().unwrap().take();
            let parts = futures_util::stream::repeat_with(move || {
                let _for_as_long_as_the_answer_lives = &held;
                Ok::<_, std::convert::Infallible>(axum::body::Bytes::from_static(&[0; 16 * 1024]))
            });
            std::future::ready(axum::body::Body::from_stream(parts))
        };
        let patience = Patience {
            write: Duration::from_millis(300),
            ..Patience::default()
        };
        let mut server = JoinSet::new();
        let router = Router::new().route("/", get(endless));
        server.spawn(serve(listener, router, patience, CancellationToken::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request).await.unwrap();
        let ended = timeout(Duration::from_secs(20), given_up).await;
        assert!(ended.expect("given up in time").is_err());
    }

    #[test]
    fn whoever_is_on_this_machine_is_nobody_in_particular() {
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        for (peer, here, whose) in [
            ("127.0.0.1:1", "127.0.0.1:80", None),
            ("[::1]:1", "[::1]:80", None),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:80", None),
            ("192.0.2.1:1", "192.0.2.1:80", None),
            ("192.0.2.7:1", "192.0.2.1:80", Some("192.0.2.7")),
            ("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:80", Some("192.0.2.7")),
            ("[2001:db8::7]:1", "[2001:db8::1]:80", Some("2001:db8::")),
        ] {
            let whose = whose.map(|address| address.parse().unwrap());
            assert_eq!(client(at(peer).unwrap(), at(here)), Client(whose), "{peer}");
        }
    }
}
