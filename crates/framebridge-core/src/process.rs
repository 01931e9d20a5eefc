//! The life of one supervised process: when it is started, judged, stopped, started again or left alone for a while.
//!
//! | state | left by |
//! | --- | --- |
//! | stopped | a command |
//! | starting | the first heartbeat, an exit, a command, the start's deadline |
//! | running | an exit, missed heartbeats, unanswered probes, a wedge that a watch saw, a command |
//! | stalled | the exit, which is made sure of with SIGKILL |
//! | stopping | the exit, which is made sure of with SIGKILL |
//! | backing-off | its delay, a command |
//! | parked | its cooldown, a command |

mod messages;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use messages::{Cause, Config, Exit, ExitStatus, Heartbeats, Input, Output, Reason, Snapshot, State, Transition};

use crate::{
    backoff::Backoff,
    crash_loop::CrashLoopGuard,
    degradation::{Degradation, Recovery},
    probe::ProbeWatch,
};

/// The machine. One per process that should run.
#[derive(Debug)]
pub struct Process {
    config: Config,
    backoff: Backoff,
    guard: CrashLoopGuard,
    degradation: Degradation,
    phase: Phase,
    /// Since when it is in this state.
    since: Instant,
    /// The process there is, from its start to its reaping.
    life: Option<Life>,
    starts: u64,
    last_end: Option<Cause>,
    /// The latest time seen: time does not run backwards here.
    now: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum Phase {
    Stopped,
    Starting { deadline: Instant },
    Running,
    Ending { why: Ending, kill_at: Instant },
    Waiting { parked: bool, until: Option<Instant> },
}

#[derive(Debug, Clone)]
enum Ending {
    /// It failed; what follows is the restart policy's.
    Stalled(Cause),
    /// Somebody wants it to end, and perhaps to start again.
    Wanted { again: bool },
}

#[derive(Debug)]
struct Life {
    /// Not known between [`Output::Spawn`] and its answer.
    pid: Option<u32>,
    started_at: Instant,
    /// The first heartbeat.
    reported_at: Option<Instant>,
    /// The latest heartbeat.
    heartbeat_at: Option<Instant>,
    /// When the next heartbeat counts as missed.
    beat_due: Instant,
    missed: ProbeWatch,
    stale: ProbeWatch,
    probe: ProbeWatch,
    answering: bool,
}

impl Process {
    /// A process that is not wanted yet. `seed` spreads its restarts.
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff, seed),
            guard: CrashLoopGuard::new(config.crash_loop),
            degradation: Degradation::new(config.degradation),
            config,
            phase: Phase::Stopped,
            since: now,
            life: None,
            starts: 0,
            last_end: None,
            now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = self.now.max(now);
        match input {
            Input::Start => self.on_start(),
            Input::Stop { patience } => self.on_stop(patience),
            Input::Restart => self.on_restart(),
            Input::Resume => self.on_resume(),
            Input::Changed { steps } => self.on_changed(steps),
            Input::Adopt { pid, started_at, step } => self.on_adopt(pid, started_at, step),
            Input::Spawned { pid } => self.on_spawned(pid),
            Input::SpawnFailed { reason } => self.on_gone(Cause::SpawnFailed(reason)),
            Input::Exited { pid, exit } => {
                if self.pid() == Some(pid) {
                    self.on_gone(Cause::Exited(exit));
                }
            }
            Input::Beat => self.on_beat(),
            Input::Probe { answered } => self.on_probe(answered),
            Input::Wedged { why } => {
                if matches!(self.phase, Phase::Running) {
                    self.stall(Cause::Wedged(why), self.config.wedged_stop_timeout);
                }
            }
            Input::Timeout => self.on_timeout(),
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        match &self.phase {
            Phase::Stopped | Phase::Waiting { until: None, .. } => None,
            Phase::Starting { deadline } => Some((*deadline, Reason::StartOverdue)),
            Phase::Running => {
                let beat = self.life.as_ref().map(|life| (life.beat_due, Reason::HeartbeatDue));
                let recovery = self.recovery_due().map(|at| (at, Reason::RecoveryDue));
                beat.into_iter().chain(recovery).min_by_key(|(at, _)| *at)
            }
            Phase::Ending { kill_at, .. } => Some((*kill_at, Reason::KillDue)),
            Phase::Waiting {
                parked: false,
                until: Some(until),
            } => Some((*until, Reason::BackoffOver)),
            Phase::Waiting {
                parked: true,
                until: Some(until),
            } => Some((*until, Reason::ParkOver)),
        }
    }

    /// How it stands now.
    pub fn snapshot(&self) -> Snapshot {
        let next_try_at = match self.phase {
            Phase::Waiting { until, .. } => until,
            Phase::Stopped | Phase::Starting { .. } | Phase::Running | Phase::Ending { .. } => None,
        };
        Snapshot {
            state: self.state(),
            since: self.since,
            pid: self.pid(),
            started_at: self.life.as_ref().map(|life| life.started_at),
            restarts: self.starts.saturating_sub(1),
            last_end: self.last_end.clone(),
            heartbeat_at: self.life.as_ref().and_then(|life| life.heartbeat_at),
            next_try_at,
            step: self.degradation.step(),
            recover_at: self.recovery_due(),
        }
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Stopped => State::Stopped,
            Phase::Starting { .. } => State::Starting,
            Phase::Running => State::Running,
            Phase::Ending {
                why: Ending::Stalled(_),
                ..
            } => State::Stalled,
            Phase::Ending {
                why: Ending::Wanted { .. },
                ..
            } => State::Stopping,
            Phase::Waiting { parked: false, .. } => State::BackingOff,
            Phase::Waiting { parked: true, .. } => State::Parked,
        }
    }

    fn pid(&self) -> Option<u32> {
        self.life.as_ref().and_then(|life| life.pid)
    }

    /// Counted from the start and not from the first heartbeat, so that who is started can be told; or from the start to
    /// come.
    fn recovery_due(&self) -> Option<Instant> {
        let start = match (&self.life, &self.phase) {
            (Some(life), _) => life.started_at,
            (None, Phase::Waiting { until: Some(until), .. }) => *until,
            (None, _) => return None,
        };
        self.degradation.recovery_due(start)
    }
}

// What moves it.
impl Process {
    fn on_start(&mut self) {
        match &mut self.phase {
            Phase::Stopped => self.start(Cause::Asked),
            Phase::Ending {
                why: Ending::Wanted { again },
                ..
            } => *again = true,
            Phase::Starting { .. } | Phase::Running | Phase::Ending { .. } | Phase::Waiting { .. } => {}
        }
    }

    fn on_stop(&mut self, patience: Duration) {
        match self.phase {
            Phase::Stopped => {}
            Phase::Waiting { .. } => self.enter(Phase::Stopped, Cause::Asked),
            Phase::Starting { .. } | Phase::Running | Phase::Ending { .. } => self.end(false, patience),
        }
    }

    fn on_restart(&mut self) {
        match self.phase {
            Phase::Stopped | Phase::Waiting { .. } => self.start(Cause::Asked),
            Phase::Starting { .. } | Phase::Running | Phase::Ending { .. } => {
                self.end(true, self.config.restart_timeout);
            }
        }
    }

    fn on_resume(&mut self) {
        match self.phase {
            Phase::Waiting { .. } => self.start(Cause::Asked),
            Phase::Running if self.degradation.step() > 0 => self.recover(),
            Phase::Stopped | Phase::Starting { .. } | Phase::Running | Phase::Ending { .. } => {}
        }
    }

    fn on_changed(&mut self, steps: usize) {
        self.config.degradation.steps = steps;
        self.degradation = Degradation::new(self.config.degradation);
        self.guard = CrashLoopGuard::new(self.config.crash_loop);
        self.backoff.reset();
    }

    fn on_adopt(&mut self, pid: u32, started_at: Instant, step: usize) {
        if self.life.is_none() {
            self.degradation.resume_at(step);
            let life = Life::new(&self.config, Some(pid), self.now);
            self.life = Some(Life { started_at, ..life });
            self.starts += 1;
            self.enter(Phase::Running, Cause::Adopted);
        }
    }

    fn on_spawned(&mut self, pid: u32) {
        let Some(life) = self.life.as_mut().filter(|life| life.pid.is_none()) else {
            return;
        };
        life.pid = Some(pid);
        // Somebody changed their mind while it was being started.
        if matches!(self.phase, Phase::Ending { .. }) {
            self.outputs.push_back(Output::Terminate { pid });
        }
    }

    fn on_beat(&mut self) {
        let Some(life) = &mut self.life else { return };
        life.beat(self.config.heartbeats.interval, self.now);
        if matches!(self.phase, Phase::Starting { .. }) {
            self.enter(Phase::Running, Cause::Reported);
        }
        if matches!(self.phase, Phase::Running) {
            self.backoff.succeeded(self.now);
        }
    }

    fn on_probe(&mut self, answered: bool) {
        let (Phase::Running, Some(life)) = (&self.phase, &mut self.life) else {
            return;
        };
        life.answering = answered;
        if life.probe.observe(answered) {
            let probes = life.probe.failures();
            // At once: told to end, it would say goodbye to those whom its next life can go on serving.
            self.stall(Cause::Unanswered { probes }, Duration::ZERO);
        } else {
            self.judge_silence();
        }
    }

    fn on_timeout(&mut self) {
        let due = self.poll_timeout().filter(|(at, _)| *at <= self.now);
        let Some((_, reason)) = due else { return };
        match reason {
            Reason::StartOverdue => self.stall(Cause::NeverReported(self.config.start_timeout), Duration::ZERO),
            Reason::HeartbeatDue => {
                if let Some(life) = &mut self.life {
                    life.miss(self.config.heartbeats.interval, self.now);
                }
                self.judge_silence();
            }
            Reason::RecoveryDue => self.recover(),
            Reason::KillDue => self.kill(),
            Reason::BackoffOver | Reason::ParkOver => self.start(Cause::Waited),
        }
    }

    /// It is gone, or never came: what follows depends on whether that was wanted.
    fn on_gone(&mut self, cause: Cause) {
        let Some(life) = self.life.take() else { return };
        let ending = if let Phase::Ending { why, .. } = &self.phase {
            Some(why.clone())
        } else {
            None
        };
        match ending {
            Some(Ending::Wanted { again: true }) => self.start(cause),
            Some(Ending::Wanted { again: false }) => self.enter(Phase::Stopped, cause),
            Some(Ending::Stalled(wedge)) => self.on_failure(wedge, &life),
            None => self.on_failure(cause, &life),
        }
    }

    /// The restart policy.
    fn on_failure(&mut self, cause: Cause, life: &Life) {
        self.last_end = Some(cause.clone());
        if cause.is_final() {
            return self.enter(
                Phase::Waiting {
                    parked: true,
                    until: None,
                },
                cause,
            );
        }
        if life.healthy_for(self.now) >= self.config.backoff.reset_after {
            self.guard.recovered();
            self.degradation.proven();
        }
        let parked_until = self.guard.failed(self.now);
        // What was given up was tried again in vain: once tells as much as a crash loop.
        if parked_until.is_none() && !self.degradation.is_on_trial() {
            return self.back_off(cause);
        }
        // Delays that went on growing would keep the next crash loop below the guard's rate for ever.
        self.backoff.reset();
        let step = if cause.is_of_the_source() {
            self.degradation.degrade_fully()
        } else {
            self.degradation.degrade()
        };
        match step {
            Some(step) => {
                // What is tried next is something else, with no park behind it.
                self.guard.recovered();
                self.back_off(Cause::Descended {
                    step,
                    last: Box::new(cause),
                });
            }
            None => {
                let parked = Phase::Waiting {
                    parked: true,
                    until: parked_until.or(Some(self.now)),
                };
                self.enter(parked, Cause::CrashLoop { last: Box::new(cause) });
            }
        }
    }

    fn back_off(&mut self, cause: Cause) {
        let until = self.now + self.backoff.next_delay(self.now);
        self.enter(
            Phase::Waiting {
                parked: false,
                until: Some(until),
            },
            cause,
        );
    }
}

// How it moves.
impl Process {
    fn start(&mut self, cause: Cause) {
        self.life = Some(Life::new(&self.config, None, self.now));
        self.starts += 1;
        self.enter(
            Phase::Starting {
                deadline: self.now + self.config.start_timeout,
            },
            cause,
        );
        self.outputs.push_back(Output::Spawn {
            step: self.degradation.step(),
        });
    }

    /// Ends what lives because it is wanted. Repeated, only `again` changes, and `patience` may shorten.
    fn end(&mut self, again: bool, patience: Duration) {
        let until = self.now + patience;
        let told_to_end = match &mut self.phase {
            Phase::Ending {
                why: Ending::Wanted { again: before },
                kill_at,
            } => {
                *before = again;
                *kill_at = (*kill_at).min(until);
                return;
            }
            // It has no more time than it had.
            Phase::Ending { kill_at, .. } => Some((*kill_at).min(until)),
            Phase::Stopped | Phase::Starting { .. } | Phase::Running | Phase::Waiting { .. } => None,
        };
        self.enter(
            Phase::Ending {
                why: Ending::Wanted { again },
                kill_at: told_to_end.unwrap_or(until),
            },
            Cause::Asked,
        );
        if told_to_end.is_none() {
            self.tell_to_end(patience);
        }
    }

    /// Tries it with one thing more.
    fn recover(&mut self) {
        let step = self.degradation.recover();
        self.tell(Cause::Recovering { step });
        match self.config.degradation.recovery {
            Recovery::ByRestart => self.end(true, self.config.stop_timeout),
            Recovery::AtTheNextStart => {}
        }
    }

    /// Ends what lives because it fails.
    fn stall(&mut self, cause: Cause, patience: Duration) {
        self.enter(
            Phase::Ending {
                why: Ending::Stalled(cause.clone()),
                kill_at: self.now + patience,
            },
            cause,
        );
        self.tell_to_end(patience);
    }

    /// With no time to end by itself it is not even asked.
    fn tell_to_end(&mut self, patience: Duration) {
        if patience.is_zero() {
            self.kill();
        } else if let Some(pid) = self.pid() {
            self.outputs.push_back(Output::Terminate { pid });
        }
    }

    /// Kills, and will again until it is gone.
    fn kill(&mut self) {
        let again_at = self.now + self.config.stop_timeout.max(Duration::from_secs(1));
        if let Phase::Ending { kill_at, .. } = &mut self.phase {
            *kill_at = again_at;
        }
        if let Some(pid) = self.pid() {
            self.outputs.push_back(Output::Kill { pid });
        }
    }

    /// Whether the heartbeats missed so far are a wedge. A process that answers its probes is given longer.
    fn judge_silence(&mut self) {
        let Some(life) = &self.life else { return };
        if (life.missed.is_tripped() && !life.answering) || life.stale.is_tripped() {
            let missed = life.missed.failures();
            self.stall(Cause::Silent { missed }, Duration::ZERO);
        }
    }

    fn enter(&mut self, phase: Phase, cause: Cause) {
        let from = self.state();
        self.phase = phase;
        let to = self.state();
        if from != to {
            self.since = self.now;
        }
        self.outputs.push_back(Output::Changed(Transition { from, to, cause }));
    }

    fn tell(&mut self, cause: Cause) {
        let state = self.state();
        self.outputs.push_back(Output::Changed(Transition {
            from: state,
            to: state,
            cause,
        }));
    }
}

impl Life {
    fn new(config: &Config, pid: Option<u32>, now: Instant) -> Self {
        Self {
            pid,
            started_at: now,
            reported_at: None,
            heartbeat_at: None,
            beat_due: now + config.heartbeats.interval,
            missed: ProbeWatch::new(config.heartbeats.missed),
            stale: ProbeWatch::new(config.heartbeats.stale),
            probe: ProbeWatch::new(config.probe_failures),
            answering: false,
        }
    }

    fn beat(&mut self, interval: Duration, now: Instant) {
        self.reported_at.get_or_insert(now);
        self.heartbeat_at = Some(now);
        self.beat_due = now + interval;
        self.missed.observe(true);
        self.stale.observe(true);
    }

    /// However late this is noticed, it is one heartbeat that was missed: a supervisor that was itself held up must
    /// not take its own absence for others'.
    fn miss(&mut self, interval: Duration, now: Instant) {
        self.beat_due = now + interval;
        self.missed.observe(false);
        self.stale.observe(false);
    }

    /// How long it has been well by `now`.
    fn healthy_for(&self, now: Instant) -> Duration {
        self.reported_at
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
