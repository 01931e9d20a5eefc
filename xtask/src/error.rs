//! The errors of xtask, and the exit code of each kind.

use std::{fmt, io, process::ExitCode};

/// Why a command of xtask did not do what it should.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line makes no sense.
    Usage(String),
    /// The machine lacks packages, and they can't be installed from here.
    Missing {
        /// What to type to have them.
        install: String,
    },
    /// A program could not be started.
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ran and failed.
    Failed {
        /// The command as typed.
        command: String,
    },
    /// The sources can't be read.
    Sources(io::Error),
    /// A dependency goes where it may not.
    Arrows(Vec<String>),
}

impl Error {
    /// The documented exit codes: 64 usage, 69 unavailable, 1 anything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(64),
            Self::Missing { .. } => ExitCode::from(69),
            Self::Start { .. } | Self::Failed { .. } | Self::Sources(_) | Self::Arrows(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => write!(f, "{what} (see `cargo xtask --help`)"),
            Self::Missing { install } => write!(f, "this machine lacks packages; install them with:\n    {install}"),
            Self::Start { program, source } => write!(f, "cannot start {program}: {source}"),
            Self::Failed { command } => write!(f, "failed: {command}"),
            Self::Sources(error) => write!(f, "cannot read the sources: {error}"),
            Self::Arrows(wrong) => write!(f, "dependencies that may not be:\n    {}", wrong.join("\n    ")),
        }
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}
