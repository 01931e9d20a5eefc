//! How fast a viewer's packets go out: at once as long as its link has not shown where its limit is, and spread where that is
//! near: there a picture at once would be a queue.

use std::time::{Duration, Instant};

/// A link has plenty from so many times of the stream's rate on.
const PLENTY: f64 = 2.5;
/// Packets go out at so many times of the stream's rate: a picture takes less than half of its time, so that one of twice the
/// size takes no longer than that.
const PACE: f64 = 2.5;
/// What may go at once, at least: some packets, ...
const LEAST_AT_ONCE: f64 = 3.0 * 1_200.0;
/// ... and what is earned in so long: less than a timer's step would slow it down.
const AT_ONCE: Duration = Duration::from_millis(8);
/// A slower pace than this saves nobody a queue. Bits per second.
const SLOWEST: f64 = 400_000.0;

/// A viewer's pace.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that may go now.
    earned: f64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            earned: LEAST_AT_ONCE,
            since: now,
        }
    }

    /// How many full packets may go now, where the stream has `rate` and the link is known to carry no more than `estimate`;
    /// `None`: all.
    pub(super) fn allowance(&mut self, rate: f64, estimate: Option<f64>, now: Instant) -> Option<u64> {
        if estimate.is_none_or(|estimate| estimate >= rate * PLENTY) {
            return None;
        }
        let pace = (rate * PACE).max(SLOWEST) / 8.0;
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        let most = (pace * AT_ONCE.as_secs_f64()).max(LEAST_AT_ONCE);
        self.earned = (self.earned + pace * passed).min(most);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and bounded"
        )]
        let packets = (self.earned.max(0.0) / 1_200.0) as u64;
        Some(packets)
    }

    /// So many bytes went.
    pub(super) fn on_sent(&mut self, bytes: u32) {
        self.earned -= f64::from(bytes).min(self.earned + LEAST_AT_ONCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many packets go in each of ten steps of 4 ms, if there are enough.
    fn steps(estimate: Option<f64>) -> Vec<u64> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        (0..10)
            .map(|_| {
                let packets = pace.allowance(2_500_000.0, estimate, now).unwrap_or(64);
                pace.on_sent(u32::try_from(packets * 1_200).unwrap());
                now += Duration::from_millis(4);
                packets
            })
            .collect()
    }

    #[test]
    fn packets_are_spread_where_the_link_has_little_more_than_the_stream() {
        assert_eq!(steps(None), [64; 10]);
        assert_eq!(steps(Some(10_000_000.0)), [64; 10]);
        let spread = steps(Some(3_000_000.0));
        assert!(spread.iter().all(|packets| *packets <= 3), "{spread:?}");
        // 36 ms at 6.25 Mb/s, and what goes at once.
        assert!((22..=27).contains(&spread.iter().sum::<u64>()), "{spread:?}");
    }
}
