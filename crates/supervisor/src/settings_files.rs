//! The settings that processes are started with: this supervisor's, each process's own in a file of its own.
//!
//! They stand in files because systemd starts processes before it can be asked what for, and in files of this user's alone because
//! arguments can be read by everybody. The operator's configuration is read by the supervisor only: what it has not taken nobody
//! sees (`docs/decisions/0021-reload.md`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::replace::replace;

/// The files, in the runtime directory.
#[derive(Debug)]
pub(crate) struct SettingsFiles(PathBuf);

impl SettingsFiles {
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Where the settings of a process are.
    pub(crate) fn path(&self, process: &str) -> PathBuf {
        self.0.join(format!("{process}.toml"))
    }

    /// Writes what `process` reads at its next start. A file that says so already is left alone: a disk that is full by now keeps
    /// nothing from starting again.
    pub(crate) fn write(&self, process: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path(process);
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(path);
        }
        let written = replace(&path, text.as_bytes());
        written.map_err(|error| io::Error::new(error.kind(), format!("can't write {}: {error}", path.display())))?;
        Ok(path)
    }

    /// Nobody needs them any more.
    pub(crate) fn remove(&self, process: &str) {
        // It may never have been written.
        _ = fs::remove_file(self.path(process));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn settings_are_for_our_eyes_and_written_only_when_they_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = SettingsFiles::of(dir.path());
        let path = files.write("encoder-test", "a = 1\n").expect("written");
        let about = fs::metadata(&path).expect("there");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        files.write("encoder-test", "a = 1\n").expect("nothing to write");
        assert_eq!(fs::metadata(&path).expect("there").ino(), about.ino());
        files.write("encoder-test", "a = 2\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "a = 2\n");
        files.remove("encoder-test");
        assert!(!path.exists());
    }
}
