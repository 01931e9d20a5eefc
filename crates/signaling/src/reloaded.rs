//! What a file says, read again when the file changes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use anyhow::Context as _;
use framebridge_daemon::Exit;

/// The value of one file.
#[derive(Debug)]
pub(crate) struct Reloaded<T> {
    /// The configuration's key that names it.
    key: &'static str,
    path: PathBuf,
    /// How its text is read; `None`: the file is not there.
    read: fn(Option<&str>) -> anyhow::Result<T>,
    value: RwLock<Arc<T>>,
    stamp: Mutex<Option<Stamp>>,
}

/// By which it is seen that a file has changed.
type Stamp = (SystemTime, u64);

impl<T> Reloaded<T> {
    /// Reads the file that the configuration's `key` names.
    pub(crate) fn load(
        key: &'static str,
        path: PathBuf,
        read: fn(Option<&str>) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let stamp = stamp(&path);
        let value = value(&path, read)
            .with_context(|| format!("{key}: {}", path.display()))
            .context(Exit::Config)?;
        Ok(Self {
            key,
            path,
            read,
            value: RwLock::new(Arc::new(value)),
            stamp: Mutex::new(stamp),
        })
    }

    /// The value now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it has changed. What makes no sense changes nothing.
    pub(crate) fn refresh(&self) {
        let fresh = stamp(&self.path);
        let before = std::mem::replace(&mut *self.stamp.lock().unwrap_or_else(PoisonError::into_inner), fresh);
        if before == fresh {
            return;
        }
        let (key, path) = (self.key, self.path.display());
        match value(&self.path, self.read) {
            Ok(value) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(target: "audit", file = %path, "{key} has changed and was read again");
            }
            Err(error) => tracing::error!("{key}: {path}: {error:#}; what was read before stays in force"),
        }
    }
}

fn value<T>(path: &Path, read: fn(Option<&str>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    match fs::read_to_string(path) {
        Ok(text) => read(Some(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => read(None),
        Err(error) => Err(error).context("reading it"),
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
