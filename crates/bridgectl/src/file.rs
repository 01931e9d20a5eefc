//! Files that a running Framebridge reads: changed as one step.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;

/// Of a file that there was not before: for its owner to write, and for its group to read.
pub(crate) const MODE: u32 = 0o640;

/// Writes `text` to `path`: whoever reads it sees all of the old or all of the new. It keeps its owner and its mode.
///
/// # Errors
/// The system refuses.
pub(crate) fn replace(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    // A link stays one: what it leads to is changed.
    let real = fs::canonicalize(path).unwrap_or_else(|_first| path.to_owned());
    let path = real.as_path();
    let fresh = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh).with_context(writing)?;
    file.write_all(text).with_context(writing)?;
    keep_access(path, &file).with_context(writing)?;
    file.sync_all().with_context(writing)?;
    fs::rename(&fresh, path).with_context(writing)
}

/// Gives the new file the owner and mode of the old one; the first, those of its folder, so that who reads the folder reads it.
fn keep_access(path: &Path, file: &fs::File) -> io::Result<()> {
    let (model, mode) = match fs::metadata(path) {
        Ok(old) => (old.clone(), old.mode() & 0o777),
        Err(_first) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            (fs::metadata(folder.unwrap_or(Path::new(".")))?, MODE)
        }
    };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    // Only root may give files away; anybody else's stay their own.
    _ = std::os::unix::fs::fchown(file, Some(model.uid()), Some(model.gid()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_to_a_file_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        let first = folder.path().join("first.toml");
        replace(&first, b"new").unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"new");
    }
}
