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
            for warning in &settings.warnings {
                writeln!(out, "warning: {warning}")?;
            }
        }
        cli::Config::Print(args) => write!(out, "{}", args.load()?.to_toml())?,
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use framebridge_config::{Input, Settings};
    use framebridge_proto::status::FaultKind;

    const REFERENCE: &str = include_str!("../../../../docs/operations.md");

    #[test]
    fn every_fault_is_in_the_reference() {
        for fault in FaultKind::ALL {
            assert!(REFERENCE.contains(&format!("| `{fault}` | ")), "{fault}");
        }
    }

    /// The default that the reference gives for a key, or `None` if it does not have it.
    fn documented(key: &str) -> Option<&'static str> {
        let row = format!("| `{key}` | ");
        let rest = REFERENCE.lines().find_map(|line| line.strip_prefix(&row))?;
        rest.split(" | ").next().map(|cell| cell.trim_matches('`'))
    }

    #[test]
    fn every_key_is_in_the_reference_with_its_default() {
        let settings = Settings::parse(&Input::default()).unwrap();
        for entry in settings
            .entries()
            .iter()
            .filter(|entry| !entry.key.starts_with("video."))
        {
            let key = entry.key.replace("streams.test.", "streams.NAME.");
            assert_eq!(documented(&key), Some(entry.value.as_str()), "{key}");
        }
    }
}
