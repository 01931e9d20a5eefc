//! `cargo xtask conformance`: builds the program that checks a WHEP server, and hands over to it.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// Ends only if it fails: the checking program takes this process over.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Error> {
    machine::ready_to_build()?;
    cargo::build(Profile::Dev)?;
    let mut conformance = program();
    let source = conformance.args(arguments).exec();
    Err(cargo::not_started(&conformance, source))
}

/// The program, as it was built last.
pub(crate) fn program() -> Command {
    Command::new(Profile::Dev.folder().join("framebridge-conformance"))
}
