//! Ends the process when a step of capture or encoding hangs where FFmpeg can't be called back: a display server that
//! is stopped, a FIFO that nobody writes to, a driver that gives nothing. A thread of its own, because the async
//! runtime must not be needed to notice that something is stuck.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{Interrupt, monotonic_ns, terminate};
use framebridge_core::stage_watch::{Stage, StageWatch};
use framebridge_daemon::{Exit, last_words};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::media::Rung;

/// How often the stages are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What one thread is doing, told by that thread and looked at by the watchdog.
#[derive(Debug)]
pub(crate) struct StageCell {
    /// When the stage was entered, CLOCK_MONOTONIC ns, with the stage's number in the low [`STAGE_BITS`] bits: one
    /// word, so that the two are never read apart.
    word: AtomicU64,
}

/// Room for [`STAGES`]; costs eight nanoseconds of resolution.
const STAGE_BITS: u32 = 3;

const STAGES: [Stage; 7] = [
    Stage::Resting,
    Stage::Opening,
    Stage::Joining,
    Stage::Reading,
    Stage::Closing,
    Stage::Probing,
    Stage::Encoding,
];

impl StageCell {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// The thread begins with `stage`.
    pub(crate) fn enter(&self, stage: Stage) {
        let number = STAGES
            .iter()
            .position(|each| *each == stage)
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or(0);
        self.word
            .store(monotonic_ns() >> STAGE_BITS << STAGE_BITS | number, Ordering::Release);
    }

    fn stage(word: u64) -> Stage {
        let number = usize::try_from(word & ((1 << STAGE_BITS) - 1)).unwrap_or(0);
        STAGES.get(number).copied().unwrap_or(Stage::Resting)
    }
}

/// The stages of the threads.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) capture: StageCell,
    pub(crate) encode: StageCell,
    lower: [StageCell; Rung::LOWER.len()],
}

impl Stages {
    pub(crate) fn new() -> Self {
        Self {
            capture: StageCell::new(),
            encode: StageCell::new(),
            lower: Rung::LOWER.map(|_| StageCell::new()),
        }
    }

    /// The stage of the thread that encodes `rung`.
    pub(crate) fn of(&self, rung: Rung) -> &StageCell {
        let at = Rung::LOWER.iter().position(|lower| *lower == rung);
        at.map_or(&self.encode, |at| &self.lower[at])
    }
}

/// How long a stage was seen to last. Only time in which the watchdog itself ran counts: a process that was stopped
/// as a whole and goes on has no stuck step.
#[derive(Default)]
struct Observed {
    word: u64,
    lasted: Duration,
}

impl Observed {
    fn look(&mut self, cell: &StageCell, passed: Duration) -> (Stage, Duration) {
        let word = cell.word.load(Ordering::Acquire);
        if word == self.word {
            self.lasted += passed.min(TICK * 2);
        } else {
            (self.word, self.lasted) = (word, Duration::ZERO);
        }
        (StageCell::stage(word), self.lasted)
    }
}

/// Starts the watchdog; it runs until the process ends.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(
    stages: Arc<Stages>,
    limits: impl Fn() -> StageWatch + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch(&stages, limits))
}

fn watch(stages: &Stages, limits: impl Fn() -> StageWatch) {
    // Nobody stops this one: the watchdog ends with the process.
    let clock = Interrupt::new();
    let rungs = Rung::ALL.map(|rung| (stages.of(rung), Exit::Temporary));
    let watched = [(&stages.capture, Exit::Source)].into_iter().chain(rungs);
    let mut watched: Vec<_> = watched.map(|(cell, exit)| (cell, exit, Observed::default())).collect();
    let mut before = Instant::now();
    while clock.wait_until(before + TICK) {
        let now = Instant::now();
        let passed = now - before;
        before = now;
        let limits = limits();
        for (cell, exit, observed) in &mut watched {
            let (stage, lasted) = observed.look(cell, passed);
            if let Some(stuck) = limits.judge(stage, lasted) {
                let code = exit.code();
                tracing::error!(code, "stalled: {stuck}; ending, to be restarted");
                last_words::leave(&RuntimeDir::resolve(), code, &format!("stalled: {stuck}"));
                terminate(i32::from(code));
            }
        }
    }
}
