//! Holds the outbound session to a studio; the library says how.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let bridge::Cli { args, parent_pid } = bridge::Cli::parse();
    let tap = bridge::log_tap();
    framebridge_daemon::run_tapped("bridge", args, Some(tap.clone()), async |context| {
        bridge::run(context, tap, parent_pid).await
    })
}
