//! Numbers that were measured, and what they come to.

/// Numbers of one kind, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// A sample of these; what is no number is left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// The smallest value that at least `percent` % of the sample do not exceed; NaN of nothing.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sample = Sample::of((1..=20).rev().map(f64::from));
        assert_eq!(
            [0, 50, 95, 100].map(|percent| sample.percentile(percent)),
            [1.0, 10.0, 19.0, 20.0]
        );
        assert!(Sample::of([f64::NAN]).percentile(50).is_nan());
    }
}
