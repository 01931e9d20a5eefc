//! Fills a real system with viewers and says what stays behind; `cargo xtask stress` builds it in release mode and runs it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use framebridge_tests::{
    interruption,
    stress::{self, Options},
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
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A closed stderr leaves nobody to tell.
            _ = writeln!(io::stderr(), "framebridge-stress: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    interruption::takes_all_down()?;
    let report = stress::run(&Options {
        length: Duration::from_secs(cli.seconds),
        ..Options::default()
    })?;
    let mut out = io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(report.is_good())
}
