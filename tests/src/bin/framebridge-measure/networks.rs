//! What a viewer sees behind links that lose, delay, reorder, double, queue or go away: a real Chromium in a network of its own,
//! and a healthy viewer beside it, who should not notice.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use framebridge_tests::{
    browser::{Browser, Page},
    sample::Sample,
    shaped::{Shape, ShapedLink},
    system::System,
    wait,
};
use serde_json::{Value, json};

/// How long a viewer may take to its first picture: longer than any page waits before it begins anew.
const FIRST_PICTURE: Duration = Duration::from_secs(15);
/// After the first picture so long is not looked at: that a link is found out takes a while, and what comes then is measured.
const SETTLING: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each link is watched
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Only links whose name holds this
    #[arg(long, default_value = "")]
    only: String,
}

/// A link, and its largest packet.
struct Link {
    name: &'static str,
    shape: Shape,
    mtu: u32,
    /// It is away for so long in the middle.
    away: Duration,
}

const fn link(name: &'static str, shape: Shape) -> Link {
    Link {
        name,
        shape,
        mtu: 1500,
        away: Duration::ZERO,
    }
}

const fn rate(name: &'static str, bits_per_second: u32, queue_ms: u32) -> Link {
    let shape = Shape {
        bits_per_second,
        queue_ms,
        delay_ms: 25,
        ..Shape::GOOD
    };
    link(name, shape)
}

const fn lossy(name: &'static str, loss_percent: u32, delay_ms: u32) -> Link {
    let shape = Shape {
        loss_percent,
        delay_ms,
        ..Shape::GOOD
    };
    link(name, shape)
}

const fn away(name: &'static str, seconds: u64) -> Link {
    let mut link = link(name, Shape::GOOD);
    link.away = Duration::from_secs(seconds);
    link
}

/// The matrix, in the order in which it is shown.
fn links() -> Vec<Link> {
    let late = Shape {
        late: (25, 10),
        delay_ms: 20,
        ..Shape::GOOD
    };
    let jitter = Shape {
        late: (50, 30),
        delay_ms: 20,
        ..Shape::GOOD
    };
    let twice = Shape {
        twice_percent: 10,
        ..Shape::GOOD
    };
    let mut narrow = link("mtu 1280", Shape::GOOD);
    narrow.mtu = 1280;
    vec![
        link("good", Shape::GOOD),
        lossy("delay 50", 0, 50),
        lossy("delay 150", 0, 150),
        lossy("loss 1, delay 50", 1, 50),
        lossy("loss 3, delay 50", 3, 50),
        lossy("loss 8, delay 50", 8, 50),
        lossy("loss 3, delay 150", 3, 150),
        link("reordering 25 by 10", late),
        link("jitter 50 by 30", jitter),
        link("twice 10", twice),
        narrow,
        rate("rate 4M", 4_000_000, 300),
        rate("rate 2M", 2_000_000, 300),
        rate("rate 1M", 1_000_000, 300),
        rate("rate 0.5M", 500_000, 300),
        rate("bufferbloat 1M", 1_000_000, 2000),
        away("away 3 s", 3),
        away("away 10 s", 10),
    ]
}

/// What was seen over one link.
#[derive(Debug)]
struct Seen {
    name: &'static str,
    /// From the POST to the first picture, ms; `None`: there was none.
    first_ms: Option<f64>,
    fps: f64,
    /// Times without a new picture that were longer than 0.2 s and 1 s, and the longest, ms.
    freezes: usize,
    long_freezes: usize,
    longest_ms: f64,
    latency: Sample,
    /// The last estimate, bits per second.
    estimate: Option<f64>,
    queue_p95_ms: f64,
    /// Keyframes that the healthy viewer got meanwhile.
    keyframes: f64,
    /// From the link's return to the next picture, ms.
    back_ms: Option<f64>,
}

/// Measures each link, with a system of its own that all share.
pub(crate) fn measure(options: &Options, is_json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for link in links().iter().filter(|link| link.name.contains(&options.only)) {
        let seen = watch(link, options.seconds).with_context(|| link.name)?;
        if !is_json {
            print(&seen, rows.is_empty())?;
        }
        rows.push(seen);
    }
    if is_json {
        let rows: Vec<Value> = rows.iter().map(Seen::to_json).collect();
        writeln!(io::stdout(), "{}", Value::from(rows))?;
    }
    Ok(())
}

fn watch(link: &Link, seconds: u32) -> anyhow::Result<Seen> {
    let mut network = ShapedLink::build_for(link.shape, link.mtu)?.context("only root may make networks")?;
    let system = System::start_for_others(&[("test", "test:")])?;
    let healthy = Browser::start()?.open(&system.url("/s/test"))?;
    healthy.until_live()?;
    let url = format!("http://{}:{}/s/test", ShapedLink::HERE, system.http().port());
    let page = network.there(|| Browser::start()?.open(&url))?;
    let first = wait::until("a first picture", FIRST_PICTURE, || {
        Ok(page.evaluate("probe.firstFrame()")?.as_f64())
    });
    wait::pause(SETTLING)?;
    page.start_recording()?;
    network.take_carried()?;
    let (before, started) = (keyframes(&healthy)?, Instant::now());
    page.take_record()?;
    let mut back = None;
    if !link.away.is_zero() {
        let gone = Shape {
            is_up: false,
            ..link.shape
        };
        network.set(gone)?;
        wait::pause(link.away)?;
        network.set(link.shape)?;
        let since = Instant::now();
        page.until_shows_later_than(SystemTime::now())?;
        back = Some(since.elapsed().as_secs_f64() * 1e3);
    }
    let rest = Duration::from_secs(seconds.into()).saturating_sub(started.elapsed());
    wait::pause(rest)?;
    let span = started.elapsed().as_secs_f64();
    let record = page.take_record()?;
    let gaps: Vec<f64> = record
        .windows(2)
        .map(|two| milliseconds(two[1].0.saturating_sub(two[0].0)))
        .collect();
    let latency = record
        .iter()
        .map(|(shown, captured)| milliseconds(shown.saturating_sub(*captured)));
    Ok(Seen {
        name: link.name,
        first_ms: first.ok(),
        fps: count(record.len()) / span,
        freezes: gaps.iter().filter(|gap| **gap > 200.0).count(),
        long_freezes: gaps.iter().filter(|gap| **gap > 1000.0).count(),
        longest_ms: gaps.iter().copied().fold(0.0, f64::max),
        latency: Sample::of(latency),
        estimate: estimate(&system)?,
        queue_p95_ms: network.take_carried()?.queue_p95_ms,
        keyframes: keyframes(&healthy)? - before,
        back_ms: back,
    })
}

/// What the viewers' list says of the link that is not loopback.
fn estimate(system: &System) -> anyhow::Result<Option<f64>> {
    let told = system.bridgectl(&["viewers", "--json"])?;
    let viewers: Value = serde_json::from_slice(&told.stdout)?;
    let here = ShapedLink::HERE.to_string();
    let network = here.rsplit_once('.').map_or(here.as_str(), |(network, _)| network);
    let is_there = |viewer: &&Value| {
        viewer["media_address"]
            .as_str()
            .is_some_and(|address| address.starts_with(network))
    };
    let viewer = viewers.as_array().into_iter().flatten().find(is_there);
    Ok(viewer.and_then(|viewer| viewer["estimate"].as_f64()))
}

fn keyframes(page: &Page) -> anyhow::Result<f64> {
    let inbound = page.evaluate("probe.inbound()")?;
    inbound["keyFramesDecoded"].as_f64().context("no count of keyframes")
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

fn milliseconds(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

impl Seen {
    fn to_json(&self) -> Value {
        json!({
            "link": self.name, "first_picture_ms": self.first_ms, "fps": self.fps, "freezes_200_ms": self.freezes,
            "freezes_1_s": self.long_freezes, "longest_ms": self.longest_ms,
            "latency_p50_ms": self.latency.percentile(50), "latency_p95_ms": self.latency.percentile(95),
            "estimate": self.estimate, "queue_p95_ms": self.queue_p95_ms, "keyframes_of_others": self.keyframes,
            "back_ms": self.back_ms,
        })
    }
}

fn print(seen: &Seen, is_first: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if is_first {
        let heads = [
            "first", "fps", ">0.2s", ">1s", "longest", "p50", "p95", "Mb/s", "queue", "IDRs", "back",
        ];
        let heads: Vec<String> = heads.iter().map(|head| format!("{head:>8}")).collect();
        writeln!(out, "{:<22}{}", "link", heads.join(""))?;
    }
    let or_none = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.0}"));
    let estimate = seen
        .estimate
        .map_or("-".to_owned(), |bits| format!("{:.2}", bits / 1e6));
    writeln!(
        out,
        "{:<22}{:>8}{:>8.1}{:>8}{:>8}{:>8.0}{:>8.0}{:>8.0}{estimate:>8}{:>8.0}{:>8.0}{:>8}",
        seen.name,
        or_none(seen.first_ms),
        seen.fps,
        seen.freezes,
        seen.long_freezes,
        seen.longest_ms,
        seen.latency.percentile(50),
        seen.latency.percentile(95),
        seen.queue_p95_ms,
        seen.keyframes,
        or_none(seen.back_ms),
    )?;
    Ok(out.flush()?)
}
