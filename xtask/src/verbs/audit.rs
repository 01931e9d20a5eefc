//! `cargo xtask audit`: licences, bans, sources and advisories, by cargo-deny.

use crate::{
    cargo::{self, cargo, succeeds},
    error::Error,
};

/// Installs cargo-deny where it is missing, which takes minutes; hence not a part of `cargo xtask test`.
pub(crate) fn run() -> Result<(), Error> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        cargo::run(&mut cargo(&["install", "--locked", "cargo-deny"]))?;
    }
    cargo::run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    if succeeds(&mut cargo(&["deny", "fetch", "db"])) {
        cargo::run(&mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
    } else {
        eprintln!("xtask: the advisory database is not to be had from here; advisories were not checked");
        Ok(())
    }
}
