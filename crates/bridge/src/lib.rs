//! `bridge`: holds the outbound session to a studio, so that viewers outside the NAT find this machine.
//!
//! It connects out and never listens for anyone beyond this machine. What viewers ask of the box's public address it asks
//! of the box's own server, within an allow-list; it says truthfully how the box is, does the studio's jobs, and ships
//! logs. Media is none of its business: that flows between viewers and signaling directly. While no studio is
//! configured it is `disabled`, which is a healthy state.

mod app;
mod cli;
mod control;
mod dial;
mod identity;
mod jobs;
mod local;
mod logs;
mod paths;
mod proxy;
mod report;
mod upload;
mod websocket;

pub use app::{log_tap, run};
pub use cli::Cli;
