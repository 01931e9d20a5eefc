//! The arguments that all daemons share.

use std::{ffi::OsString, path::PathBuf};

use framebridge_config::{ConfigError, Settings};

/// `[--config PATH] [--stream NAME=SOURCE]...`
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml, then built-in.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// A stream to serve, instead of or beside those of the file; repeatable.
    #[arg(long = "stream", value_name = "NAME=SOURCE")]
    pub streams: Vec<String>,
}

impl Args {
    /// The settings that these arguments, the file and the environment add up to.
    ///
    /// # Errors
    /// They make no sense; every problem is named.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        Settings::load(self.config.as_deref(), &self.streams)
    }

    /// The same arguments for a process that we start.
    pub fn forward(&self) -> Vec<OsString> {
        let config = self
            .config
            .iter()
            .flat_map(|path| ["--config".into(), path.clone().into_os_string()]);
        let streams = self
            .streams
            .iter()
            .flat_map(|stream| ["--stream".into(), OsString::from(stream)]);
        config.chain(streams).collect()
    }
}
