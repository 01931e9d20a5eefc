//! The last lines that a process has logged, in a small file of the runtime directory: whoever asks why it does not
//! answer can read them though it hangs.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use framebridge_ipc::RuntimeDir;

/// A file of this many bytes becomes the one before, and the next begins.
const MOST_BYTES: u64 = 32 * 1024;

/// Writes them.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    open: Mutex<Option<(File, u64)>>,
}

impl Tail {
    /// Of the process of this name.
    pub(crate) fn of(dir: &RuntimeDir, process: &str) -> Self {
        Self {
            path: path(dir, process),
            open: Mutex::new(None),
        }
    }

    /// Keeps a line. Where that can't be done, as on a full disk, it is logged to stderr only.
    pub(crate) fn keep(&self, line: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.append(&mut open, line).is_err() {
            *open = None;
        }
    }

    fn append(&self, open: &mut Option<(File, u64)>, line: &[u8]) -> io::Result<()> {
        let is_full = open.as_ref().is_none_or(|(_, size)| *size >= MOST_BYTES);
        if is_full {
            // Of another life, or full. There need not be one.
            _ = fs::rename(&self.path, before(&self.path));
            let file = File::options().create(true).append(true).mode(0o600).open(&self.path)?;
            *open = Some((file, 0));
        }
        if let Some((file, size)) = open {
            file.write_all(line)?;
            *size += line.len() as u64;
        }
        Ok(())
    }
}

/// The last lines that the process of this name has logged, up to `most`, oldest first.
pub fn last(dir: &RuntimeDir, process: &str, most: usize) -> Vec<String> {
    let path = path(dir, process);
    let mut lines = VecDeque::new();
    for path in [before(&path), path] {
        let bytes = fs::read(path).unwrap_or_default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if lines.len() == most {
                lines.pop_front();
            }
            lines.push_back(plain(line));
        }
    }
    lines.into()
}

/// Everything has ended in order: nobody will ask.
pub fn clear(dir: &RuntimeDir) {
    let files = fs::read_dir(dir.path()).into_iter().flatten().filter_map(Result::ok);
    for file in files.map(|file| file.path()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".log") || name.ends_with(".log.1") {
            // One that can't be removed is small, and the next life writes over it.
            _ = fs::remove_file(&file);
        }
    }
}

fn path(dir: &RuntimeDir, process: &str) -> PathBuf {
    dir.path().join(format!("{process}.log"))
}

fn before(path: &std::path::Path) -> PathBuf {
    path.with_added_extension("1")
}

/// Without the colours that a terminal is told.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_colour, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_those_of_the_latest_lives_and_the_files_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::at(folder.path());
        let tail = Tail::of(&dir, "signaling");
        for number in 0..5000 {
            tail.keep(format!("\u{1b}[32m line\u{1b}[0m {number} of some length\n").as_bytes());
        }
        assert_eq!(
            last(&dir, "signaling", 2),
            [" line 4998 of some length", " line 4999 of some length"]
        );
        assert!(last(&dir, "signaling", usize::MAX).len() > 500);
        let sizes: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(sizes <= 2 * MOST_BYTES + 200, "{sizes}");

        Tail::of(&dir, "signaling").keep(b"of the next life\n");
        assert_eq!(
            last(&dir, "signaling", 2),
            [" line 4999 of some length", "of the next life"]
        );
        assert!(last(&dir, "bridge", 2).is_empty());
        clear(&dir);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
