//! How a connection begins: by its first byte it is a request, TLS, or something else, for whoever serves that on the same port.

use std::{fmt, io, net::SocketAddr, pin::Pin, sync::Arc};

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::{
    tls::{HANDSHAKE, Tls},
    watched::Watched,
};

/// The first byte of framed datagrams is below this: the length of a STUN message (RFC 4571), which is shorter than 1 KiB. A
/// request begins with a letter.
const FRAMED: u8 = 4;

/// What the kernel keeps of what is written to one, bytes: half a second of 1 Mb/s. More would be latency that nobody sees.
const FRAMED_BUFFER: usize = 64 << 10;

/// How a connection began.
pub(crate) enum Greeted {
    /// By TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// With a request that anybody on the way can read.
    Plain(TcpStream),
    /// With a framed datagram.
    Framed(TcpStream),
}

/// A connection of framed datagrams (RFC 4571).
#[derive(Debug)]
pub struct Framed {
    /// Its bytes, from the first on. A write that does not get on for too long breaks it.
    pub stream: Watched<TcpStream>,
    /// Where it comes from.
    pub peer: SocketAddr,
}

impl Framed {
    pub(crate) fn new(stream: Watched<TcpStream>, peer: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical();
        Self {
            stream,
            peer: SocketAddr::new(ip, peer.port()),
        }
    }
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves connections of framed datagrams. Each counts as a connection of its address for as long as it is served.
#[derive(Clone)]
pub struct FramedServer(Arc<dyn Fn(Framed) -> Serving + Send + Sync>);

impl FramedServer {
    /// One that has `serve` serve them.
    pub fn new<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(Framed) -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |framed| Box::pin(serve(framed))))
    }

    pub(crate) fn take(&self, framed: Framed) -> Serving {
        (self.0)(framed)
    }
}

impl fmt::Debug for FramedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FramedServer")
    }
}

/// Waits for the first byte where it makes a difference, and for the handshake. Cancelling it ends the connection.
pub(crate) async fn greet(stream: TcpStream, tls: Option<&Tls>, takes_framed: bool) -> io::Result<Greeted> {
    if tls.is_none() && !takes_framed {
        return Ok(Greeted::Plain(stream));
    }
    let mut first = [0];
    let has_said = stream.peek(&mut first).await? == 1;
    if has_said && takes_framed && first[0] < FRAMED {
        set_socket_send_buffer_size(&stream, FRAMED_BUFFER)?;
        return Ok(Greeted::Framed(stream));
    }
    match tls {
        Some(tls) if !has_said || first[0] == HANDSHAKE => Ok(Greeted::Tls(Box::new(tls.accept(stream).await?))),
        Some(_) | None => Ok(Greeted::Plain(stream)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
        time::timeout,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Patience, serve_over};

    #[tokio::test]
    async fn framed_datagrams_and_requests_come_to_the_same_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let framed = FramedServer::new(async |mut framed: Framed| {
            let mut said = [0; 3];
            framed.stream.read_exact(&mut said).await.unwrap();
            framed.stream.write_all(&said).await.unwrap();
        });
        let mut server = JoinSet::new();
        let stop = CancellationToken::new();
        server.spawn(serve_over(
            listener,
            (None, Some(framed)),
            router,
            Patience::default(),
            stop,
        ));
        for (said, answer) in [
            (&b"\0\x01x"[..], "\0\x01x"),
            (
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                "here",
            ),
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said).await.unwrap();
            let mut answered = String::new();
            let ended = timeout(Duration::from_secs(20), client.read_to_string(&mut answered)).await;
            ended.expect("answered in time").unwrap();
            assert!(answered.ends_with(answer), "{answered:?}");
        }
    }
}
