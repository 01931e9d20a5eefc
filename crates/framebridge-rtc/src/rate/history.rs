//! What was sent to a viewer and is not judged yet, by its transport-wide numbers.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::feedback::Arrivals;

/// Bursts remembered: two seconds of pictures that go out in eight steps each. Full: the oldest is forgotten unjudged.
const MOST: usize = 512;
/// Packets of a burst at most: a word has a bit for each.
const WORD: u32 = 64;
/// Bytes of IPv4 and UDP around each datagram: a link carries them, too.
const OVERHEAD: u32 = 28;

/// Packets that were sent at once.
#[derive(Debug, Clone, Copy)]
struct Burst {
    /// The first one's number.
    first: u64,
    packets: u32,
    /// Of all together, on the wire.
    bytes: u32,
    /// Microseconds from the history's start.
    sent: i64,
    /// A bit for each that the viewer has told of, ...
    told: u64,
    /// ... and for each that has come.
    arrived: u64,
}

/// Packets of one burst that the viewer tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Landed {
    /// When they were sent, microseconds of our clock.
    pub(super) sent: i64,
    /// When the first and the last of them came, microseconds of the viewer's clock, which has another zero.
    pub(super) soonest: i64,
    pub(super) latest: i64,
    pub(super) bytes: u32,
}

/// What has become of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) packets: u32,
    pub(super) lost: u32,
}

/// What is under way to a viewer, and what has come lately.
#[derive(Debug)]
pub(super) struct History {
    start: Instant,
    /// The number of the next packet.
    next: u64,
    bursts: VecDeque<Burst>,
    /// The last time base that the viewer named, units of 64 ms, without wraps.
    base: Option<i64>,
    /// When the newest was sent that the viewer has told of.
    newest: i64,
}

impl History {
    /// Nothing was sent.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            next: 0,
            bursts: VecDeque::new(),
            base: None,
            newest: i64::MIN,
        }
    }

    /// Packets numbered from `first` on have been sent, so many bytes altogether.
    pub(super) fn note(&mut self, first: u64, packets: u32, bytes: u32, now: Instant) {
        self.next = first + u64::from(packets);
        let sent = self.micros(now);
        let mut left = packets;
        while left > 0 {
            let part = left.min(WORD);
            if self.bursts.len() == MOST {
                self.bursts.pop_front();
            }
            self.bursts.push_back(Burst {
                first: self.next - u64::from(left),
                packets: part,
                bytes: bytes / packets * part + OVERHEAD * part,
                sent,
                told: 0,
                arrived: 0,
            });
            left -= part;
        }
    }

    /// The viewer tells what has come: into `landed`, by bursts, in the order in which they were sent.
    pub(super) fn land(&mut self, arrivals: &Arrivals, landed: &mut Vec<Landed>) {
        landed.clear();
        let Some(mut number) = self.unwrap(arrivals.first) else {
            return;
        };
        let base = self.rebase(arrivals.base);
        let mut at = self.bursts.partition_point(|burst| burst.first <= number).max(1) - 1;
        // The burst that the last of `landed` is of.
        let mut newest = None;
        for arrival in &arrivals.times {
            let burst = loop {
                match self.bursts.get_mut(at) {
                    Some(burst) if burst.first + u64::from(burst.packets) <= number => at += 1,
                    Some(burst) => break burst,
                    None => return,
                }
            };
            let bit = number.checked_sub(burst.first).map(|place| 1_u64 << place);
            number += 1;
            let Some(bit) = bit else { continue };
            burst.told |= bit;
            self.newest = self.newest.max(burst.sent);
            let Some(ticks) = arrival.filter(|_| burst.arrived & bit == 0) else {
                continue;
            };
            burst.arrived |= bit;
            let came = base * 64_000 + i64::from(ticks) * 250;
            let bytes = burst.bytes / burst.packets;
            match landed.last_mut().filter(|_| newest == Some(at)) {
                Some(part) => {
                    part.soonest = part.soonest.min(came);
                    part.latest = part.latest.max(came);
                    part.bytes += bytes;
                }
                None => {
                    newest = Some(at);
                    landed.push(Landed {
                        sent: burst.sent,
                        soonest: came,
                        latest: came,
                        bytes,
                    });
                }
            }
        }
    }

    /// Forgets what was sent so long before the newest that the viewer has told of, and says what has become of it, as far as it
    /// has told of that.
    pub(super) fn judge(&mut self, patience: Duration) -> Judged {
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let since = self.newest.saturating_sub(patience);
        let mut judged = Judged::default();
        while let Some(burst) = self.bursts.front().filter(|burst| burst.sent <= since) {
            judged.packets += burst.told.count_ones();
            judged.lost += (burst.told & !burst.arrived).count_ones();
            self.bursts.pop_front();
        }
        judged
    }

    /// Our clock.
    pub(super) fn micros(&self, now: Instant) -> i64 {
        i64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX)
    }

    /// The number whose low bits these are, of the last ones sent.
    fn unwrap(&self, number: u16) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "the distance is taken modulo 2^16")]
        let back = (self.next as u16).wrapping_sub(number);
        self.next.checked_sub(if back == 0 { 1 << 16 } else { u64::from(back) })
    }

    /// The time base without wraps: the one nearest to the last.
    fn rebase(&mut self, base: u32) -> i64 {
        const WRAP: i64 = 1 << 24;
        let last = *self.base.get_or_insert(i64::from(base));
        let ahead = (i64::from(base) - last).rem_euclid(WRAP);
        let base = last + if ahead < WRAP / 2 { ahead } else { ahead - WRAP };
        self.base = Some(base);
        base
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn land(history: &mut History, arrivals: &Arrivals) -> Vec<Landed> {
        let mut landed = Vec::new();
        history.land(arrivals, &mut landed);
        landed
    }

    fn arrivals(first: u16, base: u32, times: Vec<Option<i32>>) -> Arrivals {
        Arrivals { first, base, times }
    }

    #[test]
    fn what_came_is_told_by_bursts_and_what_did_not_is_lost_once_its_time_is_over() {
        let start = Instant::now();
        let mut history = History::new(start);
        let patience = Duration::from_millis(100);
        history.note(70_000, 3, 3000, start);
        history.note(70_003, 2, 1000, start + Duration::from_millis(33));
        history.note(70_005, 1, 500, start + Duration::from_millis(133));
        let told = arrivals(4464, 10, vec![Some(0), None, Some(40), Some(90)]);
        let landed = land(&mut history, &told);
        let first = Landed {
            sent: 0,
            soonest: 640_000,
            latest: 650_000,
            bytes: 2056,
        };
        let second = Landed {
            sent: 33_000,
            soonest: 662_500,
            latest: 662_500,
            bytes: 528,
        };
        assert_eq!(landed, [first, second]);
        assert_eq!(land(&mut history, &told), [], "nothing comes twice");
        assert_eq!(history.judge(patience), Judged::default());
        // What is only late is not lost.
        land(&mut history, &arrivals(4465, 11, vec![Some(0)]));
        land(&mut history, &arrivals(4468, 11, vec![None, Some(9)]));
        let judged = Judged { packets: 5, lost: 1 };
        assert_eq!(history.judge(patience), judged);
    }

    #[test]
    fn history_is_bounded_and_time_bases_wrap() {
        let now = Instant::now();
        let mut history = History::new(now);
        for number in 0..10_000 {
            history.note(number * 100, 100, 100_000, now);
        }
        assert_eq!(history.bursts.len(), MOST);
        assert_eq!(
            [0xff_fffe, 1, 0xff_ffff].map(|base| history.rebase(base)),
            [0xff_fffe, 0x100_0001, 0xff_ffff]
        );
    }

    proptest! {
        /// Whatever a viewer claims: no panic, and no more has come than was sent.
        #[test]
        fn claims_are_bounded_by_what_was_sent(
            sent in prop::collection::vec((1_u32..200, 0_u32..200_000), 0..40),
            told in prop::collection::vec((any::<u16>(), any::<u32>(), prop::collection::vec(any::<Option<i32>>(), 0..300)), 0..10),
        ) {
            let now = Instant::now();
            let (mut history, mut next, mut total) = (History::new(now), 65_000, 0);
            for (packets, bytes) in sent {
                history.note(next, packets, bytes, now);
                next += u64::from(packets);
                total += u64::from(bytes) + 28 * u64::from(packets);
            }
            let mut landed = 0;
            for (first, base, times) in told {
                let parts = land(&mut history, &arrivals(first, base & 0xff_ffff, times));
                landed += parts.iter().map(|part| u64::from(part.bytes)).sum::<u64>();
            }
            prop_assert!(landed <= total);
        }
    }
}
