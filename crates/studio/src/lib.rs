//! `studio`: a public address for boxes that have none.
//!
//! Each box holds one outbound WebSocket to it (`framebridge-studio-proto`, `docs/studio.md`). What a viewer asks of the
//! box's public address travels through that session to the box's own server and back; media never does. The page of an
//! address always says truthfully how its box is. Operators see all boxes, their logs and their jobs.
//!
//! It never captures, encodes or relays media, and holds no TLS: put a reverse proxy in front of it for that.

mod api;
mod app;
mod auth;
mod call;
mod cli;
mod hub;
mod jobs;
mod limits;
mod link;
mod nodes;
mod page;
mod problem;
mod proxy;
mod random;
mod routes;
mod session;
mod store;
mod turn;
mod uploads;
mod verbs;

use std::{ffi::OsString, process::ExitCode};

/// Parses `arguments` and serves, or carries a verb out.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: cli::Cli = match framebridge_daemon::parse(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.verb {
        Some(verb) => verbs::run(&verb),
        None => app::run(cli.serve),
    }
}
