//! Binding the UDP sockets of all workers, and the addresses they can be reached at.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
};

use rtc_shared::ifaces::ifaces;
use rustix::net::sockopt;
use socket2::{Domain, Socket as RawSocket, Type};

use crate::{
    Config, StartError, batch,
    handover::{Handover, socket_name},
    sdp::Candidate,
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

/// What viewers are told to try: every address of the sockets, then `extra`, which have the sockets' port.
pub(crate) fn candidates(sockets: &[Socket], extra: &[IpAddr]) -> Vec<Candidate> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut add = |address: SocketAddr| {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    };
    let interfaces: Vec<IpAddr> = match ifaces() {
        Ok(interfaces) => interfaces
            .into_iter()
            .filter_map(|interface| Some(interface.addr?.ip()))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "can't list the interfaces: only configured candidates are offered");
            Vec::new()
        }
    };
    for socket in sockets {
        let local = socket.local();
        extra
            .iter()
            .filter(|ip| ip.is_ipv4() == local.is_ipv4())
            .for_each(|ip| add(SocketAddr::new(*ip, local.port())));
        if !socket.is_wildcard() {
            add(local);
            continue;
        }
        let mut usable: Vec<&IpAddr> = interfaces
            .iter()
            .filter(|ip| ip.is_ipv4() == local.is_ipv4() && !is_link_local(ip))
            .collect();
        // Loopback serves viewers on this machine only: liked least.
        usable.sort_by_key(|ip| ip.is_loopback());
        usable
            .into_iter()
            .for_each(|ip| add(SocketAddr::new(*ip, local.port())));
    }
    addresses
        .into_iter()
        .enumerate()
        .map(|(number, address)| Candidate::host(address, number))
        .collect()
}

/// Link-local IPv6 needs a scope that SDP can't carry.
fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
