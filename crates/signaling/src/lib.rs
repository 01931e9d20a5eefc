//! Serves viewers: the HTTP side (WHEP, API, metrics, the page) and every viewer's WebRTC session. The field calls
//! it a WHEP endpoint and media server.
//!
//! It holds one link per stream to the stream's encoder, subscribes only while somebody watches, and passes each
//! frame to the media plane, which sends it to all viewers. A restart of the encoder costs no viewer its session.
//!
//! It never captures, encodes, starts a process or connects to a studio.

mod access;
mod api;
mod app;
mod app_state;
mod body;
mod cli;
mod client;
mod debug;
mod encoder_link;
mod events;
mod gate;
mod guard;
mod handover;
mod limits;
mod login;
mod meter;
mod metrics;
mod own_status;
mod owners;
mod page;
mod problem;
mod routes;
mod serve;
mod sessions;
mod snapshots;
mod stream;
mod supervisor;
mod viewers;
mod whep;

pub use app::App;
pub use cli::Cli;
