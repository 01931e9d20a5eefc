//! A wall of streams in one browser, beside the servers on the same machine: the pictures that each cell has.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use framebridge_tests::{
    browser::{Browser, Page},
    process::footprint,
    sample::Sample,
    system::System,
    wait,
};

use crate::{report::Report, sources::film};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Cells, each a stream of 640 by 360 at 30 pictures a second
    #[arg(long, default_value_t = 16)]
    cells: u32,
    /// Seconds that pictures are counted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Every cell of sixteen is as large as its picture.
const WINDOW: (u32, u32) = (2560, 1440);

/// A wall is settled after so long: all have their rung.
const SETTLED: Duration = Duration::from_secs(5);

const VIDEOS: &str = "[...document.querySelectorAll('.cell video')]";

pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let source = film(folder.path(), "cell.mp4", "testsrc2=size=640x360:rate=30", "700k")?;
    let names: Vec<String> = (1..=options.cells).map(|cell| format!("cell{cell:02}")).collect();
    let streams: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), source.as_str())).collect();
    let system = System::start(&streams)?;
    let page = Browser::start()?.open(&system.url("/wall?streams=all"))?;
    page.resize(WINDOW.0, WINDOW.1)?;
    let cells = options.cells;
    page.until_holds(&format!(
        "{VIDEOS}.filter(({{ videoWidth }}) => videoWidth === 640).length === {cells}"
    ))?;
    wait::pause(SETTLED)?;
    let processes = names.iter().map(|name| format!("encoder-{name}"));
    let pids = processes.chain(["signaling".to_owned()]).map(|name| system.pid(&name));
    let pids = pids.collect::<anyhow::Result<Vec<u32>>>()?;
    let spent = || {
        let each = pids.iter().map(|pid| Ok(footprint(*pid)?.cpu));
        each.sum::<anyhow::Result<Duration>>()
    };
    let (before, cpu, began) = (counts(&page, "totalVideoFrames")?, spent()?, Instant::now());
    let dropped = counts(&page, "droppedVideoFrames")?;
    wait::pause(Duration::from_secs(options.seconds))?;
    let (after, lasted) = (counts(&page, "totalVideoFrames")?, began.elapsed().as_secs_f64());
    let (cpu, dropped_after) = (spent()?.saturating_sub(cpu), counts(&page, "droppedVideoFrames")?);
    let grown = |from: &[u32], to: &[u32]| {
        let each = from.iter().zip(to).map(|(from, to)| f64::from(to - from) / lasted);
        Sample::of(each)
    };
    let mut report = Report::default();
    report.add_percentiles("decoded", &grown(&before, &after), &[0, 50], "a_second");
    report.add_percentiles("not_shown", &grown(&dropped, &dropped_after), &[50, 100], "a_second");
    report.add("servers", 100.0 * cpu.as_secs_f64() / lasted, "percent_of_a_core");
    Ok(report)
}

/// What each cell's video has counted.
fn counts(page: &Page, what: &str) -> anyhow::Result<Vec<u32>> {
    let counted = page.evaluate(&format!("{VIDEOS}.map((it) => it.getVideoPlaybackQuality().{what})"))?;
    let each = counted.as_array().context("no cells")?.iter();
    each.map(|count| {
        let count = count.as_u64().ok_or_else(|| anyhow!("{count} is no count"))?;
        Ok(u32::try_from(count)?)
    })
    .collect()
}
