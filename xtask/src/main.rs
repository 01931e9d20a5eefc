//! `cargo xtask ...`: build, run, test, audit and measure Framebridge.
//!
//! It runs on a machine that has git, a C compiler and Rust and nothing else, so it depends on an argument parser only
//! and never links what it builds. What the machine lacks it installs with apt, or names.
#![expect(
    clippy::disallowed_methods,
    reason = "starting cargo, apt and the supervisor is what this program is for"
)]
#![expect(
    clippy::print_stderr,
    reason = "a command-line tool speaks to the person who typed it"
)]

mod cargo;
mod cli;
#[cfg(test)]
mod documents;
mod error;
mod machine;
#[cfg(test)]
mod quotations;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().and_then(verbs::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            error.exit_code()
        }
    }
}
