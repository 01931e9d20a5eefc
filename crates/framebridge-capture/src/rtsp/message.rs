//! What goes over an RTSP connection: messages of text, and media in between (RFC 2326, sections 4 and 10.12).

use bytes::{Buf as _, Bytes, BytesMut};

/// A message's lines are no longer than this, together. Cameras send some hundred bytes.
const MAX_HEAD: usize = 16 << 10;

/// A description of a stream takes a few thousand bytes.
const MAX_BODY: usize = 256 << 10;

/// What the other side sent is neither a message nor media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// One thing that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    /// Media, with its header; or what is nothing at all, for FFmpeg to step over.
    Data(Bytes),
    /// A request or an answer.
    Message(Message),
}

/// A request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its first line.
    pub(super) start: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Message {
    /// The values of a header, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Gives a header its one value.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.remove(name);
        self.headers.push((name.to_owned(), value));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// A request's method and URI.
    pub(super) fn request(&self) -> Option<(&str, &str)> {
        let mut words = self.start.split(' ');
        let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
        version.starts_with("RTSP/").then_some((method, uri))
    }

    /// An answer's status, and the words beside it.
    pub(super) fn status(&self) -> Option<(u16, &str)> {
        let (version, rest) = self.start.split_once(' ')?;
        let (code, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let code = version.starts_with("RTSP/").then(|| code.parse().ok());
        code.flatten().map(|code| (code, words))
    }

    /// A request without a body.
    pub(super) fn new(method: &str, uri: &str) -> Self {
        Self {
            start: format!("{method} {uri} RTSP/1.0"),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn write(&self, to: &mut BytesMut) {
        to.extend_from_slice(self.start.as_bytes());
        for (name, value) in &self.headers {
            to.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
        }
        to.extend_from_slice(b"\r\n\r\n");
        to.extend_from_slice(&self.body);
    }

    fn parse(head: &str, body: Bytes) -> Self {
        let mut lines = head.lines();
        let start = lines.next().unwrap_or_default().trim().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        Self {
            start,
            headers: headers.collect(),
            body,
        }
    }
}

/// The next thing in `from`, once it is there as a whole.
pub(super) fn next(from: &mut BytesMut) -> Result<Option<Unit>, Malformed> {
    match from.first() {
        None => Ok(None),
        Some(b'$') => {
            let length = from.get(2..4).map(|mut length| usize::from(length.get_u16()));
            match length {
                Some(length) if from.len() >= 4 + length => Ok(Some(Unit::Data(from.split_to(4 + length).freeze()))),
                Some(_) | None => Ok(None),
            }
        }
        Some(byte) if byte.is_ascii_alphabetic() => message(from),
        Some(_) => Ok(Some(Unit::Data(from.split_to(1).freeze()))),
    }
}

fn message(from: &mut BytesMut) -> Result<Option<Unit>, Malformed> {
    let ends = [b"\r\n\r\n".as_slice(), b"\n\n"];
    let end = ends.iter().filter_map(|end| {
        let at = from.windows(end.len()).position(|bytes| bytes == *end);
        at.map(|at| at + end.len())
    });
    let Some(end) = end.min() else {
        return if from.len() > MAX_HEAD {
            Err(Malformed)
        } else {
            Ok(None)
        };
    };
    if end > MAX_HEAD {
        return Err(Malformed);
    }
    let head = String::from_utf8_lossy(&from[..end]).into_owned();
    let message = Message::parse(&head, Bytes::new());
    let length = match message.header("Content-Length") {
        Some(length) => length.parse::<usize>().map_err(|_no_number| Malformed)?,
        None => 0,
    };
    if length > MAX_BODY {
        return Err(Malformed);
    }
    if from.len() < end + length {
        return Ok(None);
    }
    from.advance(end);
    let body = from.split_to(length).freeze();
    Ok(Some(Unit::Message(Message { body, ..message })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_media_are_told_apart_however_they_are_cut() {
        let whole = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nv=0$\x00\x00\x04RTSP\r\nOPTIONS * RTSP/1.0\r\n\r\n";
        for cut in 1..whole.len() {
            let (mut from, mut units) = (BytesMut::new(), Vec::new());
            for part in whole.chunks(cut) {
                from.extend_from_slice(part);
                while let Some(unit) = next(&mut from).unwrap() {
                    units.push(unit);
                }
            }
            let Unit::Message(answer) = &units[0] else {
                panic!("{units:?}")
            };
            assert_eq!((answer.status(), answer.header("cseq")), (Some((200, "OK")), Some("2")));
            assert_eq!(answer.body, "v=0");
            assert_eq!(units[1], Unit::Data(Bytes::from_static(b"$\x00\x00\x04RTSP")));
            let Some(Unit::Message(request)) = units.last() else {
                panic!("{units:?}")
            };
            assert_eq!(request.request(), Some(("OPTIONS", "*")));
            let mut written = BytesMut::new();
            answer.write(&mut written);
            assert!(whole.starts_with(&written), "what is passed on is what came");
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for bytes in [
            b"A".repeat(MAX_HEAD + 1),
            b"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n".to_vec(),
            b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
        ] {
            assert_eq!(next(&mut BytesMut::from(&bytes[..])), Err(Malformed));
        }
    }
}
