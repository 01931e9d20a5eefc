//! Why the engine did not do what it was asked.

use std::{io, net::SocketAddr, time::Duration};

use crate::{Config, dtls::DtlsError, sdp::OfferError};

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("can't bind UDP {address}")]
    Bind {
        /// What was tried.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The number of workers is out of range.
    #[error("{workers} workers: it must be 1 to {}", Config::MAX_WORKERS)]
    Workers {
        /// What was asked for.
        workers: usize,
    },
    /// There is no address to bind.
    #[error("no address to bind")]
    NoAddress,
    /// Our certificate could not be made.
    #[error("can't prepare DTLS")]
    Dtls(#[from] DtlsError),
    /// Sockets and viewers can't be shared with the next engine.
    #[error("can't prepare the handover to the next process")]
    Handover(#[source] io::Error),
    /// A worker could not be started.
    #[error("can't start a worker thread")]
    Thread(#[source] io::Error),
}

/// Why a viewer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The offer can't be read or lacks something.
    #[error("malformed offer: {0}")]
    MalformedOffer(String),
    /// It offers no H.264 that we could send.
    #[error("the offer has no acceptable H.264")]
    NoAcceptableCodec,
    /// The H.264 that it offers is of packetization mode 0 alone, in which each slice has to fit into a packet.
    #[error("the offer has H.264 in packetization mode 0 alone")]
    OnlyMode0,
    /// It is right, but asks for a transport that we don't have.
    #[error("unacceptable offer: {0}")]
    UnacceptableOffer(String),
    /// The stream is full.
    #[error("the stream has its {limit} viewers")]
    TooManyViewers {
        /// The configured limit.
        limit: u32,
    },
    /// All streams together have all the viewers that there is memory for.
    #[error("all {limit} places for viewers are taken")]
    OutOfPlaces {
        /// The configured limit.
        limit: usize,
    },
    /// The engine was stopped.
    #[error("the media plane has stopped")]
    Stopped,
}

impl From<OfferError> for JoinError {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Malformed(reason) => Self::MalformedOffer(reason),
            OfferError::NoAcceptableCodec => Self::NoAcceptableCodec,
            OfferError::OnlyMode0 => Self::OnlyMode0,
            OfferError::Unacceptable(reason) => Self::UnacceptableOffer(reason),
        }
    }
}

/// Why a session was not patched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// There is no such session (any more).
    #[error("unknown session")]
    UnknownSession,
    /// `If-Match` names another ICE generation.
    #[error("If-Match does not name the session's current entity tag")]
    PreconditionFailed {
        /// The tag in force.
        etag: String,
    },
    /// `If-Match` is missing from a fragment that restarts ICE.
    #[error("If-Match is required to restart ICE")]
    PreconditionRequired,
    /// The fragment can't be read.
    #[error("malformed fragment: {0}")]
    Malformed(String),
    /// ICE was restarted too often.
    #[error("ICE was restarted too often; once more in {retry_after:?}")]
    TooManyRestarts {
        /// When there will be one to be had.
        retry_after: Duration,
    },
}
