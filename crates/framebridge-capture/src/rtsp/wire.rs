//! The connection to a camera: TCP, with or without TLS, that never blocks for longer than a look at the interrupt.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::fd::{AsFd, BorrowedFd},
};

use bytes::{Buf as _, BytesMut};
use framebridge_config::SourceTls;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt},
};
use rustls::ClientConnection;

use super::{CameraError, tls};
use crate::Interrupt;

/// How often a wait looks at the interrupt.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// A connection to a camera.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(TcpStream, Box<ClientConnection>),
}

impl Wire {
    /// Connects; with `trust` it speaks TLS.
    pub(super) fn open(
        host: &str,
        port: u16,
        trust: Option<&SourceTls>,
        interrupt: &Interrupt,
    ) -> Result<Self, CameraError> {
        let addresses = (host, port).to_socket_addrs().map_err(CameraError::Unknown)?;
        let mut refused = None;
        let mut connected = None;
        for address in addresses {
            match reach(address, interrupt) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => refused = Some(error),
            }
        }
        let Some(stream) = connected else {
            let error = refused.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
            return Err(CameraError::Unreachable(error));
        };
        // Without it small requests wait for the answers to those before; it is no fault where it can't be had.
        _ = stream.set_nodelay(true);
        let Some(trust) = trust else {
            return Ok(Self::Plain(stream));
        };
        let connection = tls::connection(host, trust)?;
        let mut wire = Self::Tls(stream, Box::new(connection));
        wire.shake_hands(interrupt).map_err(CameraError::Handshake)?;
        Ok(wire)
    }

    fn shake_hands(&mut self, interrupt: &Interrupt) -> io::Result<()> {
        let Self::Tls(stream, connection) = self else {
            return Ok(());
        };
        while connection.is_handshaking() {
            let wanted = if connection.wants_write() {
                PollFlags::OUT
            } else {
                PollFlags::IN
            };
            wait(stream.as_fd(), wanted, interrupt)?;
            if wanted == PollFlags::OUT {
                connection.write_tls(stream)?;
            } else if connection.read_tls(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            } else if let Err(error) = connection.process_new_packets() {
                // It is told why, if it listens.
                _ = connection.write_tls(stream);
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    /// The camera's address.
    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }

    /// Whether it has something to send that was handed to it before.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_, connection) => connection.wants_write(),
        }
    }

    /// Reads what is there. `false`: the camera has closed.
    pub(super) fn read(&mut self, into: &mut BytesMut) -> io::Result<bool> {
        match self {
            Self::Plain(stream) => read_from(stream, into),
            Self::Tls(stream, connection) => {
                match connection.read_tls(stream) {
                    Ok(0) => return Ok(false),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
                connection.process_new_packets().map_err(io::Error::other)?;
                // All of it: nothing on the socket would tell of what is left.
                loop {
                    let before = into.len();
                    if !read_from(&mut connection.reader(), into)? {
                        return Ok(false);
                    }
                    if into.len() == before {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Writes what can be written of `from` now.
    pub(super) fn write(&mut self, from: &mut BytesMut) -> io::Result<()> {
        match self {
            Self::Plain(stream) => write_to(stream, from),
            Self::Tls(stream, connection) => {
                write_to(&mut connection.writer(), from)?;
                match connection.write_tls(stream) {
                    Ok(_) => Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) | Self::Tls(stream, _) => stream,
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream().as_fd()
    }
}

/// Reads what is there, a chunk at most. `false`: the other side has closed.
pub(super) fn read_from(from: &mut impl io::Read, into: &mut BytesMut) -> io::Result<bool> {
    let mut chunk = [0; CHUNK];
    match from.read(&mut chunk) {
        Ok(0) => Ok(false),
        Ok(length) => {
            into.extend_from_slice(&chunk[..length]);
            Ok(true)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes what can be written now.
pub(super) fn write_to(to: &mut impl io::Write, from: &mut BytesMut) -> io::Result<()> {
    while !from.is_empty() {
        match to.write(from) {
            Ok(0) => break,
            Ok(length) => from.advance(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A connection to `address`, without blocking.
fn reach(address: SocketAddr, interrupt: &Interrupt) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    wait(socket.as_fd(), PollFlags::OUT, interrupt)?;
    sockopt::socket_error(&socket)??;
    Ok(TcpStream::from(socket))
}

/// Waits for a socket, as long as the interrupt allows.
fn wait(socket: BorrowedFd<'_>, wanted: PollFlags, interrupt: &Interrupt) -> io::Result<()> {
    loop {
        if interrupt.is_tripped() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match poll(&mut [PollFd::from_borrowed_fd(socket, wanted)], Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
