//! `bridgectl config check` and `bridgectl config print`

use std::io::{self, Write as _};

use crate::{cli, exit::Exit};

pub(crate) fn run(verb: &cli::Config) -> anyhow::Result<Exit> {
    let mut out = io::stdout();
    match verb {
        cli::Config::Check(args) => {
            let settings = args.load()?;
            let streams: Vec<_> = settings.streams.iter().map(|stream| stream.name.as_str()).collect();
            writeln!(out, "the configuration is valid; streams: {}", streams.join(", "))?;
        }
        cli::Config::Print(args) => write!(out, "{}", args.load()?.to_toml())?,
    }
    Ok(Exit::Ok)
}
