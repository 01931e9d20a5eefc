//! The one directory that all sockets of one Framebridge live in.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use framebridge_proto::{Role, StreamName, socket_name};

use crate::place::{DOOR, Others, Place, owner};

/// The directory of what the machine itself runs, as from systemd's units, and that of its encoders.
const OF_THE_MACHINE: &str = "/run/framebridge";
const ENCODERS_OF_THE_MACHINE: &str = "/run/framebridge-encoders";

/// Says where encoders have directories of their own, because they have users of their own.
const ENCODERS: &str = "FRAMEBRIDGE_ENCODERS_DIR";

/// Where the sockets live: `$FRAMEBRIDGE_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/framebridge`, else `/run/framebridge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
    /// Where each encoder has a directory of its own; this one may be such a one. `None`: they are with the others.
    encoders: Option<PathBuf>,
}

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
        Self {
            path: named("FRAMEBRIDGE_RUNTIME_DIR")
                .or_else(|| named("XDG_RUNTIME_DIR").map(|dir| dir.join("framebridge")))
                .unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE)),
            encoders: named(ENCODERS),
        }
    }

    /// The directory in which an operator finds a supervisor: the one that the environment names; but where only a login
    /// has chosen it and no supervisor has a socket there, the machine's.
    pub fn find() -> Self {
        let (resolved, of_the_machine) = (Self::resolve().with_the_machines_encoders(), Self::of_the_machine());
        let has_supervisor = |dir: &Self| dir.socket(Role::Supervisor, None).exists();
        let is_named = named("FRAMEBRIDGE_RUNTIME_DIR").is_some();
        if !is_named && !has_supervisor(&resolved) && has_supervisor(&of_the_machine) {
            of_the_machine
        } else {
            resolved
        }
    }

    fn of_the_machine() -> Self {
        Self::at(OF_THE_MACHINE).with_the_machines_encoders()
    }

    /// Units say it by their environment; who asks from outside has another.
    fn with_the_machines_encoders(mut self) -> Self {
        if self.encoders.is_none() && self.path == Path::new(OF_THE_MACHINE) {
            self.encoders = Some(PathBuf::from(ENCODERS_OF_THE_MACHINE)).filter(|dir| dir.is_dir());
        }
        self
    }

    /// A directory named by the caller.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            encoders: None,
        }
    }

    /// The same, with a directory of its own for each encoder in `encoders`.
    #[must_use]
    pub fn with_encoders_in(self, encoders: impl Into<PathBuf>) -> Self {
        Self {
            encoders: Some(encoders.into()),
            ..self
        }
    }

    /// Makes it, mode 0700, or narrows the mode of one that is there and ours. An encoder's own keeps its group: us others.
    ///
    /// # Errors
    /// It can't be made, belongs to another user, or has too long a path.
    pub fn create(&self) -> Result<(), RuntimeDirError> {
        if self.path.as_os_str().len() > LONGEST {
            return Err(RuntimeDirError::TooLong {
                path: self.path.clone(),
            });
        }
        let io = |source| RuntimeDirError::Io {
            path: self.path.clone(),
            source,
        };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| {
            // Of a file in its place, or of a link that leads nowhere, the system says that it exists.
            let is_in_the_way = source.kind() == io::ErrorKind::AlreadyExists;
            io(if is_in_the_way {
                io::ErrorKind::NotADirectory.into()
            } else {
                source
            })
        })?;
        let found = fs::metadata(&self.path).map_err(io)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own {
            return Err(RuntimeDirError::ForeignOwner {
                path: self.path.clone(),
                owner: found.uid(),
                own,
            });
        }
        let most = if self.is_an_encoders() { 0o770 } else { 0o700 };
        if found.mode() & 0o777 & !most != 0 || found.mode() & 0o700 != 0o700 {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(most)).map_err(io)?;
        }
        Ok(())
    }

    /// Makes it, and writes a file there, which goes again: a start on a full disk would fail later, and say less.
    ///
    /// # Errors
    /// Those of [`create`](Self::create); or the directory takes no file.
    pub fn try_out(&self) -> Result<(), RuntimeDirError> {
        self.create()?;
        let trial = self.path.join(format!("trial-{}", std::process::id()));
        let written = fs::write(&trial, TRIAL);
        // Where it could not be made, there is none.
        _ = fs::remove_file(&trial);
        written.map_err(|source| RuntimeDirError::Full {
            path: self.path.clone(),
            source,
        })
    }

    /// The uid of its owner, where it is there.
    pub fn owner(&self) -> Option<u32> {
        fs::metadata(&self.path).ok().map(|found| found.uid())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket of a process.
    pub fn socket(&self, role: Role, stream: Option<&StreamName>) -> PathBuf {
        self.place(role, stream).path
    }

    /// The socket of a process, and whose that process may be.
    pub fn place(&self, role: Role, stream: Option<&StreamName>) -> Place {
        let (dir, others) = match (&self.encoders, role) {
            (Some(encoders), Role::Encoder) if self.is_an_encoders() => {
                (self.path.clone(), Others::OwnerOf(encoders.join(DOOR)))
            }
            (Some(_), Role::Encoder) => {
                let dir = self.of_encoder(stream);
                (dir.clone(), Others::OwnerOf(dir))
            }
            (Some(encoders), Role::Supervisor) if self.is_an_encoders() => {
                let door = encoders.join(DOOR);
                (door.clone(), Others::OwnerOf(door))
            }
            (Some(_) | None, _) => (self.path.clone(), Others::Nobody),
        };
        Place {
            path: dir.join(socket_name(role, stream)),
            others,
        }
    }

    /// The socket on which the encoder of `stream` is given what is published: beside its own.
    pub fn feed(&self, stream: &StreamName) -> PathBuf {
        self.feed_place(stream).path
    }

    /// Likewise, and whose the encoder may be.
    pub(crate) fn feed_place(&self, stream: &StreamName) -> Place {
        let encoder = self.place(Role::Encoder, Some(stream));
        Place {
            path: encoder.path.with_file_name(format!("whip-{stream}.sock")),
            ..encoder
        }
    }

    /// Where the supervisor listens for encoders of other users. `None`: they have none of their own.
    pub fn door(&self) -> Option<Place> {
        let encoders = self.encoders.clone().filter(|_| !self.is_an_encoders())?;
        Some(Place {
            path: encoders.join(DOOR).join(socket_name(Role::Supervisor, None)),
            others: Others::OwnersIn(encoders),
        })
    }

    /// Where a process keeps its files: an encoder with a user of its own in a directory of its own.
    #[must_use]
    pub fn of(&self, role: Role, stream: Option<&StreamName>) -> Self {
        match role {
            Role::Encoder if !self.is_an_encoders() => Self {
                path: self.of_encoder(stream),
                encoders: self.encoders.clone(),
            },
            Role::Encoder | Role::Supervisor | Role::Signaling | Role::Bridge | Role::Operator => self.clone(),
        }
    }

    /// Whether an encoder of this stream may run as `uid`.
    pub fn is_encoder_of(&self, stream: &StreamName, uid: u32) -> bool {
        owner(&self.of_encoder(Some(stream))) == Some(uid)
    }

    fn of_encoder(&self, stream: Option<&StreamName>) -> PathBuf {
        match (&self.encoders, stream) {
            (Some(encoders), Some(stream)) => encoders.join(stream.as_str()),
            (Some(_) | None, _) => self.path.clone(),
        }
    }

    /// Whether this is the directory of one encoder, which has a user of its own.
    fn is_an_encoders(&self) -> bool {
        self.encoders.is_some() && self.encoders.as_deref() == self.path.parent()
    }
}

/// A directory that the environment names, from the root on: whom we tell of it may be in another directory.
fn named(key: &str) -> Option<PathBuf> {
    let named = env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from)?;
    // Without a directory to be in, nobody can be told better.
    Some(std::path::absolute(&named).unwrap_or(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_link_that_leads_nowhere_are_no_directory() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (file, link) = (scratch.path().join("file"), scratch.path().join("link"));
        fs::write(&file, "").expect("written");
        std::os::unix::fs::symlink("/nowhere/at/all", &link).expect("made");
        for path in [file, link] {
            let error = RuntimeDir::at(&path).create().expect_err("no directory");
            let source = std::error::Error::source(&error).expect("a reason").to_string();
            assert!(source.contains("not a directory"), "{source}");
        }
    }

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
    fn encoder_with_a_user_of_its_own_has_a_place_of_its_own_and_keeps_its_group() {
        let base = tempfile::tempdir().expect("a directory");
        let name: StreamName = "cam".parse().expect("a name");
        let ours = RuntimeDir::at("/run/fb").with_encoders_in(base.path());
        let its = RuntimeDir::at(base.path().join("cam")).with_encoders_in(base.path());
        let at = |path: &str| base.path().join(path);
        for dir in [&ours, &its] {
            assert_eq!(dir.socket(Role::Encoder, Some(&name)), at("cam/encoder-cam.sock"));
        }
        assert_eq!(its.socket(Role::Supervisor, None), at("_door/supervisor.sock"));
        assert_eq!(
            ours.socket(Role::Supervisor, None),
            Path::new("/run/fb/supervisor.sock")
        );
        assert_eq!(ours.door().map(|door| door.path), Some(at("_door/supervisor.sock")));
        assert!(its.door().is_none() && RuntimeDir::at("/run/fb").door().is_none());
        assert_eq!(ours.of(Role::Encoder, Some(&name)), its);
        assert_eq!(ours.of(Role::Signaling, None), ours);

        its.create().expect("made");
        let mode = || fs::metadata(its.path()).expect("there").mode() & 0o777;
        assert_eq!(mode(), 0o700);
        fs::set_permissions(its.path(), fs::Permissions::from_mode(0o775)).expect("ours");
        its.create().expect("narrowed");
        assert_eq!(mode(), 0o770);
        let own = rustix::process::geteuid().as_raw();
        assert!(ours.is_encoder_of(&name, own) && !ours.is_encoder_of(&name, own + 1));
    }

    #[test]
    fn directory_that_takes_nothing_is_refused_with_what_to_set() {
        // Not even root may make a file there.
        let error = RuntimeDir::at("/proc/framebridge").try_out().expect_err("no directory");
        assert!(error.to_string().contains("set FRAMEBRIDGE_RUNTIME_DIR"), "{error}");
    }
}
