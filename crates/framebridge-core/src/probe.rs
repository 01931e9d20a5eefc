//! Decides when unanswered probes mean that a process is wedged.

/// Counts failures in a row of one kind of probe against that kind's own threshold.
#[derive(Debug, Clone)]
pub struct ProbeWatch {
    threshold: u32,
    failures: u32,
}

impl ProbeWatch {
    /// A watch that trips at `threshold` failures in a row; 0 counts as 1.
    pub fn new(threshold: u32) -> Self {
        Self {
            threshold: threshold.max(1),
            failures: 0,
        }
    }

    /// One probe's outcome. True exactly when this failure is the one that trips the watch.
    pub fn observe(&mut self, answered: bool) -> bool {
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        self.failures == self.threshold
    }

    /// Whether the threshold is reached and no probe has been answered since.
    pub fn is_tripped(&self) -> bool {
        self.failures >= self.threshold
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn trips_once_per_run_of_failures_that_is_long_enough(
            threshold in 1_u32..20,
            answers in prop::collection::vec(prop::bool::weighted(0.3), 0..300),
        ) {
            let mut watch = ProbeWatch::new(threshold);
            let trips = answers.iter().filter(|answered| watch.observe(**answered)).count();
            let long_runs = answers.split(|answered| *answered).filter(|run| run.len() >= threshold as usize).count();
            prop_assert_eq!(trips, long_runs);
        }

        #[test]
        fn one_answer_forgives_all_failures(threshold in 1_u32..20, failures in 0_u32..50) {
            let mut watch = ProbeWatch::new(threshold);
            (0..failures).for_each(|_| { watch.observe(false); });
            prop_assert_eq!(watch.is_tripped(), failures >= threshold);
            watch.observe(true);
            prop_assert!(!watch.is_tripped());
            prop_assert_eq!(watch.failures(), 0);
        }
    }
}
