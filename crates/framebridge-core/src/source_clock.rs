//! Maps a live source's clock to ours: it says when a picture was taken, and when to show one that came in a burst.
//!
//! What is sent at even times arrives unevenly: radio links and cameras hold packets back and let them go together. The
//! source's timestamps still say how far apart the pictures were taken. The *offset* of a picture is how much later it
//! came than its timestamp alone says; the smallest offset of the last seconds is the way without waiting, and a picture
//! that is shown with the largest one was there in time. Both change gently, because a change is a picture shown too soon
//! or too late: only what came later still than all before is followed at once.
//!
//! Timestamps are believed as long as they run as fast as our clock, to a twentieth. A timestamp that goes back, or far
//! ahead of what has come, begins anew.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The length of the pieces in which offsets are looked at: longer than the bursts of any usual link.
const PIECE: Duration = Duration::from_millis(500);

/// Pieces that are remembered: what a link did four seconds ago it may do again.
const PIECES: usize = 8;

/// Pieces after which timestamps are judged.
const JUDGED: usize = 4;

/// The most that pictures are held back to even them out.
const MOST_HELD: i64 = 1_000_000_000;

/// A picture that comes so much earlier or later than its timestamp says belongs to another run of the source's clock.
const JUMP: i64 = 3_000_000_000;

/// Changes are followed by this part of the time that passes, which nobody sees.
const GENTLE: i64 = 20;

/// Where one picture belongs in our time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// When it was taken, as near as can be told: never after it came.
    pub taken: Instant,
    /// When to show it.
    pub due: Instant,
}

/// The machine: one [`observe`](Self::observe) per picture.
#[derive(Debug, Default)]
pub struct SourceClock {
    run: Option<Run>,
}

/// As long as the source's clock goes on.
#[derive(Debug)]
struct Run {
    arrival: Instant,
    timestamp: Duration,
    last: Duration,
    pieces: VecDeque<Piece>,
    /// The offset with which pictures are taken to have been taken, nanoseconds, and that with which they are shown.
    taken: i64,
    shown: i64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    until: Instant,
    smallest: i64,
    largest: i64,
}

impl SourceClock {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in that the picture with `timestamp`, in the source's clock, came at `arrival`. Where it came while another one was
    /// waited for, a later time does no harm.
    pub fn observe(&mut self, timestamp: Option<Duration>, arrival: Instant) -> Timing {
        let at_once = Timing {
            taken: arrival,
            due: arrival,
        };
        let Some(timestamp) = timestamp else {
            self.run = None;
            return at_once;
        };
        let timing = self.run.as_mut().and_then(|run| run.observe(timestamp, arrival));
        timing.unwrap_or_else(|| {
            self.run = Some(Run::new(timestamp, arrival));
            at_once
        })
    }
}

impl Run {
    fn new(timestamp: Duration, arrival: Instant) -> Self {
        Self {
            arrival,
            timestamp,
            last: timestamp,
            pieces: VecDeque::from([Piece {
                until: arrival + PIECE,
                smallest: 0,
                largest: 0,
            }]),
            taken: 0,
            shown: 0,
        }
    }

    /// `None`: the picture does not continue this run.
    fn observe(&mut self, timestamp: Duration, arrival: Instant) -> Option<Timing> {
        let step = nanos(timestamp.checked_sub(self.last).filter(|step| !step.is_zero())?);
        let in_run = timestamp.checked_sub(self.timestamp)?;
        let offset = nanos(arrival.saturating_duration_since(self.arrival)) - nanos(in_run);
        if (offset - self.smallest()?).abs() > JUMP {
            return None;
        }
        self.last = timestamp;
        self.remember(offset, arrival);
        let smallest = self.smallest()?;
        if !self.is_believed() {
            (self.taken, self.shown) = (offset, offset);
            return Some(Timing {
                taken: arrival,
                due: arrival,
            });
        }
        self.taken = smallest.min(self.taken + step / GENTLE);
        let wanted = self.usual_largest().clamp(self.taken, self.taken + MOST_HELD);
        self.shown = wanted.max(self.shown - step / GENTLE).min(self.taken + MOST_HELD);
        let ago = |offset_then: i64| Duration::from_nanos(u64::try_from(offset - offset_then).unwrap_or(0));
        let ahead = Duration::from_nanos(u64::try_from(self.shown - offset).unwrap_or(0));
        Some(Timing {
            taken: arrival.checked_sub(ago(self.taken))?,
            due: arrival + ahead,
        })
    }

    fn remember(&mut self, offset: i64, arrival: Instant) {
        match self.pieces.back_mut() {
            Some(piece) if arrival < piece.until => {
                piece.smallest = piece.smallest.min(offset);
                piece.largest = piece.largest.max(offset);
            }
            Some(_) | None => {
                self.pieces.push_back(Piece {
                    until: arrival + PIECE,
                    smallest: offset,
                    largest: offset,
                });
                if self.pieces.len() > PIECES {
                    self.pieces.pop_front();
                }
            }
        }
    }

    fn smallest(&self) -> Option<i64> {
        self.pieces.iter().map(|piece| piece.smallest).min()
    }

    /// How late pictures come again and again: what one piece alone had was an accident, and what the first of a run has is
    /// mostly a server that begins with what it has kept.
    fn usual_largest(&self) -> i64 {
        let mut largest: Vec<i64> = self.pieces.iter().map(|piece| piece.largest).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        largest.get(1).copied().unwrap_or(i64::MIN)
    }

    /// Whether the timestamps run as fast as our clock.
    fn is_believed(&self) -> bool {
        let (Some(first), Some(last)) = (self.pieces.front(), self.pieces.back()) else {
            return false;
        };
        let passed = nanos(last.until.saturating_duration_since(first.until));
        // A clock that runs wrong moves both; a link or a reader that changed its habits moves one.
        let moved = (last.largest - first.largest)
            .abs()
            .min((last.smallest - first.smallest).abs());
        self.pieces.len() < JUDGED || moved <= (passed / 20).max(MOST_HELD / 2)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: u64 = 40_000;

    /// A source at 25 pictures a second whose clock is `ppm` fast, over a link that lets go each `burst` microseconds and is
    /// `wobble` of late besides. Pictures are read one after the other, each once the one before it was due.
    fn play(seconds: u64, burst: u64, ppm: i64, wobble: &[u64]) -> Vec<(Instant, Timing)> {
        let start = Instant::now();
        let mut clock = SourceClock::new();
        let mut free = start;
        (0..seconds * 25)
            .map(|number| {
                let taken = number * FRAME;
                let late = usize::try_from(number)
                    .ok()
                    .and_then(|number| wobble.get(number % wobble.len().max(1)));
                let sent = taken + late.copied().unwrap_or(0);
                let arrived = sent.div_ceil(burst.max(1)) * burst.max(1);
                let said = i64::try_from(taken).unwrap() * (1_000_000 + ppm) / 1_000_000;
                let arrival = (start + Duration::from_micros(arrived)).max(free);
                let timing = clock.observe(Some(Duration::from_micros(u64::try_from(said).unwrap())), arrival);
                free = timing.due;
                (start + Duration::from_micros(taken), timing)
            })
            .collect()
    }

    fn longest_gap(shown: &[(Instant, Timing)]) -> Duration {
        let gaps = shown.windows(2).map(|pair| pair[1].1.due - pair[0].1.due);
        gaps.max().unwrap()
    }

    fn largest_delay(shown: &[(Instant, Timing)]) -> Duration {
        shown
            .iter()
            .map(|(taken, timing)| timing.due.saturating_duration_since(*taken))
            .max()
            .unwrap()
    }

    #[test]
    fn what_comes_in_bursts_is_shown_evenly_and_no_later_than_a_burst() {
        for burst_ms in [1, 50, 100, 250, 500] {
            let shown = play(30, burst_ms * 1000, 0, &[]);
            let settled = &shown[50..];
            let gap = longest_gap(settled);
            assert!(
                gap <= Duration::from_millis(60),
                "bursts of {burst_ms} ms: a gap of {gap:?}"
            );
            let delay = largest_delay(settled);
            assert!(
                delay <= Duration::from_millis(burst_ms + 5),
                "bursts of {burst_ms} ms: {delay:?} late"
            );
        }
    }

    #[test]
    fn an_even_link_adds_nothing() {
        for (taken, timing) in play(30, 1, 0, &[]) {
            assert_eq!((timing.taken, timing.due), (taken, taken));
        }
    }

    #[test]
    fn a_clock_that_jumps_is_followed_at_once() {
        let start = Instant::now();
        let mut clock = SourceClock::new();
        let mut number = 0_u32;
        let mut at = |clock: &mut SourceClock, base: u64| {
            number += 1;
            let arrival = start + Duration::from_millis(40) * number;
            let timing = clock.observe(
                Some(Duration::from_secs(base) + Duration::from_millis(40) * number),
                arrival,
            );
            (arrival, timing)
        };
        // The last but one is of a camera that has run for 400 days.
        for base in [1000, 500, 90_000, 400 * 86_400, 0] {
            for _ in 0..100 {
                let (arrival, timing) = at(&mut clock, base);
                assert_eq!((timing.taken, timing.due), (arrival, arrival));
            }
        }
    }

    #[test]
    fn timestamps_that_do_not_run_like_time_are_not_believed() {
        let start = Instant::now();
        for step_ms in [0, 20, 80, 400] {
            let mut clock = SourceClock::new();
            for number in 1..500_u32 {
                let arrival = start + Duration::from_millis(40) * number;
                let timing = clock.observe(Some(Duration::from_millis(step_ms) * number), arrival);
                let late = timing.due - arrival;
                assert!(late <= Duration::from_secs(1), "{step_ms} ms a picture: {late:?} late");
                if number > 250 {
                    assert_eq!(late, Duration::ZERO, "{step_ms} ms a picture");
                    let age = arrival - timing.taken;
                    assert!(
                        age <= Duration::from_millis(500),
                        "{step_ms} ms a picture: taken {age:?} ago"
                    );
                }
            }
        }
    }

    #[test]
    fn without_timestamps_pictures_are_shown_as_they_come() {
        let now = Instant::now();
        let mut clock = SourceClock::new();
        assert_eq!(clock.observe(None, now), Timing { taken: now, due: now });
    }

    proptest! {
        #[test]
        fn pictures_stay_in_order_and_delays_within_what_the_link_does(
            burst in 1_u64..300_000, ppm in -200_i64..200, wobble in prop::collection::vec(0_u64..30_000, 1..50),
        ) {
            let shown = play(120, burst, ppm, &wobble);
            for pair in shown.windows(2) {
                prop_assert!(pair[1].1.due >= pair[0].1.due);
                prop_assert!(pair[1].1.taken >= pair[0].1.taken);
                prop_assert!(pair[0].1.taken <= pair[0].1.due);
            }
            let most = Duration::from_micros(burst + 30_000 + 10_000);
            prop_assert!(largest_delay(&shown[50..]) <= most);
        }
    }
}
