//! Replaces a file in one step.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes `text` to `path`, for this user alone: whoever reads it sees all of the old or all of the new.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_added_extension("new");
    // One that was left over has a mode of its own.
    _ = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    fs::rename(&draft, path)
}
