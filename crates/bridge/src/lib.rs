//! `bridge`: holds the outbound session to a studio, so that viewers outside the NAT find this machine.
//!
//! It connects out and never listens for anyone beyond this machine. Media is none of its business: that flows between
//! viewers and signaling directly. While no studio is configured it is `disabled`, which is a healthy state.

mod app;
mod cli;
mod session;

pub use app::run;
pub use cli::Cli;
