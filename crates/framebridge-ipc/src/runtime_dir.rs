//! The one directory that all sockets of one Framebridge live in.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use framebridge_proto::{Role, StreamName, socket_name};

/// The directory of what the machine itself runs, as from systemd's units.
const OF_THE_MACHINE: &str = "/run/framebridge";

/// Where the sockets live: `$FRAMEBRIDGE_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/framebridge`, else `/run/framebridge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

/// Why the runtime directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// It could not be made or looked at.
    #[error("can't use the runtime directory {} (set FRAMEBRIDGE_RUNTIME_DIR to a directory that you may write to)", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It belongs to somebody else, who could then stand in for our processes.
    #[error(
        "the runtime directory {} belongs to uid {owner}, and this is uid {own}: set FRAMEBRIDGE_RUNTIME_DIR to a directory of your own, \
         e.g. /tmp/framebridge-{own}",
        path.display()
    )]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Sockets in it would have names that no address can hold.
    #[error(
        "the path of the runtime directory {} is too long for the sockets in it: set FRAMEBRIDGE_RUNTIME_DIR to one of up to {LONGEST} \
         bytes, e.g. /tmp/framebridge",
        path.display()
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing can be kept in it.
    #[error("the runtime directory {} takes no file (make room there, or set FRAMEBRIDGE_RUNTIME_DIR to another)", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a socket's path may have in bytes: `sun_path` of unix(7), less the NUL that ends it.
const MOST_OF_A_SOCKET: usize = 107;

/// `/encoder-NAME.sock`, with the longest name that a stream may have.
const LONGEST_SOCKET: usize = "/encoder-.sock".len() + StreamName::MAX_LEN;

/// Bytes that the directory's path may have.
const LONGEST: usize = MOST_OF_A_SOCKET - LONGEST_SOCKET;

/// What [`RuntimeDir::try_out`] writes: a disk may be full and still have room for a name.
const TRIAL: [u8; 4096] = [0; 4096];

impl RuntimeDir {
    /// The directory that the environment names.
    pub fn resolve() -> Self {
        Self(
            named("FRAMEBRIDGE_RUNTIME_DIR")
                .or_else(|| named("XDG_RUNTIME_DIR").map(|dir| dir.join("framebridge")))
                .unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE)),
        )
    }

    /// The directory in which an operator finds a supervisor: the one that the environment names; but where only a login
    /// has chosen it and no supervisor has a socket there, the machine's.
    pub fn find() -> Self {
        let (resolved, of_the_machine) = (Self::resolve(), Self(OF_THE_MACHINE.into()));
        let has_supervisor = |dir: &Self| dir.socket(Role::Supervisor, None).exists();
        let is_named = named("FRAMEBRIDGE_RUNTIME_DIR").is_some();
        if !is_named && !has_supervisor(&resolved) && has_supervisor(&of_the_machine) {
            of_the_machine
        } else {
            resolved
        }
    }

    /// A directory named by the caller.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes it, mode 0700, or narrows the mode of one that is there and ours.
    ///
    /// # Errors
    /// It can't be made, belongs to another user, or has too long a path.
    pub fn create(&self) -> Result<(), RuntimeDirError> {
        if self.0.as_os_str().len() > LONGEST {
            return Err(RuntimeDirError::TooLong { path: self.0.clone() });
        }
        let io = |source| RuntimeDirError::Io {
            path: self.0.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(io)?;
        let found = fs::metadata(&self.0).map_err(io)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own {
            return Err(RuntimeDirError::ForeignOwner {
                path: self.0.clone(),
                owner: found.uid(),
                own,
            });
        }
        if found.mode() & 0o777 != 0o700 {
            fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        Ok(())
    }

    /// Makes it, and writes a file there, which goes again: a start on a full disk would fail later, and say less.
    ///
    /// # Errors
    /// Those of [`create`](Self::create); or the directory takes no file.
    pub fn try_out(&self) -> Result<(), RuntimeDirError> {
        self.create()?;
        let trial = self.0.join(format!("trial-{}", std::process::id()));
        let written = fs::write(&trial, TRIAL);
        // Where it could not be made, there is none.
        _ = fs::remove_file(&trial);
        written.map_err(|source| RuntimeDirError::Full {
            path: self.0.clone(),
            source,
        })
    }

    /// The uid of its owner, where it is there.
    pub fn owner(&self) -> Option<u32> {
        fs::metadata(&self.0).ok().map(|found| found.uid())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket of a process.
    pub fn socket(&self, role: Role, stream: Option<&StreamName>) -> PathBuf {
        self.0.join(socket_name(role, stream))
    }
}

fn named(key: &str) -> Option<PathBuf> {
    env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_whose_longest_socket_would_not_fit_is_refused() {
        let name: StreamName = "n".repeat(StreamName::MAX_LEN).parse().expect("a name");
        let scratch = tempfile::tempdir().expect("a directory");
        let room = LONGEST - scratch.path().as_os_str().len() - 1;
        let fits = RuntimeDir::at(scratch.path().join("d".repeat(room)));
        fits.try_out().expect("it fits");
        let socket = fits.socket(Role::Encoder, Some(&name));
        assert_eq!(socket.as_os_str().len(), MOST_OF_A_SOCKET);
        std::os::unix::net::UnixListener::bind(socket).expect("it can be bound");
        assert_eq!(
            fs::read_dir(fits.path()).expect("there").count(),
            1,
            "the trial is gone"
        );
        let too_long = RuntimeDir::at(scratch.path().join("d".repeat(room + 1)));
        let error = too_long.create().expect_err("too long").to_string();
        assert!(error.contains("of up to 61 bytes"), "{error}");
    }

    #[test]
    fn directory_that_takes_nothing_is_refused_with_what_to_set() {
        // Not even root may make a file there.
        let error = RuntimeDir::at("/proc/framebridge").try_out().expect_err("no directory");
        assert!(error.to_string().contains("set FRAMEBRIDGE_RUNTIME_DIR"), "{error}");
    }
}
