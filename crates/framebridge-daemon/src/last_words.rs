//! Why a process ends, in its own words, for the supervisor to repeat: an exit code alone says little, and logs go to
//! people. One small file per death in the runtime directory, gone once it is read.

use std::{fs, process};

use framebridge_ipc::RuntimeDir;

/// More than a sentence is not repeated.
const MAX_LEN: usize = 500;

const PREFIX: &str = "last-words-";

/// Leaves `words` for whoever finds that this process has ended. Does its best: they are in the log too.
pub fn leave(dir: &RuntimeDir, words: &str) {
    let cut = words.floor_char_boundary(MAX_LEN);
    let path = dir.path().join(format!("{PREFIX}{}", process::id()));
    if let Err(error) = fs::write(&path, words[..cut].lines().collect::<Vec<_>>().join("; ")) {
        tracing::debug!(%error, "no last words were left");
    }
}

/// What the process that was `pid` left, if anything. There is nothing the second time.
pub fn take(dir: &RuntimeDir, pid: u32) -> Option<String> {
    let path = dir.path().join(format!("{PREFIX}{pid}"));
    let words = fs::read(&path).ok()?;
    fs::remove_file(&path).ok()?;
    Some(String::from_utf8_lossy(&words[..words.len().min(MAX_LEN)]).into_owned()).filter(|words| !words.is_empty())
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
        assert_eq!(take(&dir, process::id()), None);
        leave(
            &dir,
            "framebridge.toml:3: http.listen\nframebridge.toml:4: http.origins",
        );
        let expected = "framebridge.toml:3: http.listen; framebridge.toml:4: http.origins";
        assert_eq!(take(&dir, process::id()).as_deref(), Some(expected));
        assert_eq!(take(&dir, process::id()), None);

        leave(&dir, &"ä".repeat(1_000));
        assert_eq!(take(&dir, process::id()).map(|words| words.chars().count()), Some(250));
        leave(&dir, "unread");
        clear(&dir);
        assert_eq!(take(&dir, process::id()), None);
    }
}
