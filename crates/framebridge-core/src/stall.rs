//! Detects a counter that should grow and does not.

use std::time::{Duration, Instant};

/// Watches a counter that has to grow. A stall is declared once, and again only after progress in between.
#[derive(Debug, Clone)]
pub struct StallWatchdog {
    timeout: Duration,
    count: Option<u64>,
    /// When the counter last grew, or last had no reason to.
    fresh_at: Instant,
    declared: bool,
}

impl StallWatchdog {
    /// A watchdog that declares a stall after `timeout` without progress.
    pub fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            timeout,
            count: None,
            fresh_at: now,
            declared: false,
        }
    }

    /// From now on a stall is declared after `timeout`.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Takes in the counter. `exempt`: it need not grow now, because what it counts is paused, idle, opening or
    /// seeking. True once per stall, when it is declared. A counter that fell belongs to a new life: that is progress.
    pub fn observe(&mut self, count: u64, exempt: bool, now: Instant) -> bool {
        if exempt || self.count != Some(count) {
            *self = Self {
                timeout: self.timeout,
                count: Some(count),
                fresh_at: now,
                declared: false,
            };
            return false;
        }
        let declares = !self.declared && self.silent_for(now) >= self.timeout;
        self.declared |= declares;
        declares
    }

    /// Whether the stall that was declared goes on.
    pub fn is_stalled(&self) -> bool {
        self.declared
    }

    /// How long there has been no progress that should have been.
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.fresh_at)
    }
}

/// Watches a stage that has to put something out for what comes in. It is at fault only for what came in since its last output,
/// so a slow source is neither an excuse nor an accusation.
#[derive(Debug, Clone)]
pub(crate) struct StageStall {
    watchdog: StallWatchdog,
    given: u64,
    /// What it had got when it last gave, or last had no reason to.
    got: u64,
}

impl StageStall {
    /// One that declares a stall `timeout` after something came in and nothing has come out since.
    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            watchdog: StallWatchdog::new(timeout, now),
            given: 0,
            got: 0,
        }
    }

    /// True once per stall, when it is declared.
    pub(crate) fn observe(&mut self, got: u64, given: u64, at_rest: bool, now: Instant) -> bool {
        if std::mem::replace(&mut self.given, given) != given || at_rest {
            self.got = got;
        }
        self.watchdog.observe(given, at_rest || got == self.got, now)
    }

    /// Whether the stall that was declared goes on.
    pub(crate) fn is_stalled(&self) -> bool {
        self.watchdog.is_stalled()
    }

    /// How long it has given nothing for what it got.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        self.watchdog.silent_for(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    proptest! {
        #[test]
        fn a_counter_that_grows_never_stalls(gaps in prop::collection::vec(0_u64..10_000, 1..100)) {
            let mut now = Instant::now();
            let mut watchdog = StallWatchdog::new(TIMEOUT, now);
            for (count, gap) in (0..).zip(gaps) {
                now += Duration::from_millis(gap);
                prop_assert!(!watchdog.observe(count, false, now));
            }
        }

        #[test]
        fn whatever_is_exempt_never_stalls(gaps in prop::collection::vec(0_u64..10_000, 1..100)) {
            let mut now = Instant::now();
            let mut watchdog = StallWatchdog::new(TIMEOUT, now);
            for gap in gaps {
                now += Duration::from_millis(gap);
                prop_assert!(!watchdog.observe(7, true, now));
            }
        }

        #[test]
        fn a_stall_is_declared_once_however_often_one_looks(step in 1_u64..5_000, looks in 2_u64..200) {
            let start = Instant::now();
            let mut watchdog = StallWatchdog::new(TIMEOUT, start);
            watchdog.observe(7, false, start);
            let declared: Vec<_> = (1..=looks)
                .map(|look| Duration::from_millis(step * look))
                .filter(|after| watchdog.observe(7, false, start + *after))
                .collect();
            let first_late_look = (1..=looks).map(|look| Duration::from_millis(step * look)).find(|after| *after >= TIMEOUT);
            prop_assert_eq!(declared, Vec::from_iter(first_late_look));
        }
    }

    #[test]
    fn progress_after_a_stall_arms_it_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = StallWatchdog::new(TIMEOUT, start);
        assert!(!watchdog.observe(1, false, at(0)));
        assert!(watchdog.observe(1, false, at(2)) && watchdog.is_stalled());
        assert!(!watchdog.observe(2, false, at(3)) && !watchdog.is_stalled());
        assert!(watchdog.observe(2, false, at(5)));
    }
}
