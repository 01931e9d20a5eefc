//! One judge of a stream's health: facts in, one verdict out.
//!
//! `status`, `why`, the journal, the API, a 409 and its Retry-After, and what the studio is told all come from here. The
//! supervisor knows all facts, signaling only some; with fewer facts the verdict is less exact, and never a better one.

mod history;
mod process;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, Instant},
};

use framebridge_proto::{
    encoder::SourceState,
    status::{Condition, FaultKind, Overall, StreamState, StreamStatus},
    supervisor::SourcePace,
};

pub use self::{
    history::{Change, History, SourceMemory},
    process::{ProcessFacts, failed_too_often},
};
use crate::stream::EncoderStall;

/// When to come back to a stream that is being mended, where nobody knows more: opening a source takes about a second.
const SOON: Duration = Duration::from_secs(1);

/// When to come back to a stream that an operator has to mend first.
const HOPELESS: Duration = Duration::from_secs(30);

/// A source with at least this interval is told as slow.
const TOLD_INTERVAL: Duration = Duration::from_millis(1500);

/// A picture that has not changed, or is black, for this long is told so. People who present slides stay on one for less.
const TOLD_STILL: Duration = Duration::from_secs(30);

/// What is known of a stream. `None`: the caller does not know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Its encoder's process, as the supervisor sees it.
    pub process: Option<ProcessFacts<'a>>,
    /// Signaling's process, likewise.
    pub signaling: Option<ProcessFacts<'a>>,
    /// What its encoder says of its source. `None` is a fact here: no encoder says anything.
    pub source: Option<SourceFacts<'a>>,
    /// How its source gives pictures.
    pub pace: Option<SourcePace>,
    /// Which stage of its encoder stands still.
    pub encoder: Option<&'a EncoderStall>,
    /// Whether its frames reach signaling.
    pub ingest: Option<IngestGap>,
    /// For how long the system has taken nothing of what signaling sends, and why.
    pub refusal: Option<(Duration, &'a str)>,
    /// For how long its viewers have been sent none of the frames that came in for them.
    pub egress: Option<Duration>,
    /// What its encoder does without since it failed too often, e.g. `software encoding`.
    pub degradation: Option<&'a str>,
}

/// What an encoder says of its source.
#[derive(Debug, Clone, Copy)]
pub struct SourceFacts<'a> {
    /// The source's state, as it was sent.
    pub state: &'a SourceState,
    /// Time since that was reported.
    pub age: Duration,
    /// Why the last attempt to open it failed, if none has succeeded since: [`SourceMemory`] knows.
    pub failed: Option<&'a str>,
    /// Whether it was seen in an earlier life of its encoder: [`SourceMemory`] knows that, too.
    pub is_known: bool,
}

impl<'a> SourceFacts<'a> {
    /// The source's state: one that only this life of its encoder has not seen is idle.
    fn state(&self) -> &'a SourceState {
        if self.is_known && *self.state == SourceState::Untried {
            &SourceState::Idle
        } else {
            self.state
        }
    }
}

/// Frames that are due and do not reach signaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestGap {
    /// No frame has come for this long, for a reason that the caller can't see.
    Silent(Duration),
    /// The encoder has sent frames for this long, and none has arrived.
    Broken(Duration),
}

/// How a stream is. Its `Display` is the sentence for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What the stream does.
    pub state: StreamState,
    /// Whether it can be watched.
    pub condition: Condition,
    /// What is wrong; `None` exactly where it is well.
    pub fault: Option<FaultKind>,
    /// How it is, in words, without what is done about it.
    pub what: Cow<'static, str>,
    /// What is done about it; empty exactly where it is well.
    pub remedy: Cow<'static, str>,
    /// For how long the fault has lasted, where that is known.
    pub lasted: Option<Duration>,
    /// When what is wrong is tried again, from now, where that is known.
    pub retry_in: Option<Duration>,
}

/// One row's answer: what is wrong.
#[derive(Debug)]
struct Finding {
    kind: FaultKind,
    what: Cow<'static, str>,
    remedy: Cow<'static, str>,
    lasted: Option<Duration>,
    retry_in: Option<Duration>,
}

impl Finding {
    fn new(kind: FaultKind, what: impl Into<Cow<'static, str>>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            what: what.into(),
            remedy: remedy.into(),
            lasted: None,
            retry_in: None,
        }
    }

    fn lasting(self, lasted: Duration) -> Self {
        let lasted = Some(lasted);
        Self { lasted, ..self }
    }

    /// `None`: when that is, nobody knows.
    fn retried_in(self, retry_in: Option<Duration>) -> Self {
        Self { retry_in, ..self }
    }
}

/// A row of the table: what is wrong by the facts that it looks at, if anything is.
type Row = fn(&Facts<'_>, Instant) -> Option<Finding>;

/// What is said first where several things are wrong: what keeps everybody from watching, and then, of what viewers notice,
/// what stands nearest to the source.
const PRECEDENCE: [Row; 13] = [
    process::encoder_down,
    process::signaling_down,
    source_unavailable,
    slate,
    process::encoder_starting,
    encoder_stalled,
    ingest_broken,
    refused,
    viewers_starved,
    frames_missing,
    decodes_too_slowly,
    subscriber_slow,
    degraded,
];

/// Judges a stream by what is known of it `now`.
pub fn judge(facts: &Facts<'_>, now: Instant) -> Health {
    let source = facts.source.map(|source| source.state());
    let state = source.map_or(StreamState::Down, StreamState::from);
    let Some(found) = PRECEDENCE.iter().find_map(|row| row(facts, now)) else {
        return Health {
            state,
            condition: if state == StreamState::Untried {
                Condition::Untried
            } else {
                Condition::Well
            },
            fault: None,
            what: well(source, facts.pace),
            remedy: Cow::Borrowed(""),
            lasted: None,
            retry_in: None,
        };
    };
    let is_remembered =
        found.kind == FaultKind::SourceUnavailable && matches!(state, StreamState::Idle | StreamState::Untried);
    Health {
        state: if is_remembered { StreamState::Unavailable } else { state },
        condition: condition(found.kind),
        fault: Some(found.kind),
        what: found.what,
        remedy: found.remedy,
        lasted: found.lasted,
        retry_in: found.retry_in,
    }
}

/// How bad a fault is.
fn condition(kind: FaultKind) -> Condition {
    match kind {
        FaultKind::EncoderParked
        | FaultKind::EncoderDown
        | FaultKind::SignalingDown
        | FaultKind::SourceUnavailable
        | FaultKind::Slate => Condition::Dark,
        FaultKind::EncoderStarting
        | FaultKind::SourceNeverOpen
        | FaultKind::EncoderWedged
        | FaultKind::SourceSilent
        | FaultKind::IngestBroken
        | FaultKind::Refused
        | FaultKind::ViewersStarved
        | FaultKind::FramesMissing
        | FaultKind::DecodesTooSlowly
        | FaultKind::SubscriberSlow
        | FaultKind::Degraded => Condition::Faulty,
    }
}

fn well(source: Option<&SourceState>, pace: Option<SourcePace>) -> Cow<'static, str> {
    let pace = pace.unwrap_or_default();
    let [interval, unchanged, black] =
        [pace.interval_ms, pace.unchanged_ms, pace.black_ms].map(|millis| Duration::from_millis(millis.into()));
    let words = match source {
        Some(SourceState::Untried) => "never tried: it starts with its first viewer, if its source can be opened",
        Some(SourceState::Idle) => "idle: it starts with its first viewer",
        Some(SourceState::Opening) => "its source is being opened",
        Some(SourceState::Paused) => "paused by its operator",
        Some(SourceState::Live) if black >= TOLD_STILL => return format!("live: black for {}", span(black)).into(),
        Some(SourceState::Live) if unchanged >= TOLD_STILL => {
            return format!("live: unchanged for {}; it may be still", span(unchanged)).into();
        }
        Some(SourceState::Live) if interval >= TOLD_INTERVAL => {
            return format!("live: 1 picture in {:.0} s", interval.as_secs_f64()).into();
        }
        Some(SourceState::Live) => "live",
        // Faults, by the rows above.
        Some(SourceState::Unavailable { .. } | SourceState::UnavailableIdle { .. } | SourceState::Slate { .. })
        | None => "not known",
    };
    words.into()
}

// The rows, but for those of processes.

fn source_unavailable(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let source = facts.source?;
    let next_viewer = "it is tried again with the next viewer";
    let (reason, remedy, retry_in): (&str, Cow<'static, str>, _) = match (source.state, source.failed) {
        (SourceState::Unavailable { reason, retry_in_ms }, _) => {
            let retry_in = Duration::from_millis(*retry_in_ms).saturating_sub(source.age);
            let remedy = format!("next try in {:.0} s", retry_in.as_secs_f64().ceil());
            (reason.as_str(), remedy.into(), Some(retry_in))
        }
        (SourceState::UnavailableIdle { reason, tried_ago_ms }, _) => {
            let tried = Duration::from_millis(*tried_ago_ms).saturating_add(source.age);
            let remedy = format!("last tried {}, {next_viewer}", ago(tried));
            (reason.as_str(), remedy.into(), None)
        }
        (SourceState::Opening, Some(reason)) => (reason, "it is being tried again".into(), None),
        (SourceState::Idle | SourceState::Untried, Some(reason)) => (reason, next_viewer.into(), None),
        (SourceState::Idle | SourceState::Untried | SourceState::Opening, None)
        | (SourceState::Live | SourceState::Paused | SourceState::Slate { .. }, _) => return None,
    };
    Some(
        Finding::new(
            FaultKind::SourceUnavailable,
            format!("source unavailable: {reason}"),
            remedy,
        )
        .retried_in(retry_in),
    )
}

fn slate(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let source = facts.source?;
    let SourceState::Slate { reason, retry_in_ms } = source.state else {
        return None;
    };
    let retry_in = Duration::from_millis(*retry_in_ms).saturating_sub(source.age);
    let seconds = retry_in.as_secs_f64().ceil();
    Some(
        Finding::new(
            FaultKind::Slate,
            reason.clone(),
            format!("viewers see a slate, and the source is tried again in {seconds:.0} s"),
        )
        .retried_in(Some(retry_in)),
    )
}

fn encoder_stalled(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let stall = facts.encoder?;
    let (kind, remedy, lasted) = match *stall {
        EncoderStall::NeverOpen { lasted } => (FaultKind::SourceNeverOpen, "its encoder is being restarted", lasted),
        EncoderStall::Wedged { lasted } => (FaultKind::EncoderWedged, "its encoder is being restarted", lasted),
        EncoderStall::SourceSilent { lasted } => (
            FaultKind::SourceSilent,
            "its encoder opens it again, and is restarted if it does not",
            lasted,
        ),
        EncoderStall::SubscriberSlow => return None,
    };
    Some(Finding::new(kind, stall.to_string(), remedy).lasting(lasted))
}

fn ingest_broken(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let Some(IngestGap::Broken(lasted)) = facts.ingest else {
        return None;
    };
    let seconds = lasted.as_secs();
    Some(
        Finding::new(
            FaultKind::IngestBroken,
            format!("its encoder sends frames, and none has reached signaling for {seconds} s"),
            "its encoder and signaling are restarted one after the other",
        )
        .lasting(lasted),
    )
}

fn refused(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let (lasted, why) = facts.refusal?;
    let seconds = lasted.as_secs();
    Some(
        Finding::new(
            FaultKind::Refused,
            format!("this machine has refused all that signaling sends to viewers for {seconds} s: {why}"),
            "no restart mends that, so look for a firewall or a missing route; signaling goes on sending",
        )
        .lasting(lasted),
    )
}

fn viewers_starved(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let lasted = facts.egress?;
    let seconds = lasted.as_secs();
    Some(
        Finding::new(
            FaultKind::ViewersStarved,
            format!("signaling gets its frames and has sent its viewers none for {seconds} s"),
            "signaling asks for a keyframe again and again",
        )
        .lasting(lasted),
    )
}

fn frames_missing(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let Some(IngestGap::Silent(lasted)) = facts.ingest else {
        return None;
    };
    let seconds = lasted.as_secs_f64();
    Some(
        Finding::new(
            FaultKind::FramesMissing,
            format!("no frame has come from its encoder for {seconds:.1} s"),
            "its encoder opens a silent source again, and the supervisor restarts what is stuck",
        )
        .lasting(lasted),
    )
}

fn decodes_too_slowly(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    facts.source.filter(|source| *source.state == SourceState::Live)?;
    let (decoded, coming) = facts.pace?.decodes?;
    Some(Finding::new(
        FaultKind::DecodesTooSlowly,
        format!("this machine decodes {decoded} of {coming} pictures a second"),
        "pictures are left out, so that it stays current",
    ))
}

fn subscriber_slow(facts: &Facts<'_>, _now: Instant) -> Option<Finding> {
    let stall = facts.encoder.filter(|stall| **stall == EncoderStall::SubscriberSlow)?;
    Some(Finding::new(
        FaultKind::SubscriberSlow,
        stall.to_string(),
        "it is skipped to the next keyframe",
    ))
}

fn degraded(facts: &Facts<'_>, now: Instant) -> Option<Finding> {
    let without = facts.degradation?;
    let snapshot = facts.process.map(|process| process.snapshot);
    let cause = snapshot.and_then(|snapshot| snapshot.last_end.as_ref());
    let why = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let retry_in = snapshot
        .and_then(|snapshot| snapshot.recover_at)
        .map(|at| at.saturating_duration_since(now));
    let remedy = match retry_in {
        Some(wait) => format!("more is tried in {:.0} s if it stays well", wait.as_secs_f64().ceil()).into(),
        None => Cow::Borrowed("more is tried once it has been well for a while"),
    };
    Some(
        Finding::new(
            FaultKind::Degraded,
            format!("with {without}, since its encoder failed too often{why}"),
            remedy,
        )
        .retried_in(retry_in),
    )
}

/// A span of time that has passed, for people.
/// How long something has lasted, in steps that are told as changes no more often than people want to read of it.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{} s", seconds / 10 * 10),
        60..600 if seconds % 60 >= 10 => format!("{minutes} m {} s", seconds % 60 / 10 * 10),
        60..3_600 => format!("{minutes} m"),
        _ => format!("{hours} h {minutes} m"),
    }
}

fn ago(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

impl Health {
    /// Whether it has no fault.
    pub fn is_well(&self) -> bool {
        self.fault.is_none()
    }

    /// Why no picture can be seen now, in words for viewers; `None`: one can, or could as soon as somebody watches.
    pub fn absence(&self) -> Option<&str> {
        let is_absent = match self.fault {
            Some(FaultKind::DecodesTooSlowly | FaultKind::SubscriberSlow | FaultKind::Degraded) => false,
            Some(
                FaultKind::EncoderParked
                | FaultKind::EncoderDown
                | FaultKind::SignalingDown
                | FaultKind::SourceUnavailable
                | FaultKind::Slate
                | FaultKind::EncoderStarting
                | FaultKind::SourceNeverOpen
                | FaultKind::EncoderWedged
                | FaultKind::SourceSilent
                | FaultKind::IngestBroken
                | FaultKind::Refused
                | FaultKind::ViewersStarved
                | FaultKind::FramesMissing,
            ) => true,
            None => matches!(self.state, StreamState::Opening | StreamState::Paused),
        };
        is_absent.then_some(&*self.what)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            None => f.write_str(&self.what),
            Some(FaultKind::Degraded) => write!(f, "{}, {}; {}", self.state, self.what, self.remedy),
            Some(_) => write!(f, "{}; {}", self.what, self.remedy),
        }
    }
}

/// When somebody who is refused a stream with this fault may come back. `retry_in`: when it is tried again, where that is
/// known.
pub fn retry_after(fault: Option<FaultKind>, retry_in: Option<Duration>) -> Duration {
    let unknown = if fault == Some(FaultKind::EncoderParked) {
        HOPELESS
    } else {
        SOON
    };
    retry_in.unwrap_or(unknown)
}

/// Whether a viewer who came now would see a stream's picture, or soon would.
pub fn is_watchable(stream: &StreamStatus) -> bool {
    let is_there = !matches!(stream.state, StreamState::Down | StreamState::Paused);
    is_there && stream.condition != Condition::Dark
}

/// The sum of all streams. `processes_run`: no process is missing. A stream that was never tried spoils nothing: nothing is known
/// against it.
pub fn overall(streams: impl IntoIterator<Item = Condition>, processes_run: bool) -> Overall {
    let (mut best, mut worst) = (Condition::Dark, Condition::Well);
    for condition in streams {
        let condition = if condition == Condition::Untried {
            Condition::Well
        } else {
            condition
        };
        best = best.min(condition);
        worst = worst.max(condition);
    }
    match (best, worst) {
        (Condition::Dark, _) => Overall::Down,
        (Condition::Well, Condition::Well) if processes_run => Overall::Healthy,
        (Condition::Well | Condition::Faulty | Condition::Untried, _) => Overall::Degraded,
    }
}
