//! Keeps file descriptors beyond the life of the process that opened them.
//!
//! A process hands the supervisor its listening sockets and its memory files; when it dies, whatever is connected or
//! queued there stays, and its next life takes the same ones up. One connection, one order: after the handshake the
//! client sends `op | count | (name length | name)*` in one piece with the descriptors attached (SCM_RIGHTS), and
//! gets an answer of the same form.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use framebridge_proto::{Role, limits::REQUEST_TIMEOUT};
use rustix::{
    fs::fstat,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use tokio::{io::Interest, net::UnixStream, time::timeout};

use crate::{
    handshake::{HandshakeError, Identity, exchange},
    pidfd::PidFd,
    place::Place,
    runtime_dir::RuntimeDir,
    socket::{self, BindError, Bound},
};

/// Descriptors kept for one process at most: signaling has an HTTP listener, two UDP sockets a worker, one memory file.
pub const MAX_STORED: usize = 64;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

const MAX_MESSAGE: usize = 2 + MAX_STORED * (1 + MAX_NAME);

const SOCKET: &str = "fd-store.sock";

/// A descriptor and the name its owner knows it by.
#[derive(Debug)]
pub struct StoredFd {
    /// Chosen by its owner, at most 64 bytes.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Where an fd store has copies of what it keeps, so that they outlive it, too.
pub trait BackingStore: Send + Sync + fmt::Debug {
    /// What an earlier fd store left, by whose it is.
    fn load(&self) -> BTreeMap<Role, Vec<StoredFd>>;

    /// `after` is kept for `role` from now on, and not `before`.
    fn replace(&self, role: Role, before: &[StoredFd], after: &[StoredFd]);
}

/// No copies: what is kept ends with the fd store.
impl BackingStore for () {
    fn load(&self) -> BTreeMap<Role, Vec<StoredFd>> {
        BTreeMap::new()
    }

    fn replace(&self, _: Role, _: &[StoredFd], _: &[StoredFd]) {}
}

/// Why nothing was kept or given back.
#[derive(Debug, thiserror::Error)]
pub enum FdStoreError {
    /// Nobody keeps anything here.
    #[error("nobody listens on {}", path.display())]
    Absent {
        /// The fd store's socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The handshake failed.
    #[error("the fd store was not accepted")]
    Handshake(#[from] HandshakeError),
    /// The connection broke.
    #[error("the connection to the fd store broke")]
    Io(#[from] io::Error),
    /// Not what was asked for.
    #[error("the other side did not keep to the order of messages")]
    Malformed,
    /// More than [`MAX_STORED`], or a name over 64 bytes.
    #[error("up to {MAX_STORED} descriptors with names of up to {MAX_NAME} bytes can be kept")]
    TooMany,
    /// There are two of a kind: it is closed without an answer.
    #[error("what is kept for {role} belongs to pid {pid}, which lives")]
    Owned {
        /// Which kind.
        role: Role,
        /// The other one.
        pid: u32,
    },
    /// It took too long.
    #[error("the fd store did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Op {
    /// Keep these instead of what you have of mine.
    Store = b'K',
    /// Give me what you have of mine.
    Fetch = b'T',
}

/// Keeps descriptors for other processes, by role; the newest set of a role replaces the one before.
#[derive(Debug)]
pub struct FdStore {
    bound: Bound,
    identity: Identity,
    store: Mutex<BTreeMap<Role, Entry>>,
    backing: Box<dyn BackingStore>,
}

/// What is kept for a role.
#[derive(Debug, Default)]
struct Entry {
    fds: Vec<StoredFd>,
    /// Who gave it, or took it up. As long as that process lives, it is nobody else's: two that went on with the same keys
    /// would use them for different packets.
    owner: Option<(u32, PidFd)>,
}

impl FdStore {
    /// Binds the fd store's socket in `dir`, and goes on with what `backing` has.
    ///
    /// # Errors
    /// Another fd store lives there, or the system refuses.
    pub async fn bind(
        dir: &RuntimeDir,
        identity: &Identity,
        backing: Box<dyn BackingStore>,
    ) -> Result<Self, BindError> {
        Ok(Self {
            bound: Bound::at(&Place::from(&dir.path().join(SOCKET))).await?,
            identity: identity.clone(),
            store: Mutex::new(
                backing
                    .load()
                    .into_iter()
                    .map(|(role, fds)| (role, Entry::of(fds)))
                    .collect(),
            ),
            backing,
        })
    }

    /// Serves one order after another, for ever. Each has [`REQUEST_TIMEOUT`], so that a silent peer holds up no other
    /// for longer.
    pub async fn serve(&self) {
        loop {
            let served = match self.bound.next().await {
                Ok(stream) => timeout(REQUEST_TIMEOUT, self.order(stream))
                    .await
                    .unwrap_or(Err(FdStoreError::Timeout)),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = served {
                tracing::warn!(%error, "an order to keep descriptors failed");
                // An accept that fails at once (no descriptors left) would otherwise spin.
                tokio::time::sleep(framebridge_proto::limits::RECONNECT_INTERVAL).await;
            }
        }
    }

    /// Closes what is kept for `role`, so that its peers see it is gone.
    pub fn forget(&self, role: Role) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = store.remove(&role) {
            self.backing.replace(role, &before.fds, &[]);
        }
    }

    async fn order(&self, mut stream: UnixStream) -> Result<(), FdStoreError> {
        let credentials = socket::credentials(&stream)?;
        let peer = exchange(&mut stream, &self.identity, credentials, None).await?;
        let (op, given) = receive(&stream).await?;
        let answer = {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = store.entry(peer.role).or_default();
            if let Some(pid) = entry.owner_besides(peer.pid) {
                return Err(FdStoreError::Owned { role: peer.role, pid });
            }
            entry.owner = PidFd::of(peer.pid).map(|life| (peer.pid, life));
            match op {
                Op::Store => {
                    let before = std::mem::replace(&mut entry.fds, given);
                    // Owners give the same ones again and again, in case the fd store is a new one.
                    if !is_same(&before, &entry.fds) {
                        self.backing.replace(peer.role, &before, &entry.fds);
                    }
                    Vec::new()
                }
                Op::Fetch => duplicate(&entry.fds)?,
            }
        };
        let answer: Vec<_> = answer
            .iter()
            .map(|stored| (stored.name.as_str(), stored.fd.as_fd()))
            .collect();
        send(&stream, op, &answer).await
    }
}

impl Entry {
    fn of(fds: Vec<StoredFd>) -> Self {
        Self { fds, owner: None }
    }

    /// The process that it belongs to, if that is not `pid` and lives.
    fn owner_besides(&self, pid: u32) -> Option<u32> {
        let (owner, life) = self.owner.as_ref()?;
        (*owner != pid && !life.has_ended()).then_some(*owner)
    }
}

/// Has the supervisor keep `fds` instead of what it kept for this role before.
///
/// # Errors
/// There is no fd store, or it did not take them.
pub async fn store_fds(
    dir: &RuntimeDir,
    identity: &Identity,
    fds: &[(&str, BorrowedFd<'_>)],
) -> Result<(), FdStoreError> {
    order(dir, identity, Op::Store, fds).await.map(drop)
}

/// What the supervisor has kept for this role: duplicates, so that it can give them again to the life after.
///
/// # Errors
/// There is no fd store, or it gave nothing back in time.
pub async fn fetch_fds(dir: &RuntimeDir, identity: &Identity) -> Result<Vec<StoredFd>, FdStoreError> {
    order(dir, identity, Op::Fetch, &[]).await
}

async fn order(
    dir: &RuntimeDir,
    identity: &Identity,
    op: Op,
    fds: &[(&str, BorrowedFd<'_>)],
) -> Result<Vec<StoredFd>, FdStoreError> {
    let path = dir.path().join(SOCKET);
    let exchanged = async {
        let mut stream = socket::open(&path).await.map_err(|source| FdStoreError::Absent {
            path: path.clone(),
            source,
        })?;
        let credentials = socket::credentials(&stream)?;
        exchange(&mut stream, identity, credentials, Some(Role::Supervisor)).await?;
        send(&stream, op, fds).await?;
        let (answered, fds) = receive(&stream).await?;
        if answered == op {
            Ok(fds)
        } else {
            Err(FdStoreError::Malformed)
        }
    };
    timeout(REQUEST_TIMEOUT, exchanged)
        .await
        .unwrap_or(Err(FdStoreError::Timeout))
}

/// Whether two sets have the same names for the same files.
fn is_same(before: &[StoredFd], after: &[StoredFd]) -> bool {
    let file = |stored: &StoredFd| fstat(&stored.fd).map(|stat| (stat.st_dev, stat.st_ino));
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(one, other)| one.name == other.name && file(one) == file(other))
}

fn duplicate(fds: &[StoredFd]) -> io::Result<Vec<StoredFd>> {
    fds.iter()
        .map(|StoredFd { name, fd }| {
            Ok(StoredFd {
                name: name.clone(),
                fd: fd.try_clone()?,
            })
        })
        .collect()
}

async fn send(stream: &UnixStream, op: Op, fds: &[(&str, BorrowedFd<'_>)]) -> Result<(), FdStoreError> {
    if fds.len() > MAX_STORED {
        return Err(FdStoreError::TooMany);
    }
    let mut bytes = vec![
        op as u8,
        u8::try_from(fds.len()).map_err(|_over| FdStoreError::TooMany)?,
    ];
    for (name, _) in fds {
        let len = u8::try_from(name.len())
            .ok()
            .filter(|len| usize::from(*len) <= MAX_NAME)
            .ok_or(FdStoreError::TooMany)?;
        bytes.push(len);
        bytes.extend_from_slice(name.as_bytes());
    }
    let rights: Vec<BorrowedFd<'_>> = fds.iter().map(|(_, fd)| *fd).collect();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STORED))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&rights)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Ok(sendmsg(
                stream,
                &[IoSlice::new(&bytes)],
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        })
        .await?;
    // One piece: a Unix stream takes so few bytes whole or not at all.
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(FdStoreError::Malformed)
    }
}

async fn receive(stream: &UnixStream) -> Result<(Op, Vec<StoredFd>), FdStoreError> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut fds = Vec::new();
    let (len, flags) = stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STORED))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                stream,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
            Ok((got.bytes, got.flags))
        })
        .await?;
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(FdStoreError::Malformed);
    }
    parse(&bytes[..len], fds).ok_or(FdStoreError::Malformed)
}

fn parse(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<(Op, Vec<StoredFd>)> {
    let (&[op, count], mut rest) = bytes.split_first_chunk()?;
    let op = [Op::Store, Op::Fetch].into_iter().find(|known| *known as u8 == op)?;
    if usize::from(count) != fds.len() {
        return None;
    }
    let mut stored = Vec::with_capacity(fds.len());
    for fd in fds {
        let (&len, tail) = rest.split_first()?;
        let (name, tail) = tail.split_at_checked(usize::from(len))?;
        stored.push(StoredFd {
            name: str::from_utf8(name).ok()?.to_owned(),
            fd,
        });
        rest = tail;
    }
    rest.is_empty().then_some((op, stored))
}
