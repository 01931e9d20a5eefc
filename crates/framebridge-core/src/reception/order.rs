//! Packets in order: what comes too early waits, what is missing is asked for again, and given up in the end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// A packet that is overtaken by another is not lost yet: radio links and several paths mix them up by some milliseconds.
const MIXED_UP: Duration = Duration::from_millis(10);

/// How long after a request the next one follows: longer than most round trips, so that few packets come twice.
const ASK_AGAIN: Duration = Duration::from_millis(60);

/// What has not come by then is given up: viewers would see the wait, and a keyframe costs no more.
const PATIENCE: Duration = Duration::from_millis(400);

/// Packets that wait for earlier ones: a second of 12 Mb/s. More: the earlier ones are given up at once.
const MOST_WAITING: usize = 1024;

/// Packets that are missing at once. More: they are given up, for to send them all again would take as long as a keyframe, and a
/// request has to fit into a datagram.
const MOST_MISSING: usize = 512;

/// A jump further ahead than this is another beginning, and no loss.
const JUMP: u64 = 2048;

/// A packet of the media stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its sequence number, and above its 16 bits how often that has wrapped.
    pub index: u64,
    /// RTP's timestamp.
    pub timestamp: u32,
    /// The last of its frame.
    pub marker: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The next packet.
    Packet(Packet),
    /// Packets before the next one will not come any more.
    Gap,
    /// Ask for these again, by their sequence numbers.
    Missing(Vec<u16>),
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    ask: Instant,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Order {
    /// The next to go on.
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    missing: BTreeMap<u64, Missing>,
    steps: VecDeque<Step>,
}

impl Order {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether something has.
    pub fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// A packet has come; one that is late or came before is left out.
    pub fn packet(&mut self, packet: Packet, now: Instant) {
        let index = packet.index;
        let mut next = *self.next.get_or_insert(index);
        if index < next {
            return;
        }
        if index - next > JUMP {
            self.waiting.clear();
            self.missing.clear();
            self.steps.push_back(Step::Gap);
            next = index;
            self.next = Some(next);
        }
        self.missing.remove(&index);
        let known = self
            .waiting
            .last_key_value()
            .map_or(next, |(last, _)| last + 1)
            .max(next);
        for number in known..index {
            self.missing.insert(
                number,
                Missing {
                    since: now,
                    ask: now + MIXED_UP,
                },
            );
        }
        self.waiting.entry(index).or_insert(packet);
        self.go_on();
        while self.waiting.len() > MOST_WAITING || self.missing.len() > MOST_MISSING {
            self.skip();
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        while self
            .missing
            .first_key_value()
            .is_some_and(|(_, missing)| now >= missing.since + PATIENCE)
        {
            self.skip();
        }
        let mut due = Vec::new();
        for (index, missing) in &mut self.missing {
            if missing.ask <= now {
                missing.ask = now + ASK_AGAIN;
                #[expect(clippy::cast_possible_truncation, reason = "the sequence number is the low 16 bits")]
                due.push(*index as u16);
            }
        }
        if !due.is_empty() {
            self.steps.push_back(Step::Missing(due));
        }
    }

    /// What comes out next.
    pub fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// When [`timeout`](Self::timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ask = self.missing.values().map(|missing| missing.ask).min();
        let give_up = self
            .missing
            .first_key_value()
            .map(|(_, missing)| missing.since + PATIENCE);
        ask.into_iter().chain(give_up).min()
    }

    /// Lets go what is next.
    fn go_on(&mut self) {
        while let Some(next) = self.next
            && let Some(packet) = self.waiting.remove(&next)
        {
            self.next = Some(next + 1);
            self.steps.push_back(Step::Packet(packet));
        }
    }

    /// Gives up what is missing before the first that waits.
    fn skip(&mut self) {
        let Some((first, _)) = self.waiting.first_key_value() else {
            self.missing.clear();
            return;
        };
        let first = *first;
        self.missing = self.missing.split_off(&first);
        self.next = Some(first);
        self.steps.push_back(Step::Gap);
        self.go_on();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(index: u64) -> Packet {
        Packet {
            index,
            timestamp: 0,
            marker: false,
            payload: Vec::new(),
        }
    }

    fn out(order: &mut Order) -> Vec<u64> {
        std::iter::from_fn(|| order.poll())
            .filter_map(|step| match step {
                Step::Packet(packet) => Some(packet.index),
                Step::Gap => Some(u64::MAX),
                Step::Missing(_) => None,
            })
            .collect()
    }

    #[test]
    fn mixed_up_packets_cost_no_request_and_late_ones_are_left_out() {
        let (mut order, now) = (Order::new(), Instant::now());
        for index in [10, 12, 11, 11, 9, 13] {
            order.packet(packet(index), now);
        }
        assert_eq!(order.poll_timeout(), None);
        assert_eq!(out(&mut order), [10, 11, 12, 13]);
    }

    #[test]
    fn missing_packet_is_asked_for_again_and_again_and_then_given_up() {
        let (mut order, start) = (Order::new(), Instant::now());
        order.packet(packet(1), start);
        order.packet(packet(3), start);
        let mut asked = 0;
        while let Some(due) = order.poll_timeout() {
            order.timeout(due);
            while let Some(step) = order.poll() {
                asked += usize::from(step == Step::Missing(vec![2]));
            }
            assert!(due <= start + PATIENCE);
        }
        assert!((5..10).contains(&asked), "{asked}");
        order.packet(packet(4), start);
        assert_eq!(out(&mut order), [4], "it went on with 3");
    }

    #[test]
    fn jump_is_another_beginning() {
        let (mut order, now) = (Order::new(), Instant::now());
        order.packet(packet(1), now);
        order.packet(packet(1_000_000), now);
        assert_eq!(out(&mut order), [1, u64::MAX, 1_000_000]);
        assert_eq!(order.poll_timeout(), None);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_in_order_each_once_and_bounded(
            numbers in prop::collection::vec((0_u64..5000, 0_u64..30), 1..400)
        ) {
            let mut order = Order::new();
            let mut now = Instant::now();
            let mut last = None;
            for (number, wait) in numbers {
                now += Duration::from_millis(wait);
                order.packet(packet(number), now);
                order.timeout(now);
                for index in out(&mut order).into_iter().filter(|index| *index != u64::MAX) {
                    prop_assert!(last.is_none_or(|last| index > last));
                    last = Some(index);
                }
                prop_assert!(order.waiting.len() <= MOST_WAITING && order.missing.len() <= MOST_MISSING);
            }
        }
    }
}
