//! A Python with the packages that a test needs: Debian's, or one made once per version.

use std::{
    env,
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};

use crate::process::command;

/// Debian's own: the one that its packages install GStreamer's bindings for.
pub const DEBIAN: &str = "/usr/bin/python3";

/// The Python of a virtual environment that holds exactly these `name==version`s, made where it is not there yet.
///
/// # Errors
/// There is no Python, or the packages can't be had.
pub fn with_packages(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let home = env::home_dir().context("no home directory")?;
    let folder = home.join(".cache/framebridge/python").join(packages.join("-"));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.is_file() {
        run("python3", &["-m", "venv", "--clear", &folder.to_string_lossy()])?;
        let install = [
            &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
            packages,
        ]
        .concat();
        run(&python.to_string_lossy(), &install)?;
        // Written last: an environment that was cut short is made again.
        File::create(complete)?;
    }
    Ok(fs::canonicalize(folder)?.join("bin/python"))
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = command(program)
        .args(arguments)
        .output()
        .with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
