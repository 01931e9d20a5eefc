//! A socket, and who may be at its other end: our own user and root, and, where encoders have users of their own, those.
//!
//! ```text
//! ENCODERS/               ours; a group may enter it that has the encoders' users and ours in it
//! ENCODERS/_door/         supervisor.sock for encoders: heartbeats, and nothing else
//! ENCODERS/STREAM/        that encoder's: its socket and what it keeps
//! ```
//!
//! Whose a directory is says who may: only root gives one away, and only root and we make one there.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where the supervisor listens for encoders. No stream has this name: it would begin with a letter or a digit.
pub(crate) const DOOR: &str = "_door";

/// Only we may connect; the runtime directory's 0700 says so too.
const OURS: libc::mode_t = 0o600;

/// The group that encoders share with us may, too; its directories let nobody else in.
const SHARED: libc::mode_t = 0o660;

/// A socket's path, and who may be at its other end besides our own user and root.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) path: PathBuf,
    pub(crate) others: Others,
}

/// Users that are neither ours nor root.
#[derive(Debug, Clone)]
pub(crate) enum Others {
    /// None of them.
    Nobody,
    /// Who owns this directory.
    OwnerOf(PathBuf),
    /// Who owns a directory in this one: the encoders.
    OwnersIn(PathBuf),
}

impl Place {
    /// The mode of its socket.
    pub(crate) fn mode(&self) -> libc::mode_t {
        match self.others {
            Others::Nobody => OURS,
            Others::OwnerOf(_) | Others::OwnersIn(_) => SHARED,
        }
    }
}

impl Others {
    /// Whether `uid` is one of them.
    pub(crate) fn include(&self, uid: u32) -> bool {
        match self {
            Self::Nobody => false,
            Self::OwnerOf(dir) => owner(dir) == Some(uid),
            Self::OwnersIn(dir) => {
                let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
                entries
                    .filter(|entry| entry.file_name() != DOOR)
                    .any(|entry| owner(&entry.path()) == Some(uid))
            }
        }
    }
}

/// Whose a directory is; a link to one is nobody's.
pub(crate) fn owner(dir: &Path) -> Option<u32> {
    let found = fs::symlink_metadata(dir).ok()?;
    found.is_dir().then_some(found.uid())
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            others: Others::Nobody,
        }
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn users_are_known_by_the_directories_that_they_were_given() {
        let base = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        for name in ["cam", DOOR] {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        let encoders = Others::OwnersIn(base.path().to_owned());
        let of_cam = Others::OwnerOf(base.path().join("cam"));
        assert!(encoders.include(own) && of_cam.include(own));
        assert!(!encoders.include(own + 1) && !of_cam.include(own + 1));
        assert!(!Others::Nobody.include(own));
        if chown(base.path().join("cam"), Some(own + 1), None).is_err() {
            // Only root gives a directory away.
            return;
        }
        assert!(encoders.include(own + 1) && of_cam.include(own + 1));
        assert!(!encoders.include(own), "the door is nobody's directory");
        fs::remove_dir(base.path().join("cam")).unwrap();
        symlink("/", base.path().join("cam")).unwrap();
        assert!(
            !encoders.include(0) && !of_cam.include(0),
            "a link gives nobody a right"
        );
    }
}
