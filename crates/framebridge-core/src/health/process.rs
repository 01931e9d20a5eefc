//! Says what the state of a process means for a stream.

use std::{borrow::Cow, time::Instant};

use framebridge_proto::status::FaultKind;

use super::{Facts, Finding};
use crate::process::{Cause, Snapshot, State};

/// A process, as its supervisor sees it.
#[derive(Debug, Clone, Copy)]
pub struct ProcessFacts<'a> {
    /// Its name, as `bridgectl` takes it.
    pub name: &'a str,
    /// How it is.
    pub snapshot: &'a Snapshot,
}

/// Why `subject` is left alone for a while, in words for viewers and operators.
pub fn failed_too_often(subject: &str, last: Option<&Cause>) -> String {
    format!("{subject} failed too often{}", because(last))
}

pub(super) fn encoder_down(facts: &Facts<'_>, now: Instant) -> Option<Finding> {
    match facts.process {
        Some(process) if process.snapshot.state == State::Starting => None,
        Some(process) => {
            let is_parked = process.snapshot.state == State::Parked;
            let kind = if is_parked {
                FaultKind::EncoderParked
            } else {
                FaultKind::EncoderDown
            };
            absence("its encoder", process, kind, now)
        }
        None if facts.source.is_some() => None,
        None => Some(Finding::new(
            FaultKind::EncoderDown,
            "its encoder is not reachable",
            "the supervisor starts it, and signaling connects to it then",
        )),
    }
}

pub(super) fn signaling_down(facts: &Facts<'_>, now: Instant) -> Option<Finding> {
    let found = absence("signaling", facts.signaling?, FaultKind::SignalingDown, now)?;
    Some(Finding {
        what: format!("nobody can watch: {}", found.what).into(),
        ..found
    })
}

pub(super) fn encoder_starting(facts: &Facts<'_>, now: Instant) -> Option<Finding> {
    let process = facts.process?;
    if process.snapshot.state == State::Starting {
        return absence("its encoder", process, FaultKind::EncoderStarting, now);
    }
    facts.source.is_none().then(|| {
        Finding::new(
            FaultKind::EncoderStarting,
            "its encoder has not told how its source is",
            "waiting for its first report",
        )
    })
}

/// Why `subject` does not run, since when, and what follows; `None`: it runs.
fn absence(subject: &str, process: ProcessFacts<'_>, kind: FaultKind, now: Instant) -> Option<Finding> {
    let ProcessFacts { name, snapshot } = process;
    let lasted = now.saturating_duration_since(snapshot.since);
    let retry_in = snapshot.next_try_at.map(|at| at.saturating_duration_since(now));
    let (since, wait) = (lasted.as_secs_f64(), retry_in.unwrap_or_default().as_secs_f64());
    let last = snapshot.last_end.as_ref();
    let (what, remedy): (String, Cow<'static, str>) = match (snapshot.state, retry_in) {
        (State::Running, _) => return None,
        (State::Starting, _) => (
            format!(
                "{subject} is starting{}",
                last.map_or_else(String::new, |last| format!(" again: {last}"))
            ),
            format!("started {since:.1} s ago, waiting for its first report").into(),
        ),
        (State::Stalled, _) => (
            format!("{subject} is stalled{}", because(last)),
            format!("told to stop {since:.1} s ago").into(),
        ),
        (State::Stopping, _) => (
            format!("{subject} is stopping on request"),
            format!("told to stop {since:.1} s ago").into(),
        ),
        (State::Stopped, _) => (
            format!("{subject} is stopped on request"),
            format!("left alone until `bridgectl restart {name}`").into(),
        ),
        (State::BackingOff, _) => (
            format!("{subject} ended{}", because(last)),
            format!("restarts in {wait:.1} s").into(),
        ),
        (State::Parked, Some(_)) => (
            failed_too_often(subject, last),
            format!("parked for {since:.0} s, next try in {wait:.0} s").into(),
        ),
        (State::Parked, None) => (
            format!("{subject} ended{}", because(last)),
            format!("no restart helps: mend it, then `bridgectl resume {name}`").into(),
        ),
    };
    Some(Finding::new(kind, what, remedy).lasting(lasted).retried_in(retry_in))
}

fn because(last: Option<&Cause>) -> String {
    last.map_or_else(String::new, |last| format!(": {last}"))
}
