//! Binding the UDP sockets of all workers.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::net::sockopt;
use socket2::{Domain, Socket as RawSocket, Type};

use crate::{
    Config, StartError, batch,
    handover::{Handover, socket_name},
    socket::Socket,
};

/// Asked of the kernel for both directions: a keyframe for some fifty viewers, or a second of their RTCP.
const BUFFER: usize = 4 << 20;

/// Binds every worker's sockets to one port; the same order for all. One that was inherited, and is bound as it should
/// be, is taken over.
pub(crate) fn bind(config: &Config, restored: &mut Handover) -> Result<Vec<Vec<Socket>>, StartError> {
    let mut port = config.port;
    let shared = config.workers > 1;
    let mut workers = Vec::with_capacity(config.workers);
    for worker in 0..config.workers {
        let mut sockets = Vec::with_capacity(config.bind.len());
        for ip in &config.bind {
            let address = SocketAddr::new(*ip, port);
            let restored_socket = restored
                .take(&socket_name(worker, *ip))
                .and_then(|fd| adopt(fd, address));
            match restored_socket.map_or_else(|| open(address, shared), Ok) {
                Ok(socket) => {
                    port = socket.local().port();
                    sockets.push(socket);
                }
                // A kernel without IPv6: the other family will do.
                Err(error) if is_unsupported(&error) && config.bind.len() > 1 => {
                    tracing::info!(%address, "this address family is not available");
                }
                Err(source) => return Err(StartError::Bind { address, source }),
            }
        }
        workers.push(sockets);
    }
    Ok(workers)
}

/// Takes over a socket that is bound to `address`, whose port 0 stands for any.
fn adopt(fd: OwnedFd, address: SocketAddr) -> Option<Socket> {
    let socket = Socket::try_from(fd).ok()?;
    let local = socket.local();
    let fits = local.ip() == address.ip() && (address.port() == 0 || local.port() == address.port());
    fits.then_some(socket)
}

fn is_unsupported(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno == Some(rustix::io::Errno::AFNOSUPPORT) || errno == Some(rustix::io::Errno::ADDRNOTAVAIL)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Not unless it is needed: it would let another process take our packets.
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // An address that no interface has may come yet, and go, and come again: packets are sent and taken while it is there.
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, !address.ip().is_unspecified())?;
    } else {
        sockopt::set_ipv6_freebind(&socket, !address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    // The plain variants are cut at net.core's limits, the forced ones need CAP_NET_ADMIN: take what can be had.
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, BUFFER).is_err() {
        socket.set_send_buffer_size(BUFFER)?;
    }
    batch::tell_destinations(socket.as_fd(), address.is_ipv4())?;
    Socket::try_from(OwnedFd::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_is_not_there_is_bound_all_the_same() {
        for address in ["192.0.2.200:0", "[2001:db8::200]:0", "127.0.0.1:0", "0.0.0.0:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let socket = open(address, false).unwrap();
            assert_eq!(socket.local().ip(), address.ip());
            assert_ne!(socket.local().port(), 0);
        }
    }
}
