//! The command line.

use framebridge_daemon::Args;

/// Runs and watches encoder, signaling and bridge.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Cli {
    /// What all daemons take; passed on to every process that is started.
    #[command(flatten)]
    pub args: Args,
}
