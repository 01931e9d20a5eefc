//! The supervisor runs Framebridge's processes: one encoder per stream, signaling, bridge. It watches each by what it
//! does, restarts what died or wedged, and tells operators how it all is.
//!
//! It never touches a frame, and it decides nothing itself: when a process is started, judged, restarted or parked is
//! [`framebridge_core::process::Process`]'s to say, and what is here carries it out. Its own death stops nothing: the processes
//! go on, and the next supervisor adopts them.

mod app;
mod child;
mod cli;
mod degradation;
mod journal;
mod launcher;
mod ledger;
mod lock;
mod peers;
mod probe;
mod replace;
mod slot;
mod status;
mod systemd;
mod systemd_fd_store;

pub use app::App;
pub use cli::Cli;
