//! Packages of npm that a test needs, fetched once per version.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::process::command;

/// Makes one file of a script and all that it imports.
const BUNDLER: &str = "esbuild@0.28.2";

/// A folder whose `node_modules` holds exactly these `name@version`s and what they need, made where it is not there yet.
///
/// # Errors
/// There is no npm, or the packages can't be had.
pub fn with_packages(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let home = env::home_dir().context("no home directory")?;
    let packages = [packages, &[BUNDLER]].concat();
    let name = packages.join("-").replace('/', "+");
    let folder = home.join(".cache/framebridge/npm").join(name);
    let complete = folder.join("complete");
    if !complete.is_file() {
        // What a fetch that was cut short has left.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("package.json"), r#"{"private": true}"#)?;
        // Nothing of theirs is run here but the bundler.
        let quietly = [
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
            "--save-exact",
        ];
        let install = [&["install"], &quietly[..], &packages].concat();
        run(&folder, "npm", &install)?;
        File::create(complete)?;
    }
    Ok(fs::canonicalize(folder)?)
}

/// Writes `script` with all that it imports from the packages of `folder`, as one file that a page can load.
///
/// # Errors
/// It imports what is not there.
pub fn bundle(folder: &Path, script: &str, into: &Path) -> anyhow::Result<()> {
    let entry = tempfile::Builder::new()
        .prefix("entry-")
        .suffix(".mjs")
        .tempfile_in(folder)?;
    fs::write(entry.path(), script)?;
    let (entry, outfile) = (
        entry.path().display().to_string(),
        format!("--outfile={}", into.display()),
    );
    let bundler = folder.join("node_modules/.bin/esbuild").display().to_string();
    run(folder, &bundler, &[&entry, "--bundle", "--log-level=warning", &outfile])
}

/// Runs a program in a folder.
///
/// # Errors
/// It can't be started, or fails: then with all that it says.
pub fn run(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = command(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
