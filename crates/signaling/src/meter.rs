//! Counters that know when they last grew.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use framebridge_proto::supervisor::Counter;
use framebridge_rtc::DelayStats;

/// A counter that only grows. Lock-free, because it is bumped per frame.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    count: AtomicU64,
    grown_at_ms: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            count: AtomicU64::new(0),
            grown_at_ms: AtomicU64::new(0),
        }
    }

    /// One more.
    pub(crate) fn bump(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.grown_at_ms
            .store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// So many in all, as counted elsewhere; it grew, if it did, just now.
    pub(crate) fn raise_to(&self, total: u64) {
        if self.count.fetch_max(total, Ordering::Relaxed) < total {
            self.grown_at_ms
                .store(millis(self.started.elapsed()), Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Count and age as they are now.
    pub(crate) fn read(&self) -> Counter {
        let count = self.count();
        let age = millis(self.started.elapsed()).saturating_sub(self.grown_at_ms.load(Ordering::Relaxed));
        Counter {
            count,
            age_ms: (count > 0).then_some(age),
        }
    }
}

/// The mean of the delays that were counted between the latest two looks.
#[derive(Debug, Default)]
pub(crate) struct MeanDelay(Mutex<Looked>);

#[derive(Debug, Default)]
struct Looked {
    count: u64,
    seconds: f64,
    mean: Option<Duration>,
}

impl MeanDelay {
    /// Looks at all that have been counted.
    pub(crate) fn observe(&self, delays: &DelayStats) {
        let count: u64 = delays.buckets.iter().map(|(_, count)| count).sum();
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = u32::try_from(count.saturating_sub(looked.count)).unwrap_or(u32::MAX);
        if grown > 0 {
            let seconds = (delays.sum - looked.seconds).max(0.0) / f64::from(grown);
            let mean = Duration::try_from_secs_f64(seconds).ok();
            *looked = Looked {
                count,
                seconds: delays.sum,
                mean,
            };
        }
    }

    /// The mean, milliseconds.
    pub(crate) fn millis(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).mean.map(millis)
    }
}

/// Whole milliseconds; a span too long for 64 bits is as good as for ever.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_that_never_grew_has_no_age() {
        let meter = Meter::new();
        meter.raise_to(0);
        assert_eq!(meter.read(), Counter { count: 0, age_ms: None });
    }

    #[test]
    fn total_counted_elsewhere_never_falls() {
        let meter = Meter::new();
        meter.raise_to(7);
        meter.raise_to(3);
        meter.bump();
        assert_eq!(meter.read().count, 8);
        assert!(meter.read().age_ms.is_some());
    }

    #[test]
    fn mean_delay_is_of_what_came_since_the_last_look() {
        let mean = MeanDelay::default();
        let counted = |fast, slow, sum| DelayStats {
            buckets: vec![(0.01, fast), (f64::INFINITY, slow)],
            sum,
        };
        assert_eq!(mean.millis(), None);
        mean.observe(&counted(9, 1, 0.1));
        assert_eq!(mean.millis(), Some(10));
        mean.observe(&counted(9, 1, 0.1));
        assert_eq!(mean.millis(), Some(10), "nothing has come since");
        mean.observe(&counted(9, 3, 0.2));
        assert_eq!(mean.millis(), Some(50));
    }
}
