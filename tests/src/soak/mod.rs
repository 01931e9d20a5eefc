//! A year of it in hours: a whole system with its sources, viewers who stay and viewers who come and go, days that pass and
//! faults as life has them, and nothing may grow.
//!
//! [`growth`], [`measure`], [`report`] and [`chart`] judge and tell what was written down, and are pure.

pub mod chart;
mod days;
pub mod growth;
pub mod measure;
pub mod record;
pub mod report;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framebridge_core::random::Random;

use crate::{
    chaos::{
        audience::now_ms,
        drill::Drill,
        plan::{self, Fault, STREAMS, Strike},
        stage::Stage,
    },
    process::footprint,
    sample::Sample,
    studio::Studio,
    visitors::{Habits, Visitors},
    wait::{self, PAUSE},
};
use days::Operator;
use measure::Measure;
use record::{Event, Plan, Taken, Watched, Writer};

/// The record, in the folder that a soak writes to.
pub const RECORD: &str = "samples.jsonl";

/// Who watches all the time: a page in Chromium, and a light viewer of each stream.
const STEADY: usize = 4;

/// Three or four watch at any time besides, and as many come in an hour as do to a door in a month.
const VISITORS: Habits = Habits {
    at_once: 4,
    stays_s: &[2, 5, 10, 20, 40],
    pauses_s: &[1, 4, 8],
    some_vanish: true,
    // A camera that was frozen with its server takes half a minute.
    patience: Duration::from_secs(45),
};

/// Samples, days and faults in any soak, but not more often, nor more seldom than these: a long one is as the world is.
const SAMPLES: u32 = 60;
const SAMPLE_S: [u64; 2] = [2, 60];
const DAYS: u32 = 20;
const DAY_S: [u64; 2] = [30, 300];
const FAULTS: u32 = 18;
const FAULT_S: [u64; 2] = [20, 400];

/// Caches, arenas and the pre-roll of 15 s have their size after this part of the whole, but not sooner nor later than this.
const WARM_UP: u32 = 20;
const WARM_UP_S: [u64; 2] = [30, 300];

/// A picture that took longer to be shown is one whose stamp was made by another clock.
const STEPPED_MS: u64 = 60_000;

/// How a soak is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long.
    pub length: Duration,
    /// What faults and visitors are chosen by.
    pub seed: u64,
    /// Where the record goes.
    pub folder: PathBuf,
}

/// Soaks; the record is in the folder, as far as it came. `tell` hears of each thing that is done.
///
/// # Errors
/// The system does not come up, or can't be watched any more; it is interrupted.
pub fn run(options: &Options, tell: impl FnMut(&Event)) -> anyhow::Result<()> {
    fs::create_dir_all(&options.folder).with_context(|| format!("making {}", options.folder.display()))?;
    let own = tempfile::Builder::new().prefix("framebridge-soak-").tempdir()?;
    let mut soak = Soak::begin(options, own.path(), tell)?;
    soak.go_on(options)
}

struct Soak<T> {
    // In this order: visitors and viewers leave before the system goes.
    visitors: Visitors,
    drill: Drill,
    operator: Operator,
    writer: Writer,
    tell: T,
    started: Instant,
    /// CPU time of each process at the sample before, and when that was.
    cpu: BTreeMap<u32, (Instant, Duration)>,
    /// What the page has shown since the sample before, ms from capture.
    latencies: Vec<u32>,
    looked: u64,
    /// Sessions that steady viewers needed to begin with.
    sessions: u64,
}

/// What comes again and again.
struct Rhythm {
    every: Duration,
    next: Instant,
}

fn bounded(span: Duration, bounds_s: [u64; 2]) -> Duration {
    let [least, most] = bounds_s.map(Duration::from_secs);
    span.clamp(least, most)
}

impl Rhythm {
    /// `times` in the whole, but no more often than each `bounds[0]` and no more seldom than each `bounds[1]` seconds.
    fn of(length: Duration, times: u32, bounds: [u64; 2]) -> Self {
        let every = bounded(length / times, bounds);
        Self {
            every,
            next: Instant::now() + every,
        }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next;
        if is_due {
            // What was missed is not made up for.
            self.next = now + self.every;
        }
        is_due
    }
}

impl<T: FnMut(&Event)> Soak<T> {
    fn begin(options: &Options, own: &Path, tell: T) -> anyhow::Result<Self> {
        days::certify(own).context("making the first certificate")?;
        let studio = Studio::start()?;
        let settings = days::settings(own) + &studio.settings("soak")?;
        let stage = Stage::set_with(&settings, false)?;
        let operator = Operator::of(&stage, studio, own)?;
        let drill = Drill::begin(stage, operator.door(), STEADY)?;
        let streams = STREAMS.map(|stream| stream.name().to_owned()).to_vec();
        let visitors = Visitors::invite(operator.door(), streams, VISITORS, options.seed)?;
        let hours = |span: Duration| span.as_secs_f64() / 3600.0;
        let plan = Plan {
            began_unix_ms: now_ms(),
            hours: hours(options.length),
            warm_up_h: hours(bounded(options.length / WARM_UP, WARM_UP_S)),
            seed: options.seed,
        };
        Ok(Self {
            writer: Writer::create(&options.folder.join(RECORD), &plan)?,
            sessions: drill.audience.sessions(),
            visitors,
            drill,
            operator,
            tell,
            started: Instant::now(),
            cpu: BTreeMap::new(),
            latencies: Vec::new(),
            looked: now_ms(),
        })
    }

    fn go_on(&mut self, options: &Options) -> anyhow::Result<()> {
        let mut random = Random::new(options.seed);
        let mut samples = Rhythm::of(options.length, SAMPLES, SAMPLE_S);
        let mut days = Rhythm::of(options.length, DAYS, DAY_S);
        let mut faults = Rhythm::of(options.length, FAULTS, FAULT_S);
        let mut strikes = plan::Plan::new(options.seed, "").filter(|strike| is_human(strike.fault));
        let until = self.started + options.length;
        while Instant::now() < until {
            wait::pause(PAUSE)?;
            if samples.is_due() {
                self.sample()?;
            }
            if days.is_due() {
                self.day()?;
            }
            if faults.is_due()
                && let Some(strike) = strikes.next()
            {
                self.strike(strike)?;
                // Between half as long and one and a half times as long, as nobody's faults come by the clock.
                let part = u32::try_from(random.below(101)).unwrap_or(50);
                faults.next = Instant::now() + faults.every / 100 * (50 + part);
            }
        }
        self.sample()?;
        self.writer.end()
    }

    fn at_h(&self) -> f64 {
        self.started.elapsed().as_secs_f64() / 3600.0
    }

    // What fails is written down, and the rest goes on: only an interruption, or a record that can't be written, ends a soak.

    fn day(&mut self) -> anyhow::Result<()> {
        // What was shown until now was stamped by the clock as it was.
        self.look()?;
        let passed = self.operator.pass_day(&self.drill.stage);
        let event = Event {
            at_h: self.at_h(),
            what: format!("day {}", self.operator.ahead().as_secs() / days::DAY.as_secs()),
            is_fault: false,
            failed: passed.err().map(|error| format!("{error:#}")),
        };
        self.note(&event)
    }

    fn strike(&mut self, strike: Strike) -> anyhow::Result<()> {
        self.look()?;
        let at_h = self.at_h();
        let struck = self.drill.strike(Strike {
            rest: Duration::ZERO,
            ..strike
        });
        let event = Event {
            at_h,
            what: strike.fault.to_string(),
            is_fault: true,
            failed: match struck {
                Ok(outcome) => outcome.unmended,
                Err(error) => Some(format!("{error:#}")),
            },
        };
        self.note(&event)
    }

    fn note(&mut self, event: &Event) -> anyhow::Result<()> {
        (self.tell)(event);
        self.writer.event(event)
    }

    /// Takes over what the page has shown.
    fn look(&mut self) -> anyhow::Result<()> {
        let since = std::mem::replace(&mut self.looked, now_ms());
        let ahead = u64::try_from(self.operator.ahead().as_millis())?;
        let shown = match self.drill.audience.shown_since(since) {
            Ok(shown) => shown,
            Err(error) => {
                return self.note(&Event {
                    at_h: self.at_h(),
                    what: "a look at the page".into(),
                    is_fault: false,
                    failed: Some(format!("{error:#}")),
                });
            }
        };
        let latencies = shown
            .into_iter()
            .filter_map(|[at, captured]| (at + ahead).checked_sub(captured));
        let latencies = latencies.filter(|latency| *latency < STEPPED_MS);
        self.latencies
            .extend(latencies.filter_map(|latency| u32::try_from(latency).ok()));
        Ok(())
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        self.look()?;
        self.drill.audience.forget_before(now_ms());
        let at_h = self.at_h();
        // A supervisor that was just killed has nothing to say; the next sample finds it.
        let processes = self
            .drill
            .operator
            .status()
            .map(|status| status.processes)
            .unwrap_or_default();
        let named = processes
            .into_iter()
            .filter_map(|process| Some((process.name, process.pid?)));
        let mut all: Vec<(String, u32)> = named.collect();
        all.push(("studio".into(), self.operator.studio()?));
        for (subject, pid) in all {
            let mut values = self.process(pid);
            if subject == "signaling"
                && let Ok(tasks) = self.operator.tasks()
            {
                values.push((Measure::Tasks, tasks.into()));
            }
            if !values.is_empty() {
                self.writer.taken(&Taken {
                    at_h,
                    subject,
                    life: pid,
                    values,
                })?;
            }
        }
        self.whole(at_h)
    }

    /// What belongs to no process.
    fn whole(&mut self, at_h: f64) -> anyhow::Result<()> {
        let latencies = Sample::of(std::mem::take(&mut self.latencies).into_iter().map(f64::from));
        if latencies.count() > 0 {
            let percentiles = [(Measure::LatencyMiddle, 50), (Measure::LatencyTail, 99)];
            let values = percentiles.map(|(measure, percent)| (measure, latencies.percentile(percent)));
            self.writer.taken(&Taken {
                at_h,
                subject: "page".into(),
                life: 0,
                values: values.into(),
            })?;
        }
        let disk = used_kib(&self.drill.stage.system.runtime_dir())?;
        self.writer.taken(&Taken {
            at_h,
            subject: "box".into(),
            life: 0,
            values: vec![(Measure::Disk, disk.into())],
        })?;
        let (visits, in_vain) = self.visitors.counts();
        let lost = self.drill.audience.sessions().saturating_sub(self.sessions);
        self.writer.watched(Watched { lost, visits, in_vain })
    }

    /// What a process takes; nothing of one that has just gone.
    fn process(&mut self, pid: u32) -> Vec<(Measure, f64)> {
        let Ok(footprint) = footprint(pid) else {
            return Vec::new();
        };
        let count = |number: u64| u32::try_from(number).map_or(f64::NAN, f64::from);
        let mut values = vec![
            (Measure::Memory, count(footprint.rss_kib)),
            (Measure::Descriptors, count(footprint.descriptors as u64)),
            (Measure::Threads, count(footprint.threads)),
        ];
        let now = Instant::now();
        if let Some((since, before)) = self.cpu.insert(pid, (now, footprint.cpu)) {
            let used = footprint.cpu.saturating_sub(before).as_secs_f64();
            values.push((Measure::Cpu, 100.0 * used / (now - since).as_secs_f64()));
        }
        values
    }
}

/// What happens to a box in a living room or a data centre: something dies, or stands still.
fn is_human(fault: Fault) -> bool {
    match fault {
        Fault::Kill(_)
        | Fault::Freeze(_)
        | Fault::KillDisplay
        | Fault::FreezeDisplay
        | Fault::KillCamera
        | Fault::FreezeCamera => true,
        Fault::Nothing
        | Fault::FullDisk(_)
        | Fault::FewDescriptors(_)
        | Fault::DeleteSocket(_)
        | Fault::CloseListener
        | Fault::Wedge(_)
        | Fault::WedgeRung(_)
        | Fault::Starve
        | Fault::StepClock
        | Fault::RenameNetwork
        | Fault::Suspend => false,
    }
}

/// What the files of a folder take, KiB.
fn used_kib(folder: &Path) -> anyhow::Result<u32> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        // One that has just gone takes nothing.
        bytes += entry?.metadata().map_or(0, |file| file.len());
    }
    Ok(u32::try_from(bytes / 1024)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_soak_is_at_the_worlds_rate_and_a_short_one_has_everything() {
        let every = |minutes: u64, times, bounds| {
            let length = Duration::from_secs(60 * minutes);
            Rhythm::of(length, times, bounds).every.as_secs()
        };
        assert_eq!([every(3, SAMPLES, SAMPLE_S), every(120, SAMPLES, SAMPLE_S)], [3, 60]);
        assert_eq!([every(3, DAYS, DAY_S), every(1_440, DAYS, DAY_S)], [30, 300]);
        assert_eq!([every(3, FAULTS, FAULT_S), every(120, FAULTS, FAULT_S)], [20, 400]);
    }
}
