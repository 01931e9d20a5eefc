//! What to give up before giving up.

use std::time::{Duration, Instant};

/// How far an [`Escalation`] goes and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscalationConfig {
    /// How many things can be given up, one after the other; 0: nothing.
    pub rungs: usize,
    /// So long without a failure, and one thing is tried again.
    pub climb_after: Duration,
    /// That wait doubles each time a climb fails, up to this.
    pub climb_cap: Duration,
    /// How one thing is tried again.
    pub climb: Climb,
}

/// How a process gets back what was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Climb {
    /// It is ended in good order and started with one thing more.
    ByRestart,
    /// It lives as well without: whenever it is started next, it has everything.
    AtTheNextStart,
}

impl Default for EscalationConfig {
    /// Nothing to give up.
    fn default() -> Self {
        Self {
            rungs: 0,
            climb_after: Duration::from_secs(60),
            climb_cap: Duration::from_secs(600),
            climb: Climb::ByRestart,
        }
    }
}

/// A ladder: down one rung with each crash loop, up one with each healthy period.
#[derive(Debug, Clone)]
pub struct Escalation {
    config: EscalationConfig,
    rung: usize,
    climb_after: Duration,
    /// From which rung it fell to the last one, if it did not go down step by step.
    fell_from: Option<usize>,
    /// What was climbed to has not been well for long yet.
    climbed: bool,
}

impl Escalation {
    /// A ladder one stands on top of.
    pub fn new(config: EscalationConfig) -> Self {
        Self {
            config,
            rung: 0,
            climb_after: config.climb_after.min(config.climb_cap),
            fell_from: None,
            climbed: false,
        }
    }

    /// How many things are given up now.
    pub fn rung(&self) -> usize {
        self.rung
    }

    /// So much is given up already, as far as there is so much to give up.
    pub fn resume_at(&mut self, rung: usize) {
        self.rung = rung.min(self.config.rungs);
        self.fell_from = None;
    }

    /// One thing more is given up: how many now. `None`: there is nothing left.
    pub fn descend(&mut self) -> Option<usize> {
        self.go_down(self.rung + 1)
    }

    /// Everything is given up, because nothing less would help: how many now. `None`: there is nothing left. The next climb
    /// leads back to where it was.
    pub fn fall(&mut self) -> Option<usize> {
        let from = self.rung;
        let rung = self.go_down(self.config.rungs);
        if rung.is_some() {
            self.fell_from = Some(from);
        }
        rung
    }

    fn go_down(&mut self, rung: usize) -> Option<usize> {
        if self.rung == self.config.rungs {
            return None;
        }
        self.rung = rung;
        self.fell_from = None;
        if std::mem::take(&mut self.climbed) {
            self.climb_after = self.climb_after.saturating_mul(2).min(self.config.climb_cap);
        }
        Some(self.rung)
    }

    /// When to try one thing more, for what has lived since then.
    pub fn climb_due(&self, since: Instant) -> Option<Instant> {
        (self.rung > 0).then(|| since + self.climb_after)
    }

    /// One thing less is given up, or nothing any more: how many now.
    pub fn climb(&mut self) -> usize {
        self.rung = match self.config.climb {
            Climb::ByRestart => self.fell_from.take().unwrap_or(self.rung.saturating_sub(1)),
            Climb::AtTheNextStart => 0,
        };
        self.climbed = true;
        self.rung
    }

    /// Whether it is on trial: a failure now says all there is to know of what was climbed to. What takes it back at its next
    /// start only lives without it until then, and its end says nothing.
    pub fn is_on_trial(&self) -> bool {
        match self.config.climb {
            Climb::ByRestart => self.climbed,
            Climb::AtTheNextStart => false,
        }
    }

    /// It has been well for long; with nothing given up, the next climb need not wait longer than the first.
    pub fn recovered(&mut self) {
        self.climbed = false;
        if self.rung == 0 {
            *self = Self::new(self.config);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_on_the_ladder_whatever_happens(
            rungs in 0_usize..6,
            by_restart in any::<bool>(),
            waits in (1_u64..2_000, 1_u64..2_000),
            moves in prop::collection::vec((0..5, 0_usize..9), 0..100),
        ) {
            let climb = if by_restart { Climb::ByRestart } else { Climb::AtTheNextStart };
            let (climb_after, climb_cap) = (Duration::from_secs(waits.0), Duration::from_secs(waits.1));
            let mut ladder = Escalation::new(EscalationConfig { rungs, climb_after, climb_cap, climb });
            let now = Instant::now();
            for (step, rung) in moves {
                let before = ladder.rung();
                match step {
                    3 => ladder.resume_at(rung),
                    4 => prop_assert_eq!(ladder.fall(), (before < rungs).then_some(rungs)),
                    0 => prop_assert_eq!(ladder.descend(), (before < rungs).then_some(before + 1)),
                    1 => {
                        let up = ladder.climb();
                        prop_assert!(up < before || before == 0);
                        prop_assert!(by_restart || up == 0);
                        prop_assert_eq!(ladder.is_on_trial(), by_restart);
                    }
                    _ => {
                        ladder.recovered();
                        prop_assert!(!ladder.is_on_trial());
                    }
                }
                prop_assert!(ladder.rung() <= rungs);
                let due = ladder.climb_due(now);
                prop_assert_eq!(due.is_some(), ladder.rung() > 0);
                prop_assert!(due.is_none_or(|at| at <= now + climb_cap));
            }
        }
    }

    #[test]
    fn a_fall_gives_up_everything_and_is_undone_at_once() {
        let mut ladder = Escalation::new(EscalationConfig {
            rungs: 3,
            ..EscalationConfig::default()
        });
        assert_eq!(ladder.descend(), Some(1));
        assert_eq!((ladder.fall(), ladder.fall()), (Some(3), None));
        assert_eq!(ladder.climb(), 1);
        assert_eq!((ladder.descend(), ladder.descend()), (Some(2), Some(3)));
        assert_eq!(ladder.climb(), 2, "step by step, as it came");
    }

    #[test]
    fn a_climb_that_fails_makes_the_next_wait_longer_until_all_is_well_on_top() {
        let mut ladder = Escalation::new(EscalationConfig {
            rungs: 1,
            ..EscalationConfig::default()
        });
        let now = Instant::now();
        let wait = |ladder: &Escalation| ladder.climb_due(now).map(|at| (at - now).as_secs());
        ladder.descend();
        assert_eq!(wait(&ladder), Some(60));
        ladder.climb();
        ladder.descend();
        assert_eq!(wait(&ladder), Some(120));
        ladder.climb();
        ladder.recovered();
        ladder.descend();
        assert_eq!(wait(&ladder), Some(60));
    }
}
