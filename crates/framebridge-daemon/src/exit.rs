//! Exit codes, which the restart policy reads.

use std::{io, process::ExitCode};

use framebridge_config::ConfigError;
use framebridge_proto::exit_code;

/// Why a daemon ended, as its exit code says it. Attach one to an error with `.context(Exit::Config)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Exit {
    /// Stopped as asked.
    #[error("done")]
    Ok = exit_code::OK,
    /// Failed in a way that has no code of its own.
    #[error("failed")]
    Failure = exit_code::FAILURE,
    /// The command line makes no sense.
    #[error("wrong usage")]
    Usage = exit_code::USAGE,
    /// Something needed is not there.
    #[error("unavailable")]
    Unavailable = exit_code::UNAVAILABLE,
    /// A mistake of ours: a panic.
    #[error("internal error")]
    Software = exit_code::SOFTWARE,
    /// What it takes its pictures from hangs.
    #[error("the source hangs")]
    Source = exit_code::SOURCE,
    /// Wedged, or lost something that a new start brings back.
    #[error("temporary failure")]
    Temporary = exit_code::TEMPORARY,
    /// The other side speaks another protocol version. Not retried.
    #[error("protocol mismatch")]
    Protocol = exit_code::PROTOCOL,
    /// The other side does not want us. Not retried.
    #[error("refused")]
    Refused = exit_code::REFUSED,
    /// The configuration makes no sense. Not retried.
    #[error("configuration")]
    Config = exit_code::CONFIG,
}

impl Exit {
    /// The code that `error` carries, or that its kind implies.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(exit) = error.downcast_ref::<Self>() {
            return *exit;
        }
        match error.chain().find_map(|cause| cause.downcast_ref()) {
            Some(ConfigError::Syntax(_) | ConfigError::Invalid(_)) => Self::Config,
            Some(ConfigError::Read { source, .. }) if names_no_configuration(source.kind()) => Self::Config,
            Some(ConfigError::Read { source, .. }) if may_come(source.kind()) => Self::Unavailable,
            // The system could not read it just now.
            Some(ConfigError::Read { .. }) | None => Self::Failure,
        }
    }

    /// What the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Whether a file is not there yet: what it is on may be mounted, or be opened to us, a moment after our start.
fn may_come(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Whether what is named is no file that could be read: another start would read no more.
fn names_no_configuration(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use framebridge_config::Settings;

    use super::*;

    #[test]
    fn configuration_that_is_no_file_is_a_mistake_and_one_that_is_not_there_may_come() {
        for (path, exit) in [
            ("/nonexistent/framebridge.toml", Exit::Unavailable),
            ("/dev/null/framebridge.toml", Exit::Config),
            ("/", Exit::Config),
        ] {
            let error = Settings::load(Some(Path::new(path)), &[]).expect_err(path);
            let error = anyhow::Error::from(error);
            assert_eq!(Exit::of(&error), exit, "{error:#}");
            assert!(format!("{error:#}").contains(path), "{error:#}");
        }
    }
}
