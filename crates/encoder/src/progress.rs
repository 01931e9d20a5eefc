//! Counts what was done where it is done, so that a pulse without progress shows.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use framebridge_capture::monotonic_ns;
use framebridge_core::decode_backlog::DecodeRate;
use framebridge_proto::supervisor::Counter;

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

/// A counter that knows when it last grew.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    count: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds; 0 before the first.
    last: AtomicU64,
}

impl Meter {
    pub(crate) fn add(&self) {
        self.last.store(monotonic_ns(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counter {
        let (count, last) = (self.count.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        let age_ms = (last > 0).then(|| monotonic_ns().saturating_sub(last) / 1_000_000);
        Counter { count, age_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_has_no_age_before_it_first_grew() {
        let meter = Meter::default();
        assert_eq!(meter.read(), Counter { count: 0, age_ms: None });
        meter.add();
        meter.add();
        let read = meter.read();
        assert_eq!(read.count, 2);
        assert!(read.age_ms.is_some_and(|age| age < 10_000));
    }
}
