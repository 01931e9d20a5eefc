//! Writes down which processes live, so that the next supervisor finds them after this one was killed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use framebridge_ipc::Peer;
use framebridge_proto::InstanceId;
use serde::{Deserialize, Serialize};

use crate::{child::Mark, replace::replace};

/// One living process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its name, e.g. `encoder-test`.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) mark: Mark,
    /// How much of what was configured it was started without.
    pub(crate) step: usize,
    /// Who it is, once it has said so.
    pub(crate) known: Option<Known>,
}

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) instance: InstanceId,
    /// The file it runs, as device and inode: what has that name may be a newer one. `None`: we may not look.
    binary: Option<(u64, u64)>,
}

impl Known {
    pub(crate) fn of(peer: &Peer) -> Self {
        Self {
            instance: peer.instance,
            binary: binary(peer.pid),
        }
    }
}

fn binary(pid: u32) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

impl Entry {
    /// Whether the very process that was written down still lives, and runs what it ran.
    fn is_alive(&self) -> bool {
        let pid = self.mark.pid;
        Mark::of(pid) == Some(self.mark) && self.known.is_none_or(|known| known.binary == binary(pid))
    }
}

/// The file in the runtime directory.
#[derive(Debug)]
pub(crate) struct Ledger(PathBuf);

impl Ledger {
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.join("processes.json"))
    }

    /// What an earlier supervisor left alive. A file that can't be read is as good as none: what it named will report.
    pub(crate) fn living(&self) -> Vec<Entry> {
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(%error, path = %self.0.display(), "can't read what an earlier supervisor left");
                return Vec::new();
            }
        };
        let entries: Vec<Entry> = serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %self.0.display(), "what an earlier supervisor left makes no sense");
            Vec::new()
        });
        entries.into_iter().filter(Entry::is_alive).collect()
    }

    /// Writes down what lives now, in one step: whoever reads sees all of the old or all of the new.
    pub(crate) fn write(&self, entries: &[Entry]) {
        let written = serde_json::to_vec(entries)
            .map_err(io::Error::from)
            .and_then(|text| replace(&self.0, &text));
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.0.display(), "can't write down what lives");
        }
    }

    /// Nothing lives and nothing will: the file goes.
    pub(crate) fn close(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "the list of processes was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    fn myself() -> Entry {
        let mark = Mark::of(process::id()).expect("alive");
        let known = Known {
            instance: InstanceId([7; 16]),
            binary: binary(mark.pid),
        };
        Entry {
            name: "encoder-test".into(),
            mark,
            step: 2,
            known: Some(known),
        }
    }

    #[test]
    fn only_the_very_process_that_was_written_down_is_found_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::of(dir.path());
        assert_eq!(ledger.living(), []);
        let alive = myself();
        let earlier = Entry {
            mark: Mark {
                started: alive.mark.started - 1,
                ..alive.mark
            },
            ..alive.clone()
        };
        let another = Entry {
            known: alive.known.map(|known| Known {
                binary: Some((0, 0)),
                ..known
            }),
            ..alive.clone()
        };
        ledger.write(&[alive.clone(), earlier, another]);
        assert_eq!(ledger.living(), [alive]);
        ledger.close();
        assert_eq!(ledger.living(), []);
    }

    #[test]
    fn garbage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::of(dir.path());
        fs::write(dir.path().join("processes.json"), b"[{\"name\":").expect("writable");
        assert_eq!(ledger.living(), []);
    }
}
