//! The arguments that all daemons share.

use std::{
    env,
    ffi::OsString,
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant},
};

use framebridge_config::{ConfigError, Settings, Source};
use framebridge_proto::limits::RECONNECT_INTERVAL;

use crate::Exit;

/// Parses a program's arguments, its own name first.
///
/// # Errors
/// Help or the version was asked for and is printed, or the command line is wrong and stderr says why. The program ends
/// with this code.
pub fn parse<C: clap::Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<C, ExitCode> {
    C::try_parse_from(arguments).map_err(|refused| {
        // Fails where nobody can read it.
        _ = refused.print();
        if refused.use_stderr() { Exit::Usage } else { Exit::Ok }.into()
    })
}

/// `[--config PATH] [--stream NAME=SOURCE]...`
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml, then built-in.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// A stream to serve, instead of or beside those of the file; repeatable.
    #[arg(long = "stream", value_name = "NAME=SOURCE")]
    pub streams: Vec<String>,
    /// What `--stream` would say, one a line: everybody on a machine reads arguments, and this file only we do.
    #[arg(long, value_name = "PATH", hide = true)]
    pub streams_file: Option<PathBuf>,
    /// What the supervisor has written for this process, which then reads no configuration itself.
    #[arg(long, value_name = "PATH", hide = true, conflicts_with_all = ["config", "streams", "streams_file"])]
    pub settings: Option<PathBuf>,
    /// Written likewise: what holds where the configuration makes no sense now.
    #[arg(skip)]
    pub fallback: Option<PathBuf>,
}

/// Begins the name of the file that holds what may not stand in arguments; a pid ends it.
const STREAMS_FILE: &str = "streams-";

impl Args {
    /// The settings that these arguments, the file and the environment add up to.
    ///
    /// # Errors
    /// They make no sense; every problem is named.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        self.load_with(env::vars_os().collect())
    }

    /// [`load`](Self::load), with the environment of another process.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn load_with(&self, environment: Vec<(OsString, OsString)>) -> Result<Settings, ConfigError> {
        if let Some(path) = &self.settings {
            return handed(path);
        }
        let Some(path) = &self.streams_file else {
            return Settings::load_with(self.config.as_deref(), &self.streams, environment);
        };
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let kept = text.lines().map(str::to_owned);
        let streams: Vec<String> = kept.chain(self.streams.iter().cloned()).collect();
        Settings::load_with(self.config.as_deref(), &streams, environment)
    }

    /// Whether a stream's source has a password in it.
    pub fn has_secrets(&self) -> bool {
        let parsed = |flag: &String| flag.split_once('=')?.1.parse::<Source>().ok();
        self.streams
            .iter()
            .filter_map(parsed)
            .any(|source| source.has_secrets())
    }

    /// The same without a secret in it: streams are written to a file in `dir` instead.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn without_secrets(&self, dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("{STREAMS_FILE}{}", process::id()));
        // One that a process of our number left has a mode and a text of its own.
        _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        for flag in &self.streams {
            writeln!(file, "{flag}")?;
        }
        Ok(Self {
            streams: Vec::new(),
            streams_file: Some(path),
            ..self.clone()
        })
    }

    /// Removes from `dir` what such files others have left there.
    pub fn remove_stale(&self, dir: &Path) {
        let files = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let stale = files.filter(|file| {
            let is_one = file.file_name().to_string_lossy().starts_with(STREAMS_FILE);
            is_one && self.streams_file.as_deref() != Some(&*file.path())
        });
        for file in stale {
            // Whoever removes it is welcome.
            _ = fs::remove_file(file.path());
        }
    }

    /// These arguments, to start this program again with.
    pub fn forward(&self) -> Vec<OsString> {
        let config = self
            .config
            .iter()
            .flat_map(|path| ["--config".into(), path.clone().into_os_string()]);
        let streams = self
            .streams
            .iter()
            .flat_map(|stream| ["--stream".into(), OsString::from(stream)]);
        let file = self
            .streams_file
            .iter()
            .flat_map(|path| ["--streams-file".into(), path.clone().into_os_string()]);
        config.chain(streams).chain(file).collect()
    }
}

/// How long a process waits for its settings before it ends: a service manager may start it before the supervisor has written
/// them, or for a stream that is not configured, and starts it again no more often.
const SETTINGS_WAIT: Duration = Duration::from_secs(10);

/// What a unit that is given a copy of its settings is given where there are none.
const NONE_YET: &str = "# none yet";

fn handed(path: &Path) -> Result<Settings, ConfigError> {
    let end = Instant::now() + SETTINGS_WAIT;
    let is_missing = || fs::read_to_string(path).map_or(true, |text| text.trim() == NONE_YET);
    while is_missing() && Instant::now() < end {
        #[expect(clippy::disallowed_methods, reason = "nothing runs yet that it could hold up")]
        thread::sleep(RECONNECT_INTERVAL);
    }
    if is_missing() {
        return Err(ConfigError::Read {
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    Settings::handed(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_of_streams_are_handed_on_by_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Args {
            streams: vec!["a=test:".to_owned()],
            ..Args::default()
        };
        assert!(!plain.has_secrets());
        let secret = Args {
            streams: vec!["a=test:".to_owned(), "cam=rtsp://u:SECRET@cam/s".to_owned()],
            ..Args::default()
        };
        assert!(secret.has_secrets());
        let handed = secret.without_secrets(folder.path()).unwrap();
        assert!(!format!("{:?}", handed.forward()).contains("SECRET"));
        let path = handed.streams_file.clone().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(handed.load().unwrap().streams, secret.load().unwrap().streams);
        handed.remove_stale(folder.path());
        assert!(path.exists());
        plain.remove_stale(folder.path());
        assert!(!path.exists());
    }

    #[test]
    fn unit_and_program_agree_on_what_settings_that_are_not_there_look_like() {
        let unit = include_str!("../systemd/framebridge-encoder@.service");
        let says = unit
            .lines()
            .find_map(|line| line.strip_prefix("SetCredential=settings:"));
        assert_eq!(says, Some(NONE_YET));
    }
}
