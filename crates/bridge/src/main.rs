//! Holds the outbound session to a studio; the library says how.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = bridge::Cli::parse();
    framebridge_daemon::run("bridge", cli.args, bridge::run)
}
