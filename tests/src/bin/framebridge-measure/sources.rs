//! What one stream and one viewer cost, by the kind of its source and what is done with it: sent on as it comes, encoded while it
//! moves, and while it stands still.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use framebridge_testkit::{Identity, Options as Behaviour, Seat, Viewer, watch, whep};
use framebridge_tests::{
    camera::Camera,
    display::Display,
    process::{command, footprint},
    sample::Sample,
    system::System,
    wait::{self, PATIENCE},
};

use crate::report::Report;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds that CPU is counted and pictures are
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Viewers who join one after the other, for the time to the first picture
    #[arg(long, default_value_t = 10)]
    joins: usize,
    /// Only sources whose name contains this
    #[arg(long)]
    only: Option<String>,
}

/// All that serves one stream and its viewers.
const PROCESSES: [&str; 4] = ["supervisor", "encoder-s", "signaling", "bridge"];

/// A source is settled after so long: rates are known, buffers are filled.
const SETTLED: Duration = Duration::from_secs(6);

/// Joins are so far apart, at no even part of a group.
const APART: Duration = Duration::from_millis(730);

/// A name, the source, and further settings of its stream.
type Row = (&'static str, String, &'static str);

pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let moving = film(folder.path(), "moving.mp4", "testsrc2=size=1920x1080:rate=25", "4M")?;
    let still = film(folder.path(), "still.mp4", "smptebars=size=1920x1080:rate=25", "4M")?;
    let camera = Camera::high_definition()?;
    let mut display = Display::start()?;
    let desktop = format!("x11:{}", display.name());
    let rows: [Row; 6] = [
        ("rtsp_1080p25_as_it_comes", camera.url(), ""),
        ("rtsp_1080p25_encoded", camera.url(), "encoder = \"software\""),
        ("file_1080p25_as_it_comes", moving.clone(), ""),
        ("file_1080p25_encoded", moving, "encoder = \"software\""),
        ("file_1080p25_still_encoded", still, "encoder = \"software\""),
        ("x11_720p30_still", desktop.clone(), ""),
    ];
    let is_wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut report = Report::default();
    for (name, source, settings) in rows.iter().filter(|(name, ..)| is_wanted(name)) {
        report.extend(one(name, source, settings, options).with_context(|| (*name).to_owned())?);
    }
    display.paint()?;
    if is_wanted("x11_720p30_moving") {
        report.extend(one("x11_720p30_moving", &desktop, "", options)?);
    }
    Ok(report)
}

/// Eight seconds of a picture as H.264 that can be sent on, with a keyframe each hundred pictures.
pub(crate) fn film(folder: &Path, name: &str, picture: &str, bitrate: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    let picture = format!("{picture}:duration=8,format=yuv420p");
    let made = command("ffmpeg")
        .args([
            "-v", "error", "-f", "lavfi", "-i", &picture, "-c:v", "libx264", "-preset", "veryfast",
        ])
        .args([
            "-b:v",
            bitrate,
            "-maxrate",
            bitrate,
            "-bufsize",
            bitrate,
            "-bf",
            "0",
            "-g",
            "100",
            "-sc_threshold",
            "0",
        ])
        .arg(&path)
        .output()
        .context("starting ffmpeg")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(format!("file:{}", path.display()))
}

/// One system with one stream and, but for the joins, one viewer.
fn one(name: &str, source: &str, settings: &str, options: &Options) -> anyhow::Result<Report> {
    let config = format!("[streams.s]\nsource = {source:?}\n{settings}\n");
    let system = System::start_with(&[], &config)?;
    let (url, identity) = (system.url("/whep/s"), Identity::generate()?);
    let mut resident = [seat(&url, &identity)?];
    let mut spend = |time: Duration| {
        let end = Instant::now() + time;
        watch(&mut resident, |_| Instant::now() >= end)?;
        anyhow::Ok(resident[0].viewer.reception().frames)
    };
    ensure!(spend(SETTLED)? > 0, "no picture came");
    let pids = PROCESSES.map(|process| system.pid(process));
    let pids = pids.into_iter().collect::<anyhow::Result<Vec<u32>>>()?;
    let spent = || {
        let each = pids.iter().map(|pid| Ok(footprint(*pid)?.cpu));
        each.collect::<anyhow::Result<Vec<Duration>>>()
    };
    let (cpu, frames, began) = (spent()?, spend(Duration::ZERO)?, Instant::now());
    let pictures = spend(Duration::from_secs(options.seconds))? - frames;
    let (after, lasted) = (spent()?, began.elapsed().as_secs_f64());
    let mut report = Report::default();
    let mut whole = 0.0;
    for ((process, before), after) in PROCESSES.iter().zip(&cpu).zip(&after) {
        let cpu = after
            .checked_sub(*before)
            .ok_or_else(|| anyhow!("{process} was restarted"))?;
        let share = 100.0 * cpu.as_secs_f64() / lasted;
        whole += share;
        if share >= 0.1 {
            report.add(
                format!("{name}: {}", process.trim_end_matches("-s")),
                share,
                "percent_of_a_core",
            );
        }
    }
    report.add(format!("{name}: cpu"), whole, "percent_of_a_core");
    #[expect(clippy::cast_precision_loss, reason = "a count of pictures")]
    report.add(format!("{name}: pictures"), pictures as f64 / lasted, "a_second");
    let mut joins = Vec::new();
    for _ in 0..options.joins {
        spend(APART)?;
        joins.push(first_picture(&url, &identity)?);
    }
    report.add_percentiles(&format!("{name}: first_picture"), &Sample::of(joins), &[50, 95], "ms");
    Ok(report)
}

fn seat(url: &str, identity: &Identity) -> anyhow::Result<Seat> {
    let mut viewer = Viewer::new(identity.clone(), Behaviour::default(), Instant::now());
    // A source that is opened first may take its time.
    let session = wait::until("the stream", PATIENCE, || Ok(whep::post(url, &viewer.offer()).ok()))?;
    viewer.accept(&session.answer, true, Instant::now())?;
    Ok(Seat::new(viewer, true)?)
}

/// From the POST to a viewer's first whole keyframe, ms.
fn first_picture(url: &str, identity: &Identity) -> anyhow::Result<f64> {
    let mut seats = [seat(url, identity)?];
    let until = Instant::now() + PATIENCE;
    watch(&mut seats, |seats| {
        seats[0].viewer.reception().has_picture() || Instant::now() > until
    })?;
    let first = seats[0].viewer.reception().first_picture.context("no picture came")?;
    seats[0].close();
    Ok(first.as_secs_f64() * 1000.0)
}
