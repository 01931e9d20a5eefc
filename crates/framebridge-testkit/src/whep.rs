//! A WHEP client as small as it can be: blocking HTTP/1.1, one connection per request.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// How long a server may take to answer: the slowest wait for their source first.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum WhepError {
    /// The URL is not `http://host:port/path`.
    #[error("`{0}` is not an http:// URL")]
    Url(String),
    /// The connection failed.
    #[error("no answer from {url}")]
    Io {
        /// Which URL.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer is not HTTP.
    #[error("{0} does not speak HTTP")]
    Protocol(String),
    /// The server refused.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// Which URL.
        url: String,
        /// The status code.
        status: u16,
        /// What it said about it.
        body: String,
    },
}

/// A session at a server.
#[derive(Debug, Clone)]
pub struct Session {
    /// The SDP answer.
    pub answer: String,
    /// Where the session can be ended.
    pub location: String,
}

/// POSTs `offer` to a WHEP endpoint.
///
/// # Errors
/// See [`WhepError`].
pub fn post(url: &str, offer: &str) -> Result<Session, WhepError> {
    let response = request("POST", url, "Content-Type: application/sdp\r\n", offer)?;
    let location = response.header("location").unwrap_or_default();
    let location = if location.starts_with('/') {
        let (host, _) = split(url)?;
        format!("http://{host}{location}")
    } else {
        location.to_owned()
    };
    Ok(Session {
        answer: response.body,
        location,
    })
}

/// DELETEs a session.
///
/// # Errors
/// See [`WhepError`].
pub fn delete(location: &str) -> Result<(), WhepError> {
    request("DELETE", location, "", "").map(drop)
}

/// GETs a resource as text.
///
/// # Errors
/// See [`WhepError`].
pub fn get(url: &str) -> Result<String, WhepError> {
    request("GET", url, "", "").map(|response| response.body)
}

struct Response {
    head: String,
    body: String,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .into_iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

fn split(url: &str) -> Result<(&str, &str), WhepError> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| WhepError::Url(url.to_owned()))?;
    let at = rest.find('/').unwrap_or(rest.len());
    Ok(rest.split_at(at))
}

fn request(method: &str, url: &str, headers: &str, body: &str) -> Result<Response, WhepError> {
    let (host, path) = split(url)?;
    let path = if path.is_empty() { "/" } else { path };
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let exchange = || -> io::Result<Vec<u8>> {
        let address = address
            .to_socket_addrs()?
            .next()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok(response)
    };
    let response = exchange().map_err(|source| WhepError::Io {
        url: url.to_owned(),
        source,
    })?;
    let text = String::from_utf8_lossy(&response);
    let not_http = || WhepError::Protocol(url.to_owned());
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(not_http)?;
    let response = Response {
        head: head.to_owned(),
        body: body.to_owned(),
    };
    let is_chunked = response
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = if is_chunked { unchunk(body) } else { response.body };
    match status {
        200..=299 => Ok(Response {
            body,
            head: response.head,
        }),
        status => Err(WhepError::Status {
            url: url.to_owned(),
            status,
            body,
        }),
    }
}

/// Takes the chunk sizes out of a body.
fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n")
        && let Ok(size) = usize::from_str_radix(size.trim(), 16)
        && size > 0
        && let Some(chunk) = after.get(..size)
    {
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
