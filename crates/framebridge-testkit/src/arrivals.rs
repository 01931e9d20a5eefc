//! What a viewer tells of when packets came, by their transport-wide numbers
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Instant;

/// The extension's name in offers, and the number that we offer it under.
pub(crate) const NAME: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(crate) const NUMBER: u8 = 3;
/// Packets that one feedback is about at most: what further ones are told is lost.
const MOST: u64 = 1000;
/// Symbols of a chunk that has two bits for each.
const CHUNK: usize = 7;

/// Packets that have come and are not told of yet.
#[derive(Debug)]
pub(crate) struct Arrivals {
    start: Instant,
    /// The first number that nothing was told of.
    next: Option<u64>,
    /// In the order in which they came. Nothing is sorted or looked up before it is told of: a viewer that costs more than the server
    /// would be measured in its place.
    waiting: Vec<(u64, Instant)>,
    feedbacks: u8,
}

impl Arrivals {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            start: now,
            next: None,
            waiting: Vec::new(),
            feedbacks: 0,
        }
    }

    /// Notes a packet, if it has a number.
    pub(crate) fn note(&mut self, datagram: &[u8], now: Instant) {
        let Some(number) = number(datagram) else { return };
        let next = *self.next.get_or_insert(u64::from(number));
        #[expect(clippy::cast_possible_truncation, reason = "the distance is taken modulo 2^16")]
        let ahead = number.wrapping_sub(next as u16);
        let number = if ahead < 1 << 15 {
            next + u64::from(ahead)
        } else {
            next.saturating_sub(u64::from(ahead.wrapping_neg()))
        };
        self.waiting.push((number, now));
    }

    /// The feedback about all that is not told of yet; `None`: nothing has come.
    pub(crate) fn tell(&mut self, ssrc: u32, media: u32) -> Option<Vec<u8>> {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|(number, _)| *number);
        waiting.dedup_by_key(|(number, _)| *number);
        let (first, last) = (waiting.first()?.0, waiting.last()?.0);
        let first = first.min(self.next.unwrap_or(first));
        let last = last.min(first + MOST - 1);
        self.next = Some(last + 1);
        let ticks = |at: &Instant| at.saturating_duration_since(self.start).as_micros() / 250;
        let base = waiting.iter().map(|(_, at)| ticks(at)).min()? / 256;
        let mut told = waiting.iter().peekable();
        let (mut symbols, mut steps) = (Vec::new(), Vec::new());
        let mut at = base * 256;
        for number in first..=last {
            let Some((_, at_viewer)) = told.next_if(|(came, _)| *came == number) else {
                symbols.push(0_u16);
                continue;
            };
            let ticks = ticks(at_viewer);
            let step = i128::try_from(ticks).unwrap_or(0) - i128::try_from(at).unwrap_or(0);
            at = ticks;
            if let Ok(small) = u8::try_from(step) {
                symbols.push(1);
                steps.push(small);
            } else {
                symbols.push(2);
                let step = i16::try_from(step).unwrap_or(if step < 0 { i16::MIN } else { i16::MAX });
                steps.extend_from_slice(&step.to_be_bytes());
            }
        }
        let mut packet = vec![0x8f, 205, 0, 0];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&media.to_be_bytes());
        packet.extend_from_slice(&u16::try_from(first & 0xffff).unwrap_or(0).to_be_bytes());
        packet.extend_from_slice(&u16::try_from(symbols.len()).unwrap_or(0).to_be_bytes());
        packet.extend_from_slice(&u32::try_from(base & 0xff_ffff).unwrap_or(0).to_be_bytes()[1..]);
        packet.push(self.feedbacks);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        for chunk in symbols.chunks(CHUNK) {
            let bits = (0..CHUNK).fold(0, |bits, at| bits << 2 | chunk.get(at).copied().unwrap_or(0));
            packet.extend_from_slice(&(0xc000 | bits).to_be_bytes());
        }
        packet.extend(steps);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let words = u16::try_from(packet.len() / 4 - 1).unwrap_or(u16::MAX);
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        waiting.clear();
        self.waiting = waiting;
        Some(packet)
    }
}

/// A packet's transport-wide number.
fn number(datagram: &[u8]) -> Option<u16> {
    let extension = datagram.get(12..20)?;
    let is_numbered = datagram[0] == 0x90 && extension[..2] == [0xbe, 0xde] && extension[4] == NUMBER << 4 | 1;
    is_numbered.then(|| u16::from_be_bytes([extension[5], extension[6]]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use framebridge_rtc::{Feedback, hostile};

    use super::*;

    fn packet(number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0; 12];
        packet[0] = 0x90;
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, NUMBER << 4 | 1, high, low, 0]);
        packet
    }

    #[test]
    fn what_is_told_is_what_has_come() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        assert_eq!(arrivals.tell(1, 2), None);
        for (number, ms) in [(65_534, 100), (65_535, 101), (1, 250), (0, 260), (3, 400)] {
            arrivals.note(&packet(number), start + Duration::from_millis(ms));
        }
        let told = hostile::feedback(&arrivals.tell(1, 2).unwrap(), 2);
        let [Feedback::Arrivals(told)] = &told[..] else {
            panic!("{told:?}");
        };
        let expected = [100, 101, 260, 250].map(|ms| Some((ms - 64) * 4));
        let times = [&expected[..], &[None, Some((400 - 64) * 4)]].concat();
        assert_eq!((told.first, told.base, &told.times), (65_534, 1, &times));
        arrivals.note(&packet(5), start + Duration::from_secs(1));
        let told = hostile::feedback(&arrivals.tell(1, 2).unwrap(), 2);
        let [Feedback::Arrivals(told)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!((told.first, told.times.len(), told.times[0]), (4, 2, None));
    }
}
