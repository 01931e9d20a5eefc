//! The frames between a bridge and its studio: JSON text on one WebSocket that the bridge opens.
//!
//! Plain data and the rules that both ends keep: versions, limits, close codes, the headers that travel. No
//! runtime, clock or socket. Each side ignores unknown fields and frames of unknown types, so that the other may be
//! newer. `docs/protocol.md` describes the session.

mod bounded;
mod codec;
mod headers;
mod ids;
pub mod limits;
mod rpc;
mod to_box;
mod to_studio;

pub use codec::{DecodeError, Frame, hello_version};
pub use framebridge_proto::plain;
pub use headers::{Header, REQUEST_HEADERS, RESPONSE_HEADERS, is_hop_by_hop};
pub use ids::{BoxId, InvalidId, JobId, PublicId, RpcId};
pub use rpc::{Access, Bytes64, RpcChunk, RpcRequest, RpcResponse, UsedShare, is_endless};
pub use to_box::{IceServer, Refusal, RefusalKind, ToBox, Welcome};
pub use to_studio::{
    BoxState, Capabilities, ClipSpan, Farewell, Heartbeat, Hello, JobKind, JobResult, LogBatch, LogLine, Rejection,
    StreamReport, ToStudio,
};

/// The version of every frame in this crate. Raised only by a change that the other side can't ignore.
pub const VERSION: u16 = 1;

/// Where a studio takes boxes' sessions, below its address.
pub const SESSION_PATH: &str = "/box/v1/session";

/// Where a studio takes a job's bytes, below its address: `PUT` with the job's id appended.
pub const UPLOAD_PATH: &str = "/box/v1/uploads/";

/// Codes of WebSocket close frames (RFC 6455, section 7.4; 4000 and up are ours).
pub mod close {
    /// Done: the side that sends it goes away on purpose.
    pub const NORMAL: u16 = 1000;
    /// What came was no frame of ours.
    pub const MALFORMED: u16 = 1007;
    /// What came broke a rule, such as a heartbeat before the hello.
    pub const OUT_OF_ORDER: u16 = 1008;
    /// What came was longer than [`limits::MAX_FRAME`](super::limits::MAX_FRAME).
    pub const TOO_LONG: u16 = 1009;
    /// An `error` frame said why.
    pub const REFUSED: u16 = 4000;
    /// Nothing came for too long.
    pub const IDLE: u16 = 4001;

    /// As much of a reason as a close frame holds: 123 bytes (RFC 6455, section 5.5).
    pub fn reason(why: &str) -> &str {
        &why[..why.floor_char_boundary(123)]
    }
}
