//! The messages between Framebridge's processes: their types, ids, limits and the protocol's version.
//!
//! Plain data: no runtime, clock, socket, file or encoding. `framebridge-ipc` turns messages into bytes. Variants
//! are only appended, each with the version that added it, because their order is the wire format
//! (`docs/protocol.md`).

pub mod bridge;
pub mod control;
pub mod encoder;
pub mod exit_code;
pub mod hooks;
mod ids;
pub mod limits;
pub mod media;
mod names;
pub mod probe;
pub mod stamp;
pub mod status;
pub mod supervisor;
mod text;

pub use ids::{InstanceId, InvalidStreamName, RequestId, Role, StreamName};
pub use names::{process_name, socket_name};
pub use text::plain;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whole milliseconds, as messages carry spans of time; a span too long for 64 bits is as good as for ever.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The version of every message in this crate. One integer of its own, apart from the crate's version.
pub const PROTOCOL_VERSION: u16 = 1;

/// The oldest version this build still speaks.
pub const OLDEST_PROTOCOL_VERSION: u16 = 1;

/// Why a request was not carried out. `message` names the thing and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal it is.
    pub kind: RefusalKind,
    /// One sentence for a person.
    pub message: String,
}

/// The kinds of [`Refusal`], for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The thing named does not exist.
    NotFound,
    /// A value is out of range or malformed.
    Invalid,
    /// It can't be done now; later it may be.
    Unavailable,
    /// It was tried and failed.
    Failed,
}

impl Refusal {
    /// A refusal of `kind`, with a sentence for a person.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}
