//! Serves viewers: the HTTP side (WHEP, API, metrics, the page) and every viewer's WebRTC session.
//!
//! It holds one link per stream to that stream's encoder, subscribes only while somebody watches, and hands each frame
//! to the media plane, which sends it to all viewers. An encoder that dies or comes back costs no viewer its session.
//!
//! It never captures, encodes, starts a process or talks to a studio.

mod api;
mod app;
mod app_state;
mod body;
mod cli;
mod debug;
mod encoder_link;
mod events;
mod guard;
mod handover;
mod limits;
mod meter;
mod metrics;
mod own_status;
mod page;
mod problem;
mod routes;
mod sessions;
mod snapshots;
mod stream;
mod supervisor;
mod whep;

pub use app::App;
pub use cli::Cli;
