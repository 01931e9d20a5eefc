//! Whether a lower rung is to be had from its encoder: one that is refused, or silent while the full one flows, is not.

use std::time::{Duration, Instant};

/// A rung that gives nothing for this long, while the full one does, is silent. An encoder opens in a tenth of that.
const SILENCE: Duration = Duration::from_secs(2);

/// Pictures of the full rung that have to come meanwhile: a source with a picture a second is not silent.
const WITNESSES: u32 = 3;

/// The wait before a rung that was refused or fell silent is asked for again. It doubles each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(80);

/// What happens to a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Somebody needs it, or nobody does any more.
    Wanted(bool),
    /// One of its pictures came.
    Picture,
    /// One of the full rung's came.
    FullPicture,
    /// The encoder says that it is not made.
    Refused,
}

/// Watches one lower rung of a stream.
#[derive(Debug, Default)]
pub struct RungSupply {
    wanted: bool,
    /// Since when nothing of it has come, though it is wanted.
    silent_since: Option<Instant>,
    witnesses: u32,
    absent_until: Option<Instant>,
    wait: Option<Duration>,
}

impl RungSupply {
    /// Takes in what happened. True: it is not to be had from now on.
    pub fn handle(&mut self, input: Input, now: Instant) -> bool {
        match input {
            Input::Wanted(wanted) => {
                if wanted != self.wanted {
                    (self.wanted, self.silent_since, self.witnesses) = (wanted, wanted.then_some(now), 0);
                }
                false
            }
            Input::Picture => {
                (self.silent_since, self.witnesses) = (Some(now), 0);
                (self.absent_until, self.wait) = (None, None);
                false
            }
            Input::FullPicture => {
                let Some(since) = self.silent_since.filter(|_| self.wanted) else {
                    return false;
                };
                self.witnesses = self.witnesses.saturating_add(1);
                let is_silent = now.saturating_duration_since(since) >= SILENCE && self.witnesses >= WITNESSES;
                is_silent && self.lose(now)
            }
            Input::Refused => self.lose(now),
        }
    }

    /// Whether it may be counted on.
    pub fn is_to_be_had(&self, now: Instant) -> bool {
        self.absent_until.is_none_or(|until| now >= until)
    }

    /// When one that is not to be had is asked for again.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.absent_until.filter(|until| *until > now)
    }

    fn lose(&mut self, now: Instant) -> bool {
        if !self.is_to_be_had(now) {
            return false;
        }
        let wait = self.wait.unwrap_or(FIRST_WAIT);
        self.absent_until = Some(now + wait);
        self.wait = Some((wait * 2).min(LONGEST_WAIT));
        (self.silent_since, self.witnesses) = (Some(now), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(40);

    /// Pictures of the full rung for so long, of this one as `flows` says; when it was lost, in seconds from the start.
    fn run(supply: &mut RungSupply, now: &mut Instant, seconds: u32, flows: bool) -> Vec<u64> {
        let start = *now;
        let mut lost = Vec::new();
        for _ in 0..seconds * 25 {
            *now += INTERVAL;
            if flows {
                supply.handle(Input::Picture, *now);
            }
            if supply.handle(Input::FullPicture, *now) {
                lost.push((*now - start).as_secs());
            }
        }
        lost
    }

    #[test]
    fn silent_rung_is_missed_and_asked_for_ever_more_seldom() {
        let (mut supply, mut now) = (RungSupply::default(), Instant::now());
        assert_eq!(run(&mut supply, &mut now, 60, false), [], "nobody wants it");
        supply.handle(Input::Wanted(true), now);
        assert_eq!(run(&mut supply, &mut now, 60, true), []);
        let lost = run(&mut supply, &mut now, 300, false);
        assert_eq!(lost[..4], [2, 7, 17, 37]);
        assert!(!supply.is_to_be_had(now));
        assert!(supply.poll_timeout(now).is_some());
        supply.handle(Input::Picture, now);
        assert!(supply.is_to_be_had(now), "it is there again");
        assert_eq!(
            run(&mut supply, &mut now, 3, false),
            [2],
            "and missed as soon as before"
        );
    }

    #[test]
    fn silence_of_the_whole_stream_is_not_the_rungs() {
        let (mut supply, start) = (RungSupply::default(), Instant::now());
        supply.handle(Input::Wanted(true), start);
        for second in 1..=2 {
            assert!(!supply.handle(Input::FullPicture, start + Duration::from_secs(second * 100)));
        }
        assert!(supply.is_to_be_had(start + Duration::from_secs(300)));
    }

    #[test]
    fn refusal_is_believed_at_once_and_counted_once() {
        let (mut supply, now) = (RungSupply::default(), Instant::now());
        supply.handle(Input::Wanted(true), now);
        assert!(supply.handle(Input::Refused, now));
        assert!(!supply.handle(Input::Refused, now));
        assert!(!supply.is_to_be_had(now + FIRST_WAIT - INTERVAL));
        assert!(supply.is_to_be_had(now + FIRST_WAIT));
    }
}
