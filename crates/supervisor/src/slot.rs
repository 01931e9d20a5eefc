//! A place for one process: what should run there, what does, and what it last said.

use std::time::{Duration, Instant};

use framebridge_config::{Settings, Stream, Supervise};
use framebridge_core::{BackoffConfig, CrashLoopConfig, Heartbeats, Input, Process, ProcessConfig, State, StreamWatch};
use framebridge_proto::{Role, StreamName, process_name, supervisor::Progress};

use crate::{child::Child, probe::Target};

/// A place for one process. It is empty between two lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For an encoder.
    pub(crate) stream: Option<Stream>,
    pub(crate) process: Process,
    pub(crate) child: Option<Child>,
    /// What it last said in this life.
    pub(crate) report: Option<Report>,
    /// For an encoder.
    pub(crate) watch: Option<StreamWatch>,
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
    let mut slot = |role, stream: Option<&Stream>| Slot {
        name: process_name(role, stream.map(|stream| &stream.name)),
        role,
        stream: stream.cloned(),
        process: Process::new(policy(&settings.supervisor), now, seed()),
        child: None,
        report: None,
        watch: None,
    };
    let mut slots = vec![slot(Role::Signaling, None)];
    slots.extend(settings.streams.iter().map(|stream| slot(Role::Encoder, Some(stream))));
    slots.push(slot(Role::Bridge, None));
    slots
}

fn policy(settings: &Supervise) -> ProcessConfig {
    let defaults = ProcessConfig::default();
    ProcessConfig {
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
        heartbeats: Heartbeats {
            missed: settings.missed_heartbeats,
            stale: settings.stale_heartbeats,
            ..defaults.heartbeats
        },
        probe_failures: settings.probe_failures,
        stop_timeout: settings.stop_timeout,
        ..defaults
    }
}

impl Slot {
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
        self.child = Some(child);
        self.report = None;
        let stall_timeout = self.stream.as_ref().map(|stream| stream.stall_timeout);
        self.watch = stall_timeout.map(|timeout| StreamWatch::new(timeout, now));
    }

    /// Takes in a report of the process that lives here.
    pub(crate) fn report(&mut self, progress: Progress, now: Instant) {
        self.process.handle(Input::Beat, now);
        if let (Progress::Encoder(encoder), Some(watch)) = (&progress, &mut self.watch)
            && watch.observe(encoder, now)
        {
            self.process.handle(
                Input::Wedged {
                    why: watch.verdict().to_string(),
                },
                now,
            );
        }
        self.report = Some(Report { progress, at: now });
    }

    /// Tells it to end, and to be gone after `patience`.
    pub(crate) fn stop(&mut self, patience: Duration, now: Instant) {
        self.process.handle(Input::Stop { patience }, now);
    }
}
