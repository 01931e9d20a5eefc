//! Since when what a source shows has not changed, or is black.
//!
//! One that changes by a single digit a second is not still: pictures count as the same only where they are so to the last
//! pixel.

use std::time::{Duration, Instant};

/// What is known of one opened source's pictures. One [`picture`](Self::picture) for each that comes.
#[derive(Debug, Clone, Default)]
pub struct Stillness {
    /// When the picture came that is shown still.
    changed: Option<Instant>,
    black: Option<Instant>,
    last: Option<Instant>,
}

impl Stillness {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a picture: whether it is the `same` as the one before.
    pub fn picture(&mut self, same: bool, now: Instant) {
        if !same || self.changed.is_none() {
            self.changed = Some(now);
        }
        self.last = Some(now);
    }

    /// Takes in whether the last picture is black. One that is looked at now and then is black from one look to the next.
    pub fn looked(&mut self, black: bool, now: Instant) {
        self.black = black.then(|| self.black.unwrap_or(now));
    }

    /// For how long the picture has not changed, as of the last one that came: a source that gives none is silent, not still.
    pub fn unchanged(&self) -> Duration {
        self.since(self.changed)
    }

    /// For how long it has been black.
    pub fn black(&self) -> Duration {
        self.since(self.black)
    }

    fn since(&self, start: Option<Instant>) -> Duration {
        let span = |(start, last): (Instant, Instant)| last.saturating_duration_since(start);
        start.zip(self.last).map(span).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_stays_the_same_is_still_since_it_came_and_any_change_begins_anew() {
        let (mut stillness, start) = (Stillness::new(), Instant::now());
        for second in 0..=130 {
            stillness.picture(second > 0, start + seconds(second));
        }
        assert_eq!(stillness.unchanged(), seconds(130));
        stillness.picture(false, start + seconds(131));
        assert_eq!(stillness.unchanged(), Duration::ZERO);
        stillness.picture(true, start + seconds(135));
        assert_eq!(stillness.unchanged(), seconds(4));
    }

    #[test]
    fn slow_clock_is_never_still() {
        let (mut stillness, start) = (Stillness::new(), Instant::now());
        for tenth in 0..1000_u32 {
            stillness.picture(tenth % 10 != 0, start + Duration::from_millis(100) * tenth);
            assert!(stillness.unchanged() < seconds(1));
        }
    }

    #[test]
    fn black_counts_from_the_first_look_to_the_last_picture() {
        let (mut stillness, start) = (Stillness::new(), Instant::now());
        stillness.picture(false, start);
        stillness.looked(true, start);
        stillness.picture(false, start + seconds(3));
        stillness.looked(true, start + seconds(3));
        assert_eq!((stillness.black(), stillness.unchanged()), (seconds(3), Duration::ZERO));
        stillness.looked(false, start + seconds(4));
        assert_eq!(stillness.black(), Duration::ZERO);
    }
}
