//! One access unit cut into RTP payloads (RFC 6184), once for all viewers.

use std::time::Instant;

use crate::{
    header::{EXTENSION, TOLD},
    srtp::{MAX_TAG, RTP_HEADER},
};

/// The largest datagram we send: below every MTU met in the field, VPNs and IPv6 tunnels included.
pub(crate) const MAX_DATAGRAM: usize = 1200;
/// The largest RTP payload: besides it there is room for a header extension, and for the number that a repeat names.
pub(crate) const MAX_PAYLOAD: usize = MAX_DATAGRAM - RTP_HEADER - EXTENSION - REPEATED_NUMBER - MAX_TAG;
/// What a repeat's payload begins with (RFC 4588 section 4): the sequence number of what it repeats.
pub(crate) const REPEATED_NUMBER: usize = 2;

const FU_HEADERS: usize = 2;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// NAL unit types (H.264 table 7-1) that are treated apart.
mod nal {
    pub(super) const SEI: u8 = 6;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const DELIMITER: u8 = 9;
    pub(super) const FILLER: u8 = 12;
}

/// A picture as packets, in the clear. Shared by all viewers; what differs between them is in the RTP header.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The first packet's number in the stream; packets are counted without gaps.
    pub(crate) first: u64,
    /// When it is to be shown, 90 kHz, on the stream's own timeline.
    pub(crate) timestamp: u64,
    /// Whether a decoder can start here.
    pub(crate) keyframe: bool,
    /// When it was published.
    pub(crate) published: Instant,
    /// When the source gave the picture.
    pub(crate) captured: Instant,
    /// When that was, in NTP's format, where its first packet is to tell it.
    pub(crate) capture_time: Option<u64>,
    payloads: Payloads,
}

impl Frame {
    /// A frame of `payloads` whose packets are numbered from `first`.
    pub(crate) fn new(first: u64, timestamp: u64, keyframe: bool, published: Instant, payloads: Payloads) -> Self {
        Self {
            first,
            timestamp,
            keyframe,
            published,
            captured: published,
            capture_time: None,
            payloads,
        }
    }

    /// Whether its first packet has room for what only some tell.
    pub(crate) fn can_tell(&self) -> bool {
        self.payloads.ends.first().is_some_and(|len| len + TOLD <= MAX_PAYLOAD)
    }

    /// The number after the last packet's.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.payloads.ends.len() as u64
    }

    /// Bytes of all payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.payloads.bytes.len()
    }

    /// The payload of the packet numbered `index` in the stream, and whether it ends the picture.
    #[inline]
    pub(crate) fn packet(&self, index: u64) -> Option<(&[u8], bool)> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let end = *self.payloads.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.payloads.ends[at - 1] };
        Some((&self.payloads.bytes[start..end], at + 1 == self.payloads.ends.len()))
    }
}

/// RTP payloads, one behind the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Payloads {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Payloads {
    /// Cuts an access unit in Annex B form. Parameter sets go together in one STAP-A; what is larger than a packet
    /// goes in FU-As of equal size, a shorter one last, so that segmentation offload takes them in one go. Access
    /// unit delimiters, SEI and filler say nothing to a receiver and are left out.
    pub(crate) fn of(access_unit: &[u8]) -> Self {
        let mut payloads = Self::default();
        payloads
            .bytes
            .reserve_exact(access_unit.len() + access_unit.len() / MAX_PAYLOAD * FU_HEADERS + 16);
        let mut parameter_sets = Vec::new();
        for unit in nal_units(access_unit) {
            match unit[0] & 0x1f {
                nal::SEI | nal::DELIMITER | nal::FILLER => {}
                // Unspecified in H.264, and in RTP the numbers of aggregates and fragments.
                0 | 24.. => {}
                nal::SPS | nal::PPS => parameter_sets.push(unit),
                _ => {
                    payloads.aggregate(&parameter_sets);
                    parameter_sets.clear();
                    payloads.unit(unit);
                }
            }
        }
        payloads.aggregate(&parameter_sets);
        payloads
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn aggregate(&mut self, units: &[&[u8]]) {
        let size = 1 + units.iter().map(|unit| 2 + unit.len()).sum::<usize>();
        if units.len() < 2 || size > MAX_PAYLOAD {
            units.iter().for_each(|unit| self.unit(unit));
            return;
        }
        // The header's importance is the highest of its parts.
        let importance = units.iter().map(|unit| unit[0] & 0x60).max().unwrap_or(0);
        self.bytes.push(importance | STAP_A);
        for unit in units {
            #[expect(clippy::cast_possible_truncation, reason = "the sum of all is below a packet")]
            self.bytes.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            self.bytes.extend_from_slice(unit);
        }
        self.ends.push(self.bytes.len());
    }

    fn unit(&mut self, unit: &[u8]) {
        if unit.len() <= MAX_PAYLOAD {
            self.bytes.extend_from_slice(unit);
            self.ends.push(self.bytes.len());
            return;
        }
        let (header, body) = (unit[0], &unit[1..]);
        let parts = body.len().div_ceil(MAX_PAYLOAD - FU_HEADERS);
        let chunks = body.chunks(body.len().div_ceil(parts));
        let last = chunks.len() - 1;
        for (at, chunk) in chunks.enumerate() {
            let start = if at == 0 { 0x80 } else { 0 };
            let end = if at == last { 0x40 } else { 0 };
            self.bytes
                .extend_from_slice(&[header & 0xe0 | FU_A, start | end | header & 0x1f]);
            self.bytes.extend_from_slice(chunk);
            self.ends.push(self.bytes.len());
        }
    }
}

/// The NAL units of an Annex B byte stream, without start codes and padding; empty ones are left out.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(stream).map(|at| &stream[at + 3..]);
    std::iter::from_fn(move || {
        let current = rest?;
        let next = start_code(current);
        rest = next.map(|at| &current[at + 3..]);
        Some(&current[..next.unwrap_or(current.len())])
    })
    .map(|unit| {
        // A NAL unit never ends in a zero byte: those are padding, or the first byte of a four-byte start code.
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        &unit[..end]
    })
    .filter(|unit| !unit.is_empty())
}

/// Where the next `00 00 01` starts.
fn start_code(stream: &[u8]) -> Option<usize> {
    // The third byte decides how far the window can move: past it if it is above 1.
    let mut at = 0;
    while let Some(window) = stream.get(at..at + 3) {
        match window {
            [0, 0, 1] => return Some(at),
            [_, _, third] if *third > 1 => at += 3,
            [_, second, _] if *second > 0 => at += 2,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a receiver makes of payloads: NAL units (RFC 6184 section 5).
    fn reassemble(payloads: &Payloads) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        let mut start = 0;
        for &end in &payloads.ends {
            let payload = &payloads.bytes[start..end];
            assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD);
            start = end;
            match payload[0] & 0x1f {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while !rest.is_empty() {
                        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        units.push(rest[2..2 + length].to_vec());
                        rest = &rest[2 + length..];
                    }
                }
                FU_A => {
                    if payload[1] & 0x80 != 0 {
                        units.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => units.push(payload.to_vec()),
            }
        }
        units
    }

    fn annex_b(units: &[Vec<u8>]) -> Vec<u8> {
        units
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1][..], unit])
            .flatten()
            .copied()
            .collect()
    }

    fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
        // Emulation prevention: no zero bytes, so no start codes.
        [0x60 | kind]
            .into_iter()
            .chain(body.iter().map(|&byte| byte | 1))
            .collect()
    }

    #[test]
    fn an_idr_is_one_aggregate_and_fragments_of_equal_size() {
        let (sps, pps, slice) = (unit(7, &[5; 20]), unit(8, &[6; 4]), unit(5, &[7; 10_000]));
        let payloads = Payloads::of(&annex_b(&[
            unit(9, &[1]),
            sps.clone(),
            pps.clone(),
            unit(6, &[1; 9]),
            slice.clone(),
        ]));
        assert_eq!(reassemble(&payloads), [sps, pps, slice]);
        let sizes: Vec<usize> = payloads.ends.windows(2).map(|two| two[1] - two[0]).collect();
        let (last, equal) = sizes.split_last().unwrap();
        assert_eq!(payloads.ends[0], 1 + 2 + 21 + 2 + 5);
        assert!(equal.iter().all(|size| *size == equal[0]) && *last <= equal[0]);
    }

    #[test]
    fn three_byte_start_codes_and_padding_are_read() {
        let payloads = Payloads::of(&[0, 0, 1, 0x65, 1, 2, 0, 0, 0, 1, 0x41, 3, 0, 0]);
        assert_eq!(reassemble(&payloads), [vec![0x65, 1, 2], vec![0x41, 3]]);
        for empty in [&[][..], &[0, 0, 1], &[0, 0, 0, 1, 0, 0, 1], &[1, 2, 3]] {
            assert!(Payloads::of(empty).is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(bodies in prop::collection::vec((1u8..=5, prop::collection::vec(any::<u8>(), 0..6000)), 1..6)) {
            let units: Vec<Vec<u8>> = bodies.iter().map(|(kind, body)| unit(*kind, body)).collect();
            prop_assert_eq!(reassemble(&Payloads::of(&annex_b(&units))), units);
        }

        #[test]
        fn any_bytes_give_payloads_that_fit(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..5000)) {
            reassemble(&Payloads::of(&bytes));
        }
    }
}
