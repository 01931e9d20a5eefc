//! An evening of a house: some watch all the time, others come and go, somebody has the wall open. Who watches must not
//! notice, and when the others have gone nothing of them may be left.

use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framebridge_testkit::{Identity, Options as ViewerOptions, Seat, Viewer, watch, whep};
use serde_json::{Value, json};

use crate::{
    browser::{Browser, Page},
    process::{Footprint, footprint},
    system::System,
    table::table,
    visitors::{Habits, Visitors},
    wait::{self, PATIENCE},
};

/// Streams, and cells of the wall.
const STREAMS: usize = 9;

/// Who watches all the time, each another stream.
const STEADY: usize = 5;

/// Who comes and goes; all say good-bye.
fn churning(patience: Duration) -> Habits {
    Habits {
        at_once: 5,
        stays_s: &[1, 2, 4],
        pauses_s: &[0, 1, 2],
        some_vanish: false,
        patience,
    }
}

/// What the allocator of a process may keep of a crowd that has gone, KiB: as for the thousand viewers of the end-to-end tests.
const SLACK_KIB: u64 = 8 << 10;

/// Everybody comes once for so long before anything is counted: caches, arenas, pools and the pre-roll of 15 s have their size then.
const WARM_UP: Duration = Duration::from_secs(20);

/// Small pictures: what is tried here is who is served, not how fast the machine encodes.
const VIDEO: &str = "[video]\nlongest_edge = 320\nfps = 15\nencoder = \"software\"\n";

/// How much.
#[derive(Debug, Clone)]
pub struct Options {
    /// Those who come and go do for so long.
    pub length: Duration,
    /// All is as before within this.
    pub back_within: Duration,
    /// A steady viewer may be without a packet for so long.
    pub most_gap: Duration,
    /// Who comes has a picture within this, or has come in vain.
    pub picture_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(60),
            back_within: Duration::from_secs(5),
            // Half a second is seen, as in `attack`.
            most_gap: Duration::from_millis(500),
            // All sources are open: what a person waits for without a thought, on a machine that is busy.
            picture_within: Duration::from_secs(5),
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Steady viewers whose session ended.
    pub lost: usize,
    /// The longest that one of them had no packet.
    pub gap: Duration,
    /// Visits, and those of them who saw no picture.
    pub visits: (u64, u64),
    /// Sessions that the wall has opened, and cells that were live at the end.
    pub wall: (usize, usize),
    /// Until all was as before, and if it never was, what was not.
    pub back: Result<Duration, String>,
    /// Processes that are not the same any more.
    pub restarted: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    measured: Measured,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    what: &'static str,
    measured: String,
    wanted: String,
    is_good: bool,
}

/// Stresses a system of its own.
///
/// # Errors
/// The system or the browser does not start, or nobody sees anything.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let system = start()?;
    let mut seats = seat(&system)?;
    beside(&mut seats, || crowd(&system, (WARM_UP, 1), options).map(drop))?;
    let before = beside(&mut seats, || settled(&system))?;
    seats.iter_mut().for_each(|seat| seat.viewer.restart_gap());
    let (visits, wall, back) = beside(&mut seats, || {
        let (visits, wall, left) = crowd(&system, (options.length, 2), options)?;
        Ok((visits, wall, until_as(&system, &before, left, options.back_within)))
    })?;
    let now = processes(&system)?;
    let changed = before
        .iter()
        .filter(|(name, process)| now.get(*name).map(|now| now.pid) != Some(process.pid));
    let measured = Measured {
        lost: seats.iter().filter(|seat| seat.viewer.is_closed()).count(),
        gap: seats.iter().map(gap).max().unwrap_or_default(),
        visits,
        wall,
        back,
        restarted: changed.map(|(name, _)| name.clone()).collect(),
    };
    seats.iter_mut().for_each(Seat::close);
    Ok(Report::of(measured, options))
}

fn names() -> Vec<String> {
    (1..=STREAMS).map(|number| format!("room{number}")).collect()
}

/// All sources are open all the time, so that what an encoder has does not depend on who watches.
fn start() -> anyhow::Result<System> {
    let mut config = VIDEO.to_owned();
    for name in names() {
        writeln!(config, "[streams.{name}]\nsource = \"test:\"\nkeep = \"always\"")?;
    }
    System::start_with(&[], &config)
}

/// Seats those who stay, one after another, and waits until each has a picture.
fn seat(system: &System) -> anyhow::Result<Vec<Seat>> {
    let identity = Identity::generate().context("making the light viewers' certificate")?;
    let mut seats = Vec::new();
    for name in names().into_iter().take(STEADY) {
        let url = system.url(&format!("/whep/{name}"));
        // The encoder may be just starting.
        let seat = wait::until("a steady viewer to be let in", PATIENCE, || {
            let viewer = Viewer::new(identity.clone(), ViewerOptions::default(), Instant::now());
            let mut seat = Seat::new(viewer, true)?;
            let session = whep::post(&url, &seat.viewer.offer())?;
            seat.viewer.accept(&session.answer, true, Instant::now())?;
            Ok(Some(seat))
        })?;
        seats.push(seat);
    }
    let end = Instant::now() + PATIENCE;
    let see = |seats: &[Seat]| seats.iter().all(|seat| seat.viewer.reception().has_picture());
    watch(&mut seats, |seats| see(seats) || Instant::now() > end)?;
    ensure!(see(&seats), "a steady viewer has no picture");
    Ok(seats)
}

/// Does `work` while those who stay watch.
fn beside<T: Send>(seats: &mut [Seat], work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        watch(seats, |_| worker.is_finished())?;
        worker.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?
    })
}

/// Visits and those in vain, the wall's sessions and live cells, and when all had said good-bye.
type Crowd = ((u64, u64), (usize, usize), Instant);

/// Lets people come and go for so long while somebody has the wall open; then all of them go. The browser does once its page's
/// good-byes have come, or that takes too long.
fn crowd(system: &System, (span, seed): (Duration, u64), options: &Options) -> anyhow::Result<Crowd> {
    let browser = Browser::start()?;
    let page = browser.open(&system.url(&format!("/wall?streams={}&cols=3", names().join(","))))?;
    wait::until_true("the whole wall to be live", PATIENCE, || {
        Ok(live_cells(&page)? == STREAMS)
    })?;
    let visitors = Visitors::invite(system.http(), names(), churning(options.picture_within), seed)?;
    wait::pause(span)?;
    let wall = (page.sessions()?.len(), live_cells(&page)?);
    let visits = visitors.counts();
    drop(visitors);
    page.close()?;
    let left = Instant::now();
    // Whoever judges what is left behind says so.
    _ = wait::until_true("the others to be gone", options.back_within, || {
        Ok(viewers(system)? == STEADY as u64)
    });
    Ok((visits, wall, left))
}

fn live_cells(page: &Page) -> anyhow::Result<usize> {
    let count = page.evaluate("document.querySelectorAll('.cell[data-state=live]').length")?;
    let count = count.as_u64().context("a count of cells")?;
    Ok(usize::try_from(count)?)
}

/// A process and what it takes.
#[derive(Debug, Clone, Copy)]
struct Running {
    pid: u32,
    takes: Footprint,
}

type Processes = BTreeMap<String, Running>;

fn processes(system: &System) -> anyhow::Result<Processes> {
    let rows = system.status()?.processes.into_iter();
    let running = rows.filter_map(|row| Some((row.name, row.pid?)));
    let measured = running.map(|(name, pid)| {
        Ok((
            name,
            Running {
                pid,
                takes: footprint(pid)?,
            },
        ))
    });
    measured.collect()
}

fn viewers(system: &System) -> anyhow::Result<u64> {
    let streams = system.status()?.streams.into_iter();
    Ok(streams.map(|stream| u64::from(stream.viewers)).sum())
}

/// What all processes take once only those who stay are there, and nothing changes any more.
fn settled(system: &System) -> anyhow::Result<Processes> {
    wait::until_true("the others to be gone", PATIENCE, || {
        Ok(viewers(system)? == STEADY as u64)
    })?;
    let descriptors = |all: &Processes| all.values().map(|process| process.takes.descriptors).sum::<usize>();
    let mut last: Option<Processes> = None;
    wait::until("the count of descriptors to settle", PATIENCE, || {
        let now = processes(system)?;
        let is_same = last.as_ref().is_some_and(|last| descriptors(last) == descriptors(&now));
        Ok(last.replace(now).filter(|_| is_same))
    })
}

/// Waits until all is as it was, for at most `limit` after the others have `left`; how long that took, or what was not so.
fn until_as(system: &System, before: &Processes, left: Instant, limit: Duration) -> Result<Duration, String> {
    let rest = limit.saturating_sub(left.elapsed());
    let waited = wait::until_true("all to be as before", rest, || {
        let watching = viewers(system)?;
        ensure!(watching == STEADY as u64, "{watching} sessions");
        let now = processes(system)?;
        for (name, was) in before {
            let is = now.get(name).with_context(|| format!("no {name}"))?.takes;
            let was = was.takes;
            ensure!(
                is.descriptors <= was.descriptors,
                "{name} has {} descriptors, and had {}",
                is.descriptors,
                was.descriptors
            );
            ensure!(
                is.rss_kib <= was.rss_kib + SLACK_KIB,
                "{name} has {} KiB, and had {}",
                is.rss_kib,
                was.rss_kib
            );
        }
        Ok(true)
    });
    waited.map(|()| left.elapsed()).map_err(|error| format!("{error:#}"))
}

/// The longest without a packet, up to now.
fn gap(seat: &Seat) -> Duration {
    let reception = seat.viewer.reception();
    let silent = reception.last_packet.map_or(Duration::MAX, |last| last.elapsed());
    reception.longest_gap.max(silent)
}

impl Report {
    fn of(measured: Measured, options: &Options) -> Self {
        let row = |what, measured: String, wanted: String, is_good| Row {
            what,
            measured,
            wanted,
            is_good,
        };
        let (visits, in_vain) = measured.visits;
        let (opened, live) = measured.wall;
        let rows = vec![
            row(
                "steady viewers lost",
                format!("{} of {STEADY}", measured.lost),
                "0".into(),
                measured.lost == 0,
            ),
            row(
                "their longest gap ms",
                measured.gap.as_millis().to_string(),
                format!("at most {}", options.most_gap.as_millis()),
                measured.gap <= options.most_gap,
            ),
            row(
                "visits without a picture in time",
                format!("{in_vain} of {visits}"),
                "0".into(),
                in_vain == 0 && visits > 0,
            ),
            row(
                "sessions of the wall",
                format!("{opened}, {live} live"),
                format!("{STREAMS}, all live"),
                opened == STREAMS && live == STREAMS,
            ),
            row(
                "as before (sessions, descriptors, memory)",
                match &measured.back {
                    Ok(after) => format!("after {} ms", after.as_millis()),
                    Err(why) => why.clone(),
                },
                format!("within {} s", options.back_within.as_secs()),
                measured.back.is_ok(),
            ),
            row(
                "processes restarted",
                if measured.restarted.is_empty() {
                    "0".into()
                } else {
                    measured.restarted.join(", ")
                },
                "0".into(),
                measured.restarted.is_empty(),
            ),
        ];
        Self { measured, rows }
    }

    /// Whether all was as it should be.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.is_good)
    }

    /// What was measured.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let Measured {
            lost,
            gap,
            visits,
            wall,
            back,
            restarted,
        } = &self.measured;
        json!({
            "good": self.is_good(),
            "steady_lost": lost,
            "longest_gap_ms": gap.as_millis(),
            "visits": visits.0,
            "visits_in_vain": visits.1,
            "wall_sessions": wall.0,
            "wall_live": wall.1,
            "back_ms": back.as_ref().ok().map(Duration::as_millis),
            "not_back": back.as_ref().err(),
            "restarted": restarted,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "measured", "wanted", "reached"].map(str::to_owned);
        let cells = self.rows.iter().map(|row| {
            let reached = if row.is_good { "yes" } else { "NO" };
            [
                row.what.to_owned(),
                row.measured.clone(),
                row.wanted.clone(),
                reached.to_owned(),
            ]
        });
        table(f, head, cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Measured {
        Measured {
            lost: 0,
            gap: Duration::from_millis(80),
            visits: (100, 0),
            wall: (STREAMS, STREAMS),
            back: Ok(Duration::from_secs(1)),
            restarted: Vec::new(),
        }
    }

    #[test]
    fn each_thing_that_is_not_as_it_should_be_counts() {
        let judged = |measured: Measured| Report::of(measured, &Options::default());
        assert!(judged(good()).is_good());
        let bad = [
            Measured { lost: 1, ..good() },
            Measured {
                gap: Duration::from_secs(1),
                ..good()
            },
            Measured {
                visits: (100, 1),
                ..good()
            },
            Measured {
                visits: (0, 0),
                ..good()
            },
            Measured {
                wall: (STREAMS + 1, STREAMS),
                ..good()
            },
            Measured {
                wall: (STREAMS, STREAMS - 1),
                ..good()
            },
            Measured {
                back: Err("11 sessions".into()),
                ..good()
            },
            Measured {
                restarted: vec!["signaling".into()],
                ..good()
            },
        ];
        for measured in bad {
            let report = judged(measured);
            assert!(!report.is_good() && report.to_string().contains("NO"), "{report}");
        }
    }
}
