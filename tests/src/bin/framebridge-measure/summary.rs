//! The numbers that `docs/benchmarks.md` opens with: one stream of 720p30, one viewer.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use framebridge_tests::{
    browser::{Browser, Page},
    process::footprint,
    sample::Sample,
    system::System,
    wait::{self, PATIENCE},
};

use crate::{latency, report::Report};

/// Pages opened for the time to the first frame.
const JOINS: usize = 20;

/// Pictures looked at for the latency: twenty seconds.
const FRAMES: usize = 600;

/// How long CPU time is counted.
const CPU_WINDOW_S: u32 = 20;

const PROCESSES: [&str; 4] = ["supervisor", "encoder-test", "signaling", "bridge"];

/// Starts a system of its own and measures in it.
pub(crate) fn measure() -> anyhow::Result<Report> {
    let system = System::start(&[("test", "test:")])?;
    let browser = Browser::start()?;
    let mut report = Report::default();

    let watch = || -> anyhow::Result<Page> {
        let page = browser.open(&system.url("/s/test"))?;
        page.until_live()?;
        Ok(page)
    };
    let page = watch()?;
    report.add("post_to_first_frame_of_idle_stream", first_frame(&page)?, "ms");
    let mut joins = Vec::new();
    for _join in 0..JOINS {
        let another = watch()?;
        joins.push(first_frame(&another)?);
        another.close()?;
    }
    report.add_percentiles("post_to_first_frame", &Sample::of(joins), &[50, 95], "ms");
    report.extend(latency::to_picture(&page, FRAMES)?);
    report.extend(cpu_and_memory(&system, &page)?);
    Ok(report)
}

/// From the page's POST to the first picture it presented, ms.
fn first_frame(page: &Page) -> anyhow::Result<f64> {
    wait::until("the first picture's time", PATIENCE, || {
        Ok(page.evaluate("probe.firstFrame()")?.as_f64())
    })
}

fn cpu_and_memory(system: &System, page: &Page) -> anyhow::Result<Report> {
    let pids = PROCESSES
        .map(|name| system.pid(name))
        .into_iter()
        .collect::<anyhow::Result<Vec<u32>>>()?;
    let look = || {
        pids.iter()
            .map(|pid| footprint(*pid))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let (before, started) = (look()?, Instant::now());
    // The page's own count of decoded pictures is the clock, and shows that they kept coming.
    let rate = page.rate(CPU_WINDOW_S)?;
    let (after, elapsed) = (look()?, started.elapsed());
    let mut report = Report::default();
    report.add("decoded_rate", rate, "fps");
    for ((name, before), after) in PROCESSES.iter().zip(&before).zip(&after) {
        let cpu = after
            .cpu
            .checked_sub(before.cpu)
            .ok_or_else(|| anyhow!("{name} was restarted"))?;
        report.add(format!("cpu_{name}"), share(cpu, elapsed), "percent_of_a_core");
    }
    for (name, after) in PROCESSES.iter().zip(&after) {
        report.add(
            format!("rss_{name}"),
            f64::from(u32::try_from(after.rss_kib)?) / 1024.0,
            "MiB",
        );
    }
    Ok(report)
}

fn share(cpu: Duration, of: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / of.as_secs_f64()
}
