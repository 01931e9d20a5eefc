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
    #[error("runtime directory {}: set FRAMEBRIDGE_RUNTIME_DIR to a directory you may write to", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It belongs to somebody else, who could then stand in for our processes.
    #[error("runtime directory {} belongs to uid {owner}, not to us (uid {own}): use another", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
}

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
    /// It can't be made, or belongs to another user.
    pub fn create(&self) -> Result<(), RuntimeDirError> {
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
