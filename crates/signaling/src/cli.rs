//! The command line.

use clap::Parser;

/// Serves viewers: page, WHEP, API and WebRTC.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What all daemons take.
    #[command(flatten)]
    pub args: framebridge_daemon::Args,
}
