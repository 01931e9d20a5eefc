//! The real signaling, on sockets and directories of its own, against a scripted encoder and a plain HTTP client.

#![expect(clippy::unwrap_used, reason = "a test whose setting fails has failed")]

mod access;
mod api;
mod backlog;
mod continuity;
mod debug;
mod encoder;
mod events;
mod films;
mod jwt;
mod page;
mod pushes;
mod site;
mod steer;
mod trust;
mod whep;
mod whip;
