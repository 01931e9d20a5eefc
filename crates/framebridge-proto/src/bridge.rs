//! Messages on `bridge.sock`: operators steer the session to a studio.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Refusal, RequestId, StreamName};

/// The header by which a bridge tells signaling, with each request from outside, as which address the studio sees the box.
pub const SEEN_AS: &str = "framebridge-seen-as";

/// The header by which a bridge tells signaling, with each request from outside, what whoever asks may do: a [`SharedAccess`].
/// It counts on signaling's own socket alone.
pub const ACCESS: &str = "framebridge-access";

/// What a shared address opens. As text: `view` or `control`, and `; stream=NAME` where it is about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedAccess {
    /// Only this stream.
    pub stream: Option<StreamName>,
    /// Whether its holder may change things, too.
    pub control: bool,
}

impl fmt::Display for SharedAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.control { "control" } else { "view" })?;
        match &self.stream {
            Some(stream) => write!(f, "; stream={stream}"),
            None => Ok(()),
        }
    }
}

/// The text is no [`SharedAccess`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `view` or `control`, alone or with `; stream=NAME`")]
pub struct InvalidAccess;

impl FromStr for SharedAccess {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (word, stream) = match text.split_once("; stream=") {
            Some((word, stream)) => (word, Some(stream.parse().map_err(|_| InvalidAccess)?)),
            None => (text, None),
        };
        let control = match word {
            "view" => false,
            "control" => true,
            _ => return Err(InvalidAccess),
        };
        Ok(Self { stream, control })
    }
}

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
    /// The box's own public address. Answer: `Shared`.
    Address,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_read_as_it_is_written_and_nothing_else_is() {
        for control in [false, true] {
            for stream in [None, Some("door".parse().expect("a good name"))] {
                let access = SharedAccess { stream, control };
                assert_eq!(access.to_string().parse(), Ok(access));
            }
        }
        for bad in [
            "",
            "admin",
            "view;stream=a",
            "view; stream=",
            "view; stream=A B",
            "view, control",
            "view ",
        ] {
            assert_eq!(bad.parse::<SharedAccess>(), Err(InvalidAccess), "{bad}");
        }
    }
}
