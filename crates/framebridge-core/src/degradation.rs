//! Decides what a failing process does without, step by step, before it is parked.

use std::time::{Duration, Instant};

/// How far a `Degradation` goes and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many things can be given up, one after the other; 0: nothing.
    pub steps: usize,
    /// Time without a failure after which one thing is tried again.
    pub recover_after: Duration,
    /// That wait doubles each time a recovery fails, up to this.
    pub recover_cap: Duration,
    /// How one thing is tried again.
    pub recovery: Recovery,
}

/// How a process gets back what was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It is stopped and started again with one thing more.
    ByRestart,
    /// It runs as well without: nothing is stopped for it, and its next start has everything.
    AtTheNextStart,
}

impl Default for Config {
    /// Nothing to give up.
    fn default() -> Self {
        Self {
            steps: 0,
            recover_after: Duration::from_secs(60),
            recover_cap: Duration::from_secs(600),
            recovery: Recovery::ByRestart,
        }
    }
}

/// What a process does without: a step more with each crash loop, a step less with each healthy period.
#[derive(Debug, Clone)]
pub(crate) struct Degradation {
    config: Config,
    step: usize,
    recover_after: Duration,
    /// The step from which it fell to the last one, if it did not go down step by step.
    degraded_from: Option<usize>,
    /// Something was taken back, and has not yet proved itself.
    on_trial: bool,
}

impl Degradation {
    /// Nothing has been given up yet.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            step: 0,
            recover_after: config.recover_after.min(config.recover_cap),
            degraded_from: None,
            on_trial: false,
        }
    }

    /// How many things are given up now.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Starts at `step`, where an earlier supervisor left the process; at the last step if there are fewer.
    pub(crate) fn resume_at(&mut self, step: usize) {
        self.step = step.min(self.config.steps);
        self.degraded_from = None;
    }

    /// One thing more is given up: how many now. `None`: there is nothing left.
    pub(crate) fn degrade(&mut self) -> Option<usize> {
        self.move_to(self.step + 1)
    }

    /// Everything is given up, because nothing less would help: how many now. `None`: there is nothing left. The next recovery
    /// leads back to where it was.
    pub(crate) fn degrade_fully(&mut self) -> Option<usize> {
        let from = self.step;
        let step = self.move_to(self.config.steps);
        if step.is_some() {
            self.degraded_from = Some(from);
        }
        step
    }

    fn move_to(&mut self, step: usize) -> Option<usize> {
        if self.step == self.config.steps {
            return None;
        }
        self.step = step;
        self.degraded_from = None;
        if std::mem::take(&mut self.on_trial) {
            self.recover_after = self.recover_after.saturating_mul(2).min(self.config.recover_cap);
        }
        Some(self.step)
    }

    /// When to try one thing more, for a process that has run since `since`.
    pub(crate) fn recovery_due(&self, since: Instant) -> Option<Instant> {
        (self.step > 0).then(|| since + self.recover_after)
    }

    /// Takes back one thing, or everything: how many are given up now.
    pub(crate) fn recover(&mut self) -> usize {
        self.step = match self.config.recovery {
            Recovery::ByRestart => self.degraded_from.take().unwrap_or(self.step.saturating_sub(1)),
            Recovery::AtTheNextStart => 0,
        };
        self.on_trial = true;
        self.step
    }

    /// Whether the last recovery is unproven: one failure undoes it. A process that takes everything back at its next start
    /// lives without it until then, so its end proves nothing.
    pub(crate) fn is_on_trial(&self) -> bool {
        match self.config.recovery {
            Recovery::ByRestart => self.on_trial,
            Recovery::AtTheNextStart => false,
        }
    }

    /// It has run well for long. With nothing given up, the next recovery waits no longer than the first did.
    pub(crate) fn proven(&mut self) {
        self.on_trial = false;
        if self.step == 0 {
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
        fn stays_within_its_steps_whatever_happens(
            steps in 0_usize..6,
            by_restart in any::<bool>(),
            waits in (1_u64..2_000, 1_u64..2_000),
            moves in prop::collection::vec((0..5, 0_usize..9), 0..100),
        ) {
            let recovery = if by_restart { Recovery::ByRestart } else { Recovery::AtTheNextStart };
            let (recover_after, recover_cap) = (Duration::from_secs(waits.0), Duration::from_secs(waits.1));
            let mut degradation = Degradation::new(Config { steps, recover_after, recover_cap, recovery });
            let now = Instant::now();
            for (action, step) in moves {
                let before = degradation.step();
                match action {
                    3 => degradation.resume_at(step),
                    4 => prop_assert_eq!(degradation.degrade_fully(), (before < steps).then_some(steps)),
                    0 => prop_assert_eq!(degradation.degrade(), (before < steps).then_some(before + 1)),
                    1 => {
                        let up = degradation.recover();
                        prop_assert!(up < before || before == 0);
                        prop_assert!(by_restart || up == 0);
                        prop_assert_eq!(degradation.is_on_trial(), by_restart);
                    }
                    _ => {
                        degradation.proven();
                        prop_assert!(!degradation.is_on_trial());
                    }
                }
                prop_assert!(degradation.step() <= steps);
                let due = degradation.recovery_due(now);
                prop_assert_eq!(due.is_some(), degradation.step() > 0);
                prop_assert!(due.is_none_or(|at| at <= now + recover_cap));
            }
        }
    }

    #[test]
    fn a_fall_gives_up_everything_and_is_undone_at_once() {
        let mut degradation = Degradation::new(Config {
            steps: 3,
            ..Config::default()
        });
        assert_eq!(degradation.degrade(), Some(1));
        assert_eq!(
            (degradation.degrade_fully(), degradation.degrade_fully()),
            (Some(3), None)
        );
        assert_eq!(degradation.recover(), 1);
        assert_eq!((degradation.degrade(), degradation.degrade()), (Some(2), Some(3)));
        assert_eq!(degradation.recover(), 2, "step by step, as it came");
    }

    #[test]
    fn a_recovery_that_fails_makes_the_next_wait_longer_until_all_is_well_on_top() {
        let mut degradation = Degradation::new(Config {
            steps: 1,
            ..Config::default()
        });
        let now = Instant::now();
        let wait = |degradation: &Degradation| degradation.recovery_due(now).map(|at| (at - now).as_secs());
        degradation.degrade();
        assert_eq!(wait(&degradation), Some(60));
        degradation.recover();
        degradation.degrade();
        assert_eq!(wait(&degradation), Some(120));
        degradation.recover();
        degradation.proven();
        degradation.degrade();
        assert_eq!(wait(&degradation), Some(60));
    }
}
