//! Where a studio is, and the connection to it.

use framebridge_dial::{DialError, Server, Stream};
use hyper::http::Uri;

/// A studio's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Studio {
    server: Server,
    /// What stands before every path, without a slash at its end.
    prefix: String,
}

/// The text is no address of a studio.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address of a studio")]
pub(crate) struct NoStudio(String);

impl Studio {
    /// Takes an `http://`, `https://`, `ws://` or `wss://` address apart.
    pub(crate) fn parse(url: &str) -> Result<Self, NoStudio> {
        let malformed = || NoStudio(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        Ok(Self {
            server: Server::of(&uri).ok_or_else(malformed)?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// `host:port`, as a `Host` header has it.
    pub(crate) fn authority(&self) -> String {
        self.server.authority()
    }

    /// A path below the studio's address.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The address of a WebSocket there.
    pub(crate) fn websocket(&self, path: &str) -> String {
        let scheme = if self.server.is_secure() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path(path))
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        self.server.dial().await.map(|dialed| dialed.stream)
    }
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
