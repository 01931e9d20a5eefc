use std::{net::UdpSocket, os::fd::OwnedFd, time::Duration};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::*;

/// A frame: equal datagrams, and a short tail.
const FRAME: [usize; 5] = [100, 100, 100, 100, 30];

/// A socket on loopback; of UDP, or of a protocol that is used alike.
fn bound(protocol: Option<Protocol>) -> io::Result<UdpSocket> {
    let socket = RawSocket::new(Domain::IPV4, Type::DGRAM, protocol)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket.into())
}

/// Sends without checksums: segments are refused then, with an EINVAL as from older kernels on a path of too small an MTU.
fn without_checksums(socket: UdpSocket) -> UdpSocket {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NO_CHECK);
    // SAFETY: the value is an int that outlives the call, and `size` is its size.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) };
    assert_eq!(outcome, 0);
    socket
}

fn batch<const N: usize>(sockets: [UdpSocket; N]) -> Batch {
    let sockets = sockets.into_iter().map(|socket| OwnedFd::from(socket).try_into());
    Batch::new(sockets.collect::<io::Result<_>>().unwrap())
}

/// Sends a frame to each receiver, over the socket of that number; returns how many messages each took.
#[track_caller]
fn send(batch: &mut Batch, receivers: &[(usize, &UdpSocket)]) -> Vec<usize> {
    let mut messages = Vec::new();
    for (socket, receiver) in receivers {
        let path = Path {
            socket: *socket,
            source: None,
            remote: receiver.local_addr().unwrap(),
        };
        let before = batch.messages.len();
        batch.start();
        for (number, len) in (0..).zip(FRAME) {
            batch.datagram(&path, len).fill(number);
        }
        messages.push(batch.messages.len() - before);
    }
    batch.flush();
    for (_, receiver) in receivers {
        for (number, len) in (0..).zip(FRAME) {
            let mut datagram = [0; RECEIVE_SIZE];
            let received = receiver.recv(&mut datagram).unwrap();
            assert_eq!(datagram[..received], vec![number; len], "whole, and in order");
        }
    }
    let taken = (receivers.len() * FRAME.len()) as u64;
    assert_eq!(
        batch.take_outcome(),
        Outcome {
            taken,
            ..Outcome::default()
        }
    );
    messages
}

#[test]
fn a_path_that_refuses_segments_loses_nothing_and_is_remembered_alone() {
    let (one, other) = (bound(None).unwrap(), bound(None).unwrap());
    let mut batch = batch([without_checksums(bound(None).unwrap()), bound(None).unwrap()]);
    let viewers = [(0, &one), (1, &other)];
    assert_eq!(send(&mut batch, &viewers), [1, 1], "not known yet");
    assert_eq!(send(&mut batch, &viewers), [FRAME.len(), 1]);
}

#[test]
fn what_the_system_refuses_is_counted_with_its_reason() {
    let mut batch = batch([bound(None).unwrap()]);
    let nowhere = Path {
        socket: 0,
        source: None,
        remote: "[2001:db8::1]:9".parse().unwrap(),
    };
    batch.push(&nowhere, &[0; 100]);
    batch.flush();
    let outcome = batch.take_outcome();
    assert_eq!((outcome.taken, outcome.refused), (0, 1));
    assert!(outcome.refusal.is_some());
    // Where somebody said that a viewer is, and the system knows that none can be, nothing was refused to a viewer.
    batch.push_probe(&nowhere, &[0; 100]);
    batch.flush();
    assert_eq!(batch.take_outcome(), Outcome::default());
}

#[test]
fn the_oldest_path_that_refuses_segments_is_found_out_again() {
    let mut batch = batch([without_checksums(bound(None).unwrap())]);
    let viewers: Vec<UdpSocket> = (0..=MAX_REFUSING).map(|_| bound(None).unwrap()).collect();
    for viewer in &viewers {
        assert_eq!(send(&mut batch, &[(0, viewer)]), [1]);
    }
    assert_eq!(send(&mut batch, &[(0, &viewers[1])]), [FRAME.len()]);
    assert_eq!(send(&mut batch, &[(0, &viewers[0])]), [1]);
    assert_eq!(batch.refusing.len(), MAX_REFUSING);
}

#[test]
fn a_machine_that_refuses_segments_is_not_asked_again() {
    // The kernel answers EIO to segments of UDP-Lite, as it does for a device that can't compute checksums.
    let udp_lite = || bound(Some(Protocol::from(libc::IPPROTO_UDPLITE)));
    let Ok(sender) = udp_lite() else {
        // Linux 7 has no UDP-Lite any more, and no other way to this answer without a device of that kind.
        return;
    };
    let (one, other) = (udp_lite().unwrap(), udp_lite().unwrap());
    let mut batch = batch([sender]);
    assert_eq!(send(&mut batch, &[(0, &one), (0, &other)]), [1, 1]);
    assert_eq!(send(&mut batch, &[(0, &one), (0, &other)]), [FRAME.len(), FRAME.len()]);
}

#[test]
fn messages_taken_apart_outgrow_one_call() {
    let viewers: Vec<UdpSocket> = (0..SEND_MESSAGES).map(|_| bound(None).unwrap()).collect();
    let viewers: Vec<_> = viewers.iter().map(|viewer| (0, viewer)).collect();
    let mut batch = batch([without_checksums(bound(None).unwrap())]);
    assert_eq!(send(&mut batch, &viewers), [1; SEND_MESSAGES]);
}
