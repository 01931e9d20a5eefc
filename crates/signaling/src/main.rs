//! See the library.

use std::process::ExitCode;

use clap::Parser as _;
use signaling::{App, Cli};

fn main() -> ExitCode {
    framebridge_daemon::run("signaling", Cli::parse().args, async |context| {
        App::load(context).await?.run().await
    })
}
