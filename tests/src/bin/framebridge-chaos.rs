//! Breaks a real system on purpose and says how it mended itself; `cargo xtask chaos` builds it in release mode and
//! runs it.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use framebridge_tests::{
    chaos::{self, report::Report},
    interruption,
    terminal::{self, any_seed, say},
};

/// What is shown of the log where something did not mend itself.
const LOG_LINES: usize = 200;

/// Kill, freeze, starve and break a running Framebridge at random, and see it recover.
#[derive(Debug, Parser)]
#[command(name = "framebridge-chaos", bin_name = "cargo xtask chaos")]
struct Cli {
    /// No new fault after so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the plan is made from: the same seed, the same plan
    #[arg(long)]
    seed: Option<u64>,
    /// Viewers: one is Chromium, the others are light; at least four
    #[arg(long, default_value_t = 4)]
    viewers: usize,
    /// Only faults whose names contain this, e.g. `frozen` or `encoder-camera`
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    terminal::exit_code("framebridge-chaos", run(&Cli::parse()))
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    let options = chaos::Options {
        duration: Duration::from_secs(cli.seconds),
        seed: cli.seed.unwrap_or_else(any_seed),
        viewers: cli.viewers,
        only: cli.only.clone(),
    };
    interruption::takes_all_down()?;
    say(format_args!("seed {}", options.seed));
    let drilled = chaos::run(&options, |outcome| {
        let chaos::Outcome { fault, at_s, .. } = outcome;
        say(format_args!(
            "{at_s:>6.1} s  {fault}: picture back after {:?} ms, well after {:?} ms, {:?}",
            outcome.picture_back, outcome.healthy, outcome.detected
        ));
    })?;
    let report = Report::of(options, drilled);
    terminal::print(&report, cli.json.then(|| report.json()))?;
    if let Some(log) = report.log() {
        terminal::say_end_of(log, LOG_LINES);
    }
    Ok(report.is_good())
}
