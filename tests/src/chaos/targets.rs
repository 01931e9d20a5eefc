//! What a drill has to reach, and whether it did. Pure.

use std::fmt;

use crate::{
    chaos::{
        drill::Outcome,
        plan::{Daemon, Fault},
    },
    sample::Sample,
};

/// What is asked of all strikes of some kind.
struct Goal {
    name: &'static str,
    concerns: fn(Fault) -> bool,
    /// What counts; `None`: it never came to an end.
    measure: fn(&Outcome) -> Option<u64>,
    unit: &'static str,
    /// Percentiles, and what each may be at most.
    limits: &'static [(usize, u32)],
    /// Whether a single session may be lost.
    keeps_sessions: bool,
}

const GOALS: [Goal; 5] = [
    Goal {
        name: "encoder killed: picture back",
        concerns: |fault| matches!(fault, Fault::Kill(Daemon::Encoder(_))),
        measure: |outcome| outcome.picture_back,
        unit: "ms",
        limits: &[(50, 700), (99, 2_000)],
        keeps_sessions: true,
    },
    Goal {
        name: "encoder frozen: picture back",
        concerns: |fault| matches!(fault, Fault::Freeze(Daemon::Encoder(_))),
        measure: |outcome| outcome.picture_back,
        unit: "ms",
        limits: &[(100, 3_500)],
        keeps_sessions: true,
    },
    Goal {
        name: "bridge or supervisor killed: frames lost",
        concerns: |fault| matches!(fault, Fault::Kill(Daemon::Bridge | Daemon::Supervisor)),
        measure: |outcome| Some(outcome.frames_lost),
        unit: "frames",
        limits: &[(100, 0)],
        keeps_sessions: true,
    },
    Goal {
        name: "signaling killed: picture back in the same session",
        concerns: |fault| fault == Fault::Kill(Daemon::Signaling),
        measure: |outcome| outcome.picture_back,
        unit: "ms",
        limits: &[(95, 1_000)],
        keeps_sessions: true,
    },
    Goal {
        name: "HTTP listener dead under a fresh heartbeat: HTTP back",
        concerns: |fault| fault == Fault::CloseListener,
        measure: |outcome| outcome.healthy,
        unit: "ms",
        limits: &[(100, 5_000)],
        keeps_sessions: true,
    },
];

/// A goal and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What was asked.
    pub wanted: String,
    /// What was measured, for people.
    pub measured: String,
    /// Whether that is good enough; `None`: it was not tried.
    pub reached: Option<bool>,
}

/// What became of every goal in these strikes.
pub fn judge(outcomes: &[Outcome]) -> Vec<Target> {
    GOALS.iter().map(|goal| goal.judge(outcomes)).collect()
}

impl Goal {
    fn judge(&self, outcomes: &[Outcome]) -> Target {
        let strikes: Vec<_> = outcomes
            .iter()
            .filter(|outcome| (self.concerns)(outcome.fault))
            .collect();
        let values: Vec<_> = strikes.iter().map(|strike| (self.measure)(strike)).collect();
        let known = values.iter().filter_map(|value| u32::try_from((*value)?).ok());
        let sample = Sample::of(known.map(f64::from));
        let sessions_lost: u64 = strikes.iter().map(|strike| strike.sessions_lost).sum();
        let within = |(percent, limit): &(usize, u32)| sample.percentile(*percent) <= f64::from(*limit);
        let ended = values.iter().all(Option::is_some);
        let reached = ended && self.limits.iter().all(within) && !(self.keeps_sessions && sessions_lost > 0);
        let shown = [50, 95, 99, 100].map(|percent| format!("{:.0}", sample.percentile(percent)));
        Target {
            wanted: self.to_string(),
            measured: if strikes.is_empty() {
                "not tried".into()
            } else {
                format!(
                    "p50/p95/p99/max {} {}, {sessions_lost} sessions lost, {} times",
                    shown.join(" / "),
                    self.unit,
                    strikes.len()
                )
            },
            reached: (!strikes.is_empty()).then_some(reached),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (percent, limit) in self.limits {
            match percent {
                100 => write!(f, ", at most {limit} {}", self.unit)?,
                percent => write!(f, ", p{percent} at most {limit} {}", self.unit)?,
            }
        }
        if self.keeps_sessions {
            f.write_str(", no session lost")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::Stream;

    fn outcome(fault: Fault, picture_back: Option<u64>, sessions_lost: u64) -> Outcome {
        Outcome {
            fault,
            at_s: 1.0,
            detected: None,
            picture_back,
            healthy: Some(4_000),
            sessions_lost,
            frames_lost: 0,
            freeze: 0,
            unmended: None,
        }
    }

    fn reached(outcomes: &[Outcome]) -> [Option<bool>; 5] {
        let targets = judge(outcomes);
        std::array::from_fn(|at| targets[at].reached)
    }

    #[test]
    fn goal_is_judged_by_its_own_strikes_only() {
        let killed = Fault::Kill(Daemon::Encoder(Stream::Test));
        let frozen = Fault::Freeze(Daemon::Encoder(Stream::Desk));
        assert_eq!(reached(&[]), [None; 5]);
        let good = [outcome(killed, Some(700), 0), outcome(frozen, Some(3_500), 0)];
        assert_eq!(reached(&good)[..3], [Some(true), Some(true), None]);
        let slow = [outcome(killed, Some(300), 0), outcome(frozen, Some(3_501), 0)];
        assert_eq!(reached(&slow)[..2], [Some(true), Some(false)]);
        let lost = [outcome(killed, Some(300), 1), outcome(frozen, None, 0)];
        assert_eq!(reached(&lost)[..2], [Some(false), Some(false)]);
        assert_eq!(reached(&[outcome(Fault::CloseListener, None, 0)])[4], Some(true));
    }

    #[test]
    fn every_percentile_counts() {
        let killed = Fault::Kill(Daemon::Encoder(Stream::Test));
        let mut strikes = vec![outcome(killed, Some(600), 0); 99];
        strikes.push(outcome(killed, Some(9_000), 0));
        assert_eq!(reached(&strikes)[0], Some(true));
        strikes.push(outcome(killed, Some(9_000), 0));
        assert_eq!(reached(&strikes)[0], Some(false));
        let targets = judge(&strikes);
        assert!(
            targets[0].measured.contains("600 / 600 / 9000 / 9000 ms"),
            "{}",
            targets[0].measured
        );
        assert!(
            targets[0]
                .wanted
                .contains("p50 at most 700 ms, p99 at most 2000 ms, no session lost")
        );
    }
}
