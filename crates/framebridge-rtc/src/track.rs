//! A viewer's RTP stream: which packet of the shared stream it gets under which number.
//!
//! # No (key, index) pair is used twice for different bytes
//!
//! SRTP's keystream depends on the key and the packet index alone, so two different packets under one index would
//! give both away. A viewer's keys come from its own DTLS handshake and serve one direction and one SSRC. Its index
//! is `packet + offset`, where `packet` numbers the stream's packets. Within one mapping that is one to one, and
//! what is sent again is the same packet with the same header, hence the same bytes. [`Track::jump`] is the only
//! place that changes the mapping: it gives the next packet the index `next`, which is above every index used so
//! far, and [`Track::repeat`] refuses packets of an earlier mapping. A restored track starts at an index that the
//! process before had promised not to use (see [`viewer_file`](crate::handover::viewer_file)).

use crate::{
    catch_up::CatchUp,
    frame::Frame,
    random,
    srtp::{MasterKey, Profile, RTP_HEADER, Sender},
};

/// What a track must remember to go on elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackState {
    /// The synchronisation source.
    pub ssrc: u32,
    /// The negotiated payload type.
    pub payload_type: u8,
    /// The index of the next packet: rollover counter above, sequence number in the low 16 bits.
    pub next: u64,
    /// What is added to the stream's time.
    pub timestamp_offset: u32,
    /// Packets sent, as sender reports count them.
    pub packets: u32,
    /// Payload bytes sent, as sender reports count them.
    pub octets: u32,
    /// The last SRTCP index used.
    pub rtcp_index: u32,
}

impl TrackState {
    /// A fresh one with random starting points.
    pub(crate) fn random(ssrc: u32, payload_type: u8) -> Self {
        Self {
            ssrc,
            payload_type,
            // Below 2^15: the first loss can't be mistaken for a rollover.
            next: u64::from(u16::from_be_bytes(random::bytes()) >> 1),
            timestamp_offset: u32::from_be_bytes(random::bytes()),
            packets: 0,
            octets: 0,
            rtcp_index: 0,
        }
    }
}

/// Sends one viewer its packets.
#[derive(Debug)]
pub(crate) struct Track {
    srtp: Sender,
    tag_len: usize,
    state: TrackState,
    /// Added to a packet's number in the stream, modulo 2^64, gives its index.
    offset: u64,
    /// The first packet of the mapping in force.
    since: u64,
    /// How times are told while the viewer catches up, and of what it got so.
    catch_up: Option<CatchUp>,
    /// The latest time that it was told, on the stream's timeline.
    last_time: u64,
}

impl Track {
    pub(crate) fn new(state: TrackState, profile: Profile, key: &MasterKey) -> Self {
        let srtp = Sender::new(profile, key, state.ssrc, state.rtcp_index);
        Self {
            srtp,
            tag_len: profile.tag_len(),
            state,
            offset: 0,
            since: u64::MAX,
            catch_up: None,
            last_time: 0,
        }
    }

    /// What must be remembered to go on elsewhere.
    pub(crate) fn state(&self) -> TrackState {
        TrackState {
            rtcp_index: self.srtp.rtcp_index(),
            ..self.state
        }
    }

    /// The index of the next packet.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.state.next
    }

    /// The last SRTCP index used.
    #[inline]
    pub(crate) fn rtcp_index(&self) -> u32 {
        self.srtp.rtcp_index()
    }

    /// Goes on with the stream's packet `packet`, whatever came before: the viewer sees no gap.
    pub(crate) fn jump(&mut self, packet: u64) {
        self.offset = self.state.next.wrapping_sub(packet);
        self.since = packet;
        self.catch_up = None;
    }

    /// [`jump`](Self::jump) to a keyframe in the past, the first packet of which is `packet`.
    pub(crate) fn catch_up(&mut self, packet: u64, plan: CatchUp) {
        self.jump(packet);
        self.catch_up = Some(plan);
    }

    /// How the viewer came here, where it was from a keyframe in the past.
    pub(crate) fn plan(&self) -> Option<&CatchUp> {
        self.catch_up.as_ref()
    }

    /// The latest time that the viewer was told, on the stream's timeline. What is sent next has to be later.
    pub(crate) fn last_time(&self) -> u64 {
        self.last_time
    }

    /// An earlier process may have told the viewer times up to this one.
    pub(crate) fn start_after(&mut self, time: u64) {
        self.last_time = self.last_time.max(time);
    }

    /// A frame's time as this viewer is told it.
    #[inline]
    fn time(&self, frame: &Frame) -> u64 {
        self.catch_up
            .as_ref()
            .map_or(frame.timestamp, |plan| plan.time(frame.timestamp))
    }

    /// The datagram's length for a payload of `payload` bytes.
    #[inline]
    pub(crate) fn datagram_len(&self, payload: usize) -> usize {
        RTP_HEADER + payload + self.tag_len
    }

    /// Writes the next packet, which is `packet` of `frame`, into `datagram`.
    #[inline]
    pub(crate) fn write(&mut self, frame: &Frame, packet: u64, (payload, marker): (&[u8], bool), datagram: &mut [u8]) {
        debug_assert_eq!(
            packet.wrapping_add(self.offset),
            self.state.next,
            "packets go out in order"
        );
        self.fill(frame, self.state.next, payload, marker, datagram);
        self.last_time = self.last_time.max(self.time(frame));
        self.state.next += 1;
        self.state.packets = self.state.packets.wrapping_add(1);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a payload is below a packet; the counter wraps by design"
        )]
        let octets = payload.len() as u32;
        self.state.octets = self.state.octets.wrapping_add(octets);
    }

    /// Writes a packet again that was sent before.
    pub(crate) fn rewrite(&self, frame: &Frame, packet: u64, (payload, marker): (&[u8], bool), datagram: &mut [u8]) {
        self.fill(frame, packet.wrapping_add(self.offset), payload, marker, datagram);
    }

    #[inline]
    fn fill(&self, frame: &Frame, index: u64, payload: &[u8], marker: bool, datagram: &mut [u8]) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "RTP's sequence number and timestamp are the low bits"
        )]
        let (sequence, timestamp) = (
            index as u16,
            (self.time(frame) as u32).wrapping_add(self.state.timestamp_offset),
        );
        datagram[0] = 0x80;
        datagram[1] = u8::from(marker) << 7 | self.state.payload_type;
        datagram[2..4].copy_from_slice(&sequence.to_be_bytes());
        datagram[4..8].copy_from_slice(&timestamp.to_be_bytes());
        datagram[8..12].copy_from_slice(&self.state.ssrc.to_be_bytes());
        datagram[RTP_HEADER..RTP_HEADER + payload.len()].copy_from_slice(payload);
        self.srtp.protect_rtp(datagram, index);
    }

    /// The stream's packet that went out with `sequence`, if it was of the mapping in force.
    pub(crate) fn repeat(&self, sequence: u16) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "the distance is taken modulo 2^16")]
        let back = (self.state.next as u16).wrapping_sub(sequence);
        let index = self
            .state
            .next
            .checked_sub(if back == 0 { 1 << 16 } else { u64::from(back) })?;
        let packet = index.wrapping_sub(self.offset);
        (packet >= self.since && packet < self.state.next.wrapping_sub(self.offset)).then_some(packet)
    }

    /// A protected sender report with the CNAME: `ntp` is now in NTP's format, `timestamp` now on the stream's timeline.
    pub(crate) fn report(&mut self, ntp: u64, timestamp: u64, cname: &str, packet: &mut Vec<u8>) {
        #[expect(clippy::cast_possible_truncation, reason = "RTP's timestamp is the low bits")]
        let timestamp = (timestamp as u32).wrapping_add(self.state.timestamp_offset);
        packet.clear();
        // Sender report without report blocks (RFC 3550 section 6.4.1): 6 words after the first.
        packet.extend_from_slice(&[0x80, 200, 0, 6]);
        packet.extend_from_slice(&self.state.ssrc.to_be_bytes());
        packet.extend_from_slice(&ntp.to_be_bytes());
        for word in [timestamp, self.state.packets, self.state.octets] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        self.describe(cname, packet);
        self.srtp.protect_rtcp(packet);
    }

    /// A protected goodbye: no more will come (RFC 3550 section 6.6).
    pub(crate) fn goodbye(&mut self, cname: &str, packet: &mut Vec<u8>) {
        packet.clear();
        // A compound begins with a report (section 6.1), and need not have anything to report.
        packet.extend_from_slice(&[0x80, 201, 0, 1]);
        packet.extend_from_slice(&self.state.ssrc.to_be_bytes());
        self.describe(cname, packet);
        packet.extend_from_slice(&[0x81, 203, 0, 1]);
        packet.extend_from_slice(&self.state.ssrc.to_be_bytes());
        self.srtp.protect_rtcp(packet);
    }

    /// Adds a source description with the CNAME (RFC 3550 section 6.5), ended and padded by zero bytes.
    fn describe(&self, cname: &str, packet: &mut Vec<u8>) {
        let cname = &cname.as_bytes()[..cname.len().min(200)];
        let words = (4 + 2 + cname.len()) / 4 + 1;
        let start = packet.len();
        #[expect(clippy::cast_possible_truncation, reason = "the CNAME is cut at 200 bytes")]
        let (words_wire, len) = (words as u8, cname.len() as u8);
        packet.extend_from_slice(&[0x81, 202, 0, words_wire]);
        packet.extend_from_slice(&self.state.ssrc.to_be_bytes());
        packet.extend_from_slice(&[1, len]);
        packet.extend_from_slice(cname);
        packet.resize(start + 4 + words * 4, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::frame::Payloads;

    const KEY: MasterKey = MasterKey {
        key: [1; 16],
        salt: [2; 14],
    };

    fn track() -> Track {
        Track::new(TrackState::random(7, 96), Profile::AeadAes128Gcm, &KEY)
    }

    fn frame(first: u64, packets: u8) -> Frame {
        let unit: Vec<u8> = (1..=packets).flat_map(|n| [0, 0, 1, 0x41, n]).collect();
        Frame::new(first, first * 10, false, Instant::now(), Payloads::of(&unit))
    }

    #[test]
    fn a_jump_leaves_no_gap_and_forgets_what_was_before() {
        let (mut track, mut sent) = (track(), Vec::new());
        for frame in [frame(100, 3), frame(500, 2)] {
            track.jump(frame.first);
            for packet in frame.first..frame.end() {
                let payload = frame.packet(packet).unwrap();
                let mut datagram = vec![0; track.datagram_len(payload.0.len())];
                track.write(&frame, packet, payload, &mut datagram);
                sent.push(u16::from_be_bytes([datagram[2], datagram[3]]));
            }
        }
        assert!(sent.windows(2).all(|two| two[1] == two[0] + 1));
        let repeats: Vec<Option<u64>> = sent.iter().map(|sequence| track.repeat(*sequence)).collect();
        assert_eq!(repeats, [None, None, None, Some(500), Some(501)]);
        assert_eq!(track.repeat(sent[4] + 1), None, "not sent yet");
    }

    #[test]
    fn goodbye_is_a_compound_that_ends_with_bye() {
        let mut track = track();
        let before = track.rtcp_index();
        let mut packet = Vec::new();
        track.goodbye("0123456789abcdef01234567", &mut packet);
        assert!(track.rtcp_index() > before, "it has an index of its own");
        let mut receiver = crate::srtp::Receiver::new(Profile::AeadAes128Gcm, &KEY);
        let compound = receiver.open_rtcp(&mut packet).unwrap();
        assert_eq!(compound[..4], [0x80, 201, 0, 1]);
        let (_, bye) = compound.split_last_chunk::<8>().unwrap();
        assert_eq!(bye, &[0x81, 203, 0, 1, 0, 0, 0, 7]);
        assert_eq!(compound.len() % 4, 0);
    }

    proptest! {
        /// Whatever happens, one index never protects two different packets.
        #[test]
        fn no_index_is_used_for_two_packets(steps in prop::collection::vec((0u8..4, 1u8..9), 1..60)) {
            let mut track = track();
            let (mut head, mut used) = (1000, HashMap::<u64, Vec<u8>>::new());
            let mut frames: Vec<Frame> = Vec::new();
            track.jump(head);
            for (action, amount) in steps {
                match action {
                    0 => { head += u64::from(amount); track.jump(head); }
                    1 => {
                        let sequence = u16::try_from((track.state.next - u64::from(amount)) & 0xffff).unwrap();
                        if let Some(packet) = track.repeat(sequence) {
                            let frame = frames.iter().find(|frame| frame.packet(packet).is_some()).unwrap();
                            let payload = frame.packet(packet).unwrap();
                            let mut datagram = vec![0; track.datagram_len(payload.0.len())];
                            track.rewrite(frame, packet, payload, &mut datagram);
                            let index = track.state.next - u64::from(amount);
                            prop_assert_eq!(used.get(&index), Some(&datagram));
                        }
                    }
                    _ => {
                        let frame = frame(head, amount);
                        for packet in frame.first..frame.end() {
                            let payload = frame.packet(packet).unwrap();
                            let mut datagram = vec![0; track.datagram_len(payload.0.len())];
                            let index = track.state.next;
                            track.write(&frame, packet, payload, &mut datagram);
                            prop_assert!(used.insert(index, datagram).is_none());
                        }
                        head = frame.end();
                        frames.push(frame);
                    }
                }
            }
        }
    }
}
