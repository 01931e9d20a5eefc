//! Holds the outbound session to a studio; the library says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    let bridge::Cli { args, parent_pid } = match framebridge_daemon::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let tap = bridge::log_tap();
    framebridge_daemon::run_tapped("bridge", args, Some(tap.clone()), async |context| {
        bridge::run(context, tap, parent_pid).await
    })
}
