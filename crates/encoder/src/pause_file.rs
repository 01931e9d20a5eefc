//! Keeps an operator's pause over restarts of the encoder: a crash must not show what somebody has paused.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use framebridge_proto::{Role, StreamName, process_name};

/// The file beside the encoder's socket that is there as long as the stream is paused. It lasts as long as the runtime
/// directory: until the machine restarts.
#[derive(Debug)]
pub(crate) struct PauseFile(PathBuf);

impl PauseFile {
    /// The file of `stream` in `dir`.
    pub(crate) fn new(dir: &Path, stream: &StreamName) -> Self {
        let name = format!("{}.paused", process_name(Role::Encoder, Some(stream)));
        Self(dir.join(name))
    }

    /// Whether the stream was paused. What can't be looked for counts as there: who paused it would not want to be shown.
    pub(crate) fn is_there(&self) -> bool {
        fs::exists(&self.0).unwrap_or(true)
    }

    /// Keeps whether the stream is paused.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn store(&self, paused: bool) -> io::Result<()> {
        if paused {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            return options.open(&self.0).map(drop);
        }
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_kept_until_it_ends_and_said_twice_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = PauseFile::new(dir.path(), &"cam".parse().unwrap());
        for paused in [false, true, true, false, false] {
            file.store(paused).unwrap();
            assert_eq!(file.is_there(), paused);
        }
        file.store(true).unwrap();
        assert!(dir.path().join("encoder-cam.paused").exists());
    }
}
