//! A WHEP client as small as it can be: blocking HTTP/1.1, one connection per request.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
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
    post_as(url, None, offer)
}

/// [`post`], by whoever has this bearer token.
///
/// # Errors
/// See [`WhepError`].
pub fn post_as(url: &str, token: Option<&str>, offer: &str) -> Result<Session, WhepError> {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let headers = format!("Content-Type: application/sdp\r\n{token}");
    let response = request("POST", url, &headers, offer)?;
    let location = resolve(url, response.header("location").unwrap_or_default())?;
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

/// What a server answered, whatever that means.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// The first header of this name.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// All headers of this name.
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let named = lines.filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    }
}

/// Where `location` leads from `url` (RFC 3986 section 5.2), without dots.
pub(crate) fn resolve(url: &str, location: &str) -> Result<String, WhepError> {
    let (host, path) = split(url)?;
    if location.is_empty() || location.contains("://") {
        return Ok(location.to_owned());
    }
    if location.starts_with('/') {
        return Ok(format!("http://{host}{location}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(format!("http://{host}{folder}/{location}"))
}

fn split(url: &str) -> Result<(&str, &str), WhepError> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| WhepError::Url(url.to_owned()))?;
    let at = rest.find('/').unwrap_or(rest.len());
    Ok(rest.split_at(at))
}

fn request(method: &str, url: &str, headers: &str, body: &str) -> Result<Response, WhepError> {
    let response = exchange(method, url, headers, body)?;
    match response.status {
        200..=299 => Ok(response),
        status => Err(WhepError::Status {
            url: url.to_owned(),
            status,
            body: response.body,
        }),
    }
}

/// Asks, and gives whatever is answered. `headers`: lines that end in CRLF.
pub(crate) fn exchange(method: &str, url: &str, headers: &str, body: &str) -> Result<Response, WhepError> {
    ask(method, url, headers, body, |stream| {
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok(response)
    })
}

/// GETs what does not end, or not soon: what comes of it in so long.
pub(crate) fn listen(url: &str, headers: &str, for_so_long: Duration) -> Result<Response, WhepError> {
    ask("GET", url, headers, "", |stream| {
        let until = Instant::now() + for_so_long;
        let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            // An answer may take its time; what follows it may not.
            stream.set_read_timeout(Some(if heard.is_empty() { TIMEOUT } else { left }))?;
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => heard.extend_from_slice(&piece[..length]),
                Err(error)
                    if !heard.is_empty()
                        && matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(heard)
    })
}

fn ask(
    method: &str,
    url: &str,
    headers: &str,
    body: &str,
    read: impl Fn(&mut TcpStream) -> io::Result<Vec<u8>>,
) -> Result<Response, WhepError> {
    let (host, path) = split(url)?;
    let path = if path.is_empty() { "/" } else { path };
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let answered = || -> io::Result<Vec<u8>> {
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
        read(&mut stream)
    };
    let response = answered().map_err(|source| WhepError::Io {
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
    let mut response = Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    let coding = response.header("transfer-encoding");
    if coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body = unchunk(body);
    }
    Ok(response)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_leads_from_where_was_asked() {
        let from = |location| resolve("http://a:1/cam/whep/x", location).unwrap();
        assert_eq!(from("/whep/x/1"), "http://a:1/whep/x/1");
        assert_eq!(from("x/1"), "http://a:1/cam/whep/x/1");
        assert_eq!(from("https://b/1"), "https://b/1");
        assert_eq!(from(""), "");
    }
}
