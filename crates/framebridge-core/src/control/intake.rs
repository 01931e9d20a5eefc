//! What a controller does, on its way from its page: in order, none twice, none too old, and not too much.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use framebridge_proto::control::Act;

/// An older act is not done: somebody who pressed a key and saw nothing has gone on to something else.
const MAX_AGE: Duration = Duration::from_millis(500);

/// How fast the quickest way that was seen is forgotten, seconds a second: clocks drift, and ways change.
const FORGET: f64 = 0.001;

/// Presses, wheels and texts at once, and in a second after that: a fast typist makes 20 presses a second, and as many ends of
/// them; a program that tests makes more.
const BURST: f64 = 400.0;
const RATE: f64 = 200.0;

/// What waits for the encoder. Moves make room for each other, so this is presses: over a second of the highest rate. Full: the
/// term ends, for nothing of it may be lost.
const MAX_WAITING: usize = 256;

/// When a message was made, by its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Counts all messages of a line, over both lanes.
    pub sequence: u32,
    /// Milliseconds of the page's clock.
    pub made_ms: u32,
}

/// What becomes of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for the encoder.
    Taken,
    /// It was taken before, or is older than what was.
    Known,
    /// It is too old: what is held has to be let go, and its page to be told.
    Late,
    /// There is too much: the term has to end.
    TooMuch,
}

/// The intake of one controller's term.
#[derive(Debug)]
pub struct Intake {
    /// The next number that the reliable lane may have, and the latest of anything that moves the pointer.
    next: u32,
    pointer: u32,
    /// When a clipboard's text has come: what was made behind it has waited for it.
    forgiven: Option<Instant>,
    /// The least difference of the two clocks that was seen, in milliseconds, and when it was adjusted.
    quickest: Option<(f64, Instant)>,
    /// When the first message came, and what has passed on the page's clock since it was made: the latest one's time, and milliseconds.
    start: Option<Instant>,
    latest_ms: u32,
    passed_ms: f64,
    allowance: f64,
    filled: Option<Instant>,
    waiting: VecDeque<Act>,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            next: 0,
            pointer: 0,
            forgiven: None,
            quickest: None,
            start: None,
            latest_ms: 0,
            passed_ms: 0.0,
            allowance: BURST,
            filled: None,
            waiting: VecDeque::new(),
        }
    }
}

impl Intake {
    /// Takes an act that has come just now.
    pub fn take(&mut self, stamp: Stamp, act: Act, now: Instant) -> Verdict {
        let age = self.age(stamp.made_ms, now);
        let is_move = matches!(act, Act::Move(_));
        let is_known = if is_move {
            stamp.sequence < self.pointer
        } else {
            stamp.sequence < self.next
        };
        if is_known {
            return Verdict::Known;
        }
        let moves_pointer = matches!(act, Act::Move(_) | Act::Button { .. } | Act::Wheel { .. });
        if moves_pointer {
            self.pointer = stamp.sequence.saturating_add(1);
        }
        if !is_move {
            self.next = stamp.sequence.saturating_add(1);
        }
        let lets_go = matches!(act, Act::Button { down: false, .. } | Act::Key { down: false, .. });
        let is_long = matches!(act, Act::Clipboard(_));
        if is_long {
            self.forgiven = Some(now);
        }
        let is_forgiven = lets_go || self.forgiven.is_some_and(|forgiven| now <= forgiven + MAX_AGE);
        if age > MAX_AGE && !is_forgiven {
            // An old move is as good as none.
            return if is_move { Verdict::Known } else { Verdict::Late };
        }
        if !is_move && !self.may(now) {
            return Verdict::TooMuch;
        }
        if is_move && let Some(last @ Act::Move(_)) = self.waiting.back_mut() {
            *last = act;
            return Verdict::Taken;
        }
        if self.waiting.len() >= MAX_WAITING {
            return if is_move { Verdict::Known } else { Verdict::TooMuch };
        }
        self.waiting.push_back(act);
        Verdict::Taken
    }

    /// The next act for the encoder.
    pub fn poll_output(&mut self) -> Option<Act> {
        self.waiting.pop_front()
    }

    /// How much later than the quickest a message has come: what the net, or the page, has kept it back.
    fn age(&mut self, made_ms: u32, now: Instant) -> Duration {
        if self.start.is_none() {
            (self.start, self.latest_ms) = (Some(now), made_ms);
        }
        // It wraps after 49 days, so what has passed is counted from message to message.
        let step = made_ms.wrapping_sub(self.latest_ms).cast_signed();
        (self.latest_ms, self.passed_ms) = (made_ms, self.passed_ms + f64::from(step));
        let ours = now.saturating_duration_since(self.start.unwrap_or(now)).as_secs_f64() * 1000.0;
        let difference = ours - self.passed_ms;
        let (quickest, since) = self.quickest.unwrap_or((difference, now));
        let forgotten = now.saturating_duration_since(since).as_secs_f64() * 1000.0 * FORGET;
        let quickest = (quickest + forgotten).min(difference);
        self.quickest = Some((quickest, now));
        Duration::from_secs_f64((difference - quickest).clamp(0.0, 3_600_000.0) / 1000.0)
    }

    fn may(&mut self, now: Instant) -> bool {
        let since = self
            .filled
            .replace(now)
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.allowance = (self.allowance + since.as_secs_f64() * RATE).min(BURST);
        let may = self.allowance >= 1.0;
        if may {
            self.allowance -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::control::Place;
    use proptest::prelude::*;

    use super::*;

    fn key(keysym: u32, down: bool) -> Act {
        Act::Key { keysym, down }
    }

    fn to(x: u16) -> Act {
        Act::Move(Place { x, y: 0 })
    }

    fn click(x: u16) -> Act {
        let at = Place { x, y: 0 };
        Act::Button {
            button: 1,
            down: true,
            at,
        }
    }

    fn drain(intake: &mut Intake) -> Vec<Act> {
        std::iter::from_fn(|| intake.poll_output()).collect()
    }

    #[test]
    fn moves_make_room_for_each_other_and_never_go_back() {
        let (mut intake, now) = (Intake::default(), Instant::now());
        let take = |intake: &mut Intake, sequence, act| {
            let made_ms = 5;
            intake.take(Stamp { sequence, made_ms }, act, now)
        };
        for (sequence, act, verdict) in [
            (1, to(1), Verdict::Taken),
            (3, to(3), Verdict::Taken),
            (2, to(2), Verdict::Known),
            (5, click(5), Verdict::Taken),
            (4, to(4), Verdict::Known),
            (5, click(5), Verdict::Known),
            (6, key(97, true), Verdict::Taken),
            (7, to(7), Verdict::Taken),
            (8, key(97, false), Verdict::Taken),
        ] {
            assert_eq!(take(&mut intake, sequence, act), verdict, "{sequence}");
        }
        assert_eq!(
            drain(&mut intake),
            [to(3), click(5), key(97, true), to(7), key(97, false)]
        );
    }

    #[test]
    fn what_is_too_old_is_not_done_but_let_go() {
        let (mut intake, start) = (Intake::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let take =
            |intake: &mut Intake, sequence, made_ms, act, now| intake.take(Stamp { sequence, made_ms }, act, now);
        // The page's clock says something else, and its messages take 40 ms; one took only 10.
        assert_eq!(take(&mut intake, 0, 9_000_000, key(97, true), at(40)), Verdict::Taken);
        assert_eq!(take(&mut intake, 1, 9_000_100, key(97, false), at(110)), Verdict::Taken);
        assert_eq!(take(&mut intake, 2, 9_000_200, key(98, true), at(700)), Verdict::Taken);
        assert_eq!(take(&mut intake, 3, 9_000_300, key(98, true), at(820)), Verdict::Late);
        assert_eq!(take(&mut intake, 4, 9_000_310, to(1), at(830)), Verdict::Known);
        assert_eq!(take(&mut intake, 5, 9_000_320, key(98, false), at(840)), Verdict::Taken);
        assert_eq!(take(&mut intake, 6, 9_000_900, key(99, true), at(950)), Verdict::Taken);
    }

    #[test]
    fn what_waited_behind_a_long_text_is_not_late() {
        let (mut intake, start) = (Intake::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let take =
            |intake: &mut Intake, sequence, made_ms, act, now| intake.take(Stamp { sequence, made_ms }, act, now);
        assert_eq!(take(&mut intake, 0, 0, key(97, true), at(40)), Verdict::Taken);
        let text = Act::Clipboard("x".repeat(60_000));
        assert_eq!(take(&mut intake, 1, 100, text, at(2000)), Verdict::Taken);
        assert_eq!(take(&mut intake, 2, 101, key(98, true), at(2010)), Verdict::Taken);
        assert_eq!(take(&mut intake, 3, 1500, key(99, true), at(3000)), Verdict::Late);
    }

    #[test]
    fn months_at_one_desktop_are_no_delay_though_the_pages_clock_wraps() {
        let (mut intake, start) = (Intake::default(), Instant::now());
        for hour in 0..60 * 24 {
            let since = Duration::from_secs(3600) * hour;
            #[expect(clippy::cast_possible_truncation, reason = "as a page's clock of 32 bits does")]
            let made_ms = since.as_millis() as u32;
            let stamp = Stamp {
                sequence: hour,
                made_ms,
            };
            assert_eq!(
                intake.take(stamp, key(97, hour.is_multiple_of(2)), start + since),
                Verdict::Taken,
                "hour {hour}"
            );
            drain(&mut intake);
        }
    }

    #[test]
    fn a_flood_of_presses_ends_the_turn_and_a_flood_of_moves_does_not() {
        let (mut intake, now) = (Intake::default(), Instant::now());
        for sequence in 0..100_000 {
            let stamp = Stamp { sequence, made_ms: 0 };
            assert_eq!(intake.take(stamp, to(1), now), Verdict::Taken);
        }
        assert_eq!(intake.waiting.len(), 1);
        let flood = (100_000..).take(1000).map(|sequence| {
            let verdict = intake.take(Stamp { sequence, made_ms: 0 }, key(97, true), now);
            (verdict, intake.waiting.len())
        });
        let flood: Vec<_> = flood.collect();
        assert!(flood.iter().all(|(_, waiting)| *waiting <= MAX_WAITING));
        assert_eq!(flood.last().unwrap().0, Verdict::TooMuch);
    }

    proptest! {
        /// Whatever the net does with the lossy lane, and however often a message comes: presses are as they were made.
        #[test]
        fn nothing_is_done_twice_and_presses_keep_their_order(
            made in prop::collection::vec(any::<bool>(), 1..80),
            net in prop::collection::vec((0_usize..80, 0_usize..3), 0..120),
        ) {
            let (mut intake, now) = (Intake::default(), Instant::now());
            let act = |sequence: usize| if made[sequence] { key(u32::try_from(sequence).unwrap(), true) } else { to(u16::try_from(sequence).unwrap()) };
            let mut done = Vec::new();
            let mut deliver = |sequence: usize| {
                let stamp = Stamp { sequence: u32::try_from(sequence).unwrap(), made_ms: 0 };
                intake.take(stamp, act(sequence), now);
                done.extend(intake.poll_output());
            };
            for sequence in 0..made.len() {
                for (other, _) in net.iter().filter(|(other, when)| *other < made.len() && !made[*other] && other + when == sequence) {
                    deliver(*other);
                }
                if made[sequence] {
                    deliver(sequence);
                    deliver(sequence);
                }
            }
            let presses: Vec<Act> = done.iter().filter(|act| matches!(act, Act::Key { .. })).cloned().collect();
            let expected: Vec<Act> = (0..made.len()).filter(|at| made[*at]).map(act).collect();
            prop_assert_eq!(presses, expected);
            let places: Vec<u16> = done.iter().filter_map(|act| match act {
                Act::Move(Place { x, .. }) => Some(*x),
                Act::Button { .. } | Act::Wheel { .. } | Act::Key { .. } | Act::Text(_) | Act::Clipboard(_) => None,
            }).collect();
            prop_assert!(places.is_sorted_by(|one, next| one < next), "{:?}", places);
        }
    }
}
