//! CPU per picture, beside the ffmpeg command with the same x264 settings in the same run.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail, ensure};
use clap::Args;
use framebridge_tests::{
    process::{Process, command, footprint},
    sample::Sample,
    subscriber::Subscriber,
    system::System,
};

use crate::report::Report;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each window
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Windows of each, taken in turns; the median counts
    #[arg(long, default_value_t = 5)]
    windows: u32,
    /// One of 720p30, 1080p30 and 1080p60 instead of all
    #[arg(long)]
    only: Option<String>,
}

/// A size and rate of picture, with the bitrate that goes with it.
struct Format {
    name: &'static str,
    width: u32,
    height: u32,
    fps: u32,
    bitrate: u32,
    /// Threads that the encoder takes for this size.
    threads: u32,
}

const FORMATS: [Format; 3] = [
    Format {
        name: "720p30",
        width: 1280,
        height: 720,
        fps: 30,
        bitrate: 2_500_000,
        threads: 1,
    },
    Format {
        name: "1080p30",
        width: 1920,
        height: 1080,
        fps: 30,
        bitrate: 5_000_000,
        threads: 2,
    },
    Format {
        name: "1080p60",
        width: 1920,
        height: 1080,
        fps: 60,
        bitrate: 8_000_000,
        threads: 2,
    },
];

/// Starts a system per format, and the ffmpeg command beside it.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let is_wanted = |format: &&Format| options.only.as_deref().is_none_or(|only| only == format.name);
    for format in FORMATS.iter().filter(is_wanted) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ours, theirs) = runtime.block_on(compare(format, options))?;
        report.add(format!("encoder_{}", format.name), ours, "ms_per_picture");
        report.add(format!("ffmpeg_{}", format.name), theirs, "ms_per_picture");
        report.add(format!("ratio_{}", format.name), ours / theirs, "of_ffmpeg");
    }
    Ok(report)
}

/// The median CPU time per picture of the encoder and of the ffmpeg command, in turns, so that a busy hour of the
/// machine hits both.
async fn compare(format: &Format, options: &Options) -> anyhow::Result<(f64, f64)> {
    let Format {
        width,
        height,
        fps,
        bitrate,
        ..
    } = format;
    let graph = format!("testsrc2=size={width}x{height}:rate={fps}");
    let stream = format!(
        "[streams.bench]\nsource = \"lavfi:{graph}\"\nencoder = \"software\"\nfps = {fps}\nbitrate = {bitrate}\n\
         longest_edge = {width}\nlinger_ms = 0\n"
    );
    let system = System::start_with(&[], &stream)?;
    let pid = system.pid("encoder-bench")?;
    let window = Duration::from_secs(options.seconds);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _window in 0..options.windows {
        let mut subscriber = Subscriber::of(&system, "bench").await?;
        // The first picture comes once everything is open.
        subscriber.next().await?;
        let (before, end, mut pictures) = (footprint(pid)?, Instant::now() + window, 0);
        while Instant::now() < end {
            subscriber.next().await?;
            pictures += 1;
        }
        let cpu = footprint(pid)?.cpu.saturating_sub(before.cpu);
        ours.push(1e3 * cpu.as_secs_f64() / f64::from(pictures));
        drop(subscriber);
        theirs.push(ffmpeg(format, &graph, window)?);
    }
    Ok((Sample::of(ours).percentile(50), Sample::of(theirs).percentile(50)))
}

/// CPU time per picture of the ffmpeg command, ms: between its first and its last word on how far it is, so that
/// starting up does not count, as it does not for the encoder.
fn ffmpeg(format: &Format, graph: &str, window: Duration) -> anyhow::Result<f64> {
    let (seconds, rate, threads) = (
        window.as_secs().to_string(),
        format.bitrate.to_string(),
        format.threads.to_string(),
    );
    let mut ffmpeg = command("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-nostats",
        "-progress",
        "pipe:1",
        "-re",
        "-f",
        "lavfi",
        "-i",
        graph,
        "-t",
        &seconds,
    ]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-tune",
        "zerolatency",
        "-profile:v",
        "baseline",
    ]);
    ffmpeg.args([
        "-pix_fmt", "yuv420p", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate, "-g", "100000",
    ]);
    ffmpeg.args([
        "-threads",
        &threads,
        "-x264-params",
        "repeat-headers=1:annexb=1:scenecut=0",
    ]);
    ffmpeg
        .args(["-f", "h264", "-y", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = Process::start_as_is(&mut ffmpeg)?;
    let progress = process
        .child()
        .stdout
        .take()
        .ok_or_else(|| anyhow!("ffmpeg has no stdout"))?;
    let mut marks = Vec::new();
    for line in BufReader::new(progress).lines() {
        let line = line?;
        let frame = line
            .strip_prefix("frame=")
            .and_then(|frame| frame.trim().parse::<u32>().ok());
        // The last word comes when it is all but gone; its CPU time can't be read any more then.
        if let Some((frame, cpu)) = frame.zip(footprint(process.pid()).ok().map(|footprint| footprint.cpu)) {
            marks.push((frame, cpu));
        }
    }
    let (Some((first, before)), Some((last, after))) = (marks.iter().find(|mark| mark.0 > 0), marks.last()) else {
        bail!("ffmpeg made no picture");
    };
    ensure!(last > first, "ffmpeg made too few pictures");
    Ok(1e3 * after.saturating_sub(*before).as_secs_f64() / f64::from(last - first))
}
