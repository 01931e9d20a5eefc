//! Exit codes, and the one line that says why.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use framebridge_config::ConfigError;

use crate::ask;

/// How a verb ended. `status` uses all of them; other verbs are done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; all healthy.
    Ok = 0,
    /// Not done; or degraded.
    Failure = 1,
    /// No stream can be watched.
    Down = 2,
    /// No supervisor answers.
    NoSupervisor = 3,
    /// The command line makes no sense.
    Usage = 64,
    /// The configuration makes no sense.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Prints why a verb was not carried out.
pub(crate) fn fail(error: &anyhow::Error) -> Exit {
    // A closed stderr leaves nobody to tell.
    _ = writeln!(io::stderr(), "bridgectl: {error:#}");
    match error {
        _ if ask::is_unreachable(error) => Exit::NoSupervisor,
        _ if error.is::<ConfigError>() => Exit::Config,
        _ => Exit::Failure,
    }
}

/// Prints help where it was asked for, or what is wrong with the command line.
pub(crate) fn refuse(refused: &clap::Error) -> ExitCode {
    _ = refused.print();
    if refused.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Ok.into()
    }
}
