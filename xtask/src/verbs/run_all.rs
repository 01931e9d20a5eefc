//! `cargo xtask run-all`: from a checkout to a picture in the browser.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// Ends only if it fails: xtask *becomes* the supervisor, so that Ctrl-C, SIGTERM and the exit code are the
/// supervisor's own affair and there is no process in between to be orphaned, or to be killed in its place.
pub(crate) fn run(profile: Profile, forwarded: &[OsString]) -> Result<(), Error> {
    machine::ready_to_build()?;
    cargo::build(profile)?;
    let mut supervisor = Command::new(profile.folder().join("supervisor"));
    let source = supervisor.args(forwarded).exec();
    Err(cargo::not_started(&supervisor, source))
}
