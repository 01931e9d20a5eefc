//! Looks at the supervisor that runs: its configuration, environment and binaries count, and not those of this command.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::PathBuf,
};

use clap::Parser as _;
use framebridge_config::{ConfigError, Settings};
use framebridge_daemon::Args;
use framebridge_proto::{Role, status::Status};

/// A supervisor's command line.
#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

/// A supervisor that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// The folder of its binary, in which the others are.
    pub(crate) binaries: PathBuf,
    pub(crate) args: Args,
    environment: Vec<(OsString, OsString)>,
}

impl Running {
    /// Looks at the supervisor that has answered with `status`.
    ///
    /// # Errors
    /// The system does not let this user look.
    pub(crate) fn look(status: &Status) -> io::Result<Self> {
        let supervisor = status.processes.iter().find(|process| process.role == Role::Supervisor);
        let pid = supervisor
            .and_then(|process| process.pid)
            .ok_or(io::ErrorKind::NotFound)?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let words = |name: &str| fs::read(proc.join(name)).map(|bytes| split(&bytes));
        let line = CommandLine::try_parse_from(words("cmdline")?).map_err(io::Error::other)?;
        let mut args = line.args;
        // A path is to be read from where it was written.
        let folder = fs::read_link(proc.join("cwd"))?;
        args.config = args.config.map(|path| folder.join(path));
        let environment: Vec<_> = words("environ")?.into_iter().filter_map(variable).collect();
        let named = environment.iter().find(|(name, _)| name == "FRAMEBRIDGE_BIN_DIR");
        let own = fs::read_link(proc.join("exe"))?
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        Ok(Self {
            pid,
            uid: fs::metadata(&proc)?.uid(),
            binaries: named.map_or(own, |(_, folder)| folder.into()),
            args,
            environment,
        })
    }

    /// The file that it was started with, where one was named to it.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let named = self.environment.iter().find(|(name, _)| name == "FRAMEBRIDGE_CONFIG");
        let named = named.map(|(_, path)| path.into());
        self.args.config.clone().or(named)
    }

    /// The settings that it was started with, as the file has them now.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        self.args.load_with(self.environment.clone())
    }
}

/// What the kernel ends with a NUL each.
fn split(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// `NAME=VALUE`
fn variable(text: OsString) -> Option<(OsString, OsString)> {
    let mut bytes = text.into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let value = bytes.split_off(at + 1);
    bytes.truncate(at);
    Some((OsString::from_vec(bytes), OsString::from_vec(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_and_environments_are_read_as_the_kernel_has_them() {
        assert_eq!(
            split(b"supervisor\0--stream\0a=test:\0"),
            ["supervisor", "--stream", "a=test:"]
        );
        assert_eq!(variable("A=b=c".into()), Some(("A".into(), "b=c".into())));
        assert_eq!(variable("A".into()), None);
    }
}
