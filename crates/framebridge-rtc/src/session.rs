//! A viewer's session as the outside sees it.

use std::{fmt, str::FromStr};

use framebridge_proto::{StreamName, media::Rung};
use ring::digest;

use crate::{Link, random};

/// Names a WHEP session: 128 random bits, written as 32 hexadecimal digits. Knowing it is what allows to end it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

/// The text is not a [`SessionId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 lower-case hexadecimal digits")]
pub struct InvalidSessionId;

impl SessionId {
    /// A new one that nobody can guess.
    pub(crate) fn random() -> Self {
        Self(u128::from_be_bytes(random::bytes()))
    }

    /// The session's CNAME: as random as RFC 7022 wants it (section 4.2: 96 bits), the same after a handover, and no way back
    /// to the id.
    pub(crate) fn cname(&self) -> String {
        let digest = digest::digest(&digest::SHA256, &self.0.to_be_bytes());
        digest.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(InvalidSessionId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidSessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Where a viewer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewerState {
    /// Answered; ICE and DTLS are under way.
    Connecting,
    /// Keys are there and the path works.
    Live,
    /// Nothing was heard from it for a while; it may come back.
    Grace,
    /// Gone, and its session with it.
    Closed(CloseReason),
}

impl ViewerState {
    /// The state in one word, for logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Grace => "grace",
            Self::Closed(_) => "closed",
        }
    }
}

/// Why a viewer's session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Asked for, by [`Handle::leave`](crate::Handle::leave).
    Left,
    /// Dropped by [`Handle::drop_silently`](crate::Handle::drop_silently).
    Dropped,
    /// The viewer closed its end (DTLS close_notify).
    PeerClosed,
    /// ICE or DTLS did not finish in time.
    ConnectTimeout,
    /// DTLS failed: wrong certificate, no common profile, or an alert.
    HandshakeFailed,
    /// Silent for longer than the grace.
    GraceExpired,
    /// The connection that it went by has ended.
    ConnectionLost,
    /// The data channels broke, or the other end took nothing from them.
    LanesFailed,
    /// The engine was stopped.
    Stopped,
}

impl CloseReason {
    /// Whether something went wrong: neither side wanted it.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Left | Self::PeerClosed | Self::Stopped => false,
            Self::Dropped
            | Self::ConnectTimeout
            | Self::HandshakeFailed
            | Self::GraceExpired
            | Self::ConnectionLost
            | Self::LanesFailed => true,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Dropped => "dropped without a word",
            Self::PeerClosed => "closed by the viewer",
            Self::ConnectTimeout => "did not connect in time",
            Self::HandshakeFailed => "DTLS handshake failed",
            Self::GraceExpired => "silent for too long",
            Self::ConnectionLost => "its connection has ended",
            Self::LanesFailed => "data channels failed",
            Self::Stopped => "stopped",
        })
    }
}

/// A session as [`Handle::session`](crate::Handle::session) shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The stream it watches.
    pub stream: StreamName,
    /// The entity tag of its ICE generation, without quotes.
    pub etag: String,
    /// Where it is in its life; never `Closed`, a closed session is unknown.
    pub state: ViewerState,
    /// What its link is like.
    pub link: Link,
    /// The address that its media left from is gone, and it has not been reached from another. An ICE restart tells it of those.
    pub is_lost: bool,
}

/// What the engine tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Viewers of a stream need an IDR; at most one such event per stream and rung in 250 ms.
    KeyframeWanted {
        /// The stream.
        stream: StreamName,
        /// The rung that they are on.
        rung: Rung,
    },
    /// A viewer's life went on.
    ViewerState {
        /// The viewer's session.
        session: SessionId,
        /// The stream it watches.
        stream: StreamName,
        /// Where it is now.
        state: ViewerState,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_survive_text_and_refuse_everything_else() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, SessionId::random());
        assert_eq!((id.cname(), id.cname().len()), (id.cname(), 24));
        assert!(!id.to_string().contains(&id.cname()));
        for bad in [
            "",
            "0",
            &"g".repeat(32),
            &"A".repeat(32),
            &"+".repeat(32),
            &"0".repeat(33),
        ] {
            assert_eq!(bad.parse::<SessionId>(), Err(InvalidSessionId));
        }
    }
}
