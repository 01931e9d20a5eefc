//! From the capture's stamp to the picture in Chromium, and to the frame on the encoder's socket.

use anyhow::{Context as _, ensure};
use clap::Args;
use framebridge_tests::{
    browser::{Browser, Page},
    sample::Sample,
    subscriber::Subscriber,
    system::System,
};
use futures_util::future::try_join_all;
use rustix::time::{ClockId, clock_gettime};

use crate::report::Report;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Frames per second of the source
    #[arg(long, default_value_t = 30)]
    fps: u32,
    /// Pictures looked at
    #[arg(long, default_value_t = 600)]
    frames: usize,
    /// Subscribers to the encoder that read at the same time, besides signaling
    #[arg(long, default_value_t = 16)]
    subscribers: usize,
}

/// Starts a system of its own and measures in it.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let stream = format!("[streams.test]\nsource = \"test:\"\nfps = {}\n", options.fps);
    let system = System::start_with(&[], &stream)?;
    let page = Browser::start()?.open(&system.url("/s/test"))?;
    page.until_live()?;
    let mut report = to_picture(&page, options.frames)?;
    report.extend(to_wire(&system)?);
    // A browser that decodes would stand in the way of what is measured next.
    page.close()?;
    for subscribers in [1, options.subscribers] {
        report.extend(to_sockets(&system, subscribers, options.frames)?);
    }
    Ok(report)
}

/// Capture to presentation; what Chromium itself took of it is reported apart.
pub(crate) fn to_picture(page: &Page, frames: usize) -> anyhow::Result<Report> {
    let shown = page.next_shown(frames)?;
    ensure!(
        shown.len() * 10 >= frames * 9,
        "only {} of {frames} pictures carry a readable stamp",
        shown.len()
    );
    let ages = shown
        .iter()
        .filter_map(|shown| i32::try_from(shown.age_ms).ok())
        .map(f64::from);
    let mut report = Report::default();
    report.add_percentiles("capture_to_picture", &Sample::of(ages), &[50, 95, 99], "ms");
    let in_browser = Sample::of(shown.iter().map(|shown| shown.since_received_ms));
    report.add_percentiles("of_which_chromium_receive_to_picture", &in_browser, &[50, 95], "ms");
    let decode = Sample::of(shown.iter().map(|shown| shown.decode_ms));
    report.add_percentiles("of_which_chromium_decode", &decode, &[50, 95], "ms");
    Ok(report)
}

/// Capture to a picture's last packet on its way to the viewer, as signaling counts it: the upper bounds of its buckets.
fn to_wire(system: &System) -> anyhow::Result<Report> {
    let metrics = system.get("/metrics")?.text();
    let buckets: Vec<(f64, f64)> = metrics
        .lines()
        .filter(|line| line.starts_with("framebridge_capture_to_wire_seconds_bucket{"))
        .filter_map(|line| {
            let (labels, count) = line.rsplit_once(' ')?;
            let (_, bound) = labels.split_once("le=\"")?;
            let (bound, _) = bound.split_once('"')?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        })
        .collect();
    let (_, all) = buckets.last().context("signaling has counted no picture")?;
    let mut report = Report::default();
    for percent in [50, 95, 99] {
        let bound = buckets
            .iter()
            .find(|(_, count)| *count >= all * f64::from(percent) / 100.0);
        let bound = bound.map_or(f64::NAN, |(bound, _)| bound * 1e3);
        report.add(format!("capture_to_wire_p{percent}_at_most"), bound, "ms");
    }
    Ok(report)
}

/// Capture to the subscribers' ends of the encoder's socket: what is left to the network is packetising and encryption.
fn to_sockets(system: &System, subscribers: usize, frames: usize) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arrivals = runtime.block_on(async {
        let mut crowd = Vec::new();
        for _ in 0..subscribers {
            crowd.push(Subscriber::of(system, "test").await?);
        }
        try_join_all(crowd.into_iter().map(|subscriber| arrivals(subscriber, frames))).await
    })?;
    let arrivals = || arrivals.iter().flatten();
    let span = |from: fn(&Arrival) -> u64, to: fn(&Arrival) -> u64| {
        Sample::of(arrivals().map(|arrival| milliseconds(to(arrival).saturating_sub(from(arrival)))))
    };
    let (captured, encoded, received) = (
        |arrival: &Arrival| arrival.captured_ns,
        |arrival: &Arrival| arrival.encoded_ns,
        |arrival: &Arrival| arrival.received_ns,
    );
    let mut report = Report::default();
    let mut add = |name: &str, sample: Sample| {
        report.add_percentiles(&format!("{name}_of_{subscribers}"), &sample, &[50, 95, 99], "ms");
    };
    add("capture_to_encoded", span(captured, encoded));
    add("encoded_to_subscriber", span(encoded, received));
    add("capture_to_subscriber", span(captured, received));
    Ok(report)
}

/// A frame's stamps, nanoseconds of the machine's monotonic clock.
struct Arrival {
    captured_ns: u64,
    encoded_ns: u64,
    received_ns: u64,
}

async fn arrivals(mut subscriber: Subscriber, frames: usize) -> anyhow::Result<Vec<Arrival>> {
    let mut arrivals = Vec::with_capacity(frames);
    while arrivals.len() < frames {
        let frame = subscriber.next().await?;
        arrivals.push(Arrival {
            captured_ns: frame.captured_ns,
            encoded_ns: frame.encoded_ns,
            received_ns: monotonic_ns()?,
        });
    }
    Ok(arrivals)
}

fn monotonic_ns() -> anyhow::Result<u64> {
    let now = clock_gettime(ClockId::Monotonic);
    Ok(u64::try_from(now.tv_sec)? * 1_000_000_000 + u64::try_from(now.tv_nsec)?)
}

/// Nanoseconds as milliseconds, to the microsecond.
fn milliseconds(ns: u64) -> f64 {
    u32::try_from(ns / 1_000).map_or(f64::NAN, |us| f64::from(us) / 1e3)
}
