//! The command line.

use clap::Parser;

/// Holds the outbound session to a studio.
#[derive(Debug, Parser)]
#[command(name = "bridge", version)]
pub struct Cli {
    /// What all daemons share.
    #[command(flatten)]
    pub args: framebridge_daemon::Args,
}
