//! The command line.

use framebridge_daemon::Args;
use framebridge_proto::StreamName;

/// Captures and encodes one stream of the configuration.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Cli {
    /// The stream, by its name in the configuration.
    pub stream: StreamName,
    /// What all daemons take.
    #[command(flatten)]
    pub args: Args,
}
