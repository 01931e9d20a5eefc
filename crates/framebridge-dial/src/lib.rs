//! Connects out: by TCP, by TLS where the address says so, and with one HTTP request where that is all there is to ask. Whoever
//! uses it knows what for, and when again.
//!
//! It keeps no connection, follows nothing and repeats nothing.

mod exchange;
mod resolve;
mod retry_after;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::http::Uri;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

pub use exchange::{Answer, ExchangeError, basic, exchange, request};
pub use resolve::resolve;
pub use retry_after::retry_after;

/// How long a name's lookup, TCP and TLS may take together.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How long one address of several may take: behind a name there may be one that swallows everything.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// What the kernel takes and has not sent yet, bytes, which it doubles. More would only hide that a connection is stuck, and
/// keep heartbeats waiting behind an answer; it is 10 Mbit/s at a round trip of 200 ms.
const SEND_BUFFER: u32 = 128 * 1024;

/// A server by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    is_secure: bool,
    host: String,
    port: u16,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// TCP failed, or there is no such name.
    #[error("can't connect to {0}")]
    Connect(String, #[source] io::Error),
    /// It took too long.
    #[error("{0} did not answer within {secs} s", secs = TIMEOUT.as_secs())]
    Timeout(String),
    /// Nobody could be trusted.
    #[error("this machine trusts no certificate authority: install the package ca-certificates")]
    NoRoots,
    /// TLS failed: the certificate is not to be trusted, for example.
    #[error("no secure connection to {0}")]
    Tls(String, #[source] io::Error),
}

/// Either kind of connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub struct Dialed {
    /// What is sent and comes.
    pub stream: Box<dyn Stream>,
    /// Who it is with.
    pub peer: IpAddr,
}

impl std::fmt::Debug for Dialed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialed")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// The server of an `http://`, `https://`, `ws://` or `wss://` address; `None`: it is no such address.
    pub fn of(uri: &Uri) -> Option<Self> {
        let is_secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            Some(_) | None => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            is_secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
        })
    }

    /// Whether it is asked by TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// Whether what is meant for this one may go to `other`: it is the same host, and no less is secret on the way.
    pub fn may_lead_to(&self, other: &Self) -> bool {
        self.host == other.host && (other.is_secure || !self.is_secure)
    }

    /// Connects.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self) -> Result<Dialed, DialError> {
        let dialed = timeout(TIMEOUT, async {
            let (stream, peer) = self
                .connect()
                .await
                .map_err(|error| DialError::Connect(self.authority(), error))?;
            if !self.is_secure {
                return Ok(Dialed {
                    stream: Box::new(stream),
                    peer,
                });
            }
            let failed = |error| DialError::Tls(self.authority(), error);
            let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
            // It reads the machine's files.
            let tls = spawn_blocking(tls)
                .await
                .map_err(|error| failed(io::Error::other(error)))??;
            let stream = tls.connect(name, stream).await.map_err(failed)?;
            Ok(Dialed {
                stream: Box::new(stream),
                peer,
            })
        });
        dialed
            .await
            .unwrap_or_else(|_late| Err(DialError::Timeout(self.authority())))
    }

    /// Connects to the first of its addresses that takes it.
    async fn connect(&self) -> io::Result<(TcpStream, IpAddr)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses: Vec<_> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        let others = addresses.len().saturating_sub(1);
        for (at, address) in addresses.into_iter().enumerate() {
            // The last one has all the time that is left.
            let limit = if at < others { ADDRESS_TIMEOUT } else { TIMEOUT };
            match timeout(limit, connect(address, SEND_BUFFER)).await {
                Ok(Ok(stream)) => return Ok((stream, address.ip())),
                Ok(Err(error)) => last = error,
                Err(_late) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// Connects to one address; `send_buffer`: what the kernel takes and has not sent yet, bytes, which it doubles.
///
/// # Errors
/// It is refused, or nobody answers, which takes the system minutes to say.
pub async fn connect(address: SocketAddr, send_buffer: u32) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_send_buffer_size(send_buffer)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS with the certificate authorities that this machine trusts: an operator's own is one of them once installed.
fn tls() -> Result<TlsConnector, DialError> {
    let mut roots = RootCertStore::empty();
    let (usable, _broken) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        return Err(DialError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| DialError::Tls("any server".to_owned(), io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Option<Server> {
        Server::of(&url.parse().ok()?)
    }

    #[test]
    fn servers_are_told_by_their_addresses() {
        for (url, authority) in [
            ("https://Media.example/x?y", "media.example:443"),
            ("ws://[::1]:1/below/", "[::1]:1"),
            ("http://u:p@127.0.0.1:8900", "127.0.0.1:8900"),
        ] {
            assert_eq!(server(url).map(|server| server.authority()).as_deref(), Some(authority));
        }
        for bad in ["", "media.example", "ftp://s", "/x", "http://"] {
            assert_eq!(server(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_secret_stays_on_its_host_and_its_way() {
        for (from, to, may) in [
            ("https://a/x", "https://a:8443/y", true),
            ("http://a", "https://a", true),
            ("https://a", "http://a", false),
            ("https://a", "https://b.a", false),
        ] {
            assert_eq!(
                server(from).unwrap().may_lead_to(&server(to).unwrap()),
                may,
                "{from} {to}"
            );
        }
    }
}
