//! SRTP and SRTCP with their state in the open: RFC 3711 (AES_CM_128_HMAC_SHA1_80) and RFC 7714 (AEAD_AES_128_GCM).
//!
//! [`Sender`] protects what we send, [`Receiver`] opens what comes. Neither keeps a rollover counter of RTP: the
//! caller counts packets in one 64-bit index that only grows, and its low 48 bits are SRTP's index.

mod cipher;
mod keys;

use std::{collections::VecDeque, ops::Range};

use cipher::{Cipher, GCM_TAG, Index, SHA1_TAG};
use keys::Traffic;

pub use cipher::AuthenticationFailed;
pub use keys::{KeyPair, MasterKey};

/// Bytes of the fixed RTP header.
pub const RTP_HEADER: usize = 12;
/// Bytes of an RTCP packet that stay clear: the first header and the sender's SSRC.
const RTCP_CLEAR: usize = 8;
/// Bytes of RTCP's index word.
const RTCP_WORD: usize = 4;

/// The protection profiles spoken, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// AEAD_AES_128_GCM: some 0.5 µs a packet.
    AeadAes128Gcm,
    /// AES_CM_128_HMAC_SHA1_80, which everybody has: some 1.2 µs a packet.
    Aes128CmSha1,
}

impl Profile {
    /// Bytes of master salt.
    const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1 => 14,
        }
    }

    /// Bytes that the DTLS exporter must give for both directions.
    pub const fn material_len(self) -> usize {
        2 * (16 + self.salt_len())
    }

    /// Bytes an authentication tag adds to an RTP packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => GCM_TAG,
            Self::Aes128CmSha1 => SHA1_TAG,
        }
    }
}

/// The most that any profile adds to an RTP packet.
pub const MAX_TAG: usize = GCM_TAG;

/// Protects one direction's packets: RTP of any SSRC, RTCP of one.
pub struct Sender {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    ssrc: u32,
    rtcp_index: u32,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("profile", &self.profile)
            .field("ssrc", &self.ssrc)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Starts with `master`; the next RTCP packet gets the index after `rtcp_index`.
    pub fn new(profile: Profile, master: &MasterKey, ssrc: u32, rtcp_index: u32) -> Self {
        Self {
            profile,
            rtp: Cipher::new(profile, master, Traffic::Rtp),
            rtcp: Cipher::new(profile, master, Traffic::Rtcp),
            ssrc,
            rtcp_index,
        }
    }

    /// The index of the last RTCP packet.
    pub fn rtcp_index(&self) -> u32 {
        self.rtcp_index
    }

    /// Encrypts an RTP packet in place: a header of `clear` bytes, payload, and [`Profile::tag_len`] bytes of room for the tag.
    /// The same `index` of the same SSRC must never come with other bytes: the keystream would repeat.
    #[inline]
    pub fn protect_rtp(&self, packet: &mut [u8], clear: usize, index: u64) {
        let end = packet.len() - self.profile.tag_len();
        let (body, room) = packet.split_at_mut(end);
        let ssrc = word(&body[8..]);
        let tag = self.rtp.seal(body, clear, ssrc, Index::Rtp(index));
        room.copy_from_slice(&tag[..room.len()]);
    }

    /// Encrypts a compound RTCP packet and appends what SRTCP appends.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) {
        // 2^31 reports at one a second are 68 years; wrapping would reuse the keystream.
        self.rtcp_index += 1;
        let index = Index::Rtcp(self.rtcp_index);
        let tag = self.rtcp.seal(packet, RTCP_CLEAR, self.ssrc, index);
        let tag = &tag[..self.profile.tag_len()];
        let word = Index::rtcp_word(self.rtcp_index);
        match self.profile {
            Profile::AeadAes128Gcm => {
                packet.extend_from_slice(tag);
                packet.extend_from_slice(&word);
            }
            Profile::Aes128CmSha1 => {
                packet.extend_from_slice(&word);
                packet.extend_from_slice(tag);
            }
        }
    }
}

/// Sources of one peer whose RTCP indices are remembered: one for each receiver in its transport, of which it has one
/// or two. One more: the one not heard for longest is forgotten.
const MAX_SOURCES: usize = 4;

/// Opens one direction's packets.
pub struct Receiver {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// By SSRC (RFC 3711 section 3.2.3), the one heard last in front.
    replay: VecDeque<(u32, ReplayWindow)>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Starts with `master`.
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self {
            profile,
            rtp: Cipher::new(profile, master, Traffic::Rtp),
            rtcp: Cipher::new(profile, master, Traffic::Rtcp),
            replay: VecDeque::new(),
        }
    }

    /// Opens an RTP packet in place and returns where its payload is. The caller knows the index, and whether it has seen it
    /// before.
    ///
    /// # Errors
    /// The packet is too short or not authentic.
    pub fn open_rtp(&self, packet: &mut [u8], index: u64) -> Result<Range<usize>, AuthenticationFailed> {
        let end = packet
            .len()
            .checked_sub(self.profile.tag_len())
            .ok_or(AuthenticationFailed)?;
        let clear = rtp_header_len(packet)
            .filter(|clear| *clear <= end)
            .ok_or(AuthenticationFailed)?;
        let ssrc = word(&packet[8..]);
        self.open(&self.rtp, packet, end, clear, ssrc, Index::Rtp(index))?;
        Ok(clear..end)
    }

    /// Opens a compound RTCP packet in place and returns the plain part.
    ///
    /// # Errors
    /// The packet is too short, not authentic, not encrypted, or was here before.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], AuthenticationFailed> {
        let tag = self.profile.tag_len();
        let end = packet.len().checked_sub(tag + RTCP_WORD).ok_or(AuthenticationFailed)?;
        if end < RTCP_CLEAR {
            return Err(AuthenticationFailed);
        }
        // GCM: ciphertext, tag, word. SHA-1: ciphertext, word, tag.
        let at = match self.profile {
            Profile::AeadAes128Gcm => end + tag,
            Profile::Aes128CmSha1 => end,
        };
        let flagged = word(&packet[at..]);
        let index = flagged & !(1 << 31);
        let ssrc = word(&packet[4..]);
        if flagged == index || !self.is_new(ssrc, index) {
            return Err(AuthenticationFailed);
        }
        if self.profile == Profile::Aes128CmSha1 {
            packet.copy_within(end + RTCP_WORD.., end);
        }
        self.open(
            &self.rtcp,
            &mut packet[..end + tag],
            end,
            RTCP_CLEAR,
            ssrc,
            Index::Rtcp(index),
        )?;
        self.accept(ssrc, index);
        Ok(&packet[..end])
    }

    fn is_new(&self, ssrc: u32, index: u32) -> bool {
        let window = self.replay.iter().find(|(known, _)| *known == ssrc);
        window.is_none_or(|(_, window)| window.is_new(index))
    }

    fn accept(&mut self, ssrc: u32, index: u32) {
        let known = self.replay.iter().position(|(known, _)| *known == ssrc);
        let (_, mut window) = known.and_then(|at| self.replay.remove(at)).unwrap_or_default();
        window.accept(index);
        self.replay.push_front((ssrc, window));
        self.replay.truncate(MAX_SOURCES);
    }

    /// `packet` is ciphertext up to `end`, then the tag.
    fn open(
        &self,
        cipher: &Cipher,
        packet: &mut [u8],
        end: usize,
        clear: usize,
        ssrc: u32,
        index: Index,
    ) -> Result<(), AuthenticationFailed> {
        match self.profile {
            Profile::AeadAes128Gcm => cipher.open(packet, clear, ssrc, index, &[]),
            Profile::Aes128CmSha1 => {
                let (body, tag) = packet.split_at_mut(end);
                cipher.open(body, clear, ssrc, index, tag)
            }
        }
    }
}

/// Which of the last 64 RTCP indices have been seen (RFC 3711 section 3.3.2).
#[derive(Debug, Default)]
struct ReplayWindow {
    /// One above the highest index seen; 0: none yet.
    next: u32,
    /// Bit n: `next - 1 - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    fn is_new(&self, index: u32) -> bool {
        index >= self.next || (self.next - 1 - index < 64 && self.seen >> (self.next - 1 - index) & 1 == 0)
    }

    fn accept(&mut self, index: u32) {
        if index >= self.next {
            let shift = index + 1 - self.next;
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.next = index + 1;
        } else {
            self.seen |= 1 << (self.next - 1 - index);
        }
    }
}

/// Bytes of an RTP packet's header with its contributing sources and its extension, all of which stay clear; `None`: the packet
/// ends before that is known.
pub(crate) fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let sources = RTP_HEADER + 4 * usize::from(packet.first()? & 0x0f);
    if packet[0] & 0x10 == 0 {
        return (packet.len() >= RTP_HEADER).then_some(sources);
    }
    let words = packet.get(sources + 2..sources + 4)?;
    Some(sources + 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]])))
}

/// The big-endian word at the start of `bytes`, which the caller has found long enough.
fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests;
