//! Serves viewers: the HTTP side (WHEP, API, metrics, the page) and every viewer's WebRTC session. The field calls
//! it a WHEP endpoint and media server.
//!
//! It holds one link per stream to the stream's encoder, subscribes only while somebody watches, and passes each
//! frame to the media plane, which sends it to all viewers. A restart of the encoder costs no viewer its session.
//!
//! It never captures, encodes, starts a process or connects to a studio. It connects out to receivers that a stream is sent on to, and
//! to nobody else.

mod access;
mod app;
mod app_state;
mod asks;
mod body;
mod candidates;
mod cli;
mod client;
mod control;
mod debug;
mod document;
mod encoder_link;
mod encoder_links;
mod ended;
mod events;
mod feed;
mod feed_link;
mod films;
mod fragments;
mod gate;
mod glances;
mod guard;
mod handover;
mod hands;
mod ice_servers;
mod limits;
mod live;
mod login;
mod mean_delay;
mod metrics;
mod negotiation;
mod outside;
mod own_addresses;
mod owners;
mod page;
mod pictures;
mod problem;
mod push;
mod pushes;
mod reloaded;
mod reports;
mod routes;
mod rung_link;
mod rungs;
mod serve;
mod session_events;
mod sessions;
mod silenced;
mod site;
mod snapshots;
mod status;
mod steer;
mod stream;
mod stream_set;
mod streams;
mod supervisor;
mod units;
mod unknown_host;
mod viewers;
mod visits;
mod whep;
mod whip;

pub use app::App;
pub use cli::Cli;
