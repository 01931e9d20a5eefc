//! Counters that know when they last grew, as heartbeats carry them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use framebridge_proto::{millis, supervisor::Counter};

/// A counter that only grows. Lock-free, because it is bumped per frame.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    count: AtomicU64,
    grown_at_ms: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            count: AtomicU64::new(0),
            grown_at_ms: AtomicU64::new(0),
        }
    }
}

impl Meter {
    /// One more.
    pub fn bump(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.grown_now();
    }

    /// So many in all, as counted elsewhere; it grew, if it did, just now.
    pub fn raise_to(&self, total: u64) {
        if self.count.fetch_max(total, Ordering::Relaxed) < total {
            self.grown_now();
        }
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Count and age as they are now.
    pub fn read(&self) -> Counter {
        let count = self.count();
        let age = millis(self.started.elapsed()).saturating_sub(self.grown_at_ms.load(Ordering::Relaxed));
        Counter {
            count,
            age_ms: (count > 0).then_some(age),
        }
    }

    fn grown_now(&self) {
        self.grown_at_ms
            .store(millis(self.started.elapsed()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_that_never_grew_has_no_age() {
        let meter = Meter::default();
        meter.raise_to(0);
        assert_eq!(meter.read(), Counter { count: 0, age_ms: None });
    }

    #[test]
    fn total_counted_elsewhere_never_falls() {
        let meter = Meter::default();
        meter.raise_to(7);
        meter.raise_to(3);
        meter.bump();
        assert_eq!(meter.read().count, 8);
        assert!(meter.read().age_ms.is_some());
    }
}
