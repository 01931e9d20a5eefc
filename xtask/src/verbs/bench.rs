//! `cargo xtask bench`: builds what is measured as it ships, then hands over to the program that measures it.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use crate::{
    cargo::{self, Profile},
    error::Error,
    machine,
};

/// What the media plane alone is measured with; everything else needs a browser or the whole system.
const MEDIA_PLANE: &[&str] = &["fanout", "scale", "floor", "join", "instructions"];

/// Ends only if it fails: the measuring program takes this process over.
pub(crate) fn run(name: Option<&str>, arguments: &[OsString]) -> Result<(), Error> {
    let name = name.unwrap_or("summary");
    let program = if MEDIA_PLANE.contains(&name) {
        machine::ready_to_build()?;
        "framebridge-bench"
    } else {
        machine::ready_to_test()?;
        "framebridge-measure"
    };
    cargo::build(Profile::Release)?;
    let mut bench = Command::new(Profile::Release.folder().join(program));
    let source = bench.arg(name).args(arguments).exec();
    Err(cargo::not_started(&bench, source))
}
