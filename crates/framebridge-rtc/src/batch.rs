//! Many datagrams per system call: sendmmsg with segmentation offload (UDP_SEGMENT) out, recvmmsg in.
//!
//! The one module with `unsafe`: the kernel is handed arrays of pointers, which no safe wrapper offers for both
//! calls with control messages. Every pointer goes to memory owned by the structure that makes the call, is set
//! right before the call, and is not kept.

#![expect(unsafe_code, reason = "sendmmsg and recvmmsg take pointers")]

use std::{
    collections::VecDeque,
    io, mem,
    net::{IpAddr, SocketAddr},
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use socket2::{SockAddr, SockAddrStorage};

use crate::{ice::Path, outlet::Outlets, socket::Socket};

/// Bytes gathered before they are sent: with what goes along it stays inside a core's second-level cache.
const SEND_BUFFER: usize = 256 << 10;
/// Messages gathered before they are sent; below the kernel's UIO_MAXIOV of 1024.
const SEND_MESSAGES: usize = 256;
/// The kernel's UDP_MAX_SEGMENTS was 64 up to Linux 6.8.
const MAX_SEGMENTS: usize = 64;
/// The largest UDP payload over IPv4.
const MAX_MESSAGE: usize = 65_507;
/// Viewers remembered whose path takes no segments. One more: the oldest is forgotten, and found out again.
const MAX_REFUSING: usize = 64;
/// How long a full socket buffer may hold up a worker before the rest of a batch is dropped.
const FULL_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Datagrams read in one call.
const RECEIVE_MESSAGES: usize = 32;
/// The longest datagram read whole: nothing that a viewer sends is longer.
const RECEIVE_SIZE: usize = 2048;

/// Room for control messages: 64 bytes hold a segment size (24) and a packet info (40), aligned as they need.
type Control = [u64; 8];

/// One message to the kernel: datagrams of equal size, the last perhaps shorter, to one viewer.
#[derive(Clone, Copy)]
struct Message {
    path: Path,
    start: usize,
    len: usize,
    segment: usize,
    segments: usize,
    /// Whether it is only tried: what the system says to it says nothing of the machine.
    is_probe: bool,
}

/// Datagrams on their way out.
pub(crate) struct Batch {
    sockets: Arc<[Socket]>,
    buffer: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    /// Whether the last message may grow.
    open: bool,
    /// Whether this machine takes UDP_SEGMENT at all, as far as is known.
    offload: bool,
    /// Where it did not.
    refusing: VecDeque<SocketAddr>,
    headers: Vec<Header>,
    /// For paths that are no socket of ours.
    pub(crate) outlets: Outlets,
    outcome: Outcome,
}

/// What the system did with datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Taken, to be sent.
    pub(crate) taken: u64,
    /// Refused, or there was no room for them.
    pub(crate) refused: u64,
    /// Why the last of these was not taken.
    pub(crate) refusal: Option<Errno>,
}

// SAFETY: the raw pointers inside `headers` are rewritten before every use and never read otherwise.
unsafe impl Send for Batch {}

/// What the kernel is shown of one [`Message`].
struct Header {
    address: SockAddr,
    part: libc::iovec,
    control: Control,
}

impl Batch {
    /// A batch for a worker's sockets.
    pub(crate) fn new(sockets: Arc<[Socket]>) -> Self {
        Self {
            sockets,
            buffer: vec![0; SEND_BUFFER].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(SEND_MESSAGES),
            open: false,
            offload: true,
            refusing: VecDeque::new(),
            headers: Vec::with_capacity(SEND_MESSAGES),
            outlets: Outlets::default(),
            outcome: Outcome::default(),
        }
    }

    /// The next datagram goes into a message of its own.
    #[inline]
    pub(crate) fn start(&mut self) {
        self.open = false;
    }

    /// Room for the next datagram to `path`. It joins the message before it if that is to the same path, not closed
    /// by [`Batch::start`], and if sizes allow.
    #[inline]
    pub(crate) fn datagram(&mut self, path: &Path, len: usize) -> &mut [u8] {
        if self.used + len > self.buffer.len() {
            self.flush();
        }
        let start = self.used;
        self.used += len;
        if self.open
            && let Some(last) = self.messages.last_mut()
            && len <= last.segment
            && last.segments < MAX_SEGMENTS
            && last.len + len <= MAX_MESSAGE
        {
            last.len += len;
            last.segments += 1;
            self.open = len == last.segment;
        } else {
            if self.messages.len() == SEND_MESSAGES {
                self.used = start;
                self.flush();
                return self.datagram(path, len);
            }
            self.messages.push(Message {
                path: *path,
                start,
                len,
                segment: len,
                segments: 1,
                is_probe: false,
            });
            self.open = self.offload && !self.refusing.contains(&path.remote);
        }
        &mut self.buffer[start..start + len]
    }

    /// Queues a finished datagram.
    pub(crate) fn push(&mut self, path: &Path, datagram: &[u8]) {
        self.push_alone(path, datagram);
    }

    /// Queues a finished datagram to an address that somebody has claimed. Its outcome is not counted.
    pub(crate) fn push_probe(&mut self, path: &Path, datagram: &[u8]) {
        if let Some(message) = self.push_alone(path, datagram) {
            message.is_probe = true;
        }
    }

    fn push_alone(&mut self, path: &Path, datagram: &[u8]) -> Option<&mut Message> {
        if datagram.is_empty() || datagram.len() > self.buffer.len() {
            return None;
        }
        self.start();
        self.datagram(path, datagram.len()).copy_from_slice(datagram);
        self.start();
        self.messages.last_mut()
    }

    /// What the system did with datagrams since the last call.
    pub(crate) fn take_outcome(&mut self) -> Outcome {
        mem::take(&mut self.outcome)
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self) {
        let mut from = 0;
        while from < self.messages.len() {
            let socket = self.messages[from].path.socket;
            let run = self.messages[from..]
                .iter()
                .take_while(|message| message.path.socket == socket)
                .count();
            from = self.send(from, from + run);
        }
        self.messages.clear();
        self.used = 0;
        self.open = false;
        self.outlets.close();
    }

    /// Sends messages `from..to`, which are all of one socket; returns where the rest begins, as messages that are refused
    /// for their segments are taken apart.
    fn send(&mut self, from: usize, mut to: usize) -> usize {
        let sockets = Arc::clone(&self.sockets);
        let Some(socket) = sockets.get(self.messages[from].path.socket) else {
            self.send_by_tcp(from..to);
            return to;
        };
        let mut next = from;
        let mut waited = false;
        while next < to {
            match self.sendmmsg(socket, next, to.min(next + SEND_MESSAGES)) {
                Ok(sent) => {
                    self.outcome.taken += self.datagrams(next..next + sent);
                    next += sent;
                    waited = false;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !waited => {
                    // The socket's buffer is full. Wait a moment for room, but not at the cost of other duties.
                    let mut writable = [PollFd::new(socket, PollFlags::OUT)];
                    waited = poll(&mut writable, Some(&FULL_PATIENCE)).is_ok();
                }
                Err(Errno::AGAIN) => {
                    self.give_up(next..to, Errno::AGAIN);
                    return to;
                }
                Err(errno) if self.messages[next].segments > 1 && self.is_for_segments(next, errno) => {
                    to += self.take_apart(next);
                }
                Err(errno) => {
                    self.give_up(next..next + 1, errno);
                    next += 1;
                }
            }
        }
        to
    }

    /// What does not fit into a connection's queue is dropped: its viewer is behind, and starts at a keyframe again. None of it
    /// counts: what the outcome says is of UDP, and a firewall that refuses that is named though media gets through so.
    fn send_by_tcp(&self, messages: Range<usize>) {
        for message in &self.messages[messages] {
            let datagrams = &self.buffer[message.start..message.start + message.len];
            self.outlets.send(message.path.socket, datagrams, message.segment);
        }
    }

    fn give_up(&mut self, messages: Range<usize>, errno: Errno) {
        let refused = self.datagrams(messages);
        if refused > 0 {
            self.outcome.refused += refused;
            self.outcome.refusal = Some(errno);
        }
    }

    fn datagrams(&self, messages: Range<usize>) -> u64 {
        self.messages[messages]
            .iter()
            .filter(|message| !message.is_probe)
            .map(|message| message.segments as u64)
            .sum()
    }

    /// Whether a message with segments may have been refused because of them; if so, that is remembered.
    fn is_for_segments(&mut self, at: usize, errno: Errno) -> bool {
        let remote = self.messages[at].path.remote;
        match errno {
            // The path's MTU is below the segments' size: which of the two depends on the kernel.
            Errno::INVAL | Errno::MSGSIZE if !self.refusing.contains(&remote) => {
                self.refusing.truncate(MAX_REFUSING - 1);
                self.refusing.push_front(remote);
                tracing::debug!(%remote, "no segmentation offload on this path");
            }
            // The device does not compute checksums (EIO, up to Linux 6.10), or encrypts.
            Errno::INVAL | Errno::MSGSIZE => {}
            Errno::IO | Errno::NOTSUP | Errno::NOPROTOOPT => {
                if mem::take(&mut self.offload) {
                    tracing::warn!(%errno, "segmentation offload is refused: sending packet by packet from now on");
                }
            }
            _ => return false,
        }
        true
    }

    /// Makes each datagram of a message a message of its own; returns how many more there are then.
    fn take_apart(&mut self, at: usize) -> usize {
        let whole = self.messages[at];
        let end = whole.start + whole.len;
        let datagrams = (whole.start..end).step_by(whole.segment).map(|start| {
            let len = whole.segment.min(end - start);
            Message {
                start,
                len,
                segment: len,
                segments: 1,
                ..whole
            }
        });
        self.messages.splice(at..=at, datagrams);
        whole.segments - 1
    }

    fn sendmmsg(&mut self, socket: &Socket, from: usize, to: usize) -> Result<usize, Errno> {
        self.headers.clear();
        let mut lengths = [0; SEND_MESSAGES];
        for (length, message) in lengths.iter_mut().zip(&self.messages[from..to]) {
            let segment = (message.segments > 1).then_some(message.segment);
            let (control, used) = control_messages(&message.path, segment);
            *length = used;
            let part = iovec(&self.buffer[message.start..message.start + message.len]);
            self.headers.push(Header {
                address: message.path.remote.into(),
                part,
                control,
            });
        }
        // `headers` does not move any more: pointers into it hold until the call is done.
        let mut wire: [mem::MaybeUninit<libc::mmsghdr>; SEND_MESSAGES] = [const { mem::MaybeUninit::uninit() }; _];
        for ((slot, header), used) in wire.iter_mut().zip(&mut self.headers).zip(lengths) {
            slot.write(libc::mmsghdr {
                msg_hdr: message_header(header, used),
                msg_len: 0,
            });
        }
        // SAFETY: the first `to - from` slots were written right above.
        let wire = unsafe { &mut *(ptr::from_mut(&mut wire[..to - from]) as *mut [libc::mmsghdr]) };
        sendmmsg(socket, wire)
    }
}

fn iovec(part: &[u8]) -> libc::iovec {
    // The kernel only reads from it.
    libc::iovec {
        iov_base: part.as_ptr().cast_mut().cast(),
        iov_len: part.len(),
    }
}

fn message_header(header: &mut Header, control: usize) -> libc::msghdr {
    // SAFETY: a msghdr of zero bytes is a valid one: null pointers with lengths of 0.
    let mut wire: libc::msghdr = unsafe { mem::zeroed() };
    wire.msg_name = header.address.as_ptr().cast_mut().cast();
    wire.msg_namelen = header.address.len();
    wire.msg_iov = &raw mut header.part;
    wire.msg_iovlen = 1;
    if control > 0 {
        wire.msg_control = header.control.as_mut_ptr().cast();
        wire.msg_controllen = control as _;
    }
    wire
}

fn sendmmsg(socket: &Socket, wire: &mut [libc::mmsghdr]) -> Result<usize, Errno> {
    use std::os::fd::AsFd;
    let count = u32::try_from(wire.len()).unwrap_or(u32::MAX);
    // SAFETY: every header points to an address, a buffer and control messages that outlive the call.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            wire.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| last_error())
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The control messages of one send, and how many bytes they take: the segments' size, and the address to send from.
fn control_messages(path: &Path, segment: Option<usize>) -> (Control, usize) {
    let mut control: Control = [0; 8];
    let mut used = 0;
    if let Some(segment) = segment {
        let segment = u16::try_from(segment).unwrap_or(u16::MAX);
        used = append(&mut control, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    match path.source {
        Some(IpAddr::V4(source)) => {
            let spec = libc::in_addr {
                s_addr: u32::from_ne_bytes(source.octets()),
            };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: spec,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            used = append(&mut control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(source)) => {
            let address = libc::in6_addr {
                s6_addr: source.octets(),
            };
            let info = libc::in6_pktinfo {
                ipi6_addr: address,
                ipi6_ifindex: 0,
            };
            used = append(&mut control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    (control, used)
}

/// Writes one control message `used` bytes into `control`; returns how many are used then.
fn append<T: Copy>(control: &mut Control, used: usize, level: i32, kind: i32, value: T) -> usize {
    let size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: both only compute with their argument.
    let (space, len) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size)) };
    assert!(
        used + space <= size_of::<Control>(),
        "at most a segment size and a packet info are ever written"
    );
    // SAFETY: the message fits, as was just checked; `used` is a sum of CMSG_SPACEs, so the header is aligned;
    // CMSG_DATA stays inside the space; the value is written without regard to its alignment.
    unsafe {
        let header: *mut libc::cmsghdr = control.as_mut_ptr().cast::<u8>().add(used).cast();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = len as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    used + space
}

/// Asks the kernel to say with every datagram which of our addresses it came to.
pub(crate) fn tell_destinations(socket: BorrowedFd<'_>, is_ipv4: bool) -> io::Result<()> {
    let (level, option) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0);
    // SAFETY: the value is an int that outlives the call, and `size` is its size.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Datagrams that came in.
pub(crate) struct Inbox {
    buffers: Box<[[u8; RECEIVE_SIZE]]>,
    arrivals: Vec<(usize, Option<SocketAddr>, Option<IpAddr>)>,
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![[0; RECEIVE_SIZE]; RECEIVE_MESSAGES].into_boxed_slice(),
            arrivals: Vec::with_capacity(RECEIVE_MESSAGES),
        }
    }

    /// One without room, to stand in while the real one is lent out.
    pub(crate) fn empty() -> Self {
        Self {
            buffers: Box::default(),
            arrivals: Vec::new(),
        }
    }

    /// Reads what is there, up to [`RECEIVE_MESSAGES`] datagrams; whether there may be more.
    pub(crate) fn receive(&mut self, socket: &Socket) -> bool {
        use std::os::fd::AsFd;
        self.arrivals.clear();
        let mut parts: [libc::iovec; RECEIVE_MESSAGES] = std::array::from_fn(|at| libc::iovec {
            iov_base: self.buffers[at].as_mut_ptr().cast(),
            iov_len: RECEIVE_SIZE,
        });
        let mut controls: [Control; RECEIVE_MESSAGES] = [[0; 8]; _];
        let mut addresses: [SockAddrStorage; RECEIVE_MESSAGES] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        // SAFETY: an mmsghdr of zero bytes is a valid one: null pointers with lengths of 0.
        let mut wire: [libc::mmsghdr; RECEIVE_MESSAGES] = unsafe { mem::zeroed() };
        for at in 0..RECEIVE_MESSAGES {
            let header = &mut wire[at].msg_hdr;
            header.msg_name = (&raw mut addresses[at]).cast();
            header.msg_namelen = addresses[at].size_of();
            header.msg_iov = &raw mut parts[at];
            header.msg_iovlen = 1;
            header.msg_control = controls[at].as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: every header points to an address, a buffer and room for control messages that outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                wire.as_mut_ptr(),
                u32::try_from(RECEIVE_MESSAGES).unwrap_or(u32::MAX),
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (message, storage) in wire.iter().zip(addresses).take(count) {
            let len = if message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 {
                message.msg_len as usize
            } else {
                0
            };
            // SAFETY: the kernel wrote an address of this length into the storage.
            let from = unsafe { SockAddr::new(storage, message.msg_hdr.msg_namelen) }.as_socket();
            self.arrivals.push((len, from, destination(&message.msg_hdr)));
        }
        count == RECEIVE_MESSAGES
    }

    /// The datagrams of the last [`Inbox::receive`]: the bytes, where from, and to which of our addresses.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = (&mut [u8], SocketAddr, Option<IpAddr>)> {
        self.buffers
            .iter_mut()
            .zip(&self.arrivals)
            .filter_map(|(buffer, (len, from, to))| Some((&mut buffer[..*len], (*from)?, *to)))
    }
}

/// The packet info that the kernel put beside a datagram.
fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    let mut found = None;
    // SAFETY: the kernel wrote well-formed control messages into our buffer and said how long they are; the values
    // are of the types that their level and kind say, and are read without regard to their alignment.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            match (message.cmsg_level, message.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = libc::CMSG_DATA(at).cast::<libc::in_pktinfo>().read_unaligned();
                    found = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = libc::CMSG_DATA(at).cast::<libc::in6_pktinfo>().read_unaligned();
                    found = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    found
}

#[cfg(test)]
mod tests;
