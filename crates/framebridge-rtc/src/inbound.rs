//! One publisher's media: which packets they are, and what the publisher is told of them. What becomes of them is decided by
//! [`Reception`].

mod receipts;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use framebridge_core::reception::{Arrivals, Input, Output, Packet, Reception, Tally, Unit};

use crate::{ReceiveState, Receives};

/// How often the publisher is told what was lost (RFC 3550 wants reports; senders that know nothing better go by them).
const REPORT: Duration = Duration::from_secs(1);

/// When the media stream has been silent for so long, another SSRC takes its place: an encoder was started anew.
const SOURCE_SILENCE: Duration = Duration::from_secs(1);

/// What comes of a publisher's packets.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A frame.
    Unit(Unit),
    /// Tell the publisher this: a compound RTCP packet.
    Rtcp(Vec<u8>),
}

/// One publisher's media.
#[derive(Debug)]
pub(crate) struct Inbound {
    receives: Receives,
    /// Names us in what we tell it.
    ours: u32,
    /// What times are told from.
    epoch: Instant,
    source: Option<Source>,
    /// SSRC of what is sent again, and what of that has come.
    repairs: Option<(u32, Seen)>,
    arrivals: Arrivals,
    /// Counts what is told of arrivals.
    told: u8,
    outcomes: VecDeque<Outcome>,
}

/// The media stream.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    seen: Seen,
    heard: Instant,
    report: Instant,
    reception: Reception,
    tally: Tally,
}

/// So many packets before the newest one may come late.
const WINDOW: u64 = 1024;

/// Which of the last packets have come: one that comes again says nothing, whoever sends it (RFC 3711, section 3.3.2).
#[derive(Debug)]
struct Seen {
    /// One above the highest index; 0: none yet.
    next: u64,
    /// By the index's remainder.
    bits: [u64; (WINDOW / 64) as usize],
    /// Of an earlier process, and nothing has come since.
    is_resumed: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            next: 0,
            bits: [0; (WINDOW / 64) as usize],
            is_resumed: false,
        }
    }
}

impl Seen {
    /// All up to this index have come, as far as is known.
    fn up_to(index: u64) -> Self {
        Self {
            next: index + 1,
            bits: [u64::MAX; (WINDOW / 64) as usize],
            is_resumed: true,
        }
    }

    fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// The index of a packet with this number. Of what an earlier process was sent nothing is taken again: at first it is ahead, however
    /// far the publisher has got meanwhile.
    fn index_of(&self, number: u16) -> u64 {
        let index = nearest(number, self.highest());
        if self.is_resumed && index < self.next {
            index + (1 << 16)
        } else {
            index
        }
    }

    fn is_new(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        index >= self.next || (self.next - index <= WINDOW && self.bits[word] & bit == 0)
    }

    fn accept(&mut self, index: u64) {
        self.is_resumed = false;
        if index >= self.next {
            let skipped = (index - self.next).min(WINDOW);
            for passed in index - skipped..=index {
                let (word, bit) = Self::place(passed);
                self.bits[word] &= !bit;
            }
            self.next = index + 1;
        }
        let (word, bit) = Self::place(index);
        self.bits[word] |= bit;
    }

    fn place(index: u64) -> (usize, u64) {
        let at = index % WINDOW;
        let word = (at / 64) as usize;
        (word, 1 << (at % 64))
    }
}

/// Which stream a packet is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Media,
    Repair,
}

/// The fixed header of an RTP packet, as far as it matters here, and the transport-wide number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    is_padded: bool,
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    number: Option<u16>,
}

impl Inbound {
    /// Nothing has come yet. `ours` names us in what the publisher is told.
    pub(crate) fn new(receives: Receives, ours: u32, now: Instant) -> Self {
        Self {
            receives,
            ours,
            epoch: now,
            source: None,
            repairs: None,
            arrivals: Arrivals::default(),
            told: 0,
            outcomes: VecDeque::new(),
        }
    }

    /// Goes on where an earlier process was. What came up to then is not taken again.
    pub(crate) fn resumed(state: &ReceiveState, ours: u32, now: Instant) -> Self {
        let media = state.media.map(|(ssrc, index)| Source {
            seen: Seen::up_to(index),
            ..Source::new(ssrc, now)
        });
        Self {
            source: media,
            repairs: state.repairs.map(|(ssrc, index)| (ssrc, Seen::up_to(index))),
            ..Self::new(state.receives, ours, now)
        }
    }

    /// Where it is, for another process.
    pub(crate) fn state(&self) -> ReceiveState {
        let media = self.source.as_ref();
        ReceiveState {
            receives: self.receives,
            media: media.and_then(|source| Some((source.ssrc, source.seen.highest()?))),
            repairs: self
                .repairs
                .as_ref()
                .and_then(|(ssrc, seen)| Some((*ssrc, seen.highest()?))),
        }
    }

    /// A packet's header, and the index that it is to be opened with; `None`: it is none of what was agreed on, or was here before.
    pub(crate) fn head(&self, packet: &[u8]) -> Option<(Head, u64)> {
        let head = Head::parse(packet, self.receives.numbering)?;
        let seen = match self.stream(&head)? {
            Stream::Media => self
                .source
                .as_ref()
                .filter(|source| source.ssrc == head.ssrc)
                .map(|source| &source.seen),
            Stream::Repair => self
                .repairs
                .as_ref()
                .filter(|(ssrc, _)| *ssrc == head.ssrc)
                .map(|(_, seen)| seen),
        };
        let index = seen.map_or_else(|| nearest(head.sequence, None), |seen| seen.index_of(head.sequence));
        seen.is_none_or(|seen| seen.is_new(index)).then_some((head, index))
    }

    fn stream(&self, head: &Head) -> Option<Stream> {
        if head.payload_type == self.receives.payload_type {
            Some(Stream::Media)
        } else if Some(head.payload_type) == self.receives.repair {
            Some(Stream::Repair)
        } else {
            None
        }
    }

    /// Takes in what was in an authentic packet.
    pub(crate) fn packet(&mut self, head: Head, index: u64, payload: &[u8], now: Instant) {
        if let Some(number) = head.number {
            self.arrivals.packet(number, now);
        }
        let payload = if head.is_padded { unpadded(payload) } else { payload };
        match self.stream(&head) {
            Some(Stream::Media) => {
                let Some(source) = self.source(head.ssrc, now) else {
                    return;
                };
                source.seen.accept(index);
                source.heard = now;
                source.tally.packet(index, head.timestamp, now);
                source.take(head, index, payload, now);
            }
            Some(Stream::Repair) => {
                let known = self.repairs.take().filter(|(ssrc, _)| *ssrc == head.ssrc);
                let mut seen = known.map_or_else(Seen::default, |(_, seen)| seen);
                seen.accept(index);
                self.repairs = Some((head.ssrc, seen));
                // Padding by which the link is tried comes here, too.
                if let (Some(source), [high, low, payload @ ..]) = (&mut self.source, payload) {
                    let index = nearest(u16::from_be_bytes([*high, *low]), source.seen.highest());
                    source.take(head, index, payload, now);
                }
            }
            None => {}
        }
        self.go_on(now);
    }

    /// The media stream of this SSRC; `None`: another is in use.
    fn source(&mut self, ssrc: u32, now: Instant) -> Option<&mut Source> {
        let is_other = |source: &Source| source.ssrc != ssrc;
        let is_in_use = |source: &Source| is_other(source) && source.heard + SOURCE_SILENCE > now;
        if self.source.as_ref().is_some_and(is_in_use) {
            return None;
        }
        if self.source.as_ref().is_some_and(is_other) {
            self.source = None;
        }
        Some(self.source.get_or_insert_with(|| Source::new(ssrc, now)))
    }

    /// When media came last.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.source.as_ref().map(|source| source.heard)
    }

    /// The publisher has reported, and its clock's middle 32 bits were these.
    pub(crate) fn sender_report(&mut self, ssrc: u32, middle: u32, now: Instant) {
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            source.tally.sender_report(middle, now);
        }
    }

    /// Somebody needs a keyframe.
    pub(crate) fn ask_keyframe(&mut self, now: Instant) {
        if let Some(source) = &mut self.source {
            source.reception.handle(Input::Keyframe, now);
        }
        self.go_on(now);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come, or another.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(source) = &mut self.source {
            source.reception.handle(Input::Timeout, now);
            if source.report <= now {
                source.report = now + REPORT;
                if let Some(block) = source.tally.block(now) {
                    let report = receipts::report(self.ours, source.ssrc, &block);
                    self.outcomes.push_back(Outcome::Rtcp(report));
                }
            }
        }
        self.go_on(now);
    }

    /// When there is something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let source = self.source.as_ref();
        let report = source.map(|source| source.report);
        let reception = source.and_then(|source| source.reception.poll_timeout());
        [report, reception, self.arrivals.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What comes of it.
    pub(crate) fn poll(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    fn go_on(&mut self, now: Instant) {
        // What is sent again may come before there is anything to send again.
        let (ours, theirs) = (self.ours, self.source.as_ref().map_or(0, |source| source.ssrc));
        while let Some(output) = self.source.as_mut().and_then(|source| source.reception.poll_output()) {
            self.outcomes.push_back(match output {
                Output::Unit(unit) => Outcome::Unit(unit),
                Output::Missing(numbers) => Outcome::Rtcp(receipts::missing(ours, theirs, &numbers)),
                Output::KeyframeRequest => Outcome::Rtcp(receipts::keyframe_request(ours, theirs)),
            });
        }
        if let Some(told) = self.arrivals.take(now) {
            let told = receipts::arrivals((ours, theirs), self.epoch, self.told, &told);
            self.outcomes.push_back(Outcome::Rtcp(told));
            self.told = self.told.wrapping_add(1);
        }
    }
}

impl Source {
    fn new(ssrc: u32, now: Instant) -> Self {
        Self {
            ssrc,
            seen: Seen::default(),
            heard: now,
            report: now + REPORT,
            reception: Reception::new(),
            tally: Tally::new(now),
        }
    }

    fn take(&mut self, head: Head, index: u64, payload: &[u8], now: Instant) {
        let packet = Packet {
            index,
            timestamp: head.timestamp,
            marker: head.marker,
            payload: payload.to_vec(),
        };
        self.reception.handle(Input::Packet(packet), now);
    }
}

impl Head {
    /// Reads a header; `numbering` is the extension of transport-wide numbers.
    fn parse(packet: &[u8], numbering: Option<u8>) -> Option<Self> {
        let [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3, rest @ ..] = packet else {
            return None;
        };
        let extension = (first & 0x10 != 0)
            .then(|| rest.get(4 * usize::from(first & 0x0f)..))
            .flatten();
        Some(Self {
            is_padded: first & 0x20 != 0,
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            ssrc: u32::from_be_bytes([*r0, *r1, *r2, *r3]),
            number: numbering
                .zip(extension)
                .and_then(|(id, extension)| number(id, extension)),
        })
    }
}

/// The element `id` of a header extension (RFC 8285), where it is a number of two bytes.
fn number(id: u8, extension: &[u8]) -> Option<u16> {
    let [p0, p1, w0, w1, rest @ ..] = extension else {
        return None;
    };
    let words = usize::from(u16::from_be_bytes([*w0, *w1]));
    let mut elements = rest.get(..4 * words)?;
    let is_long = match (*p0, *p1) {
        (0xbe, 0xde) => false,
        (0x10, low) if low & 0xf0 == 0 => true,
        _ => return None,
    };
    while let [first, after @ ..] = elements {
        if *first == 0 {
            elements = after;
            continue;
        }
        let (found, length, after) = if is_long {
            let (length, after) = after.split_first()?;
            (*first, usize::from(*length), after)
        } else {
            (first >> 4, usize::from(first & 0x0f) + 1, after)
        };
        let (value, after) = after.split_at_checked(length)?;
        if found == id {
            return value.try_into().ok().map(u16::from_be_bytes);
        }
        elements = after;
    }
    None
}

/// A payload without the padding that its last byte counts.
fn unpadded(payload: &[u8]) -> &[u8] {
    let padding = payload.last().map_or(0, |last| usize::from(*last));
    payload.get(..payload.len().saturating_sub(padding)).unwrap_or_default()
}

/// The index with this sequence number that is the nearest to the highest so far (RFC 3711, section 3.3.1).
fn nearest(sequence: u16, highest: Option<u64>) -> u64 {
    let Some(highest) = highest else {
        return sequence.into();
    };
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
    let step = i64::from(sequence.wrapping_sub(highest as u16).cast_signed());
    highest
        .checked_add_signed(step)
        // Below nothing there is nothing: it is one that comes later.
        .unwrap_or_else(|| sequence.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVES: Receives = Receives {
        payload_type: 102,
        repair: Some(103),
        numbering: Some(4),
    };

    /// A packet with the transport-wide number, unprotected.
    fn rtp(payload_type: u8, sequence: u16, ssrc: u32, number: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 0x80 | payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 3000).to_be_bytes());
        packet.extend_from_slice(&ssrc.to_be_bytes());
        // An element before it, and padding.
        packet.extend_from_slice(&[0xbe, 0xde, 0, 2, 0x10, 9, 0, 0x41]);
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(payload);
        packet
    }

    fn feed(inbound: &mut Inbound, packet: &[u8], now: Instant) -> Vec<Outcome> {
        if let Some((head, index)) = inbound.head(packet) {
            inbound.packet(head, index, &packet[24..], now);
        }
        std::iter::from_fn(|| inbound.poll()).collect()
    }

    #[test]
    fn packet_that_comes_again_is_known_whatever_came_in_between() {
        let mut seen = Seen::default();
        for index in [65_530, 65_531, 65_540, 65_533] {
            assert!(seen.is_new(index), "{index}");
            seen.accept(index);
            assert!(!seen.is_new(index), "{index}");
        }
        assert!(seen.is_new(65_532) && seen.is_new(65_539));
        seen.accept(65_540 + WINDOW - 1);
        assert!(!seen.is_new(65_540), "still known");
        seen.accept(65_541 + WINDOW);
        assert!(!seen.is_new(65_540), "too old to be told");
        assert!(seen.is_new(65_540 + WINDOW));
        seen.accept(1_000_000);
        assert!(seen.is_new(999_999) && seen.is_new(1_000_001) && !seen.is_new(1_000_000));
    }

    #[test]
    fn next_process_knows_indices_by_what_is_kept_and_takes_nothing_twice() {
        let start = Instant::now();
        let mut inbound = Inbound::new(RECEIVES, 1, start);
        for sequence in [65_535, 0, 1] {
            feed(&mut inbound, &rtp(102, sequence, 7, sequence, &[0x65, 1]), start);
        }
        let kept = inbound.state();
        assert_eq!(kept.media, Some((7, 65_537)));
        feed(&mut inbound, &rtp(102, 2, 7, 2, &[0x65, 1]), start);
        assert!(!inbound.state().is_far_from(&kept));
        let next = Inbound::resumed(&kept, 1, start);
        // The last that was here, sent again, has an index by which it is not authentic.
        let again = (1, 131_073);
        for (sequence, index) in [
            (2, 65_538),
            (30_000, 95_536),
            (32_000, 97_536),
            (50_001, 115_537),
            again,
        ] {
            let (_, found) = next.head(&rtp(102, sequence, 7, 0, &[0x65, 1])).unwrap();
            assert_eq!(found, index);
        }
        // Until something has come of the publisher's.
        let mut next = next;
        feed(&mut next, &rtp(102, 50_001, 7, 0, &[0x65, 1]), start);
        let late = next.head(&rtp(102, 50_000, 7, 0, &[0x65, 1])).map(|(_, index)| index);
        assert_eq!((late, next.state().media), (Some(115_536), Some((7, 115_537))));
        assert!(next.head(&rtp(102, 50_001, 7, 0, &[0x65, 1])).is_none(), "it was here");
        let at = |index| ReceiveState {
            media: Some((7, index)),
            ..kept
        };
        assert!(at(65_537 + 20_000).is_far_from(&kept) && !at(65_537 + 10_000).is_far_from(&kept));
        let other = ReceiveState {
            repairs: Some((8, 0)),
            ..kept
        };
        assert!(other.is_far_from(&kept));
    }

    #[test]
    fn packet_that_comes_again_in_the_stream_of_repairs_fills_the_hole() {
        let start = Instant::now();
        let mut inbound = Inbound::new(RECEIVES, 1, start);
        let idr = [24, 0, 2, 0x67, 1, 0, 2, 0x65, 0x83];
        let first = feed(&mut inbound, &rtp(102, 65_535, 7, 0, &idr), start);
        assert!(
            matches!(&first[..], [Outcome::Unit(unit)] if unit.keyframe),
            "{first:?}"
        );
        assert!(feed(&mut inbound, &rtp(102, 1, 7, 2, &[0x41, 2]), start).is_empty());
        let due = start + Duration::from_millis(10);
        inbound.handle_timeout(due);
        let asked: Vec<Outcome> = std::iter::from_fn(|| inbound.poll()).collect();
        assert!(
            matches!(&asked[..], [Outcome::Rtcp(nack)] if nack[9] == 205),
            "{asked:?}"
        );
        let again = feed(&mut inbound, &rtp(103, 50, 8, 3, &[0, 0, 0x41, 1]), due);
        assert_eq!(again.len(), 2, "{again:?}");
        // Of another SSRC, while this one sends.
        assert!(feed(&mut inbound, &rtp(102, 2, 9, 4, &idr), due).is_empty());
        let later = due + SOURCE_SILENCE;
        assert!(!feed(&mut inbound, &rtp(102, 2, 9, 5, &idr), later).is_empty());
        assert!(inbound.head(&rtp(111, 2, 9, 5, &idr)).is_none(), "sound");
    }

    #[test]
    fn header_is_read_whole_or_not_at_all() {
        let packet = rtp(102, 9, 7, 0x1234, &[]);
        assert_eq!(Head::parse(&packet, Some(4)).and_then(|head| head.number), Some(0x1234));
        assert_eq!(Head::parse(&packet, Some(5)).and_then(|head| head.number), None);
        for length in 0..packet.len() {
            // None of these may panic.
            let head = Head::parse(&packet[..length], Some(4));
            assert_eq!(head.is_some(), length >= 12);
        }
        assert_eq!(unpadded(&[1, 2, 0, 2]), [1, 2]);
        assert_eq!(unpadded(&[9]), []);
        assert_eq!(nearest(65_535, Some(0x1_0001)), 0xffff);
        assert_eq!(nearest(1, Some(0xffff)), 0x1_0001);
    }
}
