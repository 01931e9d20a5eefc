//! The command line.

use framebridge_daemon::Args;
use framebridge_proto::StreamName;

/// Captures and encodes one stream of the configuration.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Cli {
    /// The stream, by its name in the configuration.
    #[arg(required_unless_present_any = ["probe", "probe_source"], conflicts_with_all = ["probe", "probe_source"])]
    pub stream: Option<StreamName>,
    /// Print what FFmpeg can do on this machine, one JSON object per line, and end.
    #[arg(long)]
    pub probe: bool,
    /// Open the source whose URL comes on standard input, print what it is in the same way, and end.
    #[arg(long)]
    pub probe_source: bool,
    /// What all daemons take.
    #[command(flatten)]
    pub args: Args,
}
