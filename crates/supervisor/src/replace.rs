//! Replaces a file in one step.

use std::{fs, io, path::Path};

/// Writes `text` to `path`: whoever reads it sees all of the old or all of the new.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_added_extension("new");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
