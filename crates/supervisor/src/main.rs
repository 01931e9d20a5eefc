//! The `supervisor` binary: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use supervisor::{App, Cli};

fn main() -> ExitCode {
    framebridge_daemon::run("supervisor", Cli::parse().args, async |context| {
        App::load(context).await?.run().await
    })
}
