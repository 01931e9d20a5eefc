//! Whether a machine can afford a lower rung beside the full one, by the pictures that it leaves out.

use std::time::{Duration, Instant};

/// The window over which pictures that are left out are judged: longer than a hiccup.
const WINDOW: Duration = Duration::from_secs(2);

/// A rung is given up when one in this many pictures is left out. Less than that a busy machine loses with and without it, and who
/// needs the rung would lose far more.
const ONE_IN: u32 = 4;

/// Fewer pictures than these in a window say nothing.
const LEAST: u32 = 10;

/// The wait before a rung that was given up is tried again. It doubles each time, up to the longest: each attempt may cost
/// viewers of the full rung a second of pictures.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(160);

/// Time without trouble after which the wait is the first one again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Judges one rung.
#[derive(Debug, Default)]
pub struct RungBudget {
    window: Option<Window>,
    refused_until: Option<Instant>,
    wait: Option<Duration>,
    /// Since when it has been made without trouble.
    well_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    pictures: u32,
    left_out: u32,
}

impl RungBudget {
    /// Whether the rung may be made now.
    pub fn allows(&self, now: Instant) -> bool {
        self.refused_until.is_none_or(|until| now >= until)
    }

    /// One more picture was due, and so many were left out on the way, here or on the full rung. True: the rung is given up by
    /// that.
    pub fn observe(&mut self, left_out: u32, now: Instant) -> bool {
        let well_since = *self.well_since.get_or_insert(now);
        if now.saturating_duration_since(well_since) >= FORGIVEN {
            self.wait = None;
        }
        let window = self.window.get_or_insert(Window {
            since: now,
            pictures: 0,
            left_out: 0,
        });
        window.pictures += 1;
        window.left_out += left_out;
        if now.saturating_duration_since(window.since) < WINDOW {
            return false;
        }
        let Window { pictures, left_out, .. } = *window;
        self.window = None;
        let is_too_much = pictures >= LEAST && left_out * ONE_IN >= pictures;
        if is_too_much {
            self.give_up(now);
        }
        is_too_much
    }

    /// The rung can't be made: it is tried again after a while.
    pub fn give_up(&mut self, now: Instant) {
        let wait = self.wait.unwrap_or(FIRST_WAIT);
        self.refused_until = Some(now + wait);
        self.wait = Some((wait * 2).min(LONGEST_WAIT));
        (self.window, self.well_since) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(33);

    /// Pictures for so long, of which one in `one_in` is left out; when the rung was given up.
    fn run(budget: &mut RungBudget, now: &mut Instant, seconds: u32, one_in: u32) -> Vec<Instant> {
        let mut given_up = Vec::new();
        for number in 1..=seconds * 30 {
            *now += INTERVAL;
            if budget.allows(*now) && budget.observe(u32::from(number % one_in == 0), *now) {
                given_up.push(*now);
            }
        }
        given_up
    }

    #[test]
    fn hiccup_costs_no_rung_and_lasting_trouble_does() {
        let (mut budget, mut now) = (RungBudget::default(), Instant::now());
        assert_eq!(run(&mut budget, &mut now, 60, u32::MAX), []);
        assert!(!budget.observe(3, now), "three at once");
        assert_eq!(run(&mut budget, &mut now, 60, 6), []);
        assert_eq!(run(&mut budget, &mut now, 5, 3).len(), 1);
        assert!(!budget.allows(now));
    }

    #[test]
    fn attempts_that_fail_become_rare_and_a_good_minute_is_forgiving() {
        let (mut budget, mut now) = (RungBudget::default(), Instant::now());
        let given_up = run(&mut budget, &mut now, 600, 2);
        let waits: Vec<u64> = given_up.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
        assert_eq!(waits[..4], [12, 22, 42, 82]);
        assert!(waits[4..].iter().all(|wait| *wait == 162), "{waits:?}");
        now += LONGEST_WAIT;
        assert_eq!(run(&mut budget, &mut now, 61, u32::MAX), []);
        budget.give_up(now);
        assert!(budget.allows(now + FIRST_WAIT));
    }
}
