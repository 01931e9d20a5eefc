//! A time of day of the system's own, which a drill may step: the machine's is everybody's.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::process::command;

const SOURCE: &str = include_str!("clock.c");

/// The time of day of whatever is started with its [`variables`](Self::variables).
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
    _dir: TempDir,
}

impl Clock {
    /// The machine's, for now.
    ///
    /// # Errors
    /// There is no C compiler: the linker of Rust programs is one.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("framebridge-clock-").tempdir()?;
        let [source, library, file] = ["clock.c", "clock.so", "ahead"].map(|name| dir.path().join(name));
        fs::write(&source, SOURCE)?;
        let mut compiler = command("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source);
        let output = compiler.output().context("starting cc")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "compiling a clock: {said}");
        fs::write(&file, 0_i64.to_ne_bytes())?;
        Ok(Self {
            library,
            file,
            _dir: dir,
        })
    }

    /// What has a program and its children live by it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let path = |path: &Path| path.as_os_str().to_owned();
        vec![("LD_PRELOAD", path(&self.library)), ("CHAOS_CLOCK", path(&self.file))]
    }

    /// Steps to so much ahead of the machine's.
    pub(crate) fn step(&self, ahead: Duration) -> anyhow::Result<()> {
        let seconds = i64::try_from(ahead.as_secs())?;
        // In place: it is mapped into every process.
        let file = File::options().write(true).open(&self.file)?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}
