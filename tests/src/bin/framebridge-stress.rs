//! Fills a real system with viewers and says what stays behind; `cargo xtask stress` builds it in release mode and runs it.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use framebridge_tests::{
    interruption,
    stress::{self, Options},
    terminal,
};

/// Five viewers who stay, five who come and go, and a wall of nine.
#[derive(Debug, Parser)]
#[command(name = "framebridge-stress", bin_name = "cargo xtask stress")]
struct Cli {
    /// They come and go for so long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    terminal::exit_code("framebridge-stress", run(&Cli::parse()))
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    interruption::takes_all_down()?;
    let report = stress::run(&Options {
        length: Duration::from_secs(cli.seconds),
        ..Options::default()
    })?;
    terminal::print(&report, cli.json.then(|| report.json()))?;
    Ok(report.is_good())
}
