//! How long pictures take, counted in buckets.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, milliseconds. What is above the last goes into one more.
const BOUNDS_MS: [u16; 16] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100, 250, 1000];

/// A histogram that threads count in.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// What a histogram has counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DelayStats {
    /// For each bucket its upper bound in seconds, the last one's infinite, and how many fell into it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all, seconds.
    pub sum: f64,
}

impl Delays {
    /// Counts one.
    pub(crate) fn add(&self, delay: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis((*bound).into()) < delay);
        self.buckets[bucket].fetch_add(1, Relaxed);
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The counts so far.
    pub(crate) fn stats(&self) -> DelayStats {
        let bounds = BOUNDS_MS.iter().map(|bound| f64::from(*bound) / 1e3);
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        DelayStats {
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
            sum: Duration::from_micros(self.sum_us.load(Relaxed)).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_falls_into_the_first_bucket_that_holds_it() {
        let delays = Delays::default();
        for us in [0, 1_000, 1_001, 7_000, 1_000_000, 1_000_001] {
            delays.add(Duration::from_micros(us));
        }
        let stats = delays.stats();
        let filled: Vec<_> = stats.buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [(0.001, 2), (0.002, 1), (0.008, 1), (1.0, 1), (f64::INFINITY, 1)]
        );
        assert!((stats.sum - 2.009_002).abs() < 1e-9);
    }
}
