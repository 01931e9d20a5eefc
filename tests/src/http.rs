//! A plain HTTP/1.1 client: one request, one connection.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde_json::Value;

/// Every answer comes at once; one that does not is a fault.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// With less patience.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body of a type.
    #[must_use]
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", media_type);
        request.body = body.into();
        request
    }

    /// Sends it and hands out what comes, line by line, for an answer without an end.
    ///
    /// # Errors
    /// No connection.
    pub fn open(&self, server: SocketAddr) -> anyhow::Result<impl Iterator<Item = String> + use<>> {
        let stream = self.write(server)?;
        Ok(BufReader::new(stream).lines().map_while(Result::ok))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// There is none in time, or it is not HTTP.
    pub fn send(&self, server: SocketAddr) -> anyhow::Result<Response> {
        let (method, path) = (self.method, self.path);
        self.exchange(server)
            .with_context(|| format!("{method} http://{server}{path}"))
    }

    fn exchange(&self, server: SocketAddr) -> anyhow::Result<Response> {
        let mut stream = self.write(server)?;
        let mut answer = Vec::new();
        // The same close can reset the connection after the answer.
        let read = stream.read_to_end(&mut answer);
        parse(&answer).or_else(|error| read.map_err(Into::into).and(Err(error)))
    }

    fn write(&self, server: SocketAddr) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&server, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        stream.write_all(head.as_bytes())?;
        // A server may refuse by the head alone and close; its answer is what counts then.
        _ = stream.write_all(&self.body);
        Ok(stream)
    }
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }
}

fn parse(answer: &[u8]) -> anyhow::Result<Response> {
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .ok_or_else(|| anyhow!("no whole head"))?;
    let head = std::str::from_utf8(&answer[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .ok_or_else(|| anyhow!("no status line"))?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.into(), value.into()));
    let mut response = Response {
        status: status.parse()?,
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = dechunk(&response.body).ok_or_else(|| anyhow!("a body that broke off"))?;
    }
    Ok(response)
}

/// A chunked body's bytes (RFC 9112, section 7.1), if it is whole.
fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        rest = &rest[line + 2..];
        body.extend(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
