//! A place for one process: what should run there, what does, and what it last said.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use framebridge_config::{Settings, Slate, Stream, Supervise};
use framebridge_core::{
    BackoffConfig, CrashLoopConfig, DegradationConfig, EgressWatch, Heartbeats, IngestEnd, IngestWatch, Input,
    ProbeWatch, Process, ProcessConfig, Recovery, Snapshot, State, StreamChange, StreamTrouble, StreamVerdict,
    StreamWatch, Transition,
};
use framebridge_ipc::Peer;
use framebridge_proto::{
    Role, StreamName,
    encoder::SourceState,
    process_name,
    supervisor::{Progress, SignalingProgress, StreamFlow},
};

use crate::{
    child::Child,
    degradation::{self, Overrides, Step},
    journal::Note,
    ledger::Known,
    probe::Target,
};

/// So many reports in a row, 3 s, from a process whose socket is not there: it looks for it once a second, and a new one
/// binds it a moment after its first report.
const UNREACHABLE_REPORTS: u32 = 6;

/// A place for one process. It is empty between two lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For an encoder.
    pub(crate) stream: Option<Stream>,
    pub(crate) process: Process,
    pub(crate) child: Option<Child>,
    /// Who lives here, by its own word.
    pub(crate) known: Option<Known>,
    /// What it last said in this life.
    pub(crate) report: Option<Report>,
    /// For an encoder.
    pub(crate) watch: Option<StreamWatch>,
    /// For an encoder: whether signaling gets what it gives.
    pub(crate) ingest: Option<IngestWatch>,
    /// For signaling.
    pub(crate) egress: EgressWatch,
    /// Whether others find it.
    reachable: ProbeWatch,
    /// What it can do without, first what hurts least.
    steps: Vec<Step>,
    /// Since when it has not run, though it should.
    absent_since: Option<Instant>,
    /// For an encoder: what is wrong with its stream.
    pub(crate) trouble: StreamTrouble,
}

/// Who reports from a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// One that has not reported before.
    First,
    /// The one that reported before.
    Again,
    /// Another one.
    Stranger,
}

/// What a process last said.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) progress: Progress,
    pub(crate) at: Instant,
}

impl Report {
    /// Milliseconds since then.
    pub(crate) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The places that the settings ask for: signaling, the encoders, the bridge.
pub(crate) fn slots(settings: &Settings, now: Instant, mut seed: impl FnMut() -> u64) -> Vec<Slot> {
    let mut slot = |role, stream: Option<&Stream>| {
        let steps = degradation::steps(role, stream);
        let process = Process::new(policy(&settings.supervisor, role, steps.len()), now, seed());
        let name = process_name(role, stream.map(|stream| &stream.name));
        Slot {
            stream: stream.cloned(),
            ingest: stream.map(|stream| IngestWatch::new(stream.stall_timeout, now)),
            steps,
            ..Slot::new(name, role, process)
        }
    };
    let mut slots = vec![slot(Role::Signaling, None)];
    slots.extend(settings.streams.iter().map(|stream| slot(Role::Encoder, Some(stream))));
    slots.push(slot(Role::Bridge, None));
    slots
}

/// How a process of `role` is treated that can do without `steps` things.
fn policy(settings: &Supervise, role: Role, steps: usize) -> ProcessConfig {
    let defaults = ProcessConfig::default();
    let policy = ProcessConfig {
        backoff: BackoffConfig {
            base: settings.backoff,
            cap: settings.backoff_cap,
            reset_after: settings.healthy_after,
            ..defaults.backoff
        },
        crash_loop: CrashLoopConfig {
            failures: usize::try_from(settings.crash_loop_failures).unwrap_or(usize::MAX),
            window: settings.crash_loop_window,
            cooldown: settings.cooldown,
            cooldown_cap: settings.cooldown_cap,
        },
        degradation: DegradationConfig {
            steps,
            recover_after: settings.healthy_after,
            ..defaults.degradation
        },
        heartbeats: Heartbeats {
            missed: settings.missed_heartbeats,
            stale: settings.stale_heartbeats,
            ..defaults.heartbeats
        },
        probe_failures: settings.probe_failures,
        stop_timeout: settings.stop_timeout,
        ..defaults
    };
    if role != Role::Signaling {
        return policy;
    }
    // Every viewer hangs on it, and its next life goes on with them (docs/decisions/0006): it is started soon, and
    // killed where others are told to end.
    ProcessConfig {
        backoff: BackoffConfig {
            cap: settings.signaling_backoff_cap,
            ..policy.backoff
        },
        degradation: DegradationConfig {
            recovery: Recovery::AtTheNextStart,
            ..policy.degradation
        },
        restart_timeout: Duration::ZERO,
        wedged_stop_timeout: Duration::ZERO,
        ..policy
    }
}

impl Slot {
    /// An empty place.
    pub(crate) fn new(name: String, role: Role, process: Process) -> Self {
        Self {
            name,
            role,
            stream: None,
            process,
            child: None,
            known: None,
            report: None,
            watch: None,
            ingest: None,
            egress: EgressWatch::default(),
            reachable: ProbeWatch::new(UNREACHABLE_REPORTS),
            steps: Vec::new(),
            absent_since: None,
            trouble: StreamTrouble::default(),
        }
    }

    /// A place for a process that nobody wants any more, until it has ended.
    pub(crate) fn leftover(name: String, now: Instant) -> Self {
        Self::new(name, Role::Encoder, Process::new(ProcessConfig::default(), now, 0))
    }

    /// What is given up now, first what hurts least.
    pub(crate) fn given_up(&self) -> &[Step] {
        &self.steps[..self.process.snapshot().step.min(self.steps.len())]
    }

    /// How a process that is started `now` has to be told to do without what is given up.
    pub(crate) fn overrides(&self, now: Instant) -> Overrides {
        let Some(stream) = self.stream_name() else {
            return Overrides::default();
        };
        let Snapshot {
            last_end, recover_at, ..
        } = self.process.snapshot();
        let left = recover_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let slate = Slate {
            until: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + left,
            reason: match last_end {
                Some(cause) => format!("Its encoder failed too often: {cause}"),
                None => "Its encoder failed too often".to_owned(),
            },
        };
        degradation::overrides(stream, self.given_up(), &slate)
    }

    /// How much a process with this report was started without, as far as can be told: systemd may have started it, as it
    /// was started last.
    pub(crate) fn step_of(&self, progress: &Progress) -> usize {
        match progress {
            Progress::Encoder(encoder) if matches!(encoder.state, SourceState::Slate { .. }) => self.steps.len(),
            Progress::Encoder(_) | Progress::Signaling(_) | Progress::Bridge(_) => self.given_up().len(),
        }
    }

    /// Whether it shows a slate where it should not, or none where it should: systemd may have started it before it could be
    /// told, or while no supervisor lived, as it was started before.
    fn is_as_before(&self, progress: &Progress) -> bool {
        let (Progress::Encoder(encoder), Some(stream)) = (progress, &self.stream) else {
            return false;
        };
        let shows = matches!(encoder.state, SourceState::Slate { .. });
        let should = self.given_up().len() == self.steps.len();
        shows != should && stream.source.slate().is_none()
    }

    /// Whether what its life leaves is not for the next.
    pub(crate) fn forgets(&self) -> bool {
        self.given_up().iter().any(Step::drops_handover)
    }

    /// Whether it is one that nobody wants any more.
    pub(crate) fn is_leftover(&self) -> bool {
        self.role == Role::Encoder && self.stream.is_none()
    }

    /// Its stream's name, for an encoder.
    pub(crate) fn stream_name(&self) -> Option<&StreamName> {
        self.stream.as_ref().map(|stream| &stream.name)
    }

    /// Whether a process with this role and report belongs here.
    pub(crate) fn is_for(&self, role: Role, progress: &Progress) -> bool {
        let stream = match progress {
            Progress::Encoder(encoder) => Some(&encoder.stream),
            Progress::Signaling(_) | Progress::Bridge(_) => None,
        };
        self.role == role && self.stream_name() == stream
    }

    /// What signaling last said of each stream.
    pub(crate) fn flows(&self) -> &[StreamFlow] {
        match self.report.as_ref().map(|report| &report.progress) {
            Some(Progress::Signaling(signaling)) => &signaling.streams,
            Some(Progress::Encoder(_) | Progress::Bridge(_)) | None => &[],
        }
    }

    /// Where its HTTP can be asked, for signaling once it said so.
    pub(crate) fn probe_target(&self) -> Target {
        let Progress::Signaling(signaling) = &self.report.as_ref()?.progress else {
            return None;
        };
        Some((self.process.snapshot().pid?, signaling.http.parse().ok()?))
    }

    pub(crate) fn state(&self) -> State {
        self.process.snapshot().state
    }

    /// A new life begins: nothing that the one before said holds any more.
    pub(crate) fn occupy(&mut self, child: Child, now: Instant) {
        self.vacate();
        self.child = Some(child);
        self.reachable = ProbeWatch::new(UNREACHABLE_REPORTS);
        let stall_timeout = self.stream.as_ref().map(|stream| stream.stall_timeout);
        self.egress = EgressWatch::default();
        self.watch = stall_timeout.map(|timeout| StreamWatch::new(timeout, now));
    }

    /// Nobody lives here.
    pub(crate) fn vacate(&mut self) {
        (self.child, self.known, self.report) = (None, None, None);
    }

    /// Somebody reports from the process that lives here.
    pub(crate) fn meet(&mut self, peer: &Peer) -> Meeting {
        match self.known {
            Some(known) if known.instance == peer.instance => Meeting::Again,
            Some(_) => Meeting::Stranger,
            None => {
                self.known = Some(Known::of(peer));
                Meeting::First
            }
        }
    }

    /// Takes in a report of the process that lives here. `reachable`: the socket that others find it by is there. What
    /// there is to tell, if its stream fell ill or got well.
    pub(crate) fn report(&mut self, progress: Progress, reachable: bool, now: Instant) -> Option<Note> {
        self.process.handle(Input::Beat, now);
        if self.reachable.observe(reachable) {
            let why = "its socket is gone, so nobody can reach it".to_owned();
            self.process.handle(Input::Wedged { why }, now);
        }
        if self.is_as_before(&progress) {
            let why = "it does what was asked of another life".to_owned();
            self.process.handle(Input::Wedged { why }, now);
        }
        let mut note = None;
        if let (Progress::Encoder(encoder), Some(watch)) = (&progress, &mut self.watch) {
            let wedged = watch.observe(encoder, now);
            let verdict = watch.verdict().clone();
            if wedged {
                self.process.handle(
                    Input::Wedged {
                        why: verdict.to_string(),
                    },
                    now,
                );
            }
            note = self
                .trouble
                .observe(&verdict, now)
                .map(|change| self.tell(change, &verdict));
        }
        if let Progress::Signaling(signaling) = &progress {
            note = self.judge_egress(signaling, now);
        }
        self.report = Some(Report { progress, at: now });
        note
    }

    /// Takes in what signaling says of what it sends. What there is to tell, if the system takes nothing of it any more, or
    /// takes it again.
    fn judge_egress(&mut self, progress: &SignalingProgress, now: Instant) -> Option<Note> {
        let before = self.egress.refused_for(now).map(|(refused, _)| refused);
        if let Some(why) = self.egress.observe(progress, now) {
            self.process.handle(Input::Wedged { why }, now);
        }
        let (what, verdict, action) = match (before, self.egress.refused_for(now)) {
            (None, Some((_, why))) => (
                "sending: well -> refused",
                format!("this machine refuses all that is sent to viewers: {why}"),
                "look for a firewall or a missing route",
            ),
            (Some(_), None) => (
                "sending: refused -> well",
                "it takes it again".to_owned(),
                "nothing to do",
            ),
            (None, None) | (Some(_), Some(_)) => return None,
        };
        Some(Note {
            process: self.name.clone(),
            what: what.to_owned(),
            verdict,
            action: action.to_owned(),
            recovery: before,
        })
    }

    /// Takes in what signaling says of this encoder's stream. Which end of the way between them has to be started anew, if one
    /// has, and why.
    pub(crate) fn judge_ingest(&mut self, flow: &StreamFlow, now: Instant) -> Option<(IngestEnd, String)> {
        let runs = self.state() == State::Running;
        let verdict = self.watch.as_ref().filter(|_| runs).map(StreamWatch::verdict);
        let ingest = self.ingest.as_mut()?;
        let end = ingest.observe(flow, verdict, now)?;
        let seconds = ingest.broken_for().unwrap_or_default().as_secs();
        let stream = &flow.stream;
        Some((
            end,
            format!("pictures of `{stream}` have not reached signaling for {seconds} s"),
        ))
    }

    /// What there is to tell of a change of a stream, which `verdict` brought.
    fn tell(&self, change: StreamChange, verdict: &StreamVerdict) -> Note {
        let [from, to] = [change.from, change.to].map(|fault| fault.unwrap_or("well"));
        Note {
            process: self.name.clone(),
            what: format!("stream {from} -> {to}"),
            verdict: verdict.to_string(),
            action: verdict.remedy().to_owned(),
            recovery: change.recovery,
        }
    }

    /// What there is to tell of a change of the process's state.
    pub(crate) fn change(&mut self, transition: &Transition, now: Instant) -> Note {
        let Transition { from, to, cause } = transition;
        let recovery = match to {
            State::Stalled | State::BackingOff | State::Parked => {
                self.absent_since.get_or_insert(now);
                None
            }
            State::Running | State::Stopped => self
                .absent_since
                .take()
                .map(|since| now.saturating_duration_since(since)),
            State::Starting | State::Stopping => None,
        };
        Note {
            process: self.name.clone(),
            what: format!("{from} -> {to}"),
            verdict: cause.to_string(),
            action: self.remedy(*to, now),
            recovery: recovery.filter(|_| *to == State::Running),
        }
    }

    /// What is done about it in `state`.
    fn remedy(&self, state: State, now: Instant) -> String {
        let wait = self
            .process
            .snapshot()
            .next_try_at
            .map(|at| at.saturating_duration_since(now).as_secs_f64());
        match (state, wait) {
            (State::Running | State::Stopped, _) => "nothing to do".into(),
            (State::Starting, _) => match self.given_up().last() {
                Some(step) => format!("started with {}", step.what),
                None => "started".into(),
            },
            (State::Stalled, _) => "ended, to be started again".into(),
            (State::Stopping, _) => "told to end".into(),
            (State::BackingOff | State::Parked, Some(wait)) => format!("started again in {wait:.1} s"),
            (State::BackingOff | State::Parked, None) => "left alone until somebody resumes it".into(),
        }
    }
}
