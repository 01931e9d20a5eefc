//! One supervisor per runtime directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
};

use rustix::fs::{FlockOperation, flock};

/// Held for as long as this process supervises; the file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

/// Why this process may not supervise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another does.
    #[error("another supervisor (pid {pid}) runs on {}: stop it first, or set FRAMEBRIDGE_RUNTIME_DIR", dir.display())]
    Held {
        /// The runtime directory.
        dir: PathBuf,
        /// The other's pid, as its lock file says.
        pid: String,
    },
    /// The system refused.
    #[error("can't lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock of `dir`. The kernel gives it back when this process ends, however it does.
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("supervisor.lock");
        loop {
            if let Some(file) = try_lock(dir, &path)? {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the lock file was left behind");
        }
    }
}

/// `None`: its holder removed the file between our opening and our locking it.
fn try_lock(dir: &Path, path: &Path) -> Result<Option<File>, LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            return Err(LockError::Held {
                dir: dir.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let locked = file.metadata().map_err(failed)?;
    let named = fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    if named != Some((locked.dev(), locked.ino())) {
        return Ok(None);
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(failed)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_with_the_holders_pid_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Lock::take(dir.path()).expect("free");
        let error = Lock::take(dir.path()).expect_err("held").to_string();
        assert!(error.contains(&format!("pid {}", process::id())), "{error}");
        drop(first);
        assert!(!dir.path().join("supervisor.lock").exists());
        Lock::take(dir.path()).expect("free again");
    }
}
