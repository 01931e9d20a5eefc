//! Learns how often a source gives pictures, and so how long it may give none before that is a stall.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A pause shorter than this is within any stall timeout, and needs no learning.
const PAUSE: Duration = Duration::from_millis(500);

/// Pauses that are remembered.
const PAUSES: usize = 16;

/// How long a pause is remembered, at least, and for how many times its own length.
const MEMORY: Duration = Duration::from_secs(60);
const MEMORY_LENGTHS: u32 = 5;

/// No source is waited for longer than this many of its intervals.
const INTERVALS: u32 = 3;

/// What is expected of one source. One [`picture`](Self::picture) for each that comes.
#[derive(Debug, Clone, Default)]
pub struct SourcePace {
    last: Option<Instant>,
    /// The time between two pictures by the source's own word.
    declared: Duration,
    /// When the next picture is due, where that is known.
    due: Option<Instant>,
    pauses: VecDeque<(Instant, Duration)>,
}

impl SourcePace {
    /// One of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in that it was opened, and the time between two pictures by its own word: zero if it has none. What was learnt
    /// of it before stays known.
    pub fn opened(&mut self, declared: Duration) {
        self.declared = declared;
        (self.last, self.due) = (None, None);
    }

    /// Takes in when the next picture is due.
    pub fn expects(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Takes in that a picture came.
    pub fn picture(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let pause = now.saturating_duration_since(last);
            if pause >= PAUSE {
                self.pauses.push_back((now, pause));
            }
        }
        let remembered = |(at, pause): &(Instant, Duration)| {
            now.saturating_duration_since(*at) <= MEMORY.max(*pause * MEMORY_LENGTHS)
        };
        self.pauses.retain(remembered);
        while self.pauses.len() > PAUSES {
            self.pauses.pop_front();
        }
        (self.last, self.due) = (Some(now), None);
    }

    /// The longest time between two pictures that is usual for it: what was seen twice, what it says itself, or what the next
    /// picture's timestamp says. Zero: nothing above half a second.
    pub fn interval(&self) -> Duration {
        let mut pauses: Vec<Duration> = self.pauses.iter().map(|(_, pause)| *pause).collect();
        pauses.sort_unstable();
        let learnt = pauses.iter().rev().nth(1).copied().unwrap_or_default();
        let declared = Some(self.declared).filter(|declared| *declared >= PAUSE);
        let known = match (self.due, self.last) {
            (Some(due), Some(last)) => due.saturating_duration_since(last),
            (None, _) | (_, None) => Duration::ZERO,
        };
        let known = Some(known).filter(|known| *known >= PAUSE);
        learnt.max(declared.unwrap_or_default()).max(known.unwrap_or_default())
    }

    /// How long it may give no picture before that is a stall.
    pub fn patience(&self, stall_timeout: Duration) -> Duration {
        stall_timeout.max(self.interval() * INTERVALS)
    }

    /// Whether it has given no picture for longer than it may.
    pub fn is_overdue(&self, stall_timeout: Duration, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.patience(stall_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(2);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A source that gave pictures at these seconds.
    fn given(at: impl IntoIterator<Item = f64>) -> (SourcePace, Instant) {
        let (mut pace, start) = (SourcePace::new(), Instant::now());
        pace.opened(Duration::ZERO);
        let mut now = start;
        for at in at {
            now = start + Duration::from_secs_f64(at);
            pace.picture(now);
        }
        (pace, now)
    }

    #[test]
    fn a_fast_source_has_the_stall_timeout() {
        let (pace, now) = given((0..100).map(|number| f64::from(number) * 0.04));
        assert_eq!(pace.patience(STALL), STALL);
        assert!(!pace.is_overdue(STALL, now + STALL / 2) && pace.is_overdue(STALL, now + STALL));
    }

    #[test]
    fn a_slow_source_is_waited_for_three_of_its_intervals() {
        let (pace, now) = given((0..5).map(|number| f64::from(number) * 7.0));
        assert_eq!((pace.interval(), pace.patience(STALL)), (seconds(7), seconds(21)));
        assert!(!pace.is_overdue(STALL, now + seconds(20)) && pace.is_overdue(STALL, now + seconds(21)));
    }

    #[test]
    fn what_happened_once_is_an_accident_and_what_happened_twice_a_habit() {
        let (once, _) = given([0.0, 0.04, 6.0, 6.04]);
        assert_eq!(once.patience(STALL), STALL);
        let (twice, _) = given([0.0, 0.04, 6.0, 6.04, 12.0, 12.04]);
        assert!(twice.patience(STALL) > seconds(17));
    }

    #[test]
    fn a_habit_is_forgotten() {
        let slow = (0..4).map(|number| f64::from(number) * 7.0);
        let fast = (0..2000).map(|number| 21.0 + f64::from(number) * 0.04);
        assert_eq!(given(slow.chain(fast)).0.patience(STALL), STALL);
    }

    #[test]
    fn what_the_source_says_and_the_next_timestamp_count_at_once() {
        let (mut pace, start) = (SourcePace::new(), Instant::now());
        pace.opened(seconds(7));
        assert_eq!(pace.patience(STALL), seconds(21));
        pace.opened(Duration::ZERO);
        pace.picture(start);
        pace.expects(start + seconds(8));
        assert!(!pace.is_overdue(STALL, start + seconds(9)));
        pace.picture(start + seconds(8));
        assert_eq!(pace.patience(STALL), STALL);
    }
}
