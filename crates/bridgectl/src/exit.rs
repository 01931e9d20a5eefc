//! Exit codes, and the line that says why a verb failed.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use framebridge_config::ConfigError;
use framebridge_proto::exit_code;

use crate::ask;

/// How a verb ended. `status` uses all of them; other verbs are done or not. A wrong command line ends with
/// [`exit_code::USAGE`] before any verb runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; all healthy.
    Ok = exit_code::OK,
    /// Not done; or degraded.
    Failure = exit_code::FAILURE,
    /// No stream can be watched.
    Down = 2,
    /// No supervisor answers.
    NoSupervisor = 3,
    /// The configuration makes no sense.
    Config = exit_code::CONFIG,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Whether whoever read what we print has gone, as `head` does when it has its lines.
fn is_unread(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints why a verb was not carried out.
pub(crate) fn fail(error: &anyhow::Error) -> Exit {
    if is_unread(error) {
        return Exit::Ok;
    }
    // A closed stderr leaves nobody to tell.
    _ = writeln!(io::stderr(), "bridgectl: {error:#}");
    match error {
        _ if ask::is_unreachable(error) => Exit::NoSupervisor,
        _ if error.is::<ConfigError>() => Exit::Config,
        _ => Exit::Failure,
    }
}
