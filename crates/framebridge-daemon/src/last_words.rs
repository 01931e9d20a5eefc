//! Why a process ends, in its own words, for the supervisor to repeat: an exit code alone says little, and logs go to
//! people. One small file per death in the runtime directory, gone once it is read. The exit code is in it too, since
//! the system tells that to a process's parent only, and the supervisor is not always that.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process,
};

use framebridge_ipc::RuntimeDir;
use rustix::fs::OFlags;

use crate::log_writer;

/// More than a sentence is not repeated.
const MAX_LEN: usize = 500;

/// A code of up to three digits and a space come before it.
const MAX_FILE: u64 = MAX_LEN as u64 + 4;

const PREFIX: &str = "last-words-";

/// What a process said before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// The exit code that it was about to end with.
    pub code: u8,
    /// Why, in one line.
    pub words: String,
}

/// Leaves `words` for whoever finds that this process has ended, as it is about to do with `code`, and has what was logged
/// written. Does its best: they are in the log too.
pub fn leave(dir: &RuntimeDir, code: u8, words: &str) {
    let cut = words.floor_char_boundary(MAX_LEN);
    let path = dir.path().join(format!("{PREFIX}{}", process::id()));
    let line = words[..cut].lines().collect::<Vec<_>>().join("; ");
    if let Err(error) = fs::write(&path, format!("{code} {line}")) {
        tracing::debug!(%error, "no last words were left");
    }
    log_writer::finish();
}

/// What the process that was `pid` left, if anything. There is nothing the second time.
pub fn take(dir: &RuntimeDir, pid: u32) -> Option<LastWords> {
    let path = dir.path().join(format!("{PREFIX}{pid}"));
    let left = read(&path).ok()?;
    fs::remove_file(&path).ok()?;
    let left = String::from_utf8_lossy(&left).into_owned();
    let (code, words) = left.split_once(' ')?;
    Some(LastWords {
        code: code.parse().ok()?,
        words: words.to_owned(),
    })
}

/// Reads a file that another user may have put there: only a plain one, and not all of a long one.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = fs::OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = flags.try_into().map_err(io::Error::other)?;
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut left = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut left)?;
    Ok(left)
}

/// Removes what nobody came to read.
pub fn clear(dir: &RuntimeDir) {
    let Ok(files) = fs::read_dir(dir.path()) else { return };
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with(PREFIX) {
            // Somebody else may have been quicker.
            _ = fs::remove_file(file.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_line_of_bounded_length_and_are_read_once() {
        let scratch = tempfile::tempdir().expect("a directory");
        let dir = RuntimeDir::at(scratch.path());
        let words = || take(&dir, process::id()).map(|last| (last.code, last.words));
        assert_eq!(words(), None);
        leave(
            &dir,
            78,
            "framebridge.toml:3: http.listen\nframebridge.toml:4: http.origins",
        );
        let expected = "framebridge.toml:3: http.listen; framebridge.toml:4: http.origins";
        assert_eq!(words(), Some((78, expected.to_owned())));
        assert_eq!(words(), None);

        leave(&dir, 1, &"ä".repeat(1_000));
        assert_eq!(words(), Some((1, "ä".repeat(250))));
        // Who has a directory of its own there could put in what leads elsewhere.
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(format!("{PREFIX}{}", process::id())))
            .expect("linked");
        assert_eq!(words(), None);
        clear(&dir);
        leave(&dir, 1, "unread");
        clear(&dir);
        assert_eq!(words(), None);
    }
}
