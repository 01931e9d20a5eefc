//! The first message both ways: 68 bytes of fixed layout, so that everything after it, the codec included, can change.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic `FRMBRIDG` |
//! | 2 + 2 | oldest and newest protocol version spoken, big endian |
//! | 1 | role |
//! | 3 | zero |
//! | 4 | pid, big endian |
//! | 16 | instance id |
//! | 32 | build, UTF-8, padded with zeros |

use std::{io, process, time::Duration};

use framebridge_proto::{InstanceId, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, Role, limits::HANDSHAKE_TIMEOUT};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::geteuid;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

const MAGIC: [u8; 8] = *b"FRMBRIDG";
const BUILD_LEN: usize = 32;
pub(crate) const HELLO_LEN: usize = 68;

/// What this process says of itself. Drawn once per process: the instance id tells its life from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub role: Role,
    /// Which life of it.
    pub instance: InstanceId,
    /// Its pid.
    pub pid: u32,
    /// Its build, at most 32 bytes of which travel.
    pub build: String,
}

impl Identity {
    /// This process, as `role`, with a fresh instance id.
    ///
    /// # Panics
    /// The system has no random numbers, without which nothing here can be kept apart.
    pub fn new(role: Role) -> Self {
        let mut instance = [0; 16];
        SystemRandom::new()
            .fill(&mut instance)
            .expect("the system's random source answers");
        Self {
            role,
            instance: InstanceId(instance),
            pid: process::id(),
            build: concat!("framebridge ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What the other end said of itself; `pid` and `uid` are the kernel's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// Which life of it.
    pub instance: InstanceId,
    /// Its pid, from SO_PEERCRED.
    pub pid: u32,
    /// Its user, from SO_PEERCRED.
    pub uid: u32,
    /// Its build.
    pub build: String,
    /// The protocol version both speak.
    pub version: u16,
}

/// Why a connection ended before its first message.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Nothing, or not all of it, came in time.
    #[error("the peer sent no handshake within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
    /// Some other program.
    #[error("the peer does not speak Framebridge's protocol")]
    Magic,
    /// A role of a later version, or garbage.
    #[error("the peer has an unknown role ({0})")]
    UnknownRole(u8),
    /// Another process than the one expected behind this socket.
    #[error("the peer is a {found}, not a {expected}")]
    WrongRole {
        /// Whom we meant to talk to.
        expected: Role,
        /// Who is there.
        found: Role,
    },
    /// No version in common.
    #[error("the peer speaks protocol {}-{}, this build {}-{}: update the older one", theirs.0, theirs.1, ours.0, ours.1)]
    Version {
        /// Oldest and newest that the peer speaks.
        theirs: (u16, u16),
        /// Oldest and newest that we speak.
        ours: (u16, u16),
    },
    /// Another user's process.
    #[error("the peer runs as uid {0}: only processes of one user, its encoders, and root have to do with each other")]
    ForeignUser(u32),
}

/// Who the kernel says is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// Whose directory the socket is in that we have connected to.
    pub(crate) owner: Option<u32>,
    /// One of the [others](crate::place::Others) that may be at this end.
    pub(crate) is_expected: bool,
}

/// Exchanges hellos over `stream`: ours goes out whatever comes in, so that both ends can name a mismatch. `expected`: whom
/// the one who connects wants to talk to.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    credentials: Credentials,
    expected: Option<Role>,
) -> Result<Peer, HandshakeError> {
    if !trusts(identity.role, geteuid().as_raw(), credentials) {
        return Err(HandshakeError::ForeignUser(credentials.uid));
    }
    let mut theirs = [0; HELLO_LEN];
    let both = async {
        stream.write_all(&hello(identity)).await?;
        stream.read_exact(&mut theirs).await
    };
    timeout(HANDSHAKE_TIMEOUT, both)
        .await
        .map_err(|_elapsed| HandshakeError::Timeout(HANDSHAKE_TIMEOUT))?
        .map_err(HandshakeError::Io)?;
    let peer = parse(&theirs, credentials)?;
    match expected {
        Some(expected) if peer.role != expected => Err(HandshakeError::WrongRole {
            expected,
            found: peer.role,
        }),
        Some(_) | None => Ok(peer),
    }
}

/// Whether `own`, as `role`, has to do with whoever is at the other end: our own user and root always; the other user that may
/// be at this socket's end, where there is one; and for an operator who is root whoever owns the directory that the socket is in,
/// for nobody else could have put it there.
fn trusts(role: Role, own: u32, peer: Credentials) -> bool {
    let Credentials { uid, owner, .. } = peer;
    uid == own || uid == 0 || peer.is_expected || (own == 0 && role == Role::Operator && owner == Some(uid))
}

/// Our hello as bytes.
fn hello(identity: &Identity) -> [u8; HELLO_LEN] {
    let mut build = [0; BUILD_LEN];
    let cut = identity.build.floor_char_boundary(BUILD_LEN);
    build[..cut].copy_from_slice(&identity.build.as_bytes()[..cut]);
    let mut out = [0; HELLO_LEN];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&OLDEST_PROTOCOL_VERSION.to_be_bytes());
    out[10..12].copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
    out[12] = identity.role as u8;
    out[16..20].copy_from_slice(&identity.pid.to_be_bytes());
    out[20..36].copy_from_slice(&identity.instance.0);
    out[36..].copy_from_slice(&build);
    out
}

/// Their hello, judged.
fn parse(bytes: &[u8; HELLO_LEN], credentials: Credentials) -> Result<Peer, HandshakeError> {
    if bytes[..8] != MAGIC {
        return Err(HandshakeError::Magic);
    }
    let theirs = (
        u16::from_be_bytes([bytes[8], bytes[9]]),
        u16::from_be_bytes([bytes[10], bytes[11]]),
    );
    let ours = (OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION);
    let version = theirs.1.min(ours.1);
    if version < theirs.0.max(ours.0) {
        return Err(HandshakeError::Version { theirs, ours });
    }
    let role = Role::from_wire(bytes[12]).ok_or(HandshakeError::UnknownRole(bytes[12]))?;
    let mut instance = [0; 16];
    instance.copy_from_slice(&bytes[20..36]);
    let build = bytes[36..].split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Peer {
        role,
        instance: InstanceId(instance),
        pid: credentials.pid,
        uid: credentials.uid,
        build: String::from_utf8_lossy(build).into_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: Credentials = Credentials {
        pid: 7,
        uid: 0,
        owner: None,
        is_expected: false,
    };

    fn identity() -> Identity {
        Identity {
            role: Role::Encoder,
            instance: InstanceId([9; 16]),
            pid: 0x0102_0304,
            build: "x".into(),
        }
    }

    #[test]
    fn hello_keeps_its_frozen_layout() {
        let mut golden = b"FRMBRIDG\x00\x01\x00\x01\x02\x00\x00\x00\x01\x02\x03\x04".to_vec();
        golden.extend([9; 16]);
        golden.extend(b"x");
        golden.extend([0; 31]);
        assert_eq!(hello(&identity()).as_slice(), golden);
    }

    #[test]
    fn hello_comes_back_as_the_peer_it_describes() {
        let peer = parse(&hello(&identity()), CREDENTIALS).expect("a good hello");
        assert_eq!(
            (peer.role, peer.instance, peer.build.as_str()),
            (Role::Encoder, InstanceId([9; 16]), "x")
        );
        assert_eq!(peer.pid, 7, "the kernel's word, not the peer's");
    }

    #[test]
    fn root_as_an_operator_trusts_who_owns_the_place_and_nobody_else_a_stranger() {
        let peer = |uid, owner| Credentials {
            owner,
            uid,
            ..CREDENTIALS
        };
        assert!(trusts(Role::Bridge, 7, peer(7, None)) && trusts(Role::Bridge, 7, peer(0, None)));
        assert!(trusts(Role::Operator, 0, peer(7, Some(7))));
        for (role, own, peer) in [
            (Role::Operator, 0, peer(7, Some(8))),
            (Role::Operator, 0, peer(7, None)),
            (Role::Operator, 8, peer(7, Some(7))),
            (Role::Signaling, 0, peer(7, Some(7))),
        ] {
            assert!(!trusts(role, own, peer), "{role:?} {own} {peer:?}");
        }
    }

    #[test]
    fn another_user_is_trusted_where_it_is_expected_only() {
        let peer = |is_expected| Credentials {
            uid: 61_000,
            is_expected,
            ..CREDENTIALS
        };
        assert!(trusts(Role::Supervisor, 7, peer(true)));
        assert!(!trusts(Role::Supervisor, 7, peer(false)));
    }

    #[test]
    fn another_version_is_refused_with_both_ranges() {
        let mut bytes = hello(&identity());
        bytes[8..12].copy_from_slice(&[0, 40, 0, 41]);
        let error = parse(&bytes, CREDENTIALS)
            .expect_err("versions 40-41 are unknown")
            .to_string();
        assert!(error.contains("40-41") && error.contains("1-1"), "{error}");
    }

    #[test]
    fn garbage_and_unknown_roles_are_refused() {
        let mut bytes = hello(&identity());
        bytes[12] = 200;
        assert!(matches!(
            parse(&bytes, CREDENTIALS),
            Err(HandshakeError::UnknownRole(200))
        ));
        bytes[0] = b'G';
        assert!(matches!(parse(&bytes, CREDENTIALS), Err(HandshakeError::Magic)));
    }

    #[test]
    fn long_build_is_cut_between_characters() {
        let long = Identity {
            build: "ä".repeat(40),
            ..identity()
        };
        let peer = parse(&hello(&long), CREDENTIALS).expect("a good hello");
        assert_eq!(peer.build, "ä".repeat(16));
    }
}
