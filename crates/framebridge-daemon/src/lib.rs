//! The parts that all daemons of Framebridge share: arguments, configuration, logs, signals, exit codes, owned
//! tasks and heartbeats to the supervisor.
//!
//! A daemon's `main` parses its arguments and calls [`run()`] with its own part as the body.

mod args;
mod clock;
pub mod descriptors;
pub mod doctor;
mod exit;
mod heartbeat;
pub mod last_words;
mod log_writer;
mod logging;
mod meter;
mod news;
pub mod notify;
pub mod ports;
pub mod reach;
mod run;
mod signals;
mod surroundings;
pub mod tail;
mod tap;
mod tasks;

pub use args::{Args, parse};
pub use clock::{monotonic_ns, since_epoch, unix_ms};
pub use exit::Exit;
pub use heartbeat::{heartbeats, heartbeats_with_news};
pub use meter::Meter;
pub use news::News;
pub use run::{Context, isolated, isolated_now, run, run_alone, run_tapped};
pub use signals::Hangups;
pub use surroundings::Surroundings;
pub use tap::{LogTap, Tapped};
pub use tasks::Tasks;
