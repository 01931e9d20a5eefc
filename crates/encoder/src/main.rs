//! The `encoder` binary: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use encoder::{App, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stream = cli.stream;
    let process = framebridge_proto::process_name(framebridge_proto::Role::Encoder, Some(&stream));
    framebridge_daemon::run(&process, cli.args, async |context| {
        App::load(context, &stream).await?.run().await
    })
}
