//! Counts what came of one media stream, for reception reports (RFC 3550, section 6.4.1 and appendix A).

use std::time::Instant;

/// What a reception report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Of 256 packets since the last report, those that did not come.
    pub fraction_lost: u8,
    /// All that did not come, within 24 bits.
    pub total_lost: u32,
    /// The highest sequence number, and above it how often that has wrapped.
    pub highest: u32,
    /// How unevenly packets come, in 1/90,000 s.
    pub jitter: u32,
    /// The middle of the sender's last report's time; 0: there was none.
    pub last_report: u32,
    /// Since that came, in 1/65,536 s.
    pub delay: u32,
}

/// The counts.
#[derive(Debug)]
pub struct Tally {
    started: Instant,
    first: Option<u64>,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    before: (u64, u64),
    transit: Option<i64>,
    /// Sixteen times the jitter.
    jitter: u64,
    sender: Option<(u32, Instant)>,
}

/// The most that 24 bits with a sign hold.
const MOST_LOST: u64 = 0x7f_ffff;

impl Tally {
    /// Nothing has come yet.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            first: None,
            highest: 0,
            received: 0,
            before: (0, 0),
            transit: None,
            jitter: 0,
            sender: None,
        }
    }

    /// A packet has come.
    pub fn packet(&mut self, index: u64, timestamp: u32, now: Instant) {
        let first = *self.first.get_or_insert(index);
        if index < first {
            return;
        }
        self.highest = self.highest.max(index);
        self.received += 1;
        let arrival = now.saturating_duration_since(self.started).as_micros() * 9 / 100;
        let arrival = i64::try_from(arrival).unwrap_or(0);
        let transit = arrival - i64::from(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let difference = (transit - last).unsigned_abs();
            // A timestamp that has wrapped or jumped says nothing about the way.
            if difference < 1 << 24 {
                self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
            }
        }
    }

    /// A report of the sender has come, with the middle 32 bits of its time.
    pub fn sender_report(&mut self, middle: u32, now: Instant) {
        self.sender = Some((middle, now));
    }

    /// What to report; `None`: nothing has come yet.
    pub fn block(&mut self, now: Instant) -> Option<Block> {
        let expected = self.highest + 1 - self.first?;
        let (since, came) = (expected - self.before.0, self.received - self.before.1);
        self.before = (expected, self.received);
        let lost = since.saturating_sub(came);
        let fraction = (lost * 256).checked_div(since).unwrap_or(0).min(255);
        let (last_report, delay) = self.sender.map_or((0, 0), |(middle, at)| {
            let ticks = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (middle, u32::try_from(ticks).unwrap_or(u32::MAX))
        });
        #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
        let highest = self.highest as u32;
        Some(Block {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            total_lost: u32::try_from(expected.saturating_sub(self.received).min(MOST_LOST)).unwrap_or(0),
            highest,
            jitter: u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX),
            last_report,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_is_of_the_time_since_the_last_report_and_in_all() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        assert_eq!(tally.block(start), None);
        for index in (0_u32..100).filter(|index| index % 4 != 1) {
            tally.packet(
                70_000 + u64::from(index),
                index * 3000,
                start + Duration::from_micros(33_333) * index,
            );
        }
        tally.sender_report(7, start);
        let block = tally.block(start + Duration::from_secs(1)).expect("packets came");
        assert_eq!((block.total_lost, block.fraction_lost), (25, 64));
        assert_eq!((block.highest, block.last_report, block.delay), (70_099, 7, 65_536));
        assert!(block.jitter < 20, "{block:?}");
        let again = tally.block(start).expect("as before");
        assert_eq!((again.fraction_lost, again.total_lost), (0, 25));
    }
}
