use proptest::prelude::*;

use super::*;

const RATES: [Option<u32>; Rung::COUNT] = [Some(2_500_000), Some(625_000), Some(208_333)];
const TICK: Duration = Duration::from_millis(100);

/// A viewer on a link whose queue is 200 ms long, with an estimator that sees what is delivered, half as much again without
/// trouble, and what a probe would show.
struct Seat {
    choice: RungChoice,
    facts: Facts,
    now: Instant,
    start: Instant,
    /// Bits that wait in the link.
    queue: f64,
    /// A keyframe of the full rung comes by itself once in so long.
    group: Duration,
    has_estimate: bool,
    moves: Vec<(u64, Rung)>,
}

impl Seat {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            choice: RungChoice::new(Rung::Full),
            facts: Facts {
                rates: RATES,
                in_use: Rung::Full,
                best: Rung::Full,
                estimate: None,
                sent: 0,
                is_overused: false,
                loss: 0.0,
            },
            now,
            start: now,
            queue: 0.0,
            group: Duration::from_secs(10),
            has_estimate: true,
            moves: Vec::new(),
        }
    }

    /// So many seconds over a link of `link` bits per second.
    fn pass(&mut self, seconds: u32, link: f64) -> &[(u64, Rung)] {
        let from = self.moves.len();
        for _ in 0..seconds * 10 {
            self.now += TICK;
            self.step(link);
        }
        &self.moves[from..]
    }

    fn step(&mut self, link: f64) {
        let facts = &mut self.facts;
        let tick = TICK.as_secs_f64();
        facts.sent = facts.rates[facts.in_use.index()].unwrap_or(2_500_000);
        let sent = f64::from(facts.sent) * tick;
        let before = self.queue;
        let waiting = (before + sent - link * tick).max(0.0);
        self.queue = waiting.min(link * 0.2);
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let lost = ((waiting - self.queue) / sent) as f32;
        facts.loss = lost;
        facts.is_overused = self.queue > before + 1.0;
        let delivered = if waiting > 0.0 { link } else { sent / tick };
        let wanted = self.choice.wants(facts).unwrap_or(0);
        let probed = link.min(as_f64(wanted) * 1.05);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let estimate = if waiting > 0.0 {
            delivered * 0.95
        } else {
            (delivered * 1.5).min(link).max(probed)
        } as u64;
        facts.estimate = self.has_estimate.then_some(estimate);
        let aim = self.choice.observe(facts, self.now);
        if aim == facts.in_use {
            return;
        }
        let millis = (self.now - self.start).as_millis();
        let comes_by_itself = millis.is_multiple_of(self.group.as_millis());
        // Down a keyframe is asked for and comes within the next tick; up one is waited for.
        if aim > facts.in_use || comes_by_itself {
            facts.in_use = aim;
            self.moves.push((u64::try_from(millis).unwrap(), aim));
        }
    }
}

#[test]
fn link_that_carries_everything_sees_no_move() {
    let mut seat = Seat::new();
    assert_eq!(seat.pass(600, 3_000_000.0), []);
}

#[test]
fn slow_link_has_the_rung_that_fits_within_seconds_and_keeps_it() {
    for (link, fits) in [
        (2_000_000.0, Rung::Half),
        (1_000_000.0, Rung::Half),
        (500_000.0, Rung::Quarter),
        (100_000.0, Rung::Quarter),
    ] {
        let mut seat = Seat::new();
        let moves = seat.pass(300, link).to_vec();
        assert!(
            moves.len() <= 2 && moves.iter().all(|(at, _)| *at <= 5000),
            "{link}: {moves:?}"
        );
        assert_eq!(seat.facts.in_use, fits, "{link}");
    }
}

#[test]
fn link_that_is_good_again_has_the_full_rung_within_15_s() {
    for offset in 0..10 {
        let mut seat = Seat::new();
        seat.pass(60 + offset, 1_000_000.0);
        let good = u64::try_from((seat.now - seat.start).as_millis()).unwrap();
        let moves = seat.pass(30, 10_000_000.0);
        assert!(
            matches!(moves, [(at, Rung::Full)] if at - good <= 15_000),
            "{good}: {moves:?}"
        );
    }
}

#[test]
fn steps_up_that_do_not_last_become_rare() {
    let mut seat = Seat::new();
    let mut ups = 0;
    // Good enough for long enough to be tempted, and bad again as soon as it was.
    for _ in 0..600 {
        let link = if seat.facts.in_use == Rung::Full {
            1_000_000.0
        } else {
            10_000_000.0
        };
        ups += seat
            .pass(1, link)
            .iter()
            .filter(|(_, rung)| *rung == Rung::Full)
            .count();
    }
    assert!((5..=16).contains(&ups), "{ups}");
}

#[test]
fn without_an_estimate_heavy_loss_leads_down_and_a_long_calm_up() {
    let mut seat = Seat::new();
    seat.has_estimate = false;
    let down = seat.pass(10, 1_000_000.0).to_vec();
    assert!(matches!(down[..], [(at, Rung::Half)] if at < 2000), "{down:?}");
    let ups = seat
        .pass(120, 1_000_000.0)
        .iter()
        .filter(|(_, rung)| *rung == Rung::Full)
        .count();
    assert!((1..=4).contains(&ups), "{ups} guesses in two minutes");
    seat.pass(300, 10_000_000.0);
    assert_eq!(seat.facts.in_use, Rung::Full);
}

#[test]
fn rung_that_is_not_to_be_had_is_left_and_not_aimed_at() {
    let mut seat = Seat::new();
    seat.pass(30, 1_000_000.0);
    assert_eq!(seat.facts.in_use, Rung::Half);
    seat.facts.rates[Rung::Half.index()] = None;
    seat.pass(1, 1_000_000.0);
    assert_eq!(
        seat.facts.in_use,
        Rung::Quarter,
        "lower, for the link has not become better"
    );
    seat.facts.rates[Rung::Quarter.index()] = None;
    seat.pass(11, 1_000_000.0);
    assert_eq!(seat.facts.in_use, Rung::Full);
    assert_eq!(
        seat.pass(20, 1_000_000.0),
        [],
        "and is held there as if there were no rungs"
    );
}

#[test]
fn who_asked_for_less_is_given_no_more() {
    let mut seat = Seat::new();
    (seat.choice, seat.facts.best, seat.facts.in_use) = (RungChoice::new(Rung::Half), Rung::Half, Rung::Half);
    assert_eq!(seat.pass(60, 10_000_000.0), []);
    assert_eq!(seat.choice.wants(&seat.facts), None);
    seat.facts.best = Rung::Full;
    seat.choice.wish();
    let aim = seat.choice.observe(&seat.facts.clone(), seat.now);
    assert_eq!(aim, Rung::Full, "what is wished for is tried at once");
}

proptest! {
    /// Whatever the link does: nobody is aimed at what is not there, and what is chosen changes a few times a minute at most.
    #[test]
    fn any_link_is_followed_calmly(links in prop::collection::vec((1_u32..6, 50_000_u32..12_000_000), 20..60), there: [bool; 2]) {
        let mut seat = Seat::new();
        for (at, is_there) in there.into_iter().enumerate() {
            if !is_there {
                seat.facts.rates[at + 1] = None;
            }
        }
        for (seconds, link) in links {
            seat.pass(seconds, link.into());
            let aim = seat.choice.aim();
            prop_assert!(seat.facts.rates[aim.index()].is_some());
        }
        let minutes = (seat.now - seat.start).as_secs() / 60 + 1;
        prop_assert!(u64::try_from(seat.moves.len()).unwrap() <= minutes * 20, "{:?}", seat.moves);
    }
}
