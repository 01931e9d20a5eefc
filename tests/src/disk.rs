//! A disk of one's own that can be full.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::process::command;

/// Enough for sockets, the list of processes and a journal with its predecessor.
const SIZE: &str = "size=4m,mode=0700";

/// What fills it.
const BALLAST: &str = "ballast";

/// A small file system in memory, mounted on a directory until this is dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one on `path`, which is made.
    ///
    /// # Errors
    /// Only root may mount.
    pub fn mount(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        let mut mount = command("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "framebridge-test"]).arg(path);
        let output = mount.output().context("starting mount")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(Self { path: path.to_owned() })
    }

    /// Leaves no room on it.
    ///
    /// # Errors
    /// The system refuses for another reason than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.path.join(BALLAST))?;
        loop {
            match ballast.write(&[0; 4096]) {
                Ok(_) => {}
                Err(full) if full.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// It was not filled.
    pub fn empty(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path.join(BALLAST))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a file still open there must not keep it.
        _ = command("umount").arg("--lazy").arg(&self.path).status();
    }
}
