//! `studio`: gives a public address to boxes that have none.
//!
//! Each box holds one outbound WebSocket to it (`framebridge-studio-proto`, `docs/protocol.md`). Viewers' requests
//! for the box's public address travel through it to the box's own server and back; media never does. The page of
//! an address always shows the true state of its box. Operators see all boxes, their logs and their jobs.
//!
//! It never captures, encodes or relays media. It has no TLS: put a reverse proxy in front of it.

mod api;
mod app;
mod auth;
mod boxes;
mod cli;
mod exchange;
mod hub;
mod limits;
mod metrics;
mod nodes;
mod page;
mod problem;
mod proxy;
mod question;
mod random;
mod routes;
mod socket;
mod store;
mod turn;
mod upload_route;
mod uploads;
mod verbs;
mod visits;

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
