//! A Python with the packages that a test needs: Debian's, or one made once per version.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, ensure};

use crate::process::{Process, command};

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

/// Starts a script of Debian's Python, and waits until it says that it is ready. It ends when this is dropped.
///
/// # Errors
/// It does not start, or ends without a word.
pub(crate) fn run_until_dropped(script: &str, arguments: &[String]) -> anyhow::Result<Process> {
    let mut python = command(DEBIAN);
    python.args(["-c", script]).args(arguments);
    python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start_as_is(&mut python)?;
    let said = process.child().stdout.take();
    let said = said.context("a script without stdout")?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    ensure!(line == "ready\n", "the script did not get ready");
    Ok(process)
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
