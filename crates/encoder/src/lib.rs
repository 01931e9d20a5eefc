//! The encoder: captures one source, encodes it once, and sends the frames to every subscriber of its socket. It
//! opens the source for the first subscriber and closes it some time after the last one left.
//!
//! It never serves HTTP or WebRTC, never decides on its own restart, and never waits for a slow subscriber.
//!
//! ```text
//! capture thread ─1 picture─► encode thread ─► Broadcast ─1 queue each─► connection tasks ─► sockets
//!        │                          ├─2 each─► encode-RUNG ─► Broadcast of a lower rung ───┤
//!        ▲ Interrupt                ▲ Controls                                  │ requests
//!        └───────────── Pipeline ───┴──────────── App (SourceLife) ◄────────────┘
//! desk thread: steers the desktop for who may (Held), where streams.NAME.control lets it
//! watchdog thread: ends the process when a step hangs in FFmpeg for good
//! ```

mod app;
mod broadcast;
mod cli;
mod clip;
mod connection;
mod controls;
mod copy;
mod copying;
mod desk;
mod door;
mod makers;
mod pause_file;
mod pipeline;
mod probe;
mod progress;
mod quality_file;
mod rung;
mod snapshot;
mod state;
mod watchdog;

pub use app::App;
pub use cli::Cli;
pub use probe::{print_findings, print_source};
