//! Attacks a real system as strangers would and says what it bore; `cargo xtask attack` builds it in release mode and runs
//! it.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use framebridge_tests::{
    attack::{self, Options},
    terminal::{self, say},
};

/// What is shown of the log where something was not borne.
const LOG_LINES: usize = 100;

/// Flood, hold, forge and amplify against a running Framebridge with ten healthy viewers.
#[derive(Debug, Parser)]
#[command(name = "framebridge-attack", bin_name = "cargo xtask attack")]
struct Cli {
    /// Each attack for so many seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only attacks whose names contain this, e.g. `forged`
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
    /// A running system that you may attack, instead of one made for it: http://HOST:PORT/whep/STREAM. All strangers have this
    /// machine's one address, so joins are not judged
    #[arg(long)]
    url: Option<String>,
    /// What lets viewers in there, with scope view; the strangers have it, too
    #[arg(long, requires = "url")]
    token: Option<String>,
    /// It is yours to break, though it is neither on this machine nor in a private network
    #[arg(long, requires = "url")]
    yes_i_may: bool,
    /// The pid of that system's signaling, if it runs here: its CPU and memory are told
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    terminal::exit_code("framebridge-attack", run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<bool> {
    let options = Options {
        span: Duration::from_secs(cli.seconds),
        only: cli.only,
        url: cli.url,
        token: cli.token,
        may: cli.yes_i_may,
        pid: cli.pid,
        ..Options::default()
    };
    let report = attack::run(&options, |outcome| {
        say(format_args!(
            "{}: {}, longest gap {:?}",
            outcome.name, outcome.sent, outcome.gap
        ));
    })?;
    let Some(report) = report else {
        anyhow::bail!("a system to attack takes networks of its own, which only root may make; or name one with --url");
    };
    terminal::print(&report, cli.json.then(|| report.json()))?;
    if let (false, Some(log)) = (report.is_good(), &report.log) {
        terminal::say_end_of(log, LOG_LINES);
    }
    Ok(report.is_good())
}
