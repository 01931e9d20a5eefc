//! Unix sockets: the only file that knows them. Bind, accept, connect; everything above is typed links.

use std::{
    fs, io,
    marker::PhantomData,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use framebridge_proto::{Role, limits::MAX_CONNECTIONS};
use interprocess::{
    local_socket::{
        GenericFilePath, ListenerOptions, Name, ToFsName as _,
        tokio::{Listener as LocalListener, Stream as LocalStream},
        traits::tokio::{Listener as _, Stream as _},
    },
    os::unix::local_socket::ListenerOptionsExt as _,
};
use rustix::net::sockopt::socket_peercred;
use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{
    codec::Message,
    handshake::{Credentials, HandshakeError, Identity, exchange},
    link::Link,
    place::{Others, Place},
};

/// How often a listener looks whether its file is still there: a lost one keeps all who come anew away, for so long at
/// most.
const FILE_CHECK: Duration = Duration::from_secs(1);

/// A bound socket that makes typed links. If its file is deleted, it is bound again within a second.
#[derive(Debug)]
pub struct Listener<In, Out> {
    bound: Bound,
    others: Arc<Others>,
    identity: Arc<Identity>,
    places: Arc<Semaphore>,
    direction: PhantomData<fn(Out) -> In>,
}

/// A connection whose handshake is still to come; let each have it on a task of its own.
#[derive(Debug)]
pub struct Incoming<In, Out> {
    stream: UnixStream,
    others: Arc<Others>,
    identity: Arc<Identity>,
    permit: OwnedSemaphorePermit,
    direction: PhantomData<fn(Out) -> In>,
}

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A live process listens there.
    #[error("{} is in use by pid {pid}: stop that process first", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Who holds it.
        pid: u32,
    },
    /// The system refused.
    #[error("can't bind {} (its path may have up to 107 bytes)", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why no link came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("nobody listens on {}", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody listens, and it went no further.
    #[error("the process behind {} was not accepted", path.display())]
    Handshake {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: HandshakeError,
    },
}

impl<In: Message, Out: Message> Listener<In, Out> {
    /// Binds `place`, a path for our own user alone or a [`Place`] for others as well. The file of a process that is gone is
    /// taken over. The file goes when this is dropped.
    ///
    /// # Errors
    /// A live process holds it (named by its pid), or the system refuses.
    pub async fn bind(place: impl Into<Place>, identity: &Identity) -> Result<Self, BindError> {
        let place = place.into();
        Ok(Self {
            bound: Bound::at(&place).await?,
            others: Arc::new(place.others),
            identity: Arc::new(identity.clone()),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            direction: PhantomData,
        })
    }

    /// The next connection. Past [`MAX_CONNECTIONS`] at once, further ones are closed as they come. Cancel-safe.
    ///
    /// # Errors
    /// The system's; it is worth trying again after a pause.
    pub async fn accept(&self) -> io::Result<Incoming<In, Out>> {
        loop {
            let stream = self.bound.next().await?;
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Ok(Incoming {
                    stream,
                    others: Arc::clone(&self.others),
                    identity: Arc::clone(&self.identity),
                    permit,
                    direction: PhantomData,
                });
            }
            tracing::warn!(limit = MAX_CONNECTIONS, "closed a connection over the limit");
        }
    }
}

impl<In: Message, Out: Message> Incoming<In, Out> {
    /// Exchanges hellos.
    ///
    /// # Errors
    /// The peer is not one of ours, or too slow; the connection is closed.
    pub async fn handshake(mut self) -> Result<Link<In, Out>, HandshakeError> {
        let mut credentials = credentials(&self.stream).map_err(HandshakeError::Io)?;
        credentials.is_expected = self.others.include(credentials.uid);
        let peer = exchange(&mut self.stream, &self.identity, credentials, None).await?;
        Ok(Link::new(self.stream, peer, Some(self.permit)))
    }
}

/// Connects to the process that listens at `place` and is an `expected`.
///
/// # Errors
/// Nobody listens there, or the handshake failed.
pub async fn connect<In: Message, Out: Message>(
    place: impl Into<Place>,
    identity: &Identity,
    expected: Role,
) -> Result<Link<In, Out>, ConnectError> {
    let Place { path, others } = place.into();
    let path = path.as_path();
    let refused = |source| ConnectError::Handshake {
        path: path.to_owned(),
        source,
    };
    let mut stream = open(path).await.map_err(|source| ConnectError::Absent {
        path: path.to_owned(),
        source,
    })?;
    let mut credentials = credentials_at(&stream, path).map_err(|source| refused(HandshakeError::Io(source)))?;
    credentials.is_expected = others.include(credentials.uid);
    let peer = exchange(&mut stream, identity, credentials, Some(expected))
        .await
        .map_err(refused)?;
    Ok(Link::new(stream, peer, None))
}

/// A bound path.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    mode: libc::mode_t,
    socket: Mutex<Socket>,
}

#[derive(Debug)]
struct Socket {
    /// None while its file is lost and it can't be bound again.
    listener: Option<Arc<LocalListener>>,
    check_at: Instant,
}

impl Bound {
    /// Binds a place; see [`Listener::bind`].
    pub(crate) async fn at(place: &Place) -> Result<Self, BindError> {
        let (path, mode) = (place.path.as_path(), place.mode());
        let failed = |source| BindError::Io {
            path: path.to_owned(),
            source,
        };
        match open(path).await {
            Ok(stream) => {
                let pid = credentials(&stream).map_err(failed)?.pid;
                return Err(BindError::InUse {
                    path: path.to_owned(),
                    pid,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // A plain file refuses connections too, and is not ours to remove.
                if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
                    return Err(failed(io::ErrorKind::AlreadyExists.into()));
                }
                fs::remove_file(path).map_err(failed)?;
                tracing::debug!(path = %path.display(), "took over the socket of a process that is gone");
            }
            Err(_absent) => {}
        }
        Ok(Self {
            path: path.to_owned(),
            mode,
            socket: Mutex::new(Socket {
                listener: Some(Arc::new(listen(path, mode).map_err(failed)?)),
                check_at: Instant::now() + FILE_CHECK,
            }),
        })
    }

    /// The next connection. Cancel-safe.
    pub(crate) async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let (listener, check_at) = {
                let socket = self.socket();
                (socket.listener.clone(), socket.check_at)
            };
            let accepted = async move {
                match listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                stream = accepted => {
                    let LocalStream::UdSocket(stream) = stream?;
                    return Ok(stream.into());
                }
                () = sleep_until(check_at) => self.check_file(),
            }
        }
    }

    /// Binds anew where the file is gone. One that somebody else put there is left alone.
    fn check_file(&self) {
        let mut socket = self.socket();
        socket.check_at = Instant::now() + FILE_CHECK;
        let found = fs::symlink_metadata(&self.path);
        if !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return;
        }
        // First, for it removes whatever has its name when it goes.
        let lost = socket.listener.take();
        let was_bound = lost.is_some();
        drop(lost);
        let path = self.path.display();
        match listen(&self.path, self.mode) {
            Ok(listener) => {
                socket.listener = Some(Arc::new(listener));
                tracing::warn!(%path, "somebody deleted our socket's file: bound it again");
            }
            Err(error) if was_bound => tracing::warn!(%path, %error, "our socket's file is lost"),
            Err(_again) => {}
        }
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(path: &Path, mode: libc::mode_t) -> io::Result<LocalListener> {
    let listener = ListenerOptions::new().name(name(path)?).mode(mode).create_tokio()?;
    // Our umask took away what the group is meant to have.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

pub(crate) async fn open(path: &Path) -> io::Result<UnixStream> {
    let LocalStream::UdSocket(stream) = LocalStream::connect(name(path)?).await?;
    Ok(stream.into())
}

fn name(path: &Path) -> io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

pub(crate) fn credentials(stream: &UnixStream) -> io::Result<Credentials> {
    let found = socket_peercred(stream)?;
    let pid = u32::try_from(found.pid.as_raw_nonzero().get()).map_err(io::Error::other)?;
    Ok(Credentials {
        pid,
        uid: found.uid.as_raw(),
        owner: None,
        is_expected: false,
    })
}

/// Those of the process behind the socket that we have found at `path`.
fn credentials_at(stream: &UnixStream, path: &Path) -> io::Result<Credentials> {
    let owner = path
        .parent()
        .and_then(|dir| fs::metadata(dir).ok())
        .map(|dir| dir.uid());
    Ok(Credentials {
        owner,
        ..credentials(stream)?
    })
}
