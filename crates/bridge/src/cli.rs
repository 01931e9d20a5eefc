//! The command line.

use clap::Parser;

/// Holds the outbound session to a studio.
#[derive(Debug, Parser)]
#[command(name = "bridge", version)]
pub struct Cli {
    /// What all daemons share.
    #[command(flatten)]
    pub args: framebridge_daemon::Args,
    /// End when this process ends, as when started by hand beside it
    #[arg(long, value_name = "PID")]
    pub parent_pid: Option<u32>,
}
