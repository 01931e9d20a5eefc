//! Notices that a file is no longer the one that was opened.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

/// A file that is played again and again.
pub(super) struct PlayedFile {
    path: PathBuf,
    seen: Option<Identity>,
}

/// What changes when a file is replaced, removed or written to.
type Identity = (u64, u64, u64, i64, i64);

impl PlayedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let mut file = Self { path, seen: None };
        file.has_changed();
        file
    }

    /// Whether it is another one than when this was last asked, or gone.
    pub(super) fn has_changed(&mut self) -> bool {
        let found = fs::metadata(&self.path).ok();
        let found = found.map(|found| {
            (
                found.dev(),
                found.ino(),
                found.size(),
                found.mtime(),
                found.mtime_nsec(),
            )
        });
        std::mem::replace(&mut self.seen, found) != found || found.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_written_to_or_removed_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("film"), dir.path().join("other"));
        fs::write(&path, "one").unwrap();
        let mut file = PlayedFile::new(path.clone());
        assert!(!file.has_changed());
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(file.has_changed() && !file.has_changed());
        fs::write(&path, "longer").unwrap();
        assert!(file.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(file.has_changed() && file.has_changed());
    }
}
