//! Light viewers on real sockets, many to a thread.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

use crate::viewer::Viewer;

/// How often every viewer's timers are looked at: so often that each speaks when it would, and not all at once.
const TICK: Duration = Duration::from_millis(2);
/// Datagrams read from one socket before the next one gets its turn.
const READS: usize = 64;

/// A viewer and its socket.
#[derive(Debug)]
pub struct Seat {
    /// The viewer.
    pub viewer: Viewer,
    socket: UdpSocket,
}

impl Seat {
    /// Gives a viewer a socket of its own, of one family.
    ///
    /// # Errors
    /// The system has no more sockets or ports.
    pub fn new(viewer: Viewer, is_ipv4: bool) -> io::Result<Self> {
        let any: SocketAddr = if is_ipv4 {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        Ok(Self { viewer, socket })
    }

    /// A socket that sends from this viewer's address, as a stranger does who writes in its name.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn forger(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    fn read(&mut self, buffer: &mut [u8], now: Instant) {
        for _ in 0..READS {
            let Ok((len, from)) = self.socket.recv_from(buffer) else {
                break;
            };
            self.viewer.handle(&mut buffer[..len], from, now);
        }
        self.write();
    }

    fn tick(&mut self, now: Instant) {
        self.viewer.tick(now);
        self.write();
    }

    fn write(&mut self) {
        while let Some((to, datagram)) = self.viewer.poll_transmit() {
            // An unreachable candidate is what checks are there to find out.
            _ = self.socket.send_to(&datagram, to);
        }
    }

    /// Says goodbye.
    pub fn close(&mut self) {
        self.viewer.close(Instant::now());
        self.write();
    }
}

/// Lets all `seats` receive until `is_done` says so; it is asked every 2 ms.
///
/// # Errors
/// epoll fails.
pub fn watch(seats: &mut [Seat], mut is_done: impl FnMut(&[Seat]) -> bool) -> io::Result<()> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, seat) in seats.iter().enumerate() {
        epoll::add(
            &queue,
            &seat.socket,
            epoll::EventData::new_u64(at as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let mut buffer = [0; 2048];
    let mut events = Vec::with_capacity(256);
    let mut next_tick = Instant::now();
    loop {
        let now = Instant::now();
        if next_tick <= now {
            seats.iter_mut().for_each(|seat| seat.tick(now));
            if is_done(seats) {
                return Ok(());
            }
            next_tick = now + TICK;
        }
        let left = next_tick.saturating_duration_since(now);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        events.clear();
        match epoll::wait(&queue, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let seat = usize::try_from(event.data.u64()).ok().and_then(|at| seats.get_mut(at));
            if let Some(seat) = seat {
                seat.read(&mut buffer, Instant::now());
            }
        }
    }
}
