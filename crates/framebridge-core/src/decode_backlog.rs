//! Decides which pictures to leave out when a live source gives them faster than this machine decodes.
//!
//! Whoever decodes too slowly reads too slowly, and what is not read waits in the sockets, ever more of it. A reader
//! that had to wait for a packet had nothing left over; one that has not waited since is behind by how much less the
//! timestamps have gone on than our clock.
//!
//! | behind by | left out |
//! | --- | --- |
//! | nothing, for some seconds | nothing |
//! | `SPARE` | pictures that no other one needs |
//! | `SKIP` | everything up to a keyframe that is no further behind than this |

use std::time::{Duration, Instant};

/// From here on pictures that no other one needs are left out. Above what a busy moment costs.
const SPARE: Duration = Duration::from_millis(250);

/// From here on everything is left out up to a keyframe. With what the network and the encoder add it stays below a
/// second.
const SKIP: Duration = Duration::from_millis(600);

/// Time without being behind after which all is decoded again.
const RECOVERY: Duration = Duration::from_secs(3);

/// The window over which rates are counted.
const COUNTED: Duration = Duration::from_secs(2);

/// A timestamp this much further than the last one is a jump, from which a backlog can't be told.
const JUMP: Duration = Duration::from_secs(10);

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Decode it.
    All,
    /// Decode it if another picture needs it.
    Needed,
    /// Leave it out.
    Nothing,
}

/// Pictures a second that are decoded, and that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeRate {
    /// Pictures a second that are decoded.
    pub decoded: u32,
    /// Pictures a second that come.
    pub coming: u32,
}

/// The machine: one [`packet`](Self::packet) for each that is read, one [`decoded`](Self::decoded) for each picture.
#[derive(Debug)]
pub struct DecodeBacklog {
    /// When nothing was left over last, and the source's time then.
    caught_up: Option<(Instant, Duration)>,
    /// When it was behind last; `None` while all is decoded.
    behind_at: Option<Instant>,
    skipping: bool,
    last: Duration,
    counted_from: Option<(Instant, Duration)>,
    packets: u32,
    pictures: u32,
    rate: Option<DecodeRate>,
}

impl DecodeBacklog {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self {
            caught_up: None,
            behind_at: None,
            skipping: false,
            last: Duration::ZERO,
            counted_from: None,
            packets: 0,
            pictures: 0,
            rate: None,
        }
    }

    /// Takes in a packet of one picture with this time in the source. `waited`: since the packet before it, there was a
    /// moment in which nothing was to be done.
    pub fn packet(&mut self, timestamp: Duration, keyframe: bool, waited: bool, now: Instant) -> Decode {
        let jumped = timestamp.abs_diff(self.last) > JUMP;
        self.last = timestamp;
        self.packets += 1;
        let caught_up = match self.caught_up {
            Some(caught_up) if !waited && !jumped => caught_up,
            Some(_) | None => (now, timestamp),
        };
        self.caught_up = Some(caught_up);
        let passed = now.saturating_duration_since(caught_up.0);
        let behind = passed.saturating_sub(timestamp.saturating_sub(caught_up.1));
        if behind >= SPARE {
            self.behind_at = Some(now);
        }
        let recovered = |at: Instant| now.saturating_duration_since(at) >= RECOVERY;
        if self.behind_at.is_some_and(recovered) {
            self.behind_at = None;
        }
        self.count(timestamp, now);
        // A keyframe that is late itself would only be the begin of the next skip.
        self.skipping = behind >= SKIP || (self.skipping && !keyframe);
        match (self.skipping, self.behind_at) {
            (true, _) => Decode::Nothing,
            (false, Some(_)) => Decode::Needed,
            (false, None) => Decode::All,
        }
    }

    /// Takes in that a picture was decoded.
    pub fn decoded(&mut self) {
        self.pictures += 1;
    }

    /// What this machine decodes of what comes, while it is too slow.
    pub fn rate(&self) -> Option<DecodeRate> {
        self.rate
            .filter(|rate| self.behind_at.is_some() && rate.decoded < rate.coming)
    }

    fn count(&mut self, timestamp: Duration, now: Instant) {
        let from = *self.counted_from.get_or_insert((now, timestamp));
        let passed = now.saturating_duration_since(from.0);
        if passed < COUNTED {
            return;
        }
        let a_second = |count: u32, time: Duration| -> u32 {
            let nanos = time.as_nanos().max(1);
            let rounded = (u128::from(count) * 1_000_000_000 + nanos / 2) / nanos;
            u32::try_from(rounded).unwrap_or(u32::MAX)
        };
        let in_source = timestamp.saturating_sub(from.1);
        self.rate = Some(DecodeRate {
            decoded: a_second(self.pictures, passed),
            coming: a_second(self.packets, in_source),
        });
        (self.counted_from, self.packets, self.pictures) = (Some((now, timestamp)), 0, 0);
    }
}

impl Default for DecodeBacklog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_micros(33_333);

    /// A source of 30 pictures a second with a keyframe each `group`, on a machine that takes `cost` for a picture and
    /// `spared` of them are needed by no other. How late the latest shown picture was, how many were shown, and the rate told.
    fn watch(seconds: u32, cost: Duration, group: u32, spared: fn(u32) -> bool) -> (Duration, u32, Option<DecodeRate>) {
        let start = Instant::now();
        let mut backlog = DecodeBacklog::new();
        let (mut now, mut latest, mut shown) = (start, Duration::ZERO, 0);
        for number in 0..seconds * 30 {
            let taken = start + INTERVAL * number;
            let waited = now < taken;
            now = now.max(taken);
            let decode = backlog.packet(INTERVAL * number, number % group == 0, waited, now);
            let decodes = match decode {
                Decode::All => true,
                Decode::Needed => !spared(number),
                Decode::Nothing => false,
            };
            if decodes {
                now += cost;
                backlog.decoded();
                shown += 1;
                latest = latest.max(now - taken);
            }
        }
        (latest, shown, backlog.rate())
    }

    #[test]
    fn a_machine_that_keeps_up_leaves_out_nothing() {
        let (latest, shown, rate) = watch(60, INTERVAL / 2, 60, |_| true);
        assert_eq!((shown, rate), (1800, None));
        assert!(latest < INTERVAL);
    }

    #[test]
    fn what_no_other_picture_needs_is_left_out_first() {
        let (latest, shown, _) = watch(60, Duration::from_millis(50), 60, |number| number % 2 == 1);
        assert!(latest < Duration::from_millis(700), "{latest:?}");
        assert!((900..1300).contains(&shown), "{shown}");
    }

    #[test]
    fn where_all_are_needed_it_skips_to_keyframes_and_stays_near() {
        for cost_ms in [40, 60, 100, 300] {
            let (latest, shown, rate) = watch(120, Duration::from_millis(cost_ms), 60, |_| false);
            assert!(
                latest < Duration::from_secs(1),
                "{cost_ms} ms a picture: {latest:?} late"
            );
            assert!(shown >= 60, "{cost_ms} ms a picture: {shown} shown");
            let rate = rate.unwrap();
            assert!((29..=31).contains(&rate.coming) && rate.decoded < 28, "{rate:?}");
        }
    }

    #[test]
    fn a_jump_of_the_sources_clock_is_not_being_behind() {
        let now = Instant::now();
        let mut backlog = DecodeBacklog::new();
        for (number, base) in (0..300_u32).map(|number| (number, if number < 100 { 1000 } else { 5 })) {
            let at = now + INTERVAL * number;
            let timestamp = Duration::from_secs(base) + INTERVAL * number;
            assert_eq!(
                backlog.packet(timestamp, number == 0, false, at),
                Decode::All,
                "{number}"
            );
        }
    }

    #[test]
    fn all_is_decoded_again_when_it_keeps_up() {
        let now = Instant::now();
        let mut backlog = DecodeBacklog::new();
        backlog.packet(Duration::ZERO, true, true, now);
        assert_eq!(
            backlog.packet(INTERVAL, false, false, now + SPARE + INTERVAL),
            Decode::Needed
        );
        let later = now + RECOVERY + SPARE + INTERVAL;
        assert_eq!(backlog.packet(RECOVERY, false, true, later), Decode::All);
    }
}
