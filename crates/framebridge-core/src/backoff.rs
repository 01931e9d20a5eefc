//! Computes how long to wait before the next attempt.

use std::time::{Duration, Instant};

use crate::random::Random;

/// Success this many times as long as the wait that would follow has paid that wait off: retries then take less than
/// a tenth of the time, which is what waiting is for. Without this, failures half a minute apart would end at the
/// cap, and each cost its users more than the one before.
const PAID_OFF: u32 = 10;

/// How a [`Backoff`] grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// The delay after the first failure, before jitter.
    pub base: Duration,
    /// What each delay is multiplied with to get the next; below 1 counts as 1.
    pub factor: f64,
    /// The longest delay, before jitter.
    pub cap: Duration,
    /// The share of a delay that chance may take away, 0 to 1: retries of many must not fall together.
    pub jitter: f64,
    /// Delays start from `base` again after success has lasted this long, or ten times the next delay if that
    /// is less.
    pub reset_after: Duration,
}

impl Default for Config {
    /// A supervised process's: quick enough that a viewer hardly notices one crash, slow enough to leave a broken
    /// machine room to breathe.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            factor: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// Delays that grow with each failure in a row and start over after a healthy period.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: Config,
    random: Random,
    /// The next delay before jitter.
    next: Duration,
    /// Since when there has been success, if there is any since the last failure.
    healthy_since: Option<Instant>,
}

impl Backoff {
    /// A backoff whose jitter comes from `seed`.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            next: config.base.min(config.cap),
            healthy_since: None,
        }
    }

    /// It failed: how long to wait before the next try.
    pub fn next_delay(&mut self, now: Instant) -> Duration {
        let healthy = self
            .healthy_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        let enough = self.config.reset_after.min(self.next.saturating_mul(PAID_OFF));
        if healthy.is_some_and(|lasted| lasted >= enough) {
            self.reset();
        }
        let delay = self.next;
        self.next = grow(delay, self.config.factor).min(self.config.cap);
        delay.mul_f64(1.0 - self.config.jitter.clamp(0.0, 1.0) * self.random.fraction())
    }

    /// What is tried next is not what failed: the next delay is the first.
    pub fn reset(&mut self) {
        self.next = self.config.base.min(self.config.cap);
        self.healthy_since = None;
    }

    /// It works. Repeating this does not start the healthy period anew.
    pub fn succeeded(&mut self, now: Instant) {
        self.healthy_since.get_or_insert(now);
    }
}

/// `delay` times `factor`, or the longest there is where that would overflow.
fn grow(delay: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor.max(1.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> impl Strategy<Value = Config> {
        (1_u64..5_000, 0.5_f64..8.0, 1_u64..60_000, 0.0_f64..=1.0, 0_u64..100_000).prop_map(
            |(base, factor, cap, jitter, reset)| Config {
                base: Duration::from_millis(base),
                factor,
                cap: Duration::from_millis(cap),
                jitter,
                reset_after: Duration::from_millis(reset),
            },
        )
    }

    proptest! {
        #[test]
        fn no_delay_exceeds_the_cap(config in config(), seed: u64, failures in 1_usize..200) {
            let now = Instant::now();
            let mut backoff = Backoff::new(config, seed);
            for _ in 0..failures {
                prop_assert!(backoff.next_delay(now) <= config.cap);
            }
        }

        #[test]
        fn delays_never_shrink_without_jitter_and_success(config in config(), seed: u64) {
            let now = Instant::now();
            let mut backoff = Backoff::new(Config { jitter: 0.0, ..config }, seed);
            let delays: Vec<_> = (0..50).map(|_| backoff.next_delay(now)).collect();
            prop_assert!(delays.is_sorted());
            prop_assert_eq!(delays[0], config.base.min(config.cap));
        }

        #[test]
        fn jitter_takes_no_more_than_its_share(config in config(), seed: u64) {
            let now = Instant::now();
            let mut plain = Backoff::new(Config { jitter: 0.0, ..config }, seed);
            let mut spread = Backoff::new(config, seed);
            for _ in 0..50 {
                let (full, part) = (plain.next_delay(now), spread.next_delay(now));
                prop_assert!(part <= full);
                prop_assert!(part.as_secs_f64() >= full.as_secs_f64() * (1.0 - config.jitter) - 1e-6);
            }
        }

        #[test]
        fn starts_over_exactly_when_the_healthy_period_is_complete(
            config in config(),
            seed: u64,
            failures in 1_usize..20,
            short: bool,
        ) {
            let config = Config { jitter: 0.0, ..config };
            let start = Instant::now();
            let mut backoff = Backoff::new(config, seed);
            (0..failures).for_each(|_| { backoff.next_delay(start); });
            let next = backoff.clone().next_delay(start);
            backoff.succeeded(start);
            backoff.succeeded(start + config.reset_after / 2);
            let enough = config.reset_after.min(next * PAID_OFF);
            let lasted = if short { enough.saturating_sub(Duration::from_nanos(1)) } else { enough };
            let expected = if lasted >= enough { config.base.min(config.cap) } else { next };
            prop_assert_eq!(backoff.next_delay(start + lasted), expected);
        }
    }

    #[test]
    fn failures_half_a_minute_apart_wait_no_longer_each_time() {
        let mut backoff = Backoff::new(Config::default(), 7);
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(backoff.next_delay(now) <= Duration::from_millis(200));
            backoff.succeeded(now);
            now += Duration::from_secs(30);
        }
    }
}
