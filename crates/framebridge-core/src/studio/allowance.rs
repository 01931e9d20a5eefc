//! Limits how fast one side may send: a rate on average, and a burst at once.

use std::time::{Duration, Instant};

/// What may be taken, in units of the caller's: frames, bytes.
#[derive(Debug)]
pub struct Allowance {
    per_second: u64,
    /// What may be taken at once, as the time in which it comes in.
    at_once: Duration,
    /// When all that was taken has come in.
    paid_at: Option<Instant>,
}

impl Allowance {
    /// So much a second, at least 1, and so much of it at once.
    pub fn new(per_second: u64, at_once: u64) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            at_once: span(at_once, per_second),
            paid_at: None,
        }
    }

    /// Takes `amount`, which is there already; how long to wait until more is taken.
    pub fn take(&mut self, amount: u64, now: Instant) -> Duration {
        let begun = self.paid_at.map_or(now, |paid_at| paid_at.max(now));
        let paid_at = begun + span(amount, self.per_second);
        self.paid_at = Some(paid_at);
        paid_at.saturating_duration_since(now).saturating_sub(self.at_once)
    }
}

/// How long it takes until `amount` has come in; a year at the most, which no amount of ours comes near.
fn span(amount: u64, per_second: u64) -> Duration {
    const YEAR_NS: u128 = 365 * 24 * 3600 * 1_000_000_000;
    let nanoseconds = (u128::from(amount) * 1_000_000_000 / u128::from(per_second)).min(YEAR_NS);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_is_free_and_what_is_beyond_takes_its_time() {
        let (mut allowance, now) = (Allowance::new(10, 20), Instant::now());
        assert_eq!(allowance.take(20, now), Duration::ZERO);
        assert_eq!(allowance.take(5, now), Duration::from_millis(500));
        let later = now + Duration::from_secs(60);
        assert_eq!(allowance.take(20, later), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_never_takes_more_than_the_rate_and_the_burst(
            steps in prop::collection::vec((1_u64..500, 0_u64..2000), 1..100),
        ) {
            let (mut allowance, start) = (Allowance::new(100, 300), Instant::now());
            let (mut now, mut taken) = (start, 0);
            for (amount, idle_ms) in steps {
                now += Duration::from_millis(idle_ms);
                taken += amount;
                now += allowance.take(amount, now);
                let most = 300 + (now - start).as_millis() * 100 / 1000 + 1;
                prop_assert!(u128::from(taken) <= most, "{taken} of {most}");
            }
        }
    }
}
