//! Runs programs, cargo among them.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::error::Error;

/// The build profile's folder and flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// The profile that `--release` asks for, or not.
    pub(crate) fn release(yes: bool) -> Self {
        if yes { Self::Release } else { Self::Dev }
    }

    /// Where cargo puts what it builds with this profile.
    pub(crate) fn folder(self) -> PathBuf {
        target_dir().join(match self {
            Self::Dev => "debug",
            Self::Release => "release",
        })
    }
}

/// `$CARGO_TARGET_DIR`, or a folder outside of the checkout that every checkout shares: FFmpeg's bindings are the
/// longest compile of the tree and need not be built once per clone.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => dir.into(),
        None => cache_dir().join("target"),
    }
}

/// What this machine keeps between two runs and two checkouts.
pub(crate) fn cache_dir() -> PathBuf {
    env::home_dir().unwrap_or_default().join(".cache/framebridge")
}

/// A cargo command on this workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the cargo that runs xtask says of xtask's own package would otherwise count as a changed environment for
    // build scripts (ring's is one), and half the tree would be built anew after each plain `cargo build`.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|about| name.to_string_lossy().starts_with(about))
        {
            cargo.env_remove(name);
        }
    }
    cargo.args(arguments).env("CARGO_TARGET_DIR", target_dir());
    cargo
}

/// Builds every binary of the workspace, those that only tests and measurements use included.
pub(crate) fn build(profile: Profile) -> Result<(), Error> {
    let mut command = cargo(&["build", "--workspace", "--exclude", "xtask", "--bins"]);
    if let Profile::Release = profile {
        command.arg("--release");
    }
    run(&mut command)
}

/// Runs a command with our own terminal until it ends.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| not_started(command, source))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed { command: line(command) })
    }
}

/// Runs a command and gives back what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| not_started(command, source))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed { command: line(command) })
    }
}

/// Whether a command runs and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The error for a command that could not be started.
pub(crate) fn not_started(command: &Command, source: std::io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
