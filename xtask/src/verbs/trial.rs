//! `cargo xtask attack`, `chaos`, `soak`, `stress`: builds what is put to the test as it ships, then hands over to the program
//! that does it.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// Ends only if it fails: the program for this verb takes this process over.
pub(crate) fn run(verb: &str, arguments: &[OsString]) -> Result<(), Error> {
    machine::ready_to_test()?;
    cargo::build(Profile::Release)?;
    let mut trial = Command::new(Profile::Release.folder().join(format!("framebridge-{verb}")));
    let source = trial.args(arguments).exec();
    Err(cargo::not_started(&trial, source))
}
