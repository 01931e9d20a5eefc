//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use framebridge_config::listen_address;

/// A public address for boxes that have none.
#[derive(Debug, Parser)]
#[command(
    name = "studio",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    /// Where boxes and viewers come; port 0 lets the system pick
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8900", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// Where the operators' dashboard listens: an origin of its own, so that no box's page can reach into it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8901", value_parser = listen_address)]
    pub(crate) operators: SocketAddr,
    /// Where everything that has to last is kept
    #[arg(long, value_name = "DIR", required = true)]
    data: Option<PathBuf>,
    /// The address that viewers use, e.g. https://studio.example; without it, http:// and where it listens
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Take a viewer's address from the last X-Forwarded-For, which a proxy in front has to set
    #[arg(long)]
    pub(crate) behind_proxy: bool,
    /// TURN server for viewers, e.g. turn:turn.example:3478; repeatable
    #[arg(long = "turn", value_name = "URL", value_parser = framebridge_config::ice_url, requires = "turn_secret_file")]
    pub(crate) turn: Vec<String>,
    /// File with the secret shared with that TURN server (coturn's static-auth-secret)
    #[arg(long, value_name = "FILE")]
    pub(crate) turn_secret_file: Option<PathBuf>,
    /// Share boxes with the studio's other nodes through this NATS server, e.g. nats://10.0.0.1:4222; repeatable
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "STUDIO_NATS",
        hide_env_values = true
    )]
    pub(crate) nats: Vec<String>,
    /// Days that the files of jobs are kept
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub(crate) keep_days: u64,
    /// Megabytes that the files of jobs may take together; the oldest go first
    #[arg(long, value_name = "MB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) keep_mb: u64,
    /// Levels by module, e.g. info,studio=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "STUDIO_LOG")]
    pub(crate) log: String,
}

impl Serve {
    /// The data directory; clap has seen to it that it was given.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tokens that let boxes register and operators in
    #[command(subcommand)]
    Token(Token),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make one and print it; only its hash is kept
    New {
        /// What it is for, e.g. the box's name
        name: String,
        /// The data directory
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// For a person at the dashboard instead of a box
        #[arg(long)]
        operator: bool,
    },
    /// List them
    List {
        /// The data directory
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// End one: its box is not let in any more
    Revoke {
        /// Its name
        name: String,
        /// The data directory
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn manual_and_completions_are_those_of_this_command_line() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manual");
        let stale = framebridge_manual::stale(&Cli::command(), "framebridge-studio", folder.as_ref()).unwrap();
        assert!(
            stale.is_empty(),
            "FRAMEBRIDGE_WRITE_MANUAL=1 cargo test -p studio manual writes {stale:?}"
        );
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["studio"]).is_err(), "it needs a data directory");
        let verb = Cli::try_parse_from(["studio", "token", "new", "box", "--data", "d"]).unwrap();
        assert!(matches!(
            verb.verb,
            Some(Verb::Token(Token::New { operator: false, .. }))
        ));
        let serve = Cli::try_parse_from(["studio", "--data", "d", "--listen", "[::]:80"]).unwrap();
        assert!(serve.verb.is_none() && serve.serve.listen.port() == 80);
    }
}
