//! Keeps the quality that an operator has set over restarts of the encoder.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use framebridge_proto::{
    Role, StreamName,
    encoder::{Quality, QualityChange},
    process_name,
};
use serde::{Deserialize, Serialize};

/// The file beside the encoder's socket. It lasts as long as the runtime directory: until the machine restarts.
#[derive(Debug)]
pub(crate) struct QualityFile {
    path: PathBuf,
    configured: Quality,
}

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// What was configured when it was set: a changed configuration counts for more than what was set before it.
    configured: Quality,
    set: Quality,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QualityFileError {
    #[error("can't read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{}: {field} = {value} is out of range", path.display())]
    OutOfRange {
        path: PathBuf,
        field: &'static str,
        value: u32,
    },
    #[error("can't write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl QualityFile {
    /// The file of `stream` in `dir`.
    pub(crate) fn new(dir: &Path, stream: &StreamName, configured: Quality) -> Self {
        let name = format!("{}.quality.json", process_name(Role::Encoder, Some(stream)));
        Self {
            path: dir.join(name),
            configured,
        }
    }

    /// The quality to begin with: what was set last, if that still holds, else what is configured.
    pub(crate) fn load(&self) -> Quality {
        match self.read() {
            Ok(Some(quality)) => quality,
            Ok(None) => self.configured,
            Err(error) => {
                tracing::warn!("the quality set before is lost: {:#}", anyhow::Error::from(error));
                self.configured
            }
        }
    }

    /// Keeps what was set. Whole or not at all: a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn store(&self, set: Quality) -> Result<(), QualityFileError> {
        let failed = |source| QualityFileError::Write {
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_string(&Saved {
            configured: self.configured,
            set,
        })
        .map_err(|source| failed(source.into()))?;
        let fresh = self.path.with_extension("json.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        fs::rename(&fresh, &self.path).map_err(failed)
    }

    /// What was set counts no more.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn read(&self) -> Result<Option<Quality>, QualityFileError> {
        let path = || self.path.clone();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(QualityFileError::Read { path: path(), source }),
        };
        let saved: Saved =
            serde_json::from_slice(&text).map_err(|source| QualityFileError::Damaged { path: path(), source })?;
        let Quality {
            bitrate,
            fps,
            longest_edge,
        } = saved.set;
        let all = QualityChange {
            bitrate: Some(bitrate),
            fps: Some(fps),
            longest_edge: Some(longest_edge),
        };
        if let Some((field, value, _range)) = all.out_of_range() {
            return Err(QualityFileError::OutOfRange {
                path: path(),
                field,
                value,
            });
        }
        Ok(Some(saved.set).filter(|_| saved.configured == self.configured))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CONFIGURED: Quality = Quality {
        bitrate: 2_500_000,
        fps: 30,
        longest_edge: 1280,
    };
    const SET: Quality = Quality {
        bitrate: 900_000,
        fps: 15,
        longest_edge: 640,
    };

    fn file(dir: &tempfile::TempDir, configured: Quality) -> QualityFile {
        QualityFile::new(dir.path(), &"cam".parse().unwrap(), configured)
    }

    #[test]
    fn what_was_set_is_there_after_a_restart_and_readable_by_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(file(&dir, CONFIGURED).load(), CONFIGURED);
        file(&dir, CONFIGURED).store(SET).unwrap();
        file(&dir, CONFIGURED).store(SET).unwrap();
        assert_eq!(file(&dir, CONFIGURED).load(), SET);
        let path = dir.path().join("encoder-cam.quality.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
        for _again in 0..2 {
            file(&dir, CONFIGURED).forget().unwrap();
            assert_eq!(file(&dir, CONFIGURED).load(), CONFIGURED);
        }
    }

    #[test]
    fn a_changed_configuration_counts_for_more() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir, CONFIGURED).store(SET).unwrap();
        let changed = Quality { fps: 60, ..CONFIGURED };
        assert_eq!(file(&dir, changed).load(), changed);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encoder-cam.quality.json");
        let absurd = serde_json::to_string(&Saved {
            configured: CONFIGURED,
            set: Quality { fps: 0, ..SET },
        })
        .unwrap();
        for text in ["", "{", "{\"set\": 1}", "\u{0}\u{0}", &absurd] {
            fs::write(&path, text).unwrap();
            assert_eq!(file(&dir, CONFIGURED).load(), CONFIGURED, "{text:?}");
        }
    }
}
