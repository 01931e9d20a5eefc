//! A place for one process: what should run there, what does, and what it last said.

use std::time::{Duration, Instant};

use framebridge_config::{Change, Settings, Slate, Stream, Supervise};
use framebridge_core::{
    backoff, crash_loop,
    degradation::Recovery,
    egress::EgressWatch,
    health::{History, SourceMemory, failed_too_often},
    ingest::{self, IngestWatch},
    probe::ProbeWatch,
    process::{self, Heartbeats, Input, Output, Process, Snapshot, State, Transition},
    stream::{EncoderReport, StreamWatch},
};
use framebridge_daemon::since_epoch;
use framebridge_ipc::Peer;
use framebridge_proto::{
    Role, StreamName,
    encoder::SourceState,
    process_name,
    supervisor::{Progress, StreamFlow},
};

use crate::{
    child::Child,
    degradation::{self, Step},
    event::Target,
    journal::Note,
    ledger::Known,
};

/// Reports in a row, 3 s, without a socket after which a process is wedged: it looks for its socket once a second, and a new
/// process binds it a moment after its first report.
const UNREACHABLE_REPORTS: u32 = 6;

/// A place for one process. It is empty between two lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For an encoder: what its stream is called.
    encodes: Option<StreamName>,
    /// For an encoder: its stream, as long as it is wanted.
    pub(crate) stream: Option<Stream>,
    process: Process,
    pub(crate) child: Option<Child>,
    /// Who lives here, as it says itself.
    pub(crate) known: Option<Known>,
    /// What it last said in this life.
    pub(crate) report: Option<Report>,
    /// For an encoder.
    pub(crate) watch: Option<StreamWatch>,
    /// For an encoder: whether its frames reach signaling.
    pub(crate) ingest: Option<IngestWatch>,
    /// For signaling.
    pub(crate) egress: EgressWatch,
    /// Whether others find it.
    reachable: ProbeWatch,
    /// What it can do without, first what hurts least.
    steps: Vec<Step>,
    /// Since when it has not run, though it should.
    absent_since: Option<Instant>,
    /// For an encoder: how its stream was, over all its lives.
    pub(crate) history: History,
    /// Likewise, as hooks were told it.
    pub(crate) told: History,
    /// For an encoder: whether its source could be opened, likewise.
    pub(crate) memory: SourceMemory,
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
    /// How long ago that was.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

/// The places that the settings ask for: signaling, the encoders, the bridge.
pub(crate) fn slots(settings: &Settings, now: Instant, mut seed: impl FnMut() -> u64) -> Vec<Slot> {
    let rules = &settings.supervisor;
    let mut slots = vec![Slot::wanted(Role::Signaling, None, rules, now, seed())];
    for stream in &settings.streams {
        slots.push(Slot::wanted(Role::Encoder, Some(stream), rules, now, seed()));
    }
    slots.push(Slot::wanted(Role::Bridge, None, rules, now, seed()));
    slots
}

/// How a process of `role` is treated that can do without `steps` things.
fn policy(settings: &Supervise, role: Role, steps: usize) -> process::Config {
    let defaults = process::Config::default();
    let policy = process::Config {
        backoff: backoff::Config {
            base: settings.backoff,
            cap: settings.backoff_cap,
            reset_after: settings.healthy_after,
            ..defaults.backoff
        },
        crash_loop: crash_loop::Config {
            failures: usize::try_from(settings.crash_loop_failures).unwrap_or(usize::MAX),
            window: settings.crash_loop_window,
            cooldown: settings.cooldown,
            cooldown_cap: settings.cooldown_cap,
        },
        degradation: framebridge_core::degradation::Config {
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
    process::Config {
        backoff: backoff::Config {
            cap: settings.signaling_backoff_cap,
            ..policy.backoff
        },
        degradation: framebridge_core::degradation::Config {
            recovery: Recovery::AtTheNextStart,
            ..policy.degradation
        },
        restart_timeout: Duration::ZERO,
        wedged_stop_timeout: Duration::ZERO,
        ..policy
    }
}

impl Slot {
    /// An empty place for a process that is wanted: the encoder of `stream`, or the one process of `role`.
    pub(crate) fn wanted(role: Role, stream: Option<&Stream>, rules: &Supervise, now: Instant, seed: u64) -> Self {
        let steps = degradation::steps(role, stream);
        let process = Process::new(policy(rules, role, steps.len()), now, seed);
        let name = process_name(role, stream.map(|stream| &stream.name));
        Self {
            encodes: stream.map(|stream| stream.name.clone()),
            stream: stream.cloned(),
            ingest: stream.map(|stream| IngestWatch::new(stream.stall_timeout, now)),
            steps,
            ..Self::new(name, role, process)
        }
    }

    fn new(name: String, role: Role, process: Process) -> Self {
        Self {
            name,
            role,
            encodes: None,
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
            history: History::default(),
            told: History::default(),
            memory: SourceMemory::default(),
        }
    }

    /// A place for a process that nobody wants any more, until it has ended.
    pub(crate) fn leftover(name: String, now: Instant) -> Self {
        let stream = name.strip_prefix(&process_name(Role::Encoder, None));
        let encodes = stream.and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        let process = Process::new(process::Config::default(), now, 0);
        Self {
            encodes,
            ..Self::new(name, Role::Encoder, process)
        }
    }

    /// Nobody wants its stream any more.
    pub(crate) fn dismiss(&mut self) {
        self.stream = None;
        (self.ingest, self.watch) = (None, None);
    }

    /// It is for this stream from here on, as configured; what was known of the one before means nothing.
    pub(crate) fn reassign(&mut self, stream: &Stream, now: Instant) {
        self.steps = degradation::steps(Role::Encoder, Some(stream));
        self.ingest = Some(IngestWatch::new(stream.stall_timeout, now));
        self.memory = SourceMemory::default();
        self.stream = Some(stream.clone());
        let steps = self.steps.len();
        self.feed(Input::Changed { steps }, now);
    }

    /// Whether nothing lives here, nor is wanted to.
    pub(crate) fn is_free(&self) -> bool {
        self.is_leftover() && self.state() == State::Stopped
    }

    /// What is given up now, first what hurts least.
    pub(crate) fn given_up(&self) -> &[Step] {
        &self.steps[..self.process.snapshot().step.min(self.steps.len())]
    }

    /// The settings of a process that is started `now`, with what is given up left out.
    pub(crate) fn settings(&self, settings: &Settings, now: Instant) -> String {
        settings.for_process(self.role, self.stream_name(), &self.changes(now))
    }

    fn changes(&self, now: Instant) -> Vec<Change> {
        if self.role != Role::Encoder {
            return Vec::new();
        }
        let Snapshot {
            last_end, recover_at, ..
        } = self.process.snapshot();
        let left = recover_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let slate = Slate {
            until: since_epoch() + left,
            reason: failed_too_often("Its encoder", last_end.as_ref()),
        };
        degradation::changes(self.given_up(), &slate)
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

    /// What its stream is or was called, for an encoder.
    pub(crate) fn encodes(&self) -> Option<&StreamName> {
        self.encodes.as_ref()
    }

    /// Its stream's name, for an encoder that is wanted.
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

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.process.snapshot()
    }

    /// When [`Input::Timeout`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.process.poll_timeout().map(|(at, _)| at)
    }

    /// Tells the machine what happened, or what is wanted. [`next_output`](Self::next_output) says what follows.
    pub(crate) fn feed(&mut self, input: Input, now: Instant) {
        self.process.handle(input, now);
    }

    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.process.poll_output()
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

    /// Takes in a report of the process that lives here, and returns why it has to be started again, if it has.
    /// `reachable`: the socket that others find it by is there.
    pub(crate) fn report(&mut self, progress: Progress, reachable: bool, now: Instant) -> Option<String> {
        let unreachable = self.reachable.observe(reachable);
        let unreachable = unreachable.then(|| "its socket is gone, so nobody can reach it".to_owned());
        let as_before = self.is_as_before(&progress);
        let as_before = as_before.then(|| "it runs with the settings of an earlier start".to_owned());
        let wedged = match &progress {
            Progress::Encoder(encoder) => {
                self.memory.observe(&encoder.state);
                self.watch.as_mut().and_then(|watch| {
                    let wedged = watch.observe(encoder, now);
                    wedged.then(|| watch.stall().map_or_else(String::new, ToString::to_string))
                })
            }
            Progress::Signaling(signaling) => self.egress.observe(signaling, now),
            Progress::Bridge(_) => None,
        };
        self.report = Some(Report { progress, at: now });
        unreachable.or(as_before).or(wedged)
    }

    /// Takes in what signaling says of this encoder's stream. Returns which of the two processes to restart, if any, and why.
    pub(crate) fn judge_ingest(&mut self, flow: &StreamFlow, now: Instant) -> Option<(ingest::End, String)> {
        let runs = self.state() == State::Running;
        let encoder = match self.report.as_ref().map(|report| &report.progress) {
            Some(Progress::Encoder(encoder)) if runs => Some(EncoderReport {
                source: &encoder.state,
                stall: self.watch.as_ref().and_then(StreamWatch::stall),
                gap: Duration::from_millis(encoder.pace.gap_ms.into()),
            }),
            Some(Progress::Encoder(_) | Progress::Signaling(_) | Progress::Bridge(_)) | None => None,
        };
        let ingest = self.ingest.as_mut()?;
        let end = ingest.observe(flow, encoder, now)?;
        let seconds = ingest.broken_for().unwrap_or_default().as_secs();
        let stream = &flow.stream;
        Some((
            end,
            format!("pictures of `{stream}` have not reached signaling for {seconds} s"),
        ))
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
            (State::Stalled | State::Stopping, _) => "told to stop".into(),
            (State::BackingOff | State::Parked, Some(wait)) => format!("restarts in {wait:.1} s"),
            (State::BackingOff | State::Parked, None) => format!("left alone until `bridgectl resume {}`", self.name),
        }
    }
}
