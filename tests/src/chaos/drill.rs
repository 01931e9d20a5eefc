//! One strike after another: rest, break, repair what is not Framebridge's to repair, and wait until all is well again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use framebridge_ipc::RuntimeDir;
use framebridge_proto::supervisor::JournalEntry;

use crate::{
    chaos::{
        audience::{Audience, Viewing, now_ms},
        operator::Operator,
        plan::{Daemon, Fault, Plan, Strike},
        stage::Stage,
        trace::{self, Cost},
    },
    wait,
};

/// All is well again within this, or it does not mend itself.
const BOUND: Duration = Duration::from_secs(60);

/// All has to be well for so long before a fault counts as mended: longer than any freeze that is still to be seen.
const SETTLED: Duration = Duration::from_secs(1);

/// The supervisor is started again so long after its death, as systemd does (`RestartSec`).
const SERVICE_MANAGER: Duration = Duration::from_millis(100);

/// The journal's clock is the drill's own: an event a little older than the fault can't be about it.
const NO_EARLIER_MS: u64 = 5;

/// How a drill is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// No new strike after this.
    pub duration: Duration,
    /// What the plan is made from.
    pub seed: u64,
    /// Viewers, one of them a browser.
    pub viewers: usize,
    /// Only faults whose names contain this.
    pub only: String,
}

/// What came of one strike.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was done.
    pub fault: Fault,
    /// From the start of the drill, seconds.
    pub at_s: f64,
    /// What noticed it, in the journal's words, and after how many milliseconds. `None`: nothing had to.
    pub detected: Option<(String, u64)>,
    /// Until the last viewer's picture moved again, ms: from the fault, or from the repair where one was needed. 0: it
    /// never stood still.
    pub picture_back: Option<u64>,
    /// Likewise until the supervisor said that all is well, ms.
    pub healthy: Option<u64>,
    /// Over all viewers.
    pub sessions_lost: u64,
    /// Over all viewers that count pictures.
    pub frames_lost: u64,
    /// The longest that any viewer saw, ms.
    pub freeze: u64,
    /// What was still wrong when it was given up.
    pub unmended: Option<String>,
}

/// What came of a drill.
#[derive(Debug, Default)]
pub struct Drilled {
    /// Strikes, in order.
    pub outcomes: Vec<Outcome>,
    /// Faults that can't be tried here, and why.
    pub skipped: Vec<(Fault, &'static str)>,
    /// Why it ended before its time, if it did without anything that did not mend itself.
    pub cut_short: Option<String>,
    /// What the processes said, where something did not mend itself.
    pub log: Option<String>,
}

/// Runs a drill; it ends early at a fault that does not mend itself. `tell` hears of each strike as it ends.
///
/// # Errors
/// The system, its sources or its viewers don't come up, or damage can't be done.
pub fn run(options: &Options, mut tell: impl FnMut(&Outcome)) -> anyhow::Result<Drilled> {
    let stage = Stage::set()?;
    let door = stage.door();
    let mut drill = Drill::begin(stage, door, options.viewers)?;
    let mut drilled = Drilled::default();
    for strike in Plan::new(options.seed, &options.only) {
        if drill.started.elapsed() >= options.duration {
            break;
        }
        if let Some(obstacle) = drill.stage.obstacle(strike.fault) {
            if !drilled.skipped.iter().any(|(fault, _)| *fault == strike.fault) {
                drilled.skipped.push((strike.fault, obstacle));
            }
            continue;
        }
        let outcome = match drill.strike(strike) {
            Ok(outcome) => outcome,
            Err(error) => {
                drilled.cut_short = Some(format!("{error:#}"));
                break;
            }
        };
        tell(&outcome);
        let is_over = outcome.unmended.is_some();
        drilled.outcomes.push(outcome);
        if is_over {
            drilled.log = drill.stage.system.log().ok();
            break;
        }
    }
    Ok(drilled)
}

/// A system with its viewers, and what is done to it.
#[derive(Debug)]
pub(crate) struct Drill {
    // In this order: viewers leave before the system goes.
    pub(crate) audience: Audience,
    pub(crate) operator: Operator,
    pub(crate) stage: Stage,
    started: Instant,
}

/// How far the system has come since a fault.
#[derive(Debug, Default)]
struct Progress {
    /// Since when the supervisor has said that all is well, ms since the Unix epoch.
    healthy_since: Option<u64>,
    /// What is wrong.
    trouble: Option<String>,
}

impl Drill {
    /// Seats viewers who come in at `door`, and waits until all is well.
    pub(crate) fn begin(stage: Stage, door: SocketAddr, viewers: usize) -> anyhow::Result<Self> {
        let operator = Operator::of(RuntimeDir::at(stage.system.runtime_dir()))?;
        let audience = Audience::seat(door, viewers)?;
        let mut drill = Self {
            audience,
            operator,
            stage,
            started: Instant::now(),
        };
        if let Some(trouble) = drill.until_well(now_ms()).trouble {
            anyhow::bail!("not well before the first strike: {trouble}");
        }
        Ok(drill)
    }

    /// Strikes once, and waits until all is well again.
    pub(crate) fn strike(&mut self, strike: Strike) -> anyhow::Result<Outcome> {
        let Strike { fault, rest, hold } = strike;
        wait::pause(rest)?;
        self.audience.forget_before(now_ms());
        let at_s = self.started.elapsed().as_secs_f64();
        let struck = now_ms();
        self.stage.inflict(fault)?;
        let mut repaired = struck;
        if fault.needs_repair() {
            wait::pause(if fault == Fault::Kill(Daemon::Supervisor) {
                SERVICE_MANAGER
            } else {
                hold
            })?;
            self.stage.repair(fault)?;
            repaired = now_ms();
        }
        let Progress { healthy_since, trouble } = self.until_well(repaired);
        let until = now_ms();
        let views = self.audience.look()?;
        let costs = |of: fn(&Viewing) -> bool| {
            views
                .iter()
                .filter(move |viewing| of(viewing))
                .map(move |viewing| trace::cost(&viewing.trace, struck, until))
        };
        let all = || costs(|_| true);
        // A fault that has to be repaired from outside is mended from then on.
        let since_repair = |back: u64| back.saturating_sub(repaired - struck);
        let picture_back = all().map(|cost: Cost| cost.back).collect::<Option<Vec<u64>>>();
        Ok(Outcome {
            fault,
            at_s,
            detected: self.detected(fault, struck),
            picture_back: picture_back.map(|all| all.into_iter().map(since_repair).max().unwrap_or(0)),
            healthy: healthy_since.map(|at| at.saturating_sub(repaired)),
            sessions_lost: all().map(|cost| cost.sessions_lost).sum(),
            frames_lost: costs(|viewing| viewing.counts).map(|cost| cost.frames_lost).sum(),
            freeze: all().map(|cost| cost.freeze).max().unwrap_or(0),
            unmended: trouble,
        })
    }

    /// Waits until all has been well for a while, or the patience is at its end: then what is still wrong is told.
    fn until_well(&mut self, since: u64) -> Progress {
        let mut progress = Progress::default();
        let waited = wait::until_true("all to be well", BOUND, || {
            self.look(since, &mut progress)?;
            Ok(progress.trouble.is_none())
        });
        if let Err(error) = waited {
            progress.trouble.get_or_insert_with(|| format!("{error:#}"));
        }
        progress
    }

    fn look(&mut self, since: u64, progress: &mut Progress) -> anyhow::Result<()> {
        let unhealthy = self
            .stage
            .unmended()
            .or_else(|| self.operator.trouble())
            .or_else(|| (!self.stage.answers()).then(|| "HTTP does not answer".to_owned()));
        let now = now_ms();
        progress.healthy_since = match &unhealthy {
            None => progress.healthy_since.or(Some(now)),
            Some(_) => None,
        };
        let settled = u64::try_from(SETTLED.as_millis())?;
        let settling = progress
            .healthy_since
            .max(Some(since))
            .is_none_or(|from| now < from + settled);
        let still = |viewing: Viewing| {
            let cost = trace::cost(&viewing.trace, now - settled, now);
            (cost.back != Some(0)).then(|| format!("{} sees no steady picture", viewing.name))
        };
        progress.trouble = match unhealthy {
            Some(trouble) => Some(trouble),
            None if settling => Some("not well for long enough yet".to_owned()),
            None => self.audience.look()?.into_iter().find_map(still),
        };
        Ok(())
    }

    /// The journal's first word on a fault: what was noticed, and how long after.
    fn detected(&self, fault: Fault, struck: u64) -> Option<(String, u64)> {
        let name = fault.concerns().map(Daemon::name);
        let events = self.operator.events_since(struck.saturating_sub(NO_EARLIER_MS)).ok()?;
        let first = events
            .into_iter()
            .find(|event| name.as_ref().is_none_or(|name| event.process == *name))?;
        Some((noticed(&first), first.unix_ms.saturating_sub(struck)))
    }
}

/// What noticed it: the verdict without its particulars.
fn noticed(event: &JournalEntry) -> String {
    let short = event.verdict.split([':', ',']).next().unwrap_or_default();
    short.trim().to_owned()
}
