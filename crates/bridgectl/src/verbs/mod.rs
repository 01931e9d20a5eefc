//! One verb, one file.

mod bridge;
mod certificate;
mod clip;
mod config;
mod doctor;
mod hooks;
mod jobs;
mod journal;
mod link;
mod pause;
mod quality;
mod reload;
mod restart;
mod resume;
mod setup;
mod share;
mod snapshot;
mod status;
mod stream;
mod token;
mod viewers;
mod why;

use crate::{cli::Verb, exit::Exit, out::Out};

/// Carries a verb out.
pub(crate) async fn run(verb: Verb, out: Out) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status(status) => status::run(&status, out).await,
        Verb::Journal(asked) => journal::run(&asked, out).await,
        Verb::Why { name } => why::run(name, out).await,
        Verb::Restart { process } => restart::run(&process, out).await,
        Verb::Reload => reload::run(out).await,
        Verb::Pause { stream } => pause::run(&stream, out).await,
        Verb::Resume { name } => resume::run(&name, out).await,
        Verb::Quality(quality) => quality::run(&quality, out).await,
        Verb::Snapshot(snapshot) => snapshot::run(&snapshot, out).await,
        Verb::Clip(clip) => clip::run(&clip, out).await,
        Verb::Share(share) => share::run(share, out).await,
        Verb::Unshare => share::end(out).await,
        Verb::Token(token) => token::run(token, out),
        Verb::Link(link) => link::run(link, out).await,
        Verb::Viewers { stream } => viewers::run(stream, out).await,
        Verb::Kick { session } => viewers::kick(&session, out).await,
        Verb::Certificate(asked) => certificate::run(asked, out),
        Verb::Jobs => jobs::run(out).await,
        Verb::Bridge(asked) => bridge::run(asked, out).await,
        Verb::Doctor(asked) => doctor::run(&asked, out).await,
        Verb::Hooks(asked) => hooks::run(asked, out).await,
        Verb::Config(config) => config::run(&config, out).await,
        Verb::Setup(asked) => setup::run(asked, out).await,
        Verb::Stream(asked) => stream::run(asked, out).await,
    }
}
