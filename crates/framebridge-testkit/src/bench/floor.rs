//! The limit on this machine: encrypt and send with segmentation offload, and nothing else.

use std::{
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use aes::{
    Aes128,
    cipher::{InnerIvInit as _, KeyInit, StreamCipher as _, StreamCipherCoreWrapper},
};
use ctr::{CtrCore, flavors::Ctr128BE};
use framebridge_rtc::srtp::Profile;
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::event::{Timespec, epoll};
use sha1::Sha1;
use socket2::{MsgHdr, SockAddr, Socket};

use super::cpu;

/// RTP's header.
const HEADER: usize = 12;

/// The packets of one picture, as a fan-out sends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Bytes of a datagram's payload.
    pub(super) payload: usize,
    /// Datagrams of a picture.
    pub(super) packets: usize,
}

impl Shape {
    /// What pictures of `bits_per_second` at `fps` are cut into.
    pub(super) fn of(bits_per_second: u64, fps: u64) -> Self {
        let frame = usize::try_from(bits_per_second / 8 / fps).unwrap_or(usize::MAX);
        let packets = frame.div_ceil(1170).max(1);
        Self {
            payload: frame.div_ceil(packets) + 2,
            packets,
        }
    }
}

/// Encrypts one receiver's packets as the plainest code would.
#[expect(clippy::large_enum_variant, reason = "boxing would cost a cache miss per packet")]
enum Seal {
    Gcm(LessSafeKey),
    CmSha1(Aes128, Hmac<Sha1>),
}

impl Seal {
    fn new(profile: Profile, number: usize) -> io::Result<Self> {
        let key = (number as u128).to_be_bytes();
        Ok(match profile {
            Profile::AeadAes128Gcm => {
                Self::Gcm(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).map_err(refused)?))
            }
            Profile::Aes128CmSha1 => Self::CmSha1(
                Aes128::new(&key.into()),
                <Hmac<Sha1> as KeyInit>::new_from_slice(&key).map_err(io::Error::other)?,
            ),
        })
    }

    /// Encrypts what is behind the header of a datagram and ends it with a tag.
    fn seal(&self, index: u64, datagram: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Gcm(key) => {
                let (header, body) = datagram.split_at_mut(HEADER);
                let (body, tag) = body.split_at_mut(body.len() - Profile::AeadAes128Gcm.tag_len());
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&index.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let sealed = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*header), body)
                    .map_err(refused)?;
                tag.copy_from_slice(sealed.as_ref());
            }
            Self::CmSha1(key, mac) => {
                let (packet, tag) = datagram.split_at_mut(datagram.len() - Profile::Aes128CmSha1.tag_len());
                let mut block = [0; 16];
                block[..8].copy_from_slice(&index.to_be_bytes());
                let core: CtrCore<&Aes128, Ctr128BE> = CtrCore::inner_iv_init(key, &block.into());
                StreamCipherCoreWrapper::from_core(core).apply_keystream(&mut packet[HEADER..]);
                let mut mac = mac.clone();
                mac.update(packet);
                tag.copy_from_slice(&mac.finalize().into_bytes()[..tag.len()]);
            }
        }
        Ok(())
    }
}

fn refused(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("AES-GCM refused a key or a packet")
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    /// CPU nanoseconds per packet: the least of ten windows, because whatever disturbs only adds.
    pub(super) cost: f64,
    /// The share of packets that found a receiver's buffer full: those cost less.
    pub(super) lost: f64,
}

/// What it takes to encrypt pictures of `shape` and send each to `receivers` sockets that are read, for `time`: one picture
/// each `rhythm`, or without a pause if that is zero.
///
/// # Errors
/// The system has no more sockets, or no segmentation offload.
pub(super) fn measure(
    shape: Shape,
    receivers: usize,
    profile: Profile,
    (time, rhythm): (Duration, Duration),
) -> io::Result<Floor> {
    let sinks: Vec<UdpSocket> = (0..receivers)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    let addresses: Vec<SocketAddr> = sinks.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let drain = scope.spawn(|| drain(&sinks, &stop));
        let windows = (0..10)
            .map(|_| send(shape, &addresses, profile, (time / 10, rhythm)))
            .collect::<io::Result<Vec<(u64, Duration)>>>();
        stop.store(true, Relaxed);
        let came = drain.join().unwrap_or(Ok(0))?;
        let windows = windows?;
        let sent: u64 = windows.iter().map(|(packets, _)| packets).sum();
        let costs = windows
            .iter()
            .map(|(packets, spent)| of_each(spent.as_nanos(), *packets));
        Ok(Floor {
            cost: costs.fold(f64::INFINITY, f64::min),
            lost: of_each(sent.saturating_sub(came).into(), sent),
        })
    })
}

#[expect(clippy::cast_precision_loss, reason = "a measurement")]
fn of_each(total: u128, packets: u64) -> f64 {
    total as f64 / packets.max(1) as f64
}

/// One window: packets, and the CPU time they took.
fn send(
    shape: Shape,
    to: &[SocketAddr],
    profile: Profile,
    (time, rhythm): (Duration, Duration),
) -> io::Result<(u64, Duration)> {
    let socket = Socket::from(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let to: Vec<SockAddr> = to.iter().map(|address| (*address).into()).collect();
    let keys: Vec<Seal> = (0..to.len())
        .map(|number| Seal::new(profile, number))
        .collect::<io::Result<_>>()?;
    let payload = vec![7; shape.payload];
    let datagram = HEADER + shape.payload + profile.tag_len();
    let mut message = vec![0; datagram * shape.packets];
    let control = segment_size(u16::try_from(datagram).unwrap_or(u16::MAX));
    let (start, mut packets, cpu) = (Instant::now(), 0u64, cpu::of_thread());
    let (mut index, mut next) = (0u64, start);
    while start.elapsed() < time {
        for (to, key) in to.iter().zip(&keys) {
            for datagram in message.chunks_mut(datagram) {
                index += 1;
                datagram[..8].copy_from_slice(&index.to_be_bytes());
                datagram[HEADER..HEADER + shape.payload].copy_from_slice(&payload);
                key.seal(index, datagram)?;
            }
            let parts = [IoSlice::new(&message)];
            socket.sendmsg(
                &MsgHdr::new().with_addr(to).with_buffers(&parts).with_control(&control),
                0,
            )?;
            packets += shape.packets as u64;
        }
        next += rhythm;
        let left = next.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::park_timeout(left);
        }
    }
    Ok((packets, cpu::of_thread().saturating_sub(cpu)))
}

/// A control message for UDP_SEGMENT, as cmsg(3) lays it out on a 64-bit machine: length, level, kind, value, padding.
fn segment_size(size: u16) -> [u8; 24] {
    let mut control = [0; 24];
    control[..8].copy_from_slice(&18u64.to_ne_bytes());
    control[8..12].copy_from_slice(&17i32.to_ne_bytes());
    control[12..16].copy_from_slice(&103i32.to_ne_bytes());
    control[16..18].copy_from_slice(&size.to_ne_bytes());
    control
}

/// Reads whatever comes, so that the receiving half of the kernel does its work; how many packets that was.
fn drain(sinks: &[UdpSocket], stop: &AtomicBool) -> io::Result<u64> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, sink) in sinks.iter().enumerate() {
        sink.set_nonblocking(true)?;
        epoll::add(
            &queue,
            sink,
            epoll::EventData::new_u64(at as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let mut buffer = [0; 2048];
    let mut read = |sink: &UdpSocket| std::iter::from_fn(|| sink.recv(&mut buffer).ok()).count() as u64;
    let (mut events, mut came) = (Vec::with_capacity(256), 0);
    while !stop.load(Relaxed) {
        events.clear();
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let sink = usize::try_from(event.data.u64()).ok().and_then(|at| sinks.get(at));
            came += sink.map_or(0, &mut read);
        }
    }
    Ok(came + sinks.iter().map(read).sum::<u64>())
}
