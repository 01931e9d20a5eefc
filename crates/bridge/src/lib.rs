//! `bridge`: holds the outbound session to a studio, through which viewers outside the NAT reach this machine.
//!
//! It connects out and listens only on its own Unix socket. It passes viewers' requests for the box's public
//! address on to the box's own server, within an allow-list. It reports the box's state, does the studio's jobs and
//! sends the box's log. It carries no media: that goes between viewers and signaling. Without a configured studio
//! the bridge is `disabled`, which is a healthy state.

mod app;
mod cli;
mod control;
mod dial;
mod event;
mod identity;
mod jobs;
mod local;
mod logs;
mod paths;
mod proxy;
mod report;
mod requests;
mod shares;
mod token;
mod uplink;
mod upload;
mod websocket;

pub use app::{log_tap, run};
pub use cli::Cli;
