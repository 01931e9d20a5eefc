//! Connects to a studio: by TCP, and by TLS where its address says so.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

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

/// How long a name's lookup, TCP and TLS may take together.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How long one address of several may take: behind a name there may be one that swallows everything.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// What the kernel takes and has not sent yet, bytes, which it doubles. More would only hide that a connection is stuck, and
/// keep heartbeats waiting behind an answer; it is 10 Mbit/s at a round trip of 200 ms.
const SEND_BUFFER: u32 = 128 * 1024;

/// A studio's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Studio {
    secure: bool,
    host: String,
    port: u16,
    /// What stands before every path, without a slash at its end.
    prefix: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("`{0}` is no address of a studio")]
    Address(String),
    #[error("can't connect to {0}")]
    Connect(String, #[source] io::Error),
    #[error("{0} did not answer within {secs} s", secs = TIMEOUT.as_secs())]
    Timeout(String),
    #[error("this machine trusts no certificate authority: install the package ca-certificates")]
    NoRoots,
    #[error("no secure connection to {0}")]
    Tls(String, #[source] io::Error),
}

/// Either kind of connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Studio {
    /// Takes an `http://`, `https://`, `ws://` or `wss://` address apart.
    pub(crate) fn parse(url: &str) -> Result<Self, DialError> {
        let malformed = || DialError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            Some(_) | None => return Err(malformed()),
        };
        let host = uri.host().ok_or_else(malformed)?;
        Ok(Self {
            secure,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// `host:port`, as a `Host` header has it.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// A path below the studio's address.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The address of a WebSocket there.
    pub(crate) fn websocket(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path(path))
    }

    /// Connects to the first of its addresses that takes it.
    async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses: Vec<_> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        let others = addresses.len().saturating_sub(1);
        for (at, address) in addresses.into_iter().enumerate() {
            // The last one has all the time that is left.
            let limit = if at < others { ADDRESS_TIMEOUT } else { TIMEOUT };
            match timeout(limit, connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_late) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let dialed = timeout(TIMEOUT, async {
            let stream = self
                .connect()
                .await
                .map_err(|error| DialError::Connect(self.authority(), error))?;
            if !self.secure {
                return Ok(Box::new(stream) as Box<dyn Stream>);
            }
            let failed = |error| DialError::Tls(self.authority(), error);
            let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
            // It reads the machine's files.
            let tls = spawn_blocking(tls)
                .await
                .map_err(|error| failed(io::Error::other(error)))??;
            let stream = tls.connect(name, stream).await.map_err(failed)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        });
        dialed
            .await
            .unwrap_or_else(|_late| Err(DialError::Timeout(self.authority())))
    }
}

/// Connects to one address.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
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
        .map_err(|error| DialError::Tls("any studio".to_owned(), io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let websocket = |url| Studio::parse(url).map(|studio| studio.websocket("/box"));
        for (url, expected) in [
            ("https://studio.example", "wss://studio.example:443/box"),
            ("http://127.0.0.1:8900/", "ws://127.0.0.1:8900/box"),
            ("ws://[::1]:1/below/", "ws://[::1]:1/below/box"),
            ("wss://s:4443", "wss://s:4443/box"),
        ] {
            assert_eq!(websocket(url).unwrap(), expected);
        }
        for bad in ["", "studio.example", "ftp://s", "/x", "http://"] {
            assert!(websocket(bad).is_err(), "{bad}");
        }
    }
}
