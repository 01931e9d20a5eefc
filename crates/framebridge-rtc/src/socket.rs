//! A UDP socket of a worker.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// One bound socket.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: UdpSocket,
    local: SocketAddr,
}

impl Socket {
    /// Where it is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether it takes packets for every address of its family, so that answers must name theirs.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }
}

impl TryFrom<OwnedFd> for Socket {
    type Error = io::Error;

    /// A socket that is bound already.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let udp = UdpSocket::from(fd);
        let local = udp.local_addr()?;
        Ok(Self { udp, local })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}
