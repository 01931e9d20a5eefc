//! Runs a real system for hours and says whether anything grows; `cargo xtask soak` builds it in release mode and runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use framebridge_tests::{
    interruption,
    soak::{self, Options, RECORD, chart, record::Record, report::Report},
    terminal::{self, any_seed, say},
};

/// The chart, beside the record.
const CHART: &str = "soak.svg";

/// Run Framebridge for hours, with viewers, days and faults, and see that nothing grows.
#[derive(Debug, Parser)]
#[command(name = "framebridge-soak", bin_name = "cargo xtask soak")]
struct Cli {
    /// For so many hours; 0.05 are three minutes
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// What faults and visitors are chosen by
    #[arg(long)]
    seed: Option<u64>,
    /// Where the record (samples.jsonl) and the chart (soak.svg) go
    #[arg(long, default_value = "soak", value_name = "FOLDER")]
    out: PathBuf,
    /// Only tell what a record says, also one of a soak that still runs or was cut short
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hours", "seed", "out"])]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    terminal::exit_code("framebridge-soak", run(&Cli::parse()))
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    if let Some(record) = &cli.report {
        return tell(record);
    }
    let options = Options {
        length: Duration::try_from_secs_f64(cli.hours * 3600.0).context("--hours")?,
        seed: cli.seed.unwrap_or_else(any_seed),
        folder: cli.out.clone(),
    };
    interruption::takes_all_down()?;
    let record = options.folder.join(RECORD);
    say(format_args!("seed {}, record {}", options.seed, record.display()));
    let soaked = soak::run(&options, |event| {
        let came_of_it = event.failed.as_deref().unwrap_or("well");
        say(format_args!("{:>7.3} h  {}: {came_of_it}", event.at_h, event.what));
    });
    if let Err(error) = &soaked {
        say(format_args!("cut short: {error:#}"));
    }
    Ok(tell(&record)? && soaked.is_ok())
}

/// Prints the tables of a record and draws its chart beside it.
fn tell(record: &Path) -> anyhow::Result<bool> {
    let chart = record.with_file_name(CHART);
    let record = Record::read(record)?;
    let report = Report::of(&record);
    terminal::print(&report, None)?;
    fs::write(&chart, chart::svg(&record)).with_context(|| format!("writing {}", chart.display()))?;
    say(format_args!("chart: {}", chart.display()));
    Ok(report.is_good())
}
