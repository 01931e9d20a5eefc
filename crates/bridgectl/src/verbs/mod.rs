//! One verb, one file.

mod config;
mod doctor;
mod quality;
mod restart;
mod snapshot;
mod status;

use crate::{cli::Verb, exit::Exit};

/// Carries a verb out.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status(status) => status::run(&status).await,
        Verb::Restart { process } => restart::run(process).await,
        Verb::Quality(quality) => quality::run(&quality).await,
        Verb::Snapshot(snapshot) => snapshot::run(&snapshot).await,
        Verb::Doctor(args) => doctor::run(&args).await,
        Verb::Config(config) => config::run(&config),
    }
}
