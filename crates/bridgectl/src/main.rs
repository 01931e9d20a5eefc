//! The operators' command line; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    bridgectl::run(std::env::args_os())
}
