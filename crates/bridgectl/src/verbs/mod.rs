//! One verb, one file.

mod bridge;
mod certificate;
mod clip;
mod config;
mod doctor;
mod jobs;
mod journal;
mod link;
mod pause;
mod quality;
mod restart;
mod resume;
mod share;
mod snapshot;
mod status;
mod token;
mod viewers;
mod why;

use crate::{cli::Verb, exit::Exit};

/// Carries a verb out.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status(status) => status::run(&status).await,
        Verb::Journal(asked) => journal::run(&asked).await,
        Verb::Why { stream } => why::run(stream).await,
        Verb::Restart { process } => restart::run(process).await,
        Verb::Pause { stream } => pause::run(&stream).await,
        Verb::Resume { name } => resume::run(name).await,
        Verb::Quality(quality) => quality::run(&quality).await,
        Verb::Snapshot(snapshot) => snapshot::run(&snapshot).await,
        Verb::Clip(clip) => clip::run(&clip).await,
        Verb::Share(share) => share::run(share).await,
        Verb::Unshare => share::end().await,
        Verb::Token(token) => token::run(token),
        Verb::Link(link) => link::run(link).await,
        Verb::Viewers { stream } => viewers::run(stream).await,
        Verb::Kick { session } => viewers::kick(&session).await,
        Verb::Certificate(asked) => certificate::run(asked),
        Verb::Jobs => jobs::run().await,
        Verb::Bridge(asked) => bridge::run(asked).await,
        Verb::Doctor(args) => doctor::run(&args).await,
        Verb::Config(config) => config::run(&config),
    }
}
