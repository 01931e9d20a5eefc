//! Counts what was done where it is done, so that a pulse without progress shows.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64},
};

use framebridge_core::decode_backlog::DecodeRate;
use framebridge_daemon::Meter;
use framebridge_proto::supervisor::SentOn;

use crate::controls::lock;

/// The counters of one encoder's life.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Pictures taken from the source.
    pub(crate) captured: Meter,
    /// Pictures that left the encoder.
    pub(crate) encoded: Meter,
    /// Pictures written to subscribers.
    pub(crate) delivered: Meter,
    /// Pictures left out for slow subscribers.
    pub(crate) lost: AtomicU64,
    /// Pictures that the full rung had no time for.
    pub(crate) left_out: AtomicU32,
    encoding: Mutex<Encoding>,
    decodes: Mutex<Option<DecodeRate>>,
}

/// What encodes, as status shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// FFmpeg's name of the encoder; empty until one was chosen.
    pub(crate) encoder: String,
    /// Why it is that one.
    pub(crate) reason: String,
    /// Width and height of its pictures; 0 until it was opened.
    pub(crate) size: (u32, u32),
    /// What comes, where it is sent on.
    pub(crate) sent_on: Option<SentOn>,
}

impl Progress {
    pub(crate) fn encoding(&self) -> Encoding {
        lock(&self.encoding).clone()
    }

    /// What this machine decodes of what comes, where it is too slow.
    pub(crate) fn decodes(&self) -> Option<DecodeRate> {
        *lock(&self.decodes)
    }

    pub(crate) fn set_decodes(&self, rate: Option<DecodeRate>) {
        *lock(&self.decodes) = rate;
    }

    pub(crate) fn set_encoding(&self, encoding: Encoding) {
        *lock(&self.encoding) = encoding;
    }
}
