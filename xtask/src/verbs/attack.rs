//! `cargo xtask attack`: builds what is attacked as it ships, then hands over to the program that attacks it.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// Ends only if it fails: the attacking program takes this process over.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Error> {
    machine::ready_to_test()?;
    cargo::build(Profile::Release)?;
    let mut attack = Command::new(Profile::Release.folder().join("framebridge-attack"));
    let source = attack.args(arguments).exec();
    Err(cargo::not_started(&attack, source))
}
