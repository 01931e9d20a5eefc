//! Counts what one viewer received: packets, loss, order, gaps, and the first picture.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Lost numbers remembered, to tell a late packet from a repeated one.
const MAX_MISSING: usize = 4096;
/// Numbers asked for again at once.
const MAX_NACK: usize = 64;

/// NAL unit types and RTP aggregation types that start a keyframe.
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Counters of one viewer.
#[derive(Debug, Clone)]
pub struct Reception {
    started: Instant,
    /// The highest packet index: rollover counter and sequence number.
    highest: Option<u64>,
    first: u64,
    missing: BTreeSet<u64>,
    last_timestamp: Option<u32>,
    is_intact: bool,
    ssrc: u32,
    reported: (u64, u64),
    /// Packets received, repeated ones not counted.
    pub packets: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// Packets that arrived twice.
    pub duplicates: u64,
    /// Packets whose authentication failed.
    pub forged: u64,
    /// Packets that were decrypted and authenticated.
    pub authenticated: u64,
    /// Pictures whose last packet arrived.
    pub frames: u64,
    /// The RTP timestamp of the last of them.
    pub last_frame: Option<u32>,
    /// Times the RTP timestamp went back.
    pub timestamp_reversals: u64,
    /// Sender reports received.
    pub reports: u64,
    /// From the viewer's start to its first whole keyframe.
    pub first_picture: Option<Duration>,
    /// When the last packet came.
    pub last_packet: Option<Instant>,
    /// The longest time without a packet since the first picture.
    pub longest_gap: Duration,
}

impl Reception {
    /// Nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            highest: None,
            first: 0,
            missing: BTreeSet::new(),
            last_timestamp: None,
            last_packet: None,
            is_intact: false,
            ssrc: 0,
            reported: (0, 0),
            packets: 0,
            bytes: 0,
            reordered: 0,
            duplicates: 0,
            forged: 0,
            authenticated: 0,
            frames: 0,
            last_frame: None,
            timestamp_reversals: 0,
            reports: 0,
            first_picture: None,
            longest_gap: Duration::ZERO,
        }
    }

    /// Packets that should have come and did not (yet).
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.packets)
    }

    /// Packets that should have come.
    pub fn expected(&self) -> u64 {
        self.highest.map_or(0, |highest| highest - self.first + 1)
    }

    /// Whether a whole keyframe has come.
    pub fn has_picture(&self) -> bool {
        self.first_picture.is_some()
    }

    /// Whether a keyframe has come, and since then every packet in order: nothing that a decoder would stumble over. Only
    /// keyframes whose start was decrypted are known.
    pub fn is_intact(&self) -> bool {
        self.is_intact && self.has_picture()
    }

    /// The sender's SSRC, once known.
    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The highest sequence number received.
    pub(crate) fn last_sequence(&self) -> u16 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "RTP's sequence number is the low 16 bits"
        )]
        let sequence = self.highest.unwrap_or(0) as u16;
        sequence
    }

    /// The index of a packet: the one nearest to the highest so far (RFC 3711 section 3.3.1).
    pub(crate) fn index_of(&self, datagram: &[u8]) -> u64 {
        nearest(u16::from_be_bytes([datagram[2], datagram[3]]), self.highest)
    }

    /// Notes a packet that failed authentication.
    pub(crate) fn on_forged(&mut self) {
        self.forged += 1;
    }

    /// Notes a sender report.
    pub(crate) fn on_report(&mut self) {
        self.reports += 1;
    }

    /// Notes a packet; `payload` if it was decrypted. Returns the numbers to ask for again.
    pub(crate) fn on_packet(
        &mut self,
        index: u64,
        header: [u8; 8],
        payload: Option<&[u8]>,
        len: usize,
        now: Instant,
    ) -> Vec<u16> {
        self.bytes += len as u64;
        self.authenticated += u64::from(payload.is_some());
        if self.first_picture.is_some()
            && let Some(last) = self.last_packet
        {
            self.longest_gap = self.longest_gap.max(now.duration_since(last));
        }
        self.last_packet = Some(now);
        let Some(highest) = self.highest else {
            (self.highest, self.first, self.packets) = (Some(index), index, 1);
            self.on_content(header, payload, now);
            return Vec::new();
        };
        if index <= highest {
            if self.missing.remove(&index) {
                self.packets += 1;
                self.reordered += 1;
            } else {
                self.duplicates += 1;
            }
            return Vec::new();
        }
        let gap = highest + 1..index;
        self.missing.extend(gap.clone().rev().take(MAX_MISSING));
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
        }
        self.is_intact &= gap.is_empty();
        self.highest = Some(index);
        self.packets += 1;
        self.on_content(header, payload, now);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "RTP's sequence number is the low 16 bits"
        )]
        let numbers = gap.take(MAX_NACK).map(|index| index as u16).collect();
        numbers
    }

    fn on_content(&mut self, header: [u8; 8], payload: Option<&[u8]>, now: Instant) {
        let timestamp = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if let Some(last) = self.last_timestamp {
            self.timestamp_reversals += u64::from(timestamp.wrapping_sub(last) > 1 << 31);
        }
        self.last_timestamp = Some(timestamp);
        if let Some(payload) = payload {
            self.is_intact |= starts_keyframe(payload);
        }
        if header[1] & 0x80 != 0 {
            self.frames += 1;
            self.last_frame = Some(timestamp);
            if self.is_intact && self.first_picture.is_none() {
                self.first_picture = Some(now.duration_since(self.started));
            }
        }
    }

    /// A reception report about the sender (RFC 3550 section 6.4.2).
    pub(crate) fn report(&mut self, ssrc: u32) -> Vec<u8> {
        let (expected, lost) = (self.expected(), self.lost());
        let (new_expected, new_lost) = (expected - self.reported.0, lost.saturating_sub(self.reported.1));
        self.reported = (expected, lost);
        let fraction = (new_lost * 256)
            .checked_div(new_expected)
            .map_or(0, |part| u8::try_from(part).unwrap_or(255));
        let total = u32::try_from(lost).unwrap_or(u32::MAX).min(0x7f_ffff);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the field is the low 32 bits of the index"
        )]
        let highest = self.highest.unwrap_or(0) as u32;
        let mut packet = vec![0x81, 201, 0, 7];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&(u32::from(fraction) << 24 | total).to_be_bytes());
        packet.extend_from_slice(&highest.to_be_bytes());
        packet.extend_from_slice(&[0; 12]);
        packet
    }

    /// Notes whose packets these are.
    pub(crate) fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }
}

/// The index of a sequence number that is nearest to the highest so far (RFC 3711 section 3.3.1).
pub(crate) fn nearest(sequence: u16, highest: Option<u64>) -> u64 {
    let Some(highest) = highest else {
        return sequence.into();
    };
    let base = highest & !0xffff | u64::from(sequence);
    [base.checked_sub(1 << 16), Some(base), Some(base + (1 << 16))]
        .into_iter()
        .flatten()
        .min_by_key(|index| index.abs_diff(highest))
        .unwrap_or(base)
}

/// Whether an RTP payload opens an IDR picture: parameter sets, or the slice itself.
fn starts_keyframe(payload: &[u8]) -> bool {
    match payload {
        [indicator, header, ..] if indicator & 0x1f == FU_A => header & 0x80 != 0 && header & 0x1f == IDR,
        [indicator, _, _, first, ..] if indicator & 0x1f == STAP_A => matches!(first & 0x1f, SPS | IDR),
        [indicator, ..] => matches!(indicator & 0x1f, SPS | IDR),
        [] => false,
    }
}
