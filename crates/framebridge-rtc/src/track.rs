//! A viewer's RTP stream: which packet of the shared stream it gets under which number.
//!
//! # No (key, SSRC, index) is used twice for different bytes
//!
//! SRTP's keystream depends on the key, the SSRC and the packet index alone, so two different packets under one of them would
//! give both away. A viewer's keys come from its own DTLS handshake and serve one direction, with one or two SSRCs, which
//! differ ([`TrackState::with_repair`]).
//!
//! - Of the stream's SSRC the index is `packet + offset`, where `packet` numbers the stream's packets. Within one mapping that is
//!   one to one. [`Track::jump`] is the only place that changes the mapping: it gives the next packet the index `next`, which is
//!   above every index used so far.
//! - What is sent again goes under the repairs' SSRC (RFC 4588), each time under an index of its own, which only grows: so it may
//!   carry another transport-wide number than the first time.
//! - A viewer that takes no repairs gets the same packet again with the same header, hence the same bytes: its packets carry no
//!   transport-wide number, for which they would have to differ ([`Track::new`] sees to that). [`Track::repeat`] refuses packets
//!   of an earlier mapping.
//!
//! A restored track starts at indices that the process before had promised not to use, of either SSRC (see
//! [`viewer_file`](crate::handover::viewer_file)).

use crate::{
    catch_up::CatchUp,
    frame::{Frame, MAX_PAYLOAD, REPEATED_NUMBER},
    header::{Header, TOLD, Told},
    random,
    srtp::{MasterKey, Profile, Sender},
};

/// Where the stream of what is sent again stands (RFC 4588).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairState {
    /// Its synchronisation source.
    pub ssrc: u32,
    /// Its payload type.
    pub payload_type: u8,
    /// The index of its next packet.
    pub next: u64,
}

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
    /// What is sent again, if the viewer takes that as a stream of its own.
    pub repair: Option<RepairState>,
    /// The header extension that packets' transport-wide numbers go under, if the viewer takes them; 1 to 14.
    pub numbering: Option<u8>,
    /// That for the playout delay, likewise: keyframes tell it.
    pub playout: Option<u8>,
    /// That for the time of capture, likewise: a frame a second tells it.
    pub capture_time: Option<u8>,
}

impl TrackState {
    /// A fresh one with random starting points.
    pub(crate) fn random(ssrc: u32, payload_type: u8) -> Self {
        Self {
            ssrc,
            payload_type,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            next: first_index(),
            timestamp_offset: u32::from_be_bytes(random::bytes()),
            packets: 0,
            octets: 0,
            rtcp_index: 0,
        }
    }

    /// With repairs of this SSRC and payload type, if the SSRC is not the stream's own, and with numbers.
    pub(crate) fn with_repair(mut self, repair: Option<(u32, u8)>, numbering: Option<u8>) -> Self {
        self.repair = repair
            .filter(|(ssrc, _)| *ssrc != self.ssrc)
            .map(|(ssrc, payload_type)| RepairState {
                ssrc,
                payload_type,
                next: first_index(),
            });
        self.numbering = numbering;
        self
    }
}

/// Below 2^15: the first loss can't be mistaken for a rollover.
fn first_index() -> u64 {
    u64::from(u16::from_be_bytes(random::bytes()) >> 1)
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
    /// The latest time on the stream's timeline that was sent, if any was.
    last_timestamp: Option<u64>,
    /// No time of the mapping in force is earlier: another rung's picture may be the very one that was sent last.
    floor: u64,
    /// How times are told while the viewer catches up, and of what it got so.
    catch_up: Option<CatchUp>,
}

impl Track {
    pub(crate) fn new(mut state: TrackState, profile: Profile, key: &MasterKey) -> Self {
        state.repair = state.repair.filter(|repair| repair.ssrc != state.ssrc);
        state.numbering = state.numbering.filter(|_| state.repair.is_some());
        let srtp = Sender::new(profile, key, state.ssrc, state.rtcp_index);
        Self {
            srtp,
            tag_len: profile.tag_len(),
            state,
            offset: 0,
            since: u64::MAX,
            last_timestamp: None,
            floor: 0,
            catch_up: None,
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

    /// The index of the next repair.
    #[inline]
    pub(crate) fn next_repair(&self) -> u64 {
        self.state.repair.map_or(0, |repair| repair.next)
    }

    /// Whether what is sent again goes as a stream of its own, so that a packet may go again whenever it is of use.
    pub(crate) fn has_repair(&self) -> bool {
        self.state.repair.is_some()
    }

    /// The transport-wide number of the next packet, whichever SSRC it has: each has counted its own. `None`: packets have none.
    #[inline]
    pub(crate) fn next_number(&self) -> Option<u64> {
        self.state.numbering.map(|_| self.state.next + self.next_repair())
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
        self.floor = self.last_timestamp.map_or(0, |last| last + 1);
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

    /// An earlier process may have told the viewer times up to this one.
    pub(crate) fn start_after(&mut self, time: u64) {
        self.last_timestamp = self.last_timestamp.max(Some(time));
    }

    /// A frame's time on the stream's timeline as this viewer is told it.
    #[inline]
    fn time(&self, frame: &Frame) -> u64 {
        self.catch_up
            .as_ref()
            .map_or(frame.timestamp, |plan| plan.time(frame.timestamp))
            .max(self.floor)
    }

    /// The first packet that it has gone on with.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// The latest time on the stream's timeline that was sent.
    pub(crate) fn last_timestamp(&self) -> Option<u64> {
        self.last_timestamp
    }

    /// The datagram's length for a packet whose payload has so many bytes.
    #[inline]
    pub(crate) fn datagram_len(&self, frame: &Frame, packet: u64, payload: usize) -> usize {
        let told = self.told(frame, packet, payload);
        Header::len(self.state.numbering.is_some(), told) + payload + self.tag_len
    }

    /// The same for one that is sent again.
    #[inline]
    pub(crate) fn repeated_len(&self, frame: &Frame, packet: u64, payload: usize) -> usize {
        let number = if self.has_repair() { REPEATED_NUMBER } else { 0 };
        self.datagram_len(frame, packet, payload) + number
    }

    /// What this packet tells besides: the first of some frames does, if it has room. It depends on nothing but the packet, since one
    /// that goes again as it was has to have the same bytes.
    #[inline]
    fn told(&self, frame: &Frame, packet: u64, payload: usize) -> Told {
        if packet != frame.first || payload + TOLD > MAX_PAYLOAD {
            return Told::default();
        }
        Told {
            playout: self.state.playout.filter(|_| frame.keyframe),
            captured: self.state.capture_time.zip(frame.capture_time),
        }
    }

    /// Writes the next packet, which is `packet` of `frame`, into `datagram`.
    #[inline]
    pub(crate) fn write(&mut self, frame: &Frame, packet: u64, (payload, marker): (&[u8], bool), datagram: &mut [u8]) {
        debug_assert_eq!(
            packet.wrapping_add(self.offset),
            self.state.next,
            "packets go out in order"
        );
        self.fill(frame, packet, self.state.next, (payload, marker), datagram);
        self.last_timestamp = Some(self.time(frame));
        self.state.next += 1;
        self.state.packets = self.state.packets.wrapping_add(1);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a payload is below a packet; the counter wraps by design"
        )]
        let octets = payload.len() as u32;
        self.state.octets = self.state.octets.wrapping_add(octets);
    }

    /// Writes a packet again that was sent before: as the next of the repairs, or else as it was.
    pub(crate) fn rewrite(
        &mut self,
        frame: &Frame,
        packet: u64,
        (payload, marker): (&[u8], bool),
        datagram: &mut [u8],
    ) {
        let index = packet.wrapping_add(self.offset);
        let (number, told) = (self.number(), self.told(frame, packet, payload.len()));
        let timestamp = self.timestamp(frame);
        let Some(repair) = &mut self.state.repair else {
            self.fill(frame, packet, index, (payload, marker), datagram);
            return;
        };
        let header = Header {
            payload_type: repair.payload_type,
            marker,
            sequence: low(repair.next),
            timestamp,
            ssrc: repair.ssrc,
            number,
            told,
        };
        let clear = header.write(datagram);
        let body = clear + REPEATED_NUMBER;
        datagram[clear..body].copy_from_slice(&low(index).to_be_bytes());
        datagram[body..body + payload.len()].copy_from_slice(payload);
        self.srtp.protect_rtp(datagram, clear, repair.next);
        repair.next += 1;
    }

    #[inline]
    fn fill(&self, frame: &Frame, packet: u64, index: u64, (payload, marker): (&[u8], bool), datagram: &mut [u8]) {
        let header = Header {
            payload_type: self.state.payload_type,
            marker,
            sequence: low(index),
            timestamp: self.timestamp(frame),
            ssrc: self.state.ssrc,
            number: self.number(),
            told: self.told(frame, packet, payload.len()),
        };
        let clear = header.write(datagram);
        datagram[clear..clear + payload.len()].copy_from_slice(payload);
        self.srtp.protect_rtp(datagram, clear, index);
    }

    #[inline]
    fn number(&self) -> Option<(u8, u16)> {
        self.state.numbering.zip(self.next_number().map(low))
    }

    #[inline]
    fn timestamp(&self, frame: &Frame) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "RTP's timestamp is the low bits")]
        let timestamp = self.time(frame) as u32;
        timestamp.wrapping_add(self.state.timestamp_offset)
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

    /// Protects a compound RTCP packet of ours.
    pub(crate) fn protect(&mut self, packet: &mut Vec<u8>) {
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

/// What of an index or a number stands in a packet.
#[inline]
fn low(index: u64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    let low = index as u16;
    low
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
        let state = TrackState {
            playout: Some(5),
            capture_time: Some(6),
            ..TrackState::random(7, 96)
        };
        Track::new(state, Profile::AeadAes128Gcm, &KEY)
    }

    fn repairing_track() -> Track {
        let state = track().state.with_repair(Some((8, 97)), Some(3));
        Track::new(state, Profile::AeadAes128Gcm, &KEY)
    }

    fn frame(first: u64, packets: u8) -> Frame {
        let unit: Vec<u8> = (1..=packets).flat_map(|n| [0, 0, 1, 0x41, n]).collect();
        let mut frame = Frame::new(first, first * 10, true, Instant::now(), Payloads::of(&unit));
        frame.capture_time = Some(0xe000_0000_0000_0000 + first);
        frame
    }

    #[test]
    fn a_jump_leaves_no_gap_and_forgets_what_was_before() {
        let (mut track, mut sent) = (track(), Vec::new());
        for frame in [frame(100, 3), frame(500, 2)] {
            track.jump(frame.first);
            for packet in frame.first..frame.end() {
                let payload = frame.packet(packet).unwrap();
                let mut datagram = vec![0; track.datagram_len(&frame, packet, payload.0.len())];
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

    /// What a receiver finds in a datagram: payload type, sequence number, SSRC, transport-wide number, payload.
    fn opened(track: &Track, datagram: &[u8], index: u64) -> (u8, u16, u32, Option<u16>, Vec<u8>) {
        let mut datagram = datagram.to_vec();
        let receiver = crate::srtp::Receiver::new(Profile::AeadAes128Gcm, &KEY);
        let payload = receiver.open_rtp(&mut datagram, index).unwrap();
        let two = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        let number = track.state.numbering.map(|id| {
            assert_eq!((datagram[0], datagram[16]), (0x90, id << 4 | 1));
            two(17)
        });
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        (datagram[1] & 0x7f, two(2), ssrc, number, datagram[payload].to_vec())
    }

    #[test]
    fn repair_has_a_stream_of_its_own_and_all_packets_one_numbering() {
        let mut track = repairing_track();
        let (first, first_repair) = (track.next(), track.next_repair());
        let frame = frame(100, 2);
        track.jump(100);
        let mut numbers = Vec::new();
        for packet in [100, 101] {
            let content = frame.packet(packet).unwrap();
            let index = track.next();
            let mut datagram = vec![0; track.datagram_len(&frame, packet, content.0.len())];
            track.write(&frame, packet, content, &mut datagram);
            let (kind, sequence, ssrc, number, payload) = opened(&track, &datagram, index);
            assert_eq!((kind, sequence, ssrc), (96, low(index), 7));
            assert_eq!(payload, content.0);
            numbers.push(number.unwrap());
        }
        for again in 0..2 {
            let content = frame.packet(100).unwrap();
            let mut datagram = vec![0; track.repeated_len(&frame, 100, content.0.len())];
            track.rewrite(&frame, 100, content, &mut datagram);
            let (kind, sequence, ssrc, number, payload) = opened(&track, &datagram, first_repair + again);
            assert_eq!((kind, sequence, ssrc), (97, low(first_repair + again), 8));
            assert_eq!(payload, [&low(first).to_be_bytes()[..], content.0].concat());
            numbers.push(number.unwrap());
        }
        assert!(
            numbers.windows(2).all(|two| two[1] == two[0].wrapping_add(1)),
            "{numbers:?}"
        );
    }

    #[test]
    fn numbers_and_times_wrap_and_the_rollover_counter_goes_on() {
        let state = TrackState {
            next: 65_534,
            // Between the first and the second frame.
            timestamp_offset: u32::MAX - 1020,
            ..track().state
        };
        let mut track = Track::new(state, Profile::AeadAes128Gcm, &KEY);
        track.jump(100);
        let (mut sequences, mut times) = (Vec::new(), Vec::new());
        for frame in [frame(100, 5), frame(105, 1)] {
            for packet in frame.first..frame.end() {
                let (content, index) = (frame.packet(packet).unwrap(), track.next());
                let mut datagram = vec![0; track.datagram_len(&frame, packet, content.0.len())];
                track.write(&frame, packet, content, &mut datagram);
                // It opens with the index alone: 2^16 and more is another rollover counter.
                let (_, sequence, ..) = opened(&track, &datagram, index);
                sequences.push(sequence);
                times.push(u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]));
            }
        }
        assert_eq!(sequences, [65_534, 65_535, 0, 1, 2, 3]);
        assert_eq!((times[0], times[5]), (u32::MAX - 20, 29));
        let repeats = sequences.iter().map(|sequence| track.repeat(*sequence));
        assert!(repeats.eq((100..106).map(Some)), "what was sent is found again");
    }

    #[test]
    fn packets_have_no_numbers_where_they_may_go_again_as_they_were() {
        for repair in [None, Some((7, 97))] {
            let state = TrackState::random(7, 96).with_repair(repair, Some(3));
            let track = Track::new(state, Profile::AeadAes128Gcm, &KEY);
            assert_eq!((track.next_number(), track.has_repair()), (None, false), "{repair:?}");
        }
    }

    proptest! {
        /// Whatever happens, one index of one SSRC never protects two different packets, and no two packets have one
        /// transport-wide number.
        #[test]
        fn no_index_is_used_for_two_packets(steps in prop::collection::vec((0u8..5, 1u8..9), 1..60), repairs: bool) {
            let mut track = if repairs { repairing_track() } else { track() };
            let (mut head, mut used) = (1000, HashMap::<(u32, u64), Vec<u8>>::new());
            let mut frames: Vec<Frame> = Vec::new();
            let mut numbers = std::collections::HashSet::new();
            track.jump(head);
            for (action, amount) in steps {
                match action {
                    0 => { head += u64::from(amount); track.jump(head); }
                    1 | 2 => {
                        let index = track.state.next - u64::from(amount);
                        if let Some(packet) = track.repeat(low(index)) {
                            let frame = frames.iter().find(|frame| frame.packet(packet).is_some()).unwrap();
                            let payload = frame.packet(packet).unwrap();
                            let mut datagram = vec![0; track.repeated_len(frame, packet, payload.0.len())];
                            let place = if repairs { (8, track.next_repair()) } else { (7, index) };
                            let number = track.next_number();
                            track.rewrite(frame, packet, payload, &mut datagram);
                            prop_assert!(number.is_none_or(|number| numbers.insert(number)));
                            let before = used.insert(place, datagram.clone());
                            prop_assert_eq!(before, (!repairs).then_some(datagram));
                        }
                    }
                    _ => {
                        let frame = frame(head, amount);
                        for packet in frame.first..frame.end() {
                            let payload = frame.packet(packet).unwrap();
                            let mut datagram = vec![0; track.datagram_len(&frame, packet, payload.0.len())];
                            let (index, number) = (track.state.next, track.next_number());
                            track.write(&frame, packet, payload, &mut datagram);
                            prop_assert!(number.is_none_or(|number| numbers.insert(number)));
                            prop_assert!(used.insert((7, index), datagram).is_none());
                        }
                        head = frame.end();
                        frames.push(frame);
                    }
                }
            }
        }
    }
}
