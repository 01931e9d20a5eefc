//! A clock that counts only the time during which somebody looked.

use std::time::{Duration, Instant};

/// A clock that moves from one look to the next, by no more than `longest` at once. A watch that was itself held up, or stopped
/// together with what it watches, can't tell what happened meanwhile: that time does not count.
#[derive(Debug, Clone)]
pub(crate) struct ObservedTime {
    longest: Duration,
    looked: Instant,
    time: Instant,
}

impl ObservedTime {
    /// Starts at `now`. `longest`: more than the usual time between two looks.
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self {
            longest,
            looked: now,
            time: now,
        }
    }

    /// Somebody looks; the time that counts.
    pub(crate) fn look(&mut self, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        self.time += passed.min(self.longest);
        self.time
    }

    /// The time at the last look.
    pub(crate) fn time(&self) -> Instant {
        self.time
    }
}
