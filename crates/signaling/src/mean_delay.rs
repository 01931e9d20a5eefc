//! How long frames take, averaged between two looks.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use framebridge_proto::millis;
use framebridge_rtc::DelayStats;

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

#[cfg(test)]
mod tests {
    use super::*;

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
