//! Which pictures of a fast source to keep for a slower stream.

use std::time::Duration;

/// Thins pictures out to a frame rate, evenly. A source that is no faster than the rate loses none.
#[derive(Debug)]
pub struct Cadence {
    interval: u64,
    /// When the next picture is wanted, nanoseconds; `None` before the first.
    next: Option<u64>,
}

impl Cadence {
    /// Keeps `fps` pictures a second.
    pub fn new(fps: u32) -> Self {
        let interval = Duration::from_secs(1) / fps.max(1);
        Self {
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            next: None,
        }
    }

    /// Whether the picture taken at `captured_ns` is one to keep.
    pub fn keeps(&mut self, captured_ns: u64) -> bool {
        // A source at the very rate comes a little early half of the time. Half an interval would let every picture of
        // one twice as fast through.
        let slack = self.interval / 4;
        let due = self.next.is_none_or(|next| captured_ns + slack >= next);
        if due {
            // Counted from when it was wanted, so that the rate holds on average; from now after a gap.
            let wanted = self
                .next
                .filter(|next| captured_ns < next + self.interval)
                .unwrap_or(captured_ns);
            self.next = Some(wanted + self.interval);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fps: u32, source_fps: u64, seconds: u64, jitter: u64) -> usize {
        let mut cadence = Cadence::new(fps);
        (0..source_fps * seconds)
            .filter(|n| cadence.keeps(n * 1_000_000_000 / source_fps + (n % 3) * jitter))
            .count()
    }

    #[test]
    fn a_fast_source_is_thinned_to_the_rate() {
        for (fps, source_fps, jitter) in [(15, 30, 0), (30, 60, 2_000_000), (24, 30, 2_000_000), (1, 60, 0)] {
            let (kept, wanted) = (kept(fps, source_fps, 10, jitter), usize::try_from(fps * 10).unwrap());
            // Ten seconds begin and end somewhere within an interval.
            assert!(kept.abs_diff(wanted) <= 1, "{kept} at {fps} of {source_fps} fps");
        }
    }

    #[test]
    fn a_source_at_the_rate_or_below_it_loses_nothing() {
        assert_eq!(kept(30, 30, 10, 5_000_000), 300);
        assert_eq!(kept(60, 25, 10, 5_000_000), 250);
    }

    #[test]
    fn a_gap_is_not_made_up_for() {
        let mut cadence = Cadence::new(10);
        assert!(cadence.keeps(0));
        assert!(cadence.keeps(5_000_000_000));
        assert!(!cadence.keeps(5_010_000_000));
        assert!(cadence.keeps(5_100_000_000));
    }
}
