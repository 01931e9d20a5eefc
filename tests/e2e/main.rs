//! End to end: the real binaries, from a source to a picture in a browser, and back up after every blow.
//!
//! Each module is one promise of Framebridge; each test starts a system of its own.
#![expect(clippy::unwrap_used, reason = "a test can't go on without what it waited for")]

mod access;
mod answers;
mod attack;
mod bundle;
mod chaos;
mod copied;
mod crowds;
mod firefox;
mod fuzz;
mod handbook;
mod hands;
mod health;
mod hooks;
mod interop;
mod leaks;
mod links;
mod monitoring;
mod moves;
mod narrow;
mod networks;
mod openapi;
mod operator;
mod packages;
mod page;
mod parked;
mod playback;
mod players;
mod published;
mod pushes;
mod recovery;
mod relays;
mod reload;
mod rungs;
mod sdp;
mod sent;
mod service_manager;
mod setup;
mod soak;
mod sources;
mod stress;
mod studio;
mod units;
mod usage;
