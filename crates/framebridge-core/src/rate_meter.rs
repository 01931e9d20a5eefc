//! Measures a rate over the last seconds.

use std::{collections::VecDeque, time::Duration};

/// More than any source gives in a window of some seconds.
const MOST: usize = 1024;

/// Counts what comes at times of any one clock.
#[derive(Debug, Clone)]
pub struct RateMeter {
    window: Duration,
    recent: VecDeque<Duration>,
}

impl RateMeter {
    /// One that looks at the last `window`, and judges by no less than a quarter of it.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            recent: VecDeque::new(),
        }
    }

    /// Takes in one more.
    pub fn add(&mut self, at: Duration) {
        self.recent.push_back(at);
        let window = self.window;
        let old = |first: &Duration| at.saturating_sub(*first) > window;
        // Two are kept of what comes more rarely than once in the window.
        while self.recent.len() > MOST || (self.recent.len() > 2 && self.recent.front().is_some_and(old)) {
            self.recent.pop_front();
        }
    }

    /// How many a second come; `None` before that can be told.
    pub fn a_second(&self) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let span = last.saturating_sub(*first);
        let intervals = u32::try_from(self.recent.len() - 1).unwrap_or(u32::MAX);
        let is_enough = span >= self.window / 4 || (self.recent.len() >= MOST && !span.is_zero());
        is_enough.then(|| f64::from(intervals) / span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_fast_and_slow() {
        let seconds = Duration::from_secs_f64;
        for (interval, wanted) in [
            (7.0, 1.0 / 7.0),
            (1.0, 1.0),
            (0.04, 25.0),
            (0.005, 200.0),
            (0.0001, 10_000.0),
        ] {
            let mut meter = RateMeter::new(seconds(1.0));
            for number in 0..1500 {
                meter.add(seconds(interval) * number);
            }
            let seen = meter.a_second().unwrap();
            assert!((seen / wanted - 1.0).abs() < 0.01, "{seen} of {wanted}");
        }
        assert_eq!(RateMeter::new(Duration::from_secs(1)).a_second(), None);
    }
}
