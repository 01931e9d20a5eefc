//! Requests of the public address, carried to the box's own server and back.

use std::fmt;

use data_encoding::BASE64;
use framebridge_proto::StreamName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Header, PublicId, RpcId, bounded, limits::MAX_CHUNK};

/// What the address that was used lets its holder do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Only this stream, if one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Whether its holder may change things, too.
    #[serde(default)]
    pub control: bool,
    /// The shared address that was used; none where it was the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<UsedShare>,
}

/// A shared address that was used: the box ends what came of it when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedShare {
    /// The address's last part.
    pub id: PublicId,
    /// Milliseconds until it ends; never, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

/// One request; its body may go on in [`RpcChunk`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcRequest {
    /// Chosen by the studio.
    pub id: RpcId,
    /// `GET`, ...
    pub method: String,
    /// Path and query, as the box's own server is asked: the public address's prefix is taken off.
    pub path: String,
    /// Those of [`REQUEST_HEADERS`](crate::REQUEST_HEADERS) that there are; others are left out as a frame is read.
    #[serde(default, deserialize_with = "bounded::request_headers")]
    pub headers: Vec<Header>,
    /// What the asker may do.
    #[serde(default)]
    pub access: Access,
    /// The body's start.
    #[serde(default, skip_serializing_if = "Bytes64::is_empty")]
    pub data: Bytes64,
    /// Whether the body ends here.
    pub end: bool,
}

/// Whether an answer with these headers, their names in lower case, has no end: events, and a film whose length nobody knows.
pub fn is_endless<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    let (mut has_length, mut kind) = (false, "");
    for (name, value) in headers {
        match name {
            "content-length" => has_length = true,
            "content-type" => kind = value,
            _ => {}
        }
    }
    kind.starts_with("text/event-stream") || (kind.starts_with("video/mp4") && !has_length)
}

/// The answer to one request; its body may go on in [`RpcChunk`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcResponse {
    /// The request's.
    pub id: RpcId,
    /// The status code.
    pub status: u16,
    /// Those of [`RESPONSE_HEADERS`](crate::RESPONSE_HEADERS) that there are; others are left out as a frame is read.
    #[serde(default, deserialize_with = "bounded::response_headers")]
    pub headers: Vec<Header>,
    /// The body's start.
    #[serde(default, skip_serializing_if = "Bytes64::is_empty")]
    pub data: Bytes64,
    /// Whether the body ends here.
    pub end: bool,
}

/// A body's next part, either way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcChunk {
    /// The request's.
    pub id: RpcId,
    /// The bytes.
    pub data: Bytes64,
    /// Whether the body ends here.
    pub end: bool,
}

/// Bytes, in base64 where they travel; at most [`MAX_CHUNK`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes64(pub Vec<u8>);

impl Bytes64 {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Bytes64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        if bytes.len() > MAX_CHUNK {
            return Err(D::Error::custom(format!("{} bytes in one chunk", bytes.len())));
        }
        Ok(Self(bytes))
    }
}
