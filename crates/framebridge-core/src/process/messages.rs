//! The inputs and outputs of the [`Process`](crate::process::Process) machine.

use std::{
    fmt,
    time::{Duration, Instant},
};

use framebridge_proto::{exit_code, limits::HEARTBEAT_INTERVAL, status::ProcessState};

use crate::{backoff, crash_loop, degradation};

/// How one kind of process is treated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Waits between restarts.
    pub backoff: backoff::Config,
    /// When restarts stop for a while.
    pub crash_loop: crash_loop::Config,
    /// What can be given up before they stop.
    pub degradation: degradation::Config,
    /// From the start to the first heartbeat.
    pub start_timeout: Duration,
    /// When a missing heartbeat counts as a wedge.
    pub heartbeats: Heartbeats,
    /// Unanswered probes in a row that make it wedged.
    pub probe_failures: u32,
    /// From SIGTERM to SIGKILL where it is stopped in good order.
    pub stop_timeout: Duration,
    /// Likewise where it is restarted on request. Zero: it is killed, because its next life goes on where it was, and a
    /// goodbye would end just that.
    pub restart_timeout: Duration,
    /// From SIGTERM to SIGKILL where it is wedged but still talks: enough to say goodbye, no more.
    pub wedged_stop_timeout: Duration,
}

/// When a process that does not report is wedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeats {
    /// How often one is due.
    pub interval: Duration,
    /// Missed in a row that are a wedge, unless its probes are answered.
    pub missed: u32,
    /// Missed in a row that are a wedge though its probes are answered.
    pub stale: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backoff: backoff::Config::default(),
            crash_loop: crash_loop::Config::default(),
            degradation: degradation::Config::default(),
            start_timeout: Duration::from_secs(10),
            heartbeats: Heartbeats {
                interval: HEARTBEAT_INTERVAL,
                missed: 3,
                stale: 12,
            },
            probe_failures: 3,
            stop_timeout: Duration::from_secs(5),
            restart_timeout: Duration::from_secs(5),
            wedged_stop_timeout: Duration::from_secs(1),
        }
    }
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not wanted.
    Stopped,
    /// Started, and not heard of yet.
    Starting,
    /// Reports.
    Running,
    /// Found wedged, and being ended for it.
    Stalled,
    /// Being ended because somebody wants it.
    Stopping,
    /// Waiting to be started again.
    BackingOff,
    /// Left alone after too many failures, or because starting it again can't help.
    Parked,
}

/// What happened, or what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Wanted: it should run. Does nothing where it is running or about to.
    Start,
    /// Wanted: it should not run.
    Stop {
        /// From SIGTERM to SIGKILL.
        patience: Duration,
    },
    /// Wanted: stop it, if it runs, and start it again at once, parked or not.
    Restart,
    /// The operator's `resume`: start now if parked or waiting, try full quality now if degraded. Does nothing otherwise.
    Resume,
    /// What it is to do has changed, from its next start on: what failed before says nothing of that.
    Changed {
        /// How many things it can do without then.
        steps: usize,
    },
    /// A process of an earlier supervisor is alive and can be had. Only where none runs yet.
    Adopt {
        /// The process.
        pid: u32,
        /// When it was started, by its start time.
        started_at: Instant,
        /// How much it was started without, 0 for nothing.
        step: usize,
    },
    /// [`Output::Spawn`] was carried out.
    Spawned {
        /// The process.
        pid: u32,
    },
    /// [`Output::Spawn`] failed.
    SpawnFailed {
        /// What the system said.
        reason: String,
    },
    /// It is gone, and reaped where it was ours.
    Exited {
        /// The process.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// It reported.
    Beat,
    /// It was asked something from outside, as its users do.
    Probe {
        /// Whether the answer came, and in time.
        answered: bool,
    },
    /// A watch saw that it does not do what it should.
    Wedged {
        /// What the watch saw.
        why: String,
    },
    /// The time that `poll_timeout` named has come.
    Timeout,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Start it; the answer is [`Input::Spawned`] or [`Input::SpawnFailed`].
    Spawn {
        /// How much of what was configured is given up, 0 for nothing.
        step: usize,
    },
    /// Ask its process group to end.
    Terminate {
        /// The process.
        pid: u32,
    },
    /// End its process group.
    Kill {
        /// The process.
        pid: u32,
    },
    /// Tell the journal. There is nothing to carry out.
    Changed(Transition),
}

/// One step in a process's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state that was left.
    pub from: State,
    /// The state that was entered.
    pub to: State,
    /// Why, as the journal says it.
    pub cause: Cause,
}

/// Why a process changed its state. Its `Display` is a sentence's part for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was asked for.
    Asked,
    /// It was alive already when this supervisor started.
    Adopted,
    /// Its first heartbeat came.
    Reported,
    /// It ended.
    Exited(Exit),
    /// It could not be started.
    SpawnFailed(String),
    /// It did not report in time after it was started.
    NeverReported(Duration),
    /// It stopped reporting.
    Silent {
        /// Heartbeats missed.
        missed: u32,
    },
    /// It reports, and does not answer.
    Unanswered {
        /// Probes in a row.
        probes: u32,
    },
    /// It reports, and does not do what it should.
    Wedged(String),
    /// Its wait is over.
    Waited,
    /// It failed too often in too short a time.
    CrashLoop {
        /// How it ended the last time.
        last: Box<Cause>,
    },
    /// It failed too often, and is tried with less.
    Descended {
        /// How much is given up now.
        step: usize,
        /// How it ended the last time.
        last: Box<Cause>,
    },
    /// It has been well with less, and is tried with more.
    Recovering {
        /// How much is given up now.
        step: usize,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status, as far as it can be known.
    pub status: ExitStatus,
    /// What it said itself, last.
    pub last_words: Option<String>,
}

/// The part of [`Exit`] that the kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The kernel ended it for want of memory.
    OutOfMemory {
        /// The limit that it went over, MiB; `None`: the whole machine had no more.
        limit_mib: Option<u64>,
    },
    /// It was no child of ours, and who started it has told nobody.
    Unknown,
}

/// Why a timeout is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The first heartbeat is overdue then.
    StartOverdue,
    /// The next heartbeat is due then.
    HeartbeatDue,
    /// It has been well for long enough to be tried with more.
    RecoveryDue,
    /// It had its time to end by itself.
    KillDue,
    /// The wait before the next start is over.
    BackoffOver,
    /// The cooldown is over.
    ParkOver,
}

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is in its life.
    pub state: State,
    /// When it entered that state.
    pub since: Instant,
    /// Its pid, while there is a process.
    pub pid: Option<u32>,
    /// When it was started, while there is a process.
    pub started_at: Option<Instant>,
    /// Starts after the first, since this supervisor began.
    pub restarts: u64,
    /// Why it last ended, if it ever did other than by request.
    pub last_end: Option<Cause>,
    /// When it last reported in this life.
    pub heartbeat_at: Option<Instant>,
    /// When it is tried again, while it waits; `None` in a park that only a command ends.
    pub next_try_at: Option<Instant>,
    /// How much of what was configured is given up, 0 for nothing.
    pub step: usize,
    /// While it lives without something: when it is tried with more, if it is well until then.
    pub recover_at: Option<Instant>,
}

impl From<State> for ProcessState {
    fn from(state: State) -> Self {
        match state {
            State::Stopped => Self::Stopped,
            State::Starting => Self::Starting,
            State::Running => Self::Running,
            State::Stalled => Self::Stalled,
            State::Stopping => Self::Stopping,
            State::BackingOff => Self::BackingOff,
            State::Parked => Self::Parked,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ProcessState::from(*self).fmt(f)
    }
}

impl Cause {
    /// Whether starting it again can't help: what is wrong is its configuration or its build.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Exited(exit) if exit.status.is_final())
    }

    /// Whether what it takes its pictures from is at fault: to encode them with less would help nothing.
    pub fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Exited(exit) if exit.status.is(exit_code::SOURCE))
    }
}

impl ExitStatus {
    /// Whether it says that starting again can't help. The units say the same (`RestartPreventExitStatus`).
    pub fn is_final(&self) -> bool {
        exit_code::FINAL.iter().any(|code| self.is(*code))
    }

    /// Whether it is this one of [`exit_code`]'s.
    fn is(&self, code: u8) -> bool {
        *self == Self::Code(code.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("on request"),
            Self::Adopted => f.write_str("found alive and adopted"),
            Self::Reported => f.write_str("reported"),
            Self::Exited(exit) => exit.fmt(f),
            Self::SpawnFailed(reason) => write!(f, "could not be started: {reason}"),
            Self::NeverReported(timeout) => write!(f, "no heartbeat within {} s of its start", timeout.as_secs()),
            Self::Silent { missed } => write!(f, "{missed} heartbeats missed"),
            Self::Unanswered { probes } => write!(f, "{probes} probes in a row unanswered under a fresh heartbeat"),
            Self::Wedged(why) => f.write_str(why),
            Self::Waited => f.write_str("its wait is over"),
            Self::CrashLoop { last } => write!(f, "failed too often: {last}"),
            Self::Descended { last, .. } => write!(f, "failed too often, so it is tried with less: {last}"),
            Self::Recovering { .. } => f.write_str("has been well with less, so it is tried with more"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            ExitStatus::Code(code) => write!(f, "exit code {code}")?,
            ExitStatus::Signal(signal) => write!(f, "killed by signal {signal}")?,
            ExitStatus::OutOfMemory { limit_mib: Some(limit) } => {
                write!(f, "killed for want of memory: it may have {limit} MiB")?;
            }
            ExitStatus::OutOfMemory { limit_mib: None } => {
                f.write_str("killed for want of memory: this machine had no more")?;
            }
            // One of ours that ends by itself leaves a word.
            ExitStatus::Unknown => f.write_str("ended without a word, as what is killed does")?,
        }
        self.last_words.as_ref().map_or(Ok(()), |words| write!(f, ": {words}"))
    }
}
