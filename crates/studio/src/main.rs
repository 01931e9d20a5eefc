//! A public address for boxes that have none; the library says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    studio::run(std::env::args_os())
}
