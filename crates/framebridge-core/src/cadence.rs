//! Chooses which pictures of a fast source a slower stream keeps.

use std::time::{Duration, Instant};

use crate::rate_meter::RateMeter;

/// The window over which a source's rate is judged: bursts and late pictures even out.
const WINDOW: Duration = Duration::from_secs(4);

/// A source counts as faster than the stream from this excess on, and no more below the other: one at the very rate is a little
/// faster half of the time.
const TOO_FAST: f64 = 1.1;
const FAST_NO_MORE: f64 = 1.05;

/// Thins pictures out to a frame rate, evenly. A source that is no faster than the rate loses none, however unevenly
/// its pictures come.
#[derive(Debug)]
pub struct Cadence {
    fps: u32,
    /// When the first picture was taken.
    first: Option<Instant>,
    meter: RateMeter,
    /// Whether pictures are thinned out before anything was seen of the rate.
    at_once: bool,
    /// When the next picture is wanted; `None` while all are.
    next: Option<Instant>,
}

impl Cadence {
    /// Keeps `fps` pictures a second. `even`: the pictures' times are as even as the source itself from the first one on, as those
    /// of files are, and need not be looked at for a while first.
    pub fn new(fps: u32, even: bool) -> Self {
        Self {
            fps: fps.max(1),
            at_once: even,
            first: None,
            meter: RateMeter::new(WINDOW),
            next: None,
        }
    }

    /// Pictures a second that the source gives, as far as it was seen lately.
    pub fn source_fps(&self) -> Option<f64> {
        self.meter.a_second()
    }

    /// Whether the picture taken at `taken` is one to keep.
    pub fn keeps(&mut self, taken: Instant) -> bool {
        let first = *self.first.get_or_insert(taken);
        self.meter.add(taken.saturating_duration_since(first));
        let bound = if self.next.is_some() { FAST_NO_MORE } else { TOO_FAST };
        let is_slow = |source: f64| source < f64::from(self.fps) * bound;
        if self.source_fps().map_or(!self.at_once, is_slow) {
            self.next = None;
            return true;
        }
        let interval = Duration::from_secs(1) / self.fps;
        // Half an interval would let every picture of a source twice as fast through.
        let due = self.next.is_none_or(|next| taken + interval / 4 >= next);
        if due {
            // Counted from when it was wanted, so that the rate holds on average; from now after a gap.
            let wanted = self.next.filter(|next| taken < *next + interval).unwrap_or(taken);
            self.next = Some(wanted + interval);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pictures kept in the `seconds` after the first one.
    fn kept(fps: u32, source_fps: u32, seconds: u32, jitter: Duration) -> usize {
        let (start, mut cadence) = (Instant::now(), Cadence::new(fps, false));
        (0..source_fps * (seconds + 1))
            .filter(|number| {
                let taken = start + Duration::from_secs(1) / source_fps * *number + jitter * (number % 3);
                cadence.keeps(taken) && *number >= source_fps
            })
            .count()
    }

    #[test]
    fn a_fast_source_is_thinned_to_the_rate() {
        let jitter = Duration::from_millis(2);
        for (fps, source_fps, jitter) in [
            (15, 30, Duration::ZERO),
            (30, 60, jitter),
            (24, 30, jitter),
            (1, 60, Duration::ZERO),
            (30, 240, Duration::ZERO),
        ] {
            let (kept, wanted) = (kept(fps, source_fps, 10, jitter), usize::try_from(fps * 10).unwrap());
            // Ten seconds begin and end somewhere within an interval, and the first picture that is looked at is kept.
            assert!(kept.abs_diff(wanted) <= 2, "{kept} at {fps} of {source_fps} fps");
        }
    }

    #[test]
    fn an_even_source_is_thinned_from_its_first_picture_on() {
        let kept = |source_fps: u32| {
            let (start, mut cadence) = (Instant::now(), Cadence::new(10, true));
            let interval = Duration::from_secs(1) / source_fps;
            (0..source_fps)
                .filter(|number| cadence.keeps(start + interval * *number))
                .count()
        };
        assert!((10..=11).contains(&kept(50)));
        assert_eq!(kept(9), 9);
    }

    #[test]
    fn a_gap_is_not_made_up_for() {
        let (start, mut cadence) = (Instant::now(), Cadence::new(10, false));
        for number in 0..40 {
            cadence.keeps(start + Duration::from_millis(25) * number);
        }
        let later = start + Duration::from_secs(5);
        assert!(cadence.keeps(later));
        assert!(
            cadence.source_fps().is_some_and(|fps| fps < 10.0),
            "what was before the gap is no rate"
        );
    }

    proptest! {
        /// However late pictures come, as long as it is by less than a tenth of a second.
        #[test]
        fn a_source_at_the_rate_or_below_it_loses_nothing(
            fps in 10_u32..=60, slower in 0_u32..50, late in prop::collection::vec(0_u64..100, 1..50),
        ) {
            let source_fps = (fps - fps * slower / 100).max(1);
            let (start, mut cadence) = (Instant::now(), Cadence::new(fps, false));
            let mut before = 0;
            for number in 0..source_fps * 20 {
                let taken = u64::from(number) * 1000 / u64::from(source_fps);
                let late = late[usize::try_from(number).unwrap() % late.len()];
                before = (taken + late).max(before);
                prop_assert!(cadence.keeps(start + Duration::from_millis(before)), "number {}", number);
            }
        }
    }
}
