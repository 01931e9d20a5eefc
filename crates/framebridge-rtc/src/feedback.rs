//! What viewers tell us about their reception (RTCP, RFC 3550 section 6.4, RFC 4585, RFC 5104 section 4.3.1).

use std::time::Duration;

/// Lost packets one datagram is heard for: further numbers are refused, the viewer needs a keyframe anyway.
const MAX_MISSING: usize = 256;
/// Packets whose arrival one datagram is heard for: a fifth of a second at 100 Mb/s. Browsers tell ten to twenty times a second.
const MAX_ARRIVALS: usize = 2048;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// Formats of the two feedback types.
const NACK: u8 = 1;
const ARRIVALS: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION: u8 = 15;

/// One thing a viewer told us about its reception.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback {
    /// Its decoder needs an IDR (PLI).
    KeyframeRequest,
    /// The same by FIR, whose number says whether it is a new one.
    IntraRequest(u8),
    /// These sequence numbers did not come.
    Missing {
        /// The first that it named, at most 256.
        numbers: Vec<u16>,
        /// How many it named besides.
        beyond: u64,
    },
    /// A reception report about our stream.
    Report(Report),
    /// It believes it can take so many bits per second (REMB).
    Estimate(f32),
    /// When packets came, by their transport-wide numbers.
    Arrivals(Arrivals),
}

/// What has come and when (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// The transport-wide number of the first packet that it tells of.
    pub first: u16,
    /// What times are counted from, 24 bits: units of 64 ms of the viewer's clock.
    pub base: u32,
    /// For that packet and those that follow it, units of 250 µs; `None`: it has not come.
    pub times: Vec<Option<i32>>,
}

/// A reception report (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Packets lost since the start. Falls when a packet comes late, and below 0 by duplicates.
    pub total_lost: i32,
    /// The highest sequence number received, and above it how often that has wrapped.
    pub highest: u32,
    /// The middle 32 bits of the NTP time of our last sender report; 0: it has had none.
    pub last_report: u32,
    /// How long ago that came, in 1/65,536 s.
    pub delay: u32,
}

impl Report {
    /// How long our last sender report and the answer to it were under way, `ntp` being now in NTP's format; `None` if the
    /// viewer does not say, or says what can't be.
    pub(crate) fn round_trip(&self, ntp: u64) -> Option<Duration> {
        /// Of 1/65,536 s: four seconds.
        const MOST: u32 = 4 << 16;
        #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits are meant")]
        let now = (ntp >> 16) as u32;
        let ticks = now.wrapping_sub(self.last_report).wrapping_sub(self.delay);
        (self.last_report != 0 && ticks <= MOST).then(|| Duration::from_micros((u64::from(ticks) * 1_000_000) >> 16))
    }
}

/// Of a compound packet's sender report: whose it is, and the middle 32 bits of its time.
pub(crate) fn sender_time(compound: &[u8]) -> Option<(u32, u32)> {
    let report = packets(compound).find(|packet| packet.kind == SENDER_REPORT)?;
    let middle = report.body.get(6..10)?.try_into().ok().map(u32::from_be_bytes)?;
    Some((word(report.body, 0)?, middle))
}

/// Reads a compound packet, as far as it is about `ssrc`, and tells what it says. What can't be read is left out, and hides nothing else.
pub(crate) fn parse(compound: &[u8], ssrc: u32, mut tell: impl FnMut(Feedback)) {
    let (mut numbers, mut beyond) = (Vec::new(), 0);
    let mut arrivals_left = MAX_ARRIVALS;
    for packet in packets(compound) {
        match (packet.kind, packet.format) {
            (SENDER_REPORT, count) => reports(packet.body.get(24..), count, ssrc).for_each(&mut tell),
            (RECEIVER_REPORT, count) => reports(packet.body.get(4..), count, ssrc).for_each(&mut tell),
            (TRANSPORT_FEEDBACK, NACK) if packet.media() == Some(ssrc) => {
                for number in packet.control().chunks_exact(4).flat_map(missing) {
                    if numbers.len() < MAX_MISSING {
                        numbers.push(number);
                    } else {
                        beyond += 1;
                    }
                }
            }
            // It is about the transport, whichever SSRC it names.
            (TRANSPORT_FEEDBACK, ARRIVALS) => {
                if let Some(told) = arrivals(packet.control(), arrivals_left) {
                    arrivals_left -= told.times.len();
                    tell(Feedback::Arrivals(told));
                }
            }
            (PAYLOAD_FEEDBACK, PLI) if packet.media() == Some(ssrc) => tell(Feedback::KeyframeRequest),
            // FIR names its SSRCs in its entries.
            (PAYLOAD_FEEDBACK, FIR) => {
                let entries = packet.control().chunks_exact(8);
                let ours = entries.filter(|entry| word(entry, 0) == Some(ssrc));
                ours.map(|entry| Feedback::IntraRequest(entry[4])).for_each(&mut tell);
            }
            (PAYLOAD_FEEDBACK, APPLICATION) => estimate(packet.control(), ssrc).into_iter().for_each(&mut tell),
            _ => {}
        }
    }
    if !numbers.is_empty() {
        tell(Feedback::Missing { numbers, beyond });
    }
}

/// One packet of a compound.
struct Packet<'a> {
    kind: u8,
    /// The number of report blocks, or the format of feedback.
    format: u8,
    /// What follows the first word, without padding.
    body: &'a [u8],
}

impl Packet<'_> {
    /// The SSRC that feedback is about (RFC 4585 section 6.1).
    fn media(&self) -> Option<u32> {
        word(self.body, 4)
    }

    /// Feedback control information: what follows the two SSRCs.
    fn control(&self) -> &[u8] {
        self.body.get(8..).unwrap_or_default()
    }
}

/// Walks the headers: only a length that is not there, or another version, ends it before the end.
fn packets(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_first_chunk::<4>()?;
        let length = 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (mut body, after) = after.split_at_checked(length)?;
        if header[0] >> 6 != 2 {
            return None;
        }
        rest = after;
        if header[0] & 0x20 != 0 {
            let padding = body.last().map_or(0, |padding| usize::from(*padding));
            body = &body[..body.len().saturating_sub(padding)];
        }
        Some(Packet {
            kind: header[1],
            format: header[0] & 0x1f,
            body,
        })
    })
}

fn reports(blocks: Option<&[u8]>, count: u8, ssrc: u32) -> impl Iterator<Item = Feedback> {
    let blocks = blocks.unwrap_or_default().chunks_exact(24).take(count.into());
    let report = move |block: &[u8]| {
        Some(Report {
            // 24 bits, signed.
            total_lost: (word(block, 4)? << 8).cast_signed() >> 8,
            highest: word(block, 8)?,
            last_report: word(block, 16)?,
            delay: word(block, 20)?,
        })
    };
    blocks
        .filter(move |block| word(block, 0) == Some(ssrc))
        .filter_map(report)
        .map(Feedback::Report)
}

/// The numbers that one pair of a NACK names: one, and 16 bits for those that follow it.
fn missing(pair: &[u8]) -> impl Iterator<Item = u16> {
    let number = u16::from_be_bytes([pair[0], pair[1]]);
    let following = u32::from(u16::from_be_bytes([pair[2], pair[3]])) << 1 | 1;
    (0..=16_u16)
        .filter(move |bit| following >> bit & 1 == 1)
        .map(move |bit| number.wrapping_add(bit))
}

/// REMB (draft-alvestrand-rmcat-remb section 2.2), if it is about `ssrc`: mantissa of 18 bits, exponent of 6.
fn estimate(control: &[u8], ssrc: u32) -> Option<Feedback> {
    let (named, rate) = (control.strip_prefix(b"REMB")?, word(control, 4)?);
    let mut ssrcs = named.get(4..)?.chunks_exact(4);
    if !ssrcs.any(|named| word(named, 0) == Some(ssrc)) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "18 bits fit")]
    let mantissa = (rate & 0x3_ffff) as f32;
    let exponent = i32::from((rate >> 18 & 0x3f) as u8);
    Some(Feedback::Estimate(mantissa * 2_f32.powi(exponent)))
}

/// What a transport-wide feedback tells, unless it is about more than `most` packets.
fn arrivals(control: &[u8], most: usize) -> Option<Arrivals> {
    let (head, rest) = control.split_first_chunk::<8>()?;
    let count = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if count == 0 || count > most {
        return None;
    }
    // What each packet's symbol says of its time stands behind all symbols.
    let (mut symbols, mut chunks) = (0, 0);
    while symbols < count {
        symbols += Chunk::at(rest, chunks)?.len();
        chunks += 1;
    }
    let mut steps = &rest[2 * chunks..];
    let mut at = 0_i32;
    let mut times = Vec::with_capacity(count);
    for chunk in (0..chunks).filter_map(|number| Chunk::at(rest, number)) {
        for place in 0..chunk.len().min(count - times.len()) {
            let step = match chunk.symbol(place) {
                0 => {
                    times.push(None);
                    continue;
                }
                1 => {
                    let (step, after) = steps.split_first()?;
                    steps = after;
                    i32::from(*step)
                }
                2 => {
                    let (step, after) = steps.split_first_chunk::<2>()?;
                    steps = after;
                    i32::from(i16::from_be_bytes(*step))
                }
                _ => return None,
            };
            at += step;
            times.push(Some(at));
        }
    }
    Some(Arrivals {
        first: u16::from_be_bytes([head[0], head[1]]),
        base: u32::from_be_bytes([0, head[4], head[5], head[6]]),
        times,
    })
}

/// Some packets' symbols: 0, one has not come; 1 or 2, it has, and so many bytes tell when.
#[derive(Clone, Copy)]
struct Chunk(u16);

impl Chunk {
    fn at(chunks: &[u8], number: usize) -> Option<Self> {
        let chunk = chunks.get(2 * number..)?.first_chunk()?;
        Some(Self(u16::from_be_bytes(*chunk)))
    }

    /// How many packets it is about.
    fn len(self) -> usize {
        match self.0 >> 14 {
            0 | 1 => usize::from(self.0 & 0x1fff),
            2 => 14,
            _ => 7,
        }
    }

    fn symbol(self, place: usize) -> u16 {
        match self.0 >> 14 {
            0 | 1 => self.0 >> 13 & 3,
            2 => self.0 >> (13 - place) & 1,
            _ => self.0 >> (12 - 2 * place) & 3,
        }
    }
}

/// The big-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(compound: &[u8], ssrc: u32) -> Vec<Feedback> {
        let mut told = Vec::new();
        parse(compound, ssrc, |feedback| told.push(feedback));
        told
    }

    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];
    const OURS: u32 = 7;

    fn about(ssrc: u8, head: [u8; 4], rest: &[u8]) -> Vec<u8> {
        [&head[..], &[0, 0, 0, 1, 0, 0, 0, ssrc], rest].concat()
    }

    fn pli(ssrc: u8) -> Vec<u8> {
        about(ssrc, [0x81, 206, 0, 2], &[])
    }

    fn nack(ssrc: u8) -> Vec<u8> {
        about(ssrc, [0x81, 205, 0, 3], &[0, 10, 0, 0b101])
    }

    fn missing_numbers() -> Feedback {
        Feedback::Missing {
            numbers: vec![10, 11, 13],
            beyond: 0,
        }
    }

    #[test]
    fn a_compound_packet_is_read_in_full() {
        let block = [
            0, 0, 0, 7, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5,
        ];
        let compound = [
            &[0x81, 201, 0, 7, 0, 0, 0, 1][..],
            &block,
            &nack(7),
            &pli(7),
            &about(0, [0x84, 206, 0, 4], &[0, 0, 0, 7, 42, 0, 0, 0]),
            &about(
                0,
                [0x8f, 206, 0, 5],
                &[b'R', b'E', b'M', b'B', 1, 4 << 2, 0, 3, 0, 0, 0, 7],
            ),
        ]
        .concat();
        let report = Report {
            total_lost: -2,
            highest: 0x1_0009,
            last_report: 0x100,
            delay: 5,
        };
        let expected = [
            Feedback::Report(report),
            Feedback::KeyframeRequest,
            Feedback::IntraRequest(42),
            Feedback::Estimate(48.0),
            missing_numbers(),
        ];
        assert_eq!(told(&compound, OURS), expected);
        assert_eq!(told(&compound, 8), [], "it is about another stream");
    }

    #[test]
    fn what_can_not_be_read_hides_nothing_else() {
        let strangers: [&[u8]; 10] = [
            &[],
            &[0x82, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0], // SLI
            &[0x80, 207, 0, 2, 0, 0, 0, 1, 4, 0, 0, 9],             // XR, whose block is longer than it
            &[0x80, 207, 0, 4, 0, 0, 0, 1, 99, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'A', b'B', b'C', b'D'],
            &[0x8f, 206, 0, 0],
            &[0x84, 206, 0, 1, 0, 0, 0, 1],
            &[0x81, 205, 0, 0],
            &[0x9f, 201, 0, 1, 0, 0, 0, 1],   // 31 blocks that are not there
            &[0xa1, 210, 0, 1, 0, 0, 0, 200], // more padding than it has bytes
        ];
        for stranger in strangers {
            let compound = [&REPORT[..], stranger, &pli(7), &nack(7)].concat();
            let expected = [Feedback::KeyframeRequest, missing_numbers()];
            assert_eq!(told(&compound, OURS), expected, "{stranger:?}");
        }
    }

    #[test]
    fn what_is_about_other_streams_is_not_heard() {
        let fir = |ssrc| about(7, [0x84, 206, 0, 4], &[0, 0, 0, ssrc, 42, 0, 0, 0]);
        for ssrc in [0, 8] {
            let compound = [&REPORT[..], &pli(ssrc), &nack(ssrc), &fir(ssrc)].concat();
            assert_eq!(told(&compound, OURS), []);
        }
    }

    #[test]
    fn a_datagram_is_heard_for_256_numbers() {
        let compound = about(7, [0x81, 205, 0, 18], &[0, 0, 0xff, 0xff].repeat(16)).repeat(25);
        let [Feedback::Missing { numbers, beyond }] = &told(&compound, OURS)[..] else {
            panic!("not one");
        };
        assert_eq!((numbers.len(), *beyond), (256, 25 * 16 * 17 - 256));
    }

    #[test]
    fn a_round_trip_is_what_is_left_of_the_time_since_our_report() {
        let second = 1_u64 << 32;
        let report = |last_report, delay| Report {
            total_lost: 0,
            highest: 0,
            last_report,
            delay,
        };
        // It was sent at 10 s, kept for half a second, and the answer came at 10.6 s.
        let ntp = 10 * second + second * 6 / 10;
        let measured = report(10 << 16, 1 << 15).round_trip(ntp).unwrap();
        assert_eq!(measured.as_millis(), 99);
        let nonsense = [
            report(0, 0),
            report(11 << 16, 0),
            report(10 << 16, 1 << 16),
            report(1 << 16, 0),
        ];
        assert_eq!(nonsense.map(|report| report.round_trip(ntp)), [None; 4]);
    }

    /// A feedback about `count` packets from 65,534 on, with these chunks and times.
    fn transport(count: u16, rest: &[u8]) -> Vec<u8> {
        let mut packet = about(9, [0x8f, 205, 0, 0], &[0xff, 0xfe]);
        packet.extend_from_slice(&count.to_be_bytes());
        packet.extend_from_slice(&[0, 1, 0, 3]);
        packet.extend_from_slice(rest);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = u8::try_from(packet.len() / 4 - 1).unwrap();
        packet
    }

    #[test]
    fn arrivals_are_read_from_every_kind_of_chunk() {
        // A run of two small steps; one bit each for 14 packets, of which the first and the last have come; two bits each.
        let (run, bits, pairs) = ([0x20, 2], [0b1010_0000, 1], [0b1110_0000, 0]);
        let steps = [4, 8, 0, 12, 0xff, 0xfe];
        let rest = [&run[..], &bits, &pairs, &steps].concat();
        let heard = told(&transport(18, &rest), OURS);
        let mut times = vec![Some(4), Some(12), Some(12)];
        times.extend([None; 12]);
        times.extend([Some(24), Some(22), None]);
        let arrivals = Arrivals {
            first: 65_534,
            base: 256,
            times,
        };
        assert_eq!(heard, [Feedback::Arrivals(arrivals)]);
    }

    #[test]
    fn arrivals_that_lack_a_part_or_are_too_many_are_not_heard() {
        for broken in [
            transport(0, &[0x20, 1, 4]),
            transport(3, &[0x20, 3, 4]),
            transport(1, &[]),
            transport(1, &[0x60, 1, 4, 4]),
            transport(2049, &[0x08, 0x01]),
        ] {
            assert_eq!(told(&broken, OURS), [], "{broken:?}");
        }
        let lost = transport(2000, &[0x07, 0xd0]);
        let heard = told(&lost.repeat(50), OURS);
        assert_eq!(heard.len(), 1, "a datagram is heard for 2048");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 200u8..208) {
            let mut bytes = bytes;
            told(&bytes, 1);
            if bytes.len() >= 4 {
                bytes[0] = bytes[0] & 0x3f | 0x80;
                bytes[1] = kind;
                let words = u16::try_from(bytes.len() / 4 - 1).unwrap();
                bytes[2..4].copy_from_slice(&words.to_be_bytes());
                told(&bytes, 1);
            }
        }
    }
}
