//! Decides when a process has failed too often and is left alone for a while.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When a `CrashLoopGuard` parks, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Failures within `window` that park; 0 counts as 1.
    pub failures: usize,
    /// A failure counts until it is this old.
    pub window: Duration,
    /// The first park's length; each further one is twice as long.
    pub cooldown: Duration,
    /// The longest park.
    pub cooldown_cap: Duration,
}

impl Default for Config {
    /// A supervised process's: its failures are parked before their backoff reaches the cap, and a camera or a display that comes
    /// back within half a minute is found without an operator.
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(60),
            cooldown: Duration::from_secs(30),
            cooldown_cap: Duration::from_secs(300),
        }
    }
}

/// Counts failures in a rolling window and says when to park, and until when.
#[derive(Debug, Clone)]
pub(crate) struct CrashLoopGuard {
    config: Config,
    recent: VecDeque<Instant>,
    cooldown: Duration,
}

impl CrashLoopGuard {
    /// A guard that has seen no failure.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            recent: VecDeque::new(),
            cooldown: config.cooldown.min(config.cooldown_cap),
        }
    }

    /// It failed. Until when to park, if this was one failure too many; what failed before is forgotten then, and the
    /// next park is longer, whether this one lasts its time or is ended by hand.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Instant> {
        self.age_out(now);
        self.recent.push_back(now);
        if self.recent.len() < self.config.failures {
            return None;
        }
        let until = now + self.cooldown;
        self.cooldown = self.cooldown.saturating_mul(2).min(self.config.cooldown_cap);
        self.recent.clear();
        Some(until)
    }

    /// It has been well for long enough that the next park is a first one again.
    pub(crate) fn recovered(&mut self) {
        self.cooldown = self.config.cooldown.min(self.config.cooldown_cap);
    }

    /// Failures that still count.
    #[cfg(test)]
    pub(crate) fn recent_failures(&mut self, now: Instant) -> usize {
        self.age_out(now);
        self.recent.len()
    }

    fn age_out(&mut self, now: Instant) {
        let counts = |at: &Instant| now.saturating_duration_since(*at) < self.config.window;
        while self.recent.front().is_some_and(|at| !counts(at)) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> impl Strategy<Value = Config> {
        (1_usize..8, 1_u64..120_000, 1_u64..60_000, 1_u64..600_000).prop_map(|(failures, window, cooldown, cap)| {
            Config {
                failures,
                window: Duration::from_millis(window),
                cooldown: Duration::from_millis(cooldown),
                cooldown_cap: Duration::from_millis(cap),
            }
        })
    }

    proptest! {
        #[test]
        fn one_failure_less_never_parks(config in config(), gaps in prop::collection::vec(0_u64..1_000, 0..8)) {
            let mut guard = CrashLoopGuard::new(config);
            let mut now = Instant::now();
            for gap in gaps.into_iter().take(config.failures - 1) {
                now += Duration::from_millis(gap);
                prop_assert_eq!(guard.failed(now), None);
            }
        }

        #[test]
        fn as_many_at_once_park_for_no_longer_than_the_cap(config in config(), parks in 1_usize..20) {
            let mut guard = CrashLoopGuard::new(config);
            let mut now = Instant::now();
            let mut last = Duration::ZERO;
            for _ in 0..parks {
                let until = (0..config.failures).find_map(|_| guard.failed(now)).expect("parked");
                let length = until - now;
                prop_assert!(length >= last && length <= config.cooldown_cap);
                last = length;
                now = until;
            }
        }

        #[test]
        fn a_failure_ages_out_exactly_at_the_windows_edge(config in config(), early in 0_u64..2) {
            let mut guard = CrashLoopGuard::new(Config { failures: 2, ..config });
            let start = Instant::now();
            guard.failed(start);
            let second = start + config.window - Duration::from_nanos(early);
            prop_assert_eq!(guard.failed(second).is_some(), early == 1);
        }

        #[test]
        fn failures_rarer_than_the_window_never_park(config in config(), count in 1_usize..50) {
            prop_assume!(config.failures > 1);
            let mut guard = CrashLoopGuard::new(config);
            let mut now = Instant::now();
            for _ in 0..count {
                prop_assert_eq!(guard.failed(now), None);
                prop_assert_eq!(guard.recent_failures(now), 1);
                now += config.window;
            }
        }
    }

    #[test]
    fn recovery_makes_the_next_park_short_again() {
        let config = Config {
            failures: 1,
            ..Config::default()
        };
        let mut guard = CrashLoopGuard::new(config);
        let now = Instant::now();
        let length = |guard: &mut CrashLoopGuard| guard.failed(now).map(|until| until - now);
        assert_eq!(length(&mut guard), Some(Duration::from_secs(30)));
        assert_eq!(length(&mut guard), Some(Duration::from_secs(60)));
        guard.recovered();
        assert_eq!(length(&mut guard), Some(Duration::from_secs(30)));
    }
}
