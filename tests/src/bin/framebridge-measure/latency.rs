//! From the capture's stamp to the picture in Chromium, and to the frame on the encoder's socket.

use anyhow::ensure;
use clap::Args;
use framebridge_tests::{
    browser::{Browser, Page},
    sample::Sample,
    subscriber::Subscriber,
    system::System,
};
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
}

/// Starts a system of its own and measures in it.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let stream = format!("[streams.test]\nsource = \"test:\"\nfps = {}\n", options.fps);
    let system = System::start_with(&[], &stream)?;
    let page = Browser::start()?.open(&system.url("/s/test"))?;
    page.until_live()?;
    let mut report = to_picture(&page, options.frames)?;
    report.extend(to_socket(&system, options.frames)?);
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

/// Capture to a subscriber's end of the encoder's socket: what is left to the network is packetising and encryption.
fn to_socket(system: &System, frames: usize) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut encoded, mut received) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let mut subscriber = Subscriber::of(system, "test").await?;
        for _frame in 0..frames {
            let frame = subscriber.next().await?;
            encoded.push(milliseconds(frame.encoded_ns.saturating_sub(frame.captured_ns)));
            received.push(milliseconds(monotonic_ns()?.saturating_sub(frame.captured_ns)));
        }
        anyhow::Ok(())
    })?;
    let mut report = Report::default();
    report.add_percentiles("capture_to_encoded", &Sample::of(encoded), &[50, 95, 99], "ms");
    report.add_percentiles("capture_to_subscriber", &Sample::of(received), &[50, 95, 99], "ms");
    Ok(report)
}

fn monotonic_ns() -> anyhow::Result<u64> {
    let now = clock_gettime(ClockId::Monotonic);
    Ok(u64::try_from(now.tv_sec)? * 1_000_000_000 + u64::try_from(now.tv_nsec)?)
}

/// Nanoseconds as milliseconds, to the microsecond.
fn milliseconds(ns: u64) -> f64 {
    u32::try_from(ns / 1_000).map_or(f64::NAN, |us| f64::from(us) / 1e3)
}
