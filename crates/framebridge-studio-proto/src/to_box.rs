//! From a studio to a box.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{
    JobId, JobKind, PublicId, RpcChunk, RpcId, RpcRequest, bounded,
    limits::{MAX_REASON, MAX_URL, MAX_WORDS},
};

/// From a studio to a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToBox {
    /// The hello was accepted. Before this a box sends nothing else.
    Welcome(Welcome),
    /// A heartbeat came.
    HeartbeatAck,
    /// A request of the public address.
    RpcRequest(RpcRequest),
    /// A request's next part.
    RpcChunk(RpcChunk),
    /// Nobody waits for this answer any more.
    RpcCancel {
        /// The request.
        id: RpcId,
    },
    /// Would you do this?
    Offer {
        /// The job, the same however often it is offered.
        job: JobId,
        /// What is to be done.
        #[serde(flatten)]
        kind: JobKind,
        /// Milliseconds it may take.
        deadline_ms: u64,
    },
    /// The result is kept here now.
    CompleteAck {
        /// The job.
        job: JobId,
    },
    /// The failure is known here now.
    FailAck {
        /// The job.
        job: JobId,
    },
    /// The answer to `share`.
    Shared {
        /// The request's number.
        request: u32,
        /// The address's last part.
        share: PublicId,
        /// The whole address.
        #[serde(deserialize_with = "bounded::text::<_, MAX_URL>")]
        url: String,
    },
    /// The other answer to `share`: it was not carried out.
    ShareRefused {
        /// The request's number.
        request: u32,
        /// Why, for a person.
        #[serde(deserialize_with = "bounded::text::<_, MAX_REASON>")]
        why: String,
    },
    /// The answer to `unshare`.
    Unshared {
        /// The request's number.
        request: u32,
        /// So many addresses ended.
        ended: u32,
    },
    /// No, and not later either: the box does not come back by itself.
    Error(Refusal),
    /// Of a type that this side does not know: logged and ignored.
    #[serde(other)]
    Unknown,
}

/// What a box needs to know of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`](crate::VERSION) of the studio.
    pub version: u16,
    /// The session.
    pub session: PublicId,
    /// Its public address.
    #[serde(deserialize_with = "bounded::text::<_, MAX_URL>")]
    pub url: String,
    /// How often a heartbeat is wanted.
    pub heartbeat_ms: u64,
    /// What viewers are given besides the box's own.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_WORDS>")]
    pub ice_servers: Vec<IceServer>,
    /// As which address the studio sees the box, where that is one of IPv4: a NAT's, perhaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_as: Option<Ipv4Addr>,
}

/// A STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its URLs.
    #[serde(deserialize_with = "bounded::words::<_, MAX_WORDS, MAX_URL>")]
    pub urls: Vec<String>,
    /// User name, for TURN.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_text::<_, MAX_URL>"
    )]
    pub username: Option<String>,
    /// Password, for TURN.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_text::<_, MAX_URL>"
    )]
    pub credential: Option<String>,
}

/// Why a box is sent away for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal it is.
    pub code: RefusalKind,
    /// One sentence for a person.
    #[serde(deserialize_with = "bounded::text::<_, MAX_REASON>")]
    pub message: String,
}

/// The kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The token is unknown or was revoked.
    AuthFailed,
    /// The two speak different versions.
    Version,
    /// Another box came with the same instance id.
    Replaced,
    /// Anything else that trying again won't change.
    #[serde(other)]
    Fatal,
}
