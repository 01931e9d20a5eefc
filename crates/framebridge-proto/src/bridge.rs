//! Messages on `bridge.sock`: operators steer the session to a studio.

use serde::{Deserialize, Serialize};

use crate::{Refusal, RequestId, StreamName};

/// The header by which a bridge tells signaling, with each request from outside, as which address the studio sees the box.
pub const SEEN_AS: &str = "framebridge-seen-as";

/// To the bridge. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBridge {
    /// Anything that wants an answer.
    Request {
        /// Chosen by the asker.
        id: RequestId,
        /// What is wanted.
        request: BridgeRequest,
    },
}

/// What can be asked of the bridge; each gets one [`FromBridge::Response`]. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BridgeRequest {
    /// Take no jobs for now. Answer: `Done`.
    Pause,
    /// Take jobs again. Answer: `Done`.
    Resume,
    /// Leave the studio and connect anew. Answer: `Done`.
    Reconnect,
    /// What is in hand, and what waits for the studio. Answer: `Jobs`.
    Jobs,
    /// Make a public address. Answer: `Shared`.
    Share {
        /// Only this stream.
        stream: Option<StreamName>,
        /// Whether its holder may change things, too.
        control: bool,
        /// Seconds until it ends; never, if it is not given.
        expires_s: Option<u64>,
    },
    /// End all public addresses that were made. Answer: `Unshared`.
    Unshare,
}

/// From the bridge. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromBridge {
    /// The answer to a request.
    Response {
        /// The request's id.
        id: RequestId,
        /// What came of it.
        result: Result<BridgeAnswer, Refusal>,
    },
}

/// Answers to [`BridgeRequest`]. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BridgeAnswer {
    /// It is so now.
    Done,
    /// The jobs.
    Jobs {
        /// Whether the operator has paused them.
        paused: bool,
        /// The one in hand, then those whose result the studio does not have yet.
        jobs: Vec<BridgeJob>,
    },
    /// The public address.
    Shared {
        /// The whole of it.
        url: String,
    },
    /// So many public addresses have ended.
    Unshared {
        /// How many.
        ended: u32,
    },
}

/// A job, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeJob {
    /// Its id.
    pub id: String,
    /// In one word: `running`, `done` or `failed`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
}
