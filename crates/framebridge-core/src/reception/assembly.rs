//! Frames out of packets of H.264 (RFC 6184): single NAL units, STAP-A and FU-A, as browsers and encoders send them.

use std::collections::VecDeque;

use super::Packet;
use crate::h264::{IDR, SLICE, kind};

/// What one frame may have: the largest keyframes of 4K are some megabytes.
const MOST_BYTES: usize = 4 << 20;
/// NAL units of one frame: slices, parameter sets, and what encoders like to tell.
const MOST_NALS: usize = 512;

/// Payload types of RTP that are none of a NAL unit (RFC 6184, table 1).
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its time, in 1/90,000 s, going on where RTP's timestamp wraps.
    pub timestamp: u64,
    /// Whether a decoder can start here.
    pub keyframe: bool,
    /// Its NAL units, each without a start code.
    pub nals: Vec<Vec<u8>>,
}

/// A frame that is being put together.
#[derive(Debug, Default)]
struct Partial {
    timestamp: u32,
    nals: Vec<Vec<u8>>,
    /// The last of them lacks its end.
    is_open: bool,
    bytes: usize,
    /// Something of it is missing, or can't be read.
    is_torn: bool,
    /// What went before it is not known: its beginning may be missing.
    is_unsure: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Assembly {
    partial: Option<Partial>,
    /// A packet before the next one is lost.
    after_gap: bool,
    /// Nothing but a keyframe is of use.
    needs_keyframe: bool,
    /// The last frame's time, as RTP has it and going on.
    clock: Option<(u32, u64)>,
    units: VecDeque<Unit>,
}

impl Default for Assembly {
    fn default() -> Self {
        Self::new()
    }
}

impl Assembly {
    /// It begins with a keyframe.
    pub fn new() -> Self {
        Self {
            partial: None,
            after_gap: true,
            needs_keyframe: true,
            clock: None,
            units: VecDeque::new(),
        }
    }

    /// Whether nothing comes out before the next keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Packets before the next one are lost.
    pub fn gap(&mut self) {
        (self.partial, self.after_gap, self.needs_keyframe) = (None, true, true);
    }

    /// The next packet.
    pub fn packet(&mut self, packet: Packet) {
        if packet.payload.is_empty() {
            // Padding, by which a sender tries what its link carries.
            return;
        }
        if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.timestamp != packet.timestamp)
        {
            self.finish();
        }
        let is_unsure = std::mem::take(&mut self.after_gap);
        let partial = self.partial.get_or_insert_with(|| Partial {
            timestamp: packet.timestamp,
            is_unsure,
            ..Partial::default()
        });
        partial.take(&packet.payload);
        if packet.marker {
            self.finish();
        }
    }

    /// The next frame that is whole.
    pub fn poll(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    fn finish(&mut self) {
        let Some(partial) = self.partial.take() else { return };
        if partial.is_torn || partial.is_open || (partial.is_unsure && !partial.has_first_slice()) {
            self.needs_keyframe = true;
            return;
        }
        let keyframe = partial.nals.iter().any(|nal| kind(nal) == IDR);
        if partial.nals.is_empty() || (self.needs_keyframe && !keyframe) {
            return;
        }
        self.needs_keyframe = false;
        let (last, time) = self.clock.unwrap_or((partial.timestamp, u64::from(partial.timestamp)));
        // Backwards, too: then it is for who takes the frames to make sense of it.
        let step = i64::from(partial.timestamp.wrapping_sub(last).cast_signed());
        let timestamp = time.saturating_add_signed(step);
        self.clock = Some((partial.timestamp, timestamp));
        self.units.push_back(Unit {
            timestamp,
            keyframe,
            nals: partial.nals,
        });
    }
}

impl Partial {
    fn take(&mut self, payload: &[u8]) {
        self.bytes += payload.len();
        if self.bytes > MOST_BYTES || self.nals.len() >= MOST_NALS {
            self.is_torn = true;
        }
        if self.is_torn {
            self.nals.clear();
            return;
        }
        match kind(payload) {
            1..=23 if !self.is_open => self.nals.push(payload.to_vec()),
            STAP_A if !self.is_open => self.aggregate(&payload[1..]),
            FU_A => self.fragment(payload),
            _ => self.is_torn = true,
        }
    }

    /// Whether its first slice is that of its picture's first macroblock. What goes before slices may be lost: it says nothing
    /// that was not said before.
    fn has_first_slice(&self) -> bool {
        let is_slice = |nal: &&Vec<u8>| (SLICE..=IDR).contains(&kind(nal));
        let first = self.nals.iter().find(is_slice);
        // first_mb_in_slice, whose 0 is a single bit that is set (H.264 sections 7.3.3 and 9.1).
        first.is_none_or(|slice| slice.get(1).is_some_and(|byte| byte & 0x80 != 0))
    }

    fn aggregate(&mut self, mut rest: &[u8]) {
        while let [high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((nal, after)) = after.split_at_checked(length).filter(|_| length > 0) else {
                break;
            };
            if self.nals.len() >= MOST_NALS {
                break;
            }
            self.nals.push(nal.to_vec());
            rest = after;
        }
        self.is_torn |= !rest.is_empty();
    }

    fn fragment(&mut self, payload: &[u8]) {
        let [indicator, header, rest @ ..] = payload else {
            self.is_torn = true;
            return;
        };
        let (is_first, is_last) = (header & 0x80 != 0, header & 0x40 != 0);
        if is_first == self.is_open {
            self.is_torn = true;
            return;
        }
        if is_first {
            self.nals.push(vec![indicator & 0xe0 | header & 0x1f]);
        }
        if let Some(nal) = self.nals.last_mut() {
            nal.extend_from_slice(rest);
        }
        self.is_open = !is_last;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Packet {
        Packet {
            index: 0,
            timestamp,
            marker,
            payload: payload.to_vec(),
        }
    }

    fn drain(assembly: &mut Assembly) -> Vec<Unit> {
        std::iter::from_fn(|| assembly.poll()).collect()
    }

    #[test]
    fn all_three_forms_come_to_frames() {
        let mut assembly = Assembly::new();
        // Parameter sets together, an IDR slice in three fragments, and then one slice as it is.
        assembly.packet(packet(7, false, &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]));
        assembly.packet(packet(7, false, &[0x7c, 0x85, 0x81, 2]));
        assembly.packet(packet(7, false, &[0x7c, 0x05, 3]));
        assembly.packet(packet(7, false, &[]));
        assembly.packet(packet(7, true, &[0x7c, 0x45, 4]));
        assembly.packet(packet(3007, true, &[0x41, 9]));
        let [key, slice] = &drain(&mut assembly)[..] else {
            panic!("two frames");
        };
        assert_eq!(key.nals, [vec![0x67, 1], vec![0x68, 2], vec![0x65, 0x81, 2, 3, 4]]);
        assert!(key.keyframe && !slice.keyframe);
        assert_eq!(slice.timestamp - key.timestamp, 3000);
        assert_eq!(slice.nals, [vec![0x41, 9]]);
    }

    #[test]
    fn frame_without_its_mark_ends_where_the_next_begins_and_time_goes_on_when_it_wraps() {
        let mut assembly = Assembly::new();
        assembly.packet(packet(u32::MAX - 999, false, &[0x65, 0x81]));
        assembly.packet(packet(2000, false, &[0x41, 2]));
        assembly.packet(packet(5000, false, &[0x41, 3]));
        let times: Vec<u64> = drain(&mut assembly).iter().map(|unit| unit.timestamp).collect();
        assert_eq!(times, [u64::from(u32::MAX) - 999, u64::from(u32::MAX) + 2001]);
    }

    #[test]
    fn torn_keyframe_is_no_beginning() {
        let mut assembly = Assembly::new();
        assembly.packet(packet(1, true, &[0x65, 0x81]));
        assert_eq!(drain(&mut assembly).len(), 1);
        assembly.gap();
        // The second slice of an IDR picture, whose first was lost.
        assembly.packet(packet(2, true, &[0x65, 2]));
        assembly.packet(packet(3, true, &[0x41, 3]));
        assert!(drain(&mut assembly).is_empty() && assembly.needs_keyframe());
        assembly.gap();
        assembly.packet(packet(4, false, &[0x67, 1]));
        assembly.packet(packet(4, true, &[0x65, 0x84]));
        assert_eq!(drain(&mut assembly).len(), 1);
        // What says what comes was lost, and the picture is whole.
        assembly.gap();
        assembly.packet(packet(5, false, &[0x06, 1]));
        assembly.packet(packet(5, true, &[0x65, 0x84]));
        assert_eq!(drain(&mut assembly).len(), 1);
        // The end of a fragment that has no beginning.
        assembly.packet(packet(5, true, &[0x7c, 0x41, 4]));
        assert!(drain(&mut assembly).is_empty() && assembly.needs_keyframe());
    }

    #[test]
    fn first_packet_of_all_may_be_in_the_middle_of_a_picture() {
        let mut assembly = Assembly::new();
        assembly.packet(packet(1, true, &[0x65, 0x04]));
        assert!(drain(&mut assembly).is_empty() && assembly.needs_keyframe());
        assembly.packet(packet(2, false, &[0x65, 0x84]));
        assembly.packet(packet(2, true, &[0x65, 0x04]));
        assert_eq!(drain(&mut assembly).len(), 1);
    }

    proptest! {
        #[test]
        fn any_packets_are_taken_without_panic_and_in_bounds(
            packets in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..60)
        ) {
            let mut assembly = Assembly::new();
            for (timestamp, marker, payload) in packets {
                assembly.packet(packet(timestamp % 4, marker, &payload));
                for unit in drain(&mut assembly) {
                    prop_assert!(unit.nals.iter().all(|nal| !nal.is_empty()) && unit.nals.len() <= MOST_NALS);
                }
            }
        }
    }
}
