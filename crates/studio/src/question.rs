//! A question to a box, as it waits and as it travels between nodes.

use framebridge_studio_proto::{Access, Bytes64, Header, RpcChunk, RpcId, RpcRequest, ToBox};
use serde::{Deserialize, Serialize};

/// The link is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) access: Access,
    /// In parts of at most [`MAX_CHUNK`](framebridge_studio_proto::limits::MAX_CHUNK).
    pub(crate) body: Vec<Bytes64>,
}

impl Question {
    /// The question as its box is asked.
    pub(crate) fn frames(self, id: RpcId) -> impl Iterator<Item = ToBox> {
        let mut rest = self.body.into_iter();
        let head = ToBox::RpcRequest(RpcRequest {
            id,
            method: self.method,
            path: self.path,
            headers: self.headers,
            access: self.access,
            data: rest.next().unwrap_or_default(),
            end: rest.len() == 0,
        });
        let last = rest.len();
        let chunks = rest.enumerate().map(move |(at, data)| {
            let end = at + 1 == last;
            ToBox::RpcChunk(RpcChunk { id, data, end })
        });
        std::iter::once(head).chain(chunks)
    }
}
