//! `bridgectl`: asks a running Framebridge about its state and gives it orders.
//!
//! Every verb is one request to the supervisor, to the bridge or to a stream's encoder, over the sockets that the
//! daemons use. It keeps no state, makes no decision and prints the answers. It starts one program, the encoder's
//! probe for `doctor`, because only that binary links FFmpeg.

mod ask;
mod cli;
mod clock;
mod config_file;
mod exit;
mod file;
mod names;
mod onvif;
mod out;
mod running;
mod stop;
mod table;
mod terminal;
mod units;
mod verbs;
mod why;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Context as _;

use crate::{cli::Cli, exit::Exit, out::Out};

/// Parses `arguments`, carries the verb out, and gives back the exit code that `docs/operations.md` lists.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match framebridge_daemon::parse::<Cli>(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    execute(cli).unwrap_or_else(|error| exit::fail(&error)).into()
}

fn execute(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(verbs::run(cli.verb, Out { json: cli.json }))
}
