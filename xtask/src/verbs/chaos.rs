//! `cargo xtask chaos`: builds what is broken as it ships, then hands over to the program that breaks it.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// Ends only if it fails: the breaking program takes this process over.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Error> {
    machine::ready_to_test()?;
    cargo::build(Profile::Release)?;
    let mut chaos = Command::new(Profile::Release.folder().join("framebridge-chaos"));
    let source = chaos.args(arguments).exec();
    Err(cargo::not_started(&chaos, source))
}
