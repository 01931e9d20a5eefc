//! The supervisor runs Framebridge's processes: one encoder per stream, signaling, bridge. It judges each by its
//! progress, restarts dead and wedged ones, and reports the state of all to operators.
//!
//! It never touches a frame and decides nothing itself: [`framebridge_core::process::Process`] decides when a process is
//! started, judged, restarted or parked, and this crate acts on it. The supervisor's own death stops nothing: the
//! processes go on, and the next supervisor adopts them.

mod app;
mod child;
mod cli;
mod degradation;
mod disk;
mod event;
mod first_start;
mod hangups;
mod hooks;
mod journal;
mod launcher;
mod ledger;
mod lock;
mod missing;
mod oom;
mod peers;
mod probe;
mod replace;
mod seeds;
mod settings_files;
mod slot;
mod status;
mod systemd;
mod systemd_fd_store;

pub use app::App;
pub use cli::Cli;
pub use first_start::check;
