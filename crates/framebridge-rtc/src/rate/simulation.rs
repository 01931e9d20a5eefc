//! Links that are made up, with a clock of their own: what the estimator makes of each.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

mod rungs;

use super::RateControl;
use crate::feedback::Arrivals;

const PACKET: u64 = 1_172;
const FRAME_MS: u64 = 33;
const STREAM: u64 = 2_500_000;

/// A link, as it is at one time.
#[derive(Debug, Clone, Copy)]
struct Link {
    bits_per_second: u64,
    delay_ms: u64,
    /// What would wait longer is dropped.
    queue_ms: u64,
    /// Bytes that get through at once after a pause: a token bucket.
    burst: u64,
    /// Of 1000 packets.
    lost: u64,
    /// Of 1000 packets so many come so much later.
    late: (u64, u64),
}

const GOOD: Link = Link {
    bits_per_second: 20_000_000,
    delay_ms: 25,
    queue_ms: 1000,
    burst: 0,
    lost: 0,
    late: (0, 0),
};

/// A server, a link and a viewer.
struct World {
    now_us: u64,
    start: Instant,
    control: RateControl,
    /// What the stream has, bits per second.
    rate: u64,
    waiting: VecDeque<u64>,
    frame_number: u64,
    number: u64,
    free_us: u64,
    /// By number: when it comes.
    under_way: BTreeMap<u64, u64>,
    /// The viewer has told of all below it, but for late ones.
    told: u64,
    words: VecDeque<(u64, Arrivals)>,
    seed: u64,
    queues_ms: Vec<u64>,
    padding: u64,
    sent: u64,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            now_us: 0,
            start,
            control: RateControl::new(start),
            rate: STREAM,
            waiting: VecDeque::new(),
            frame_number: 0,
            number: 65_000,
            free_us: 0,
            under_way: BTreeMap::new(),
            told: 65_000,
            words: VecDeque::new(),
            seed: 7,
            queues_ms: Vec::new(),
            padding: 0,
            sent: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// A millisecond goes by.
    fn step(&mut self, link: Link) {
        self.now_us += 1000;
        let ms = self.now_us / 1000;
        let is_frame = ms.is_multiple_of(FRAME_MS);
        if is_frame {
            let mean = self.rate * FRAME_MS / 8000;
            let size = mean * (80 + self.random(41)) / 100 * if self.frame_number == 0 { 5 } else { 1 };
            self.frame_number += 1;
            self.waiting.extend((0..size / PACKET).map(|_| PACKET));
            self.waiting.push_back(size % PACKET);
        }
        if is_frame || ms.is_multiple_of(4) {
            self.send(link);
        }
        if ms.is_multiple_of(50) {
            self.tell(link.delay_ms);
        }
        while self.words.front().is_some_and(|(at, _)| *at <= self.now_us) {
            let (_, arrivals) = self.words.pop_front().unwrap();
            let now = self.now();
            self.control.on_round_trip(Duration::from_millis(2 * link.delay_ms));
            self.control.on_arrivals(&arrivals, now);
        }
    }

    fn send(&mut self, link: Link) {
        let now = self.now();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let allowed = self.control.allowance(self.rate as f32, now).unwrap_or(64);
        let first = self.number;
        let mut bytes = 0;
        for _ in 0..allowed.min(64) {
            let Some(size) = self.waiting.pop_front() else { break };
            bytes += size + 48;
            self.put(size + 76, link);
        }
        let padding = self.control.padding(now).div_ceil(PACKET);
        for _ in 0..padding {
            bytes += PACKET + 48;
            self.padding += PACKET;
            self.put(PACKET + 76, link);
        }
        self.sent += bytes;
        self.control.on_sent(first, self.number - first, bytes, now);
    }

    fn put(&mut self, size: u64, link: Link) {
        let number = self.number;
        self.number += 1;
        let burst_us = link.burst * 8_000_000 / link.bits_per_second;
        // When it would be free if nothing got through at once.
        let free_us = self.free_us.max(self.now_us);
        let waits_us = free_us.saturating_sub(burst_us + self.now_us);
        self.queues_ms.push(waits_us / 1000);
        if self.random(1000) < link.lost || waits_us / 1000 > link.queue_ms {
            return;
        }
        self.free_us = free_us + size * 8_000_000 / link.bits_per_second;
        let leaves_us = self.free_us.saturating_sub(burst_us).max(self.now_us);
        let late = if self.random(1000) < link.late.0 {
            link.late.1
        } else {
            0
        };
        self.under_way.insert(number, leaves_us + (link.delay_ms + late) * 1000);
    }

    /// The viewer tells what has come by now.
    fn tell(&mut self, delay_ms: u64) {
        let come: Vec<(u64, u64)> = self
            .under_way
            .iter()
            .filter(|(_, at)| **at <= self.now_us)
            .map(|(number, at)| (*number, *at))
            .collect();
        let (Some((first, _)), Some((last, _))) = (come.first(), come.last()) else {
            return;
        };
        let first = self.told.min(*first);
        let base = self.now_us.saturating_sub(5_000_000) / 64_000;
        let mut times = vec![None; usize::try_from(last - first + 1).unwrap()];
        for (number, at) in &come {
            let ticks = (i64::try_from(*at).unwrap() - i64::try_from(base * 64_000).unwrap()) / 250;
            times[usize::try_from(number - first).unwrap()] = Some(i32::try_from(ticks).unwrap());
            self.under_way.remove(number);
        }
        self.told = last + 1;
        let arrivals = Arrivals {
            first: u16::try_from(first & 0xffff).unwrap(),
            base: u32::try_from(base).unwrap(),
            times,
        };
        self.words.push_back((self.now_us + delay_ms * 1000, arrivals));
    }

    /// So many seconds go by.
    fn run(&mut self, seconds: u64, link: Link, mut look: impl FnMut(&mut Self)) {
        for _ in 0..seconds * 1000 {
            self.step(link);
            look(self);
        }
    }

    /// Where a queue was nineteen times of twenty, since the last call.
    fn queue_p95_ms(&mut self) -> u64 {
        let mut queues = std::mem::take(&mut self.queues_ms);
        queues.sort_unstable();
        queues.get(queues.len() * 95 / 100).copied().unwrap_or(0)
    }
}

/// A server that moves its viewer between two rates, as the estimate allows.
fn adapt(world: &mut World) {
    const LOW: u64 = 600_000;
    let Some(estimate) = world.control.estimate() else {
        return;
    };
    world.control.wants((world.rate == LOW).then_some(STREAM * 11 / 10));
    if world.rate == STREAM && estimate < STREAM * 9 / 10 && world.control.is_overused() {
        world.rate = LOW;
        world.waiting.clear();
    } else if world.rate == LOW && estimate >= STREAM * 11 / 10 {
        world.rate = STREAM;
    }
}

#[test]
fn estimate_is_within_a_quarter_of_the_link_after_five_seconds() {
    for (megabits, queue_ms) in [(1, 300), (1, 2000), (2, 300), (2, 2000), (4, 1000)] {
        let mut world = World::new();
        let link = Link {
            bits_per_second: megabits * 1_000_000,
            queue_ms,
            ..GOOD
        };
        world.run(5, link, |_| {});
        world.run(20, link, |world| {
            let estimate = world.control.estimate().unwrap();
            let (least, most) = (megabits * 750_000, megabits * 1_250_000);
            assert!(
                (least..=most).contains(&estimate),
                "{megabits} Mb/s, after {} ms: {estimate}",
                world.now_us / 1000
            );
        });
    }
}

#[test]
fn link_that_becomes_slow_is_found_out_within_a_second() {
    for megabits in [1, 2] {
        let mut world = World::new();
        world.run(10, GOOD, |_| {});
        assert!(world.control.estimate().unwrap() > STREAM);
        let link = Link {
            bits_per_second: megabits * 1_000_000,
            queue_ms: 5000,
            ..GOOD
        };
        let (from, mut found) = (world.now_us, None);
        world.run(3, link, |world| {
            if world.control.is_overused() && world.control.estimate().unwrap() < STREAM {
                found.get_or_insert(world.now_us - from);
            }
        });
        assert!(
            found.is_some_and(|after| after < 1_000_000),
            "{megabits} Mb/s: {found:?}"
        );
    }
}

#[test]
fn reordering_jitter_and_some_loss_are_no_congestion() {
    let reorders = Link {
        late: (250, 10),
        ..GOOD
    };
    let jitters = Link {
        late: (100, 40),
        ..GOOD
    };
    let loses = Link { lost: 30, ..GOOD };
    let loses_more = Link { lost: 80, ..GOOD };
    for link in [reorders, jitters, loses, loses_more] {
        for rate in [300_000, STREAM] {
            let mut world = World::new();
            world.rate = rate;
            world.run(5, link, |_| {});
            world.run(60, link, |world| {
                assert!(!world.control.is_overused(), "{link:?} {}", world.now_us);
                assert!(world.control.estimate().unwrap() > world.rate, "{link:?}");
            });
            let (told, lost) = (
                world.control.loss() * 1000.0,
                f32::from(u16::try_from(link.lost).unwrap()),
            );
            assert!((told - lost).abs() < 30.0, "{link:?}: {told}");
        }
    }
}

#[test]
fn server_that_heeds_the_estimate_keeps_the_queue_short_and_comes_back_with_the_link() {
    let slow = Link {
        bits_per_second: 1_000_000,
        queue_ms: 2000,
        ..GOOD
    };
    let mut world = World::new();
    world.run(5, GOOD, adapt);
    world.run(5, slow, adapt);
    world.queue_p95_ms();
    assert_eq!(world.rate, 600_000);
    let (sent, padding) = (world.sent, world.padding);
    world.run(120, slow, adapt);
    let p95 = world.queue_p95_ms();
    assert!(p95 <= 150, "{p95} ms");
    let share = (world.padding - padding) * 100 / (world.sent - sent);
    assert!(share <= 5, "probes are {share} % of what is sent");
    assert_eq!(world.rate, 600_000);
    let from = world.now_us;
    let mut back = None;
    world.run(15, GOOD, |world| {
        adapt(world);
        if world.rate == STREAM {
            back.get_or_insert(world.now_us - from);
        }
    });
    assert!(back.is_some_and(|after| after < 12_000_000), "{back:?}");
}

#[test]
fn probes_show_within_seconds_what_a_good_link_carries() {
    let mut world = World::new();
    world.rate = 600_000;
    world.control.wants(Some(3_000_000));
    let mut found = None;
    world.run(10, GOOD, |world| {
        if world.control.estimate().is_some_and(|estimate| estimate > 2_750_000) {
            found.get_or_insert(world.now_us);
        }
    });
    assert!(found.is_some_and(|after| after < 8_000_000), "{found:?}");
    let padding = world.padding;
    world.run(10, GOOD, |_| {});
    assert!(world.padding - padding < 300_000, "what is known is not probed");
}

#[test]
fn stream_that_nearly_pauses_keeps_its_estimate() {
    let mut world = World::new();
    world.run(10, GOOD, |_| {});
    world.rate = 20_000;
    let link = Link {
        late: (100, 30),
        ..GOOD
    };
    world.run(60, link, |_| {});
    assert!(world.control.estimate().unwrap() > STREAM);
}

#[test]
fn picture_that_begins_to_move_has_an_estimate_within_half_a_second() {
    let mut world = World::new();
    world.rate = 20_000;
    world.run(10, GOOD, |_| {});
    world.rate = STREAM;
    world.run(1, GOOD, |_| {});
    assert!(world.control.estimate().unwrap() > STREAM);
}
