//! Which rung a viewer is to have: the best one that its link carries. Down fast, up only after calm, and ever more seldom where
//! going up did not last.

use std::time::{Duration, Instant};

use framebridge_proto::media::Rung;

/// A link that is known to carry less than this share of what it is sent, and shows it by a queue that grows or by loss, is given
/// less at once, ...
const SHORT: f64 = 0.9;
/// ... and one that does not show it, below this share for so long. An estimate is behind for a moment when a picture that stood
/// still begins to move.
const FAR_SHORT: f64 = 0.75;
const FAR_SHORT_FOR: Duration = Duration::from_secs(2);
/// Loss that shows that a link is full, as a share.
const HEAVY_LOSS: f32 = 0.1;
/// Loss that shows it whatever is known besides.
const OVERWHELMING_LOSS: f32 = 0.25;
/// Loss above which a link is not calm: what is sent again still makes good for it, but more would not help.
const CALM_LOSS: f32 = 0.03;
/// A viewer goes up when its link carries the better rung's rate times this: a keyframe takes more than its share.
const ROOM: f64 = 1.1;
/// How long a link's queue drains after a move: what is seen meanwhile is of the time before.
const SETTLE: Duration = Duration::from_secs(2);
/// Calm before the first step up. With the keyframe that comes by itself every ten seconds a link that is good again
/// has the full rung within 15 s.
const FIRST_CALM: Duration = Duration::from_secs(2);
/// A step up that did not last doubles that, up to the longest; it costs its viewer a stumble each time.
const LONGEST_CALM: Duration = Duration::from_secs(48);
/// A step up that has held for this long lasts.
const LASTS: Duration = Duration::from_secs(15);
/// Without any estimate a step up is a guess: it takes this many times the calm.
const GUESS: u32 = 5;

/// What is seen of a viewer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Bits per second that each rung takes, by [`Rung::index`]; `None`: it is not to be had.
    pub rates: [Option<u32>; Rung::COUNT],
    /// What the viewer gets now.
    pub in_use: Rung,
    /// Bits per second that it really takes now.
    pub sent: u32,
    /// No better one is wanted for it.
    pub best: Rung,
    /// Bits per second that its link carries, as far as is known.
    pub estimate: Option<u64>,
    /// The link's queue grows right now.
    pub is_overused: bool,
    /// The share of packets lost lately, 0 to 1.
    pub loss: f32,
}

/// Chooses for one viewer.
#[derive(Debug)]
pub struct RungChoice {
    aim: Rung,
    /// What it got when last looked at.
    in_use: Option<Rung>,
    /// Until then what is seen is of the rung before, a better one.
    settles_until: Option<Instant>,
    short_since: Option<Instant>,
    calm_since: Option<Instant>,
    calm: Duration,
    /// The last step up.
    climbed: Option<Instant>,
    /// Its viewer has asked for the best, and is given it without a calm before.
    is_wished: bool,
}

impl RungChoice {
    /// For a viewer that is to begin with `rung`.
    pub fn new(rung: Rung) -> Self {
        Self {
            aim: rung,
            in_use: None,
            settles_until: None,
            short_since: None,
            calm_since: None,
            calm: FIRST_CALM,
            climbed: None,
            is_wished: false,
        }
    }

    /// Its viewer wants more from now on: it is tried at once.
    pub fn wish(&mut self) {
        self.is_wished = true;
    }

    /// What it is to have.
    pub fn aim(&self) -> Rung {
        self.aim
    }

    /// Takes in what is seen, which may change what it is to have.
    pub fn observe(&mut self, facts: &Facts, now: Instant) -> Rung {
        self.note_move(facts.in_use, now);
        let carries = |share: f64| {
            facts
                .estimate
                .is_none_or(|estimate| as_f64(estimate) >= f64::from(facts.sent) * share)
        };
        let is_full = facts.is_overused || facts.loss >= HEAVY_LOSS;
        let is_far_short = self.is_far_short(!carries(FAR_SHORT), now);
        let is_short = facts.loss >= OVERWHELMING_LOSS || is_far_short || (is_full && !carries(SHORT));
        let is_calm = !is_short && !facts.is_overused && facts.loss <= CALM_LOSS && carries(SHORT);
        self.calm_since = is_calm.then(|| self.calm_since.unwrap_or(now));
        if self
            .climbed
            .is_some_and(|at| now.saturating_duration_since(at) >= LASTS)
        {
            (self.climbed, self.calm) = (None, FIRST_CALM);
        }
        if !is_to_be_had(facts, facts.in_use) {
            if self.aim == facts.in_use || !is_to_be_had(facts, self.aim) {
                self.aim = nearest(facts, facts.in_use);
            }
        } else if !is_to_be_had(facts, self.aim) {
            self.aim = facts.in_use;
        } else if is_short {
            self.go_down(facts, now);
        } else if !is_calm && self.aim < facts.in_use {
            // Not yet gone up, and no longer right.
            self.aim = facts.in_use;
        } else if self.aim == facts.in_use && (self.is_wished || self.may_climb(facts, now)) {
            self.climb(facts, now);
        }
        self.aim
    }

    /// What the link would have to carry for the next better rung, bits per second; `None`: there is none to be had.
    pub fn wants(&self, facts: &Facts) -> Option<u64> {
        let mut better = Rung::ALL.into_iter().filter(|rung| *rung < facts.in_use);
        let next = better.rfind(|rung| is_to_be_had(facts, *rung))?;
        let rate = f64::from(facts.rates[next.index()]?) * ROOM;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive u32 and a tenth more"
        )]
        let rate = rate.ceil() as u64;
        Some(rate)
    }

    /// Nothing that was seen before says anything about another rung.
    fn note_move(&mut self, in_use: Rung, now: Instant) {
        let before = self.in_use.replace(in_use);
        let Some(before) = before.filter(|before| *before != in_use) else {
            return;
        };
        (self.short_since, self.calm_since) = (None, None);
        if in_use < before {
            self.climbed = Some(now);
        } else {
            self.settles_until = Some(now + SETTLE);
        }
    }

    fn is_far_short(&mut self, is: bool, now: Instant) -> bool {
        self.short_since = is.then(|| self.short_since.unwrap_or(now));
        self.short_since
            .is_some_and(|since| now.saturating_duration_since(since) >= FAR_SHORT_FOR)
    }

    fn go_down(&mut self, facts: &Facts, now: Instant) {
        let settles = self.settles_until.is_some_and(|until| now < until);
        if self.aim > facts.in_use || settles {
            return;
        }
        let lower = || {
            Rung::ALL
                .into_iter()
                .filter(|rung| *rung > facts.in_use && is_to_be_had(facts, *rung))
        };
        let fits = |rung: &Rung| match (facts.estimate, facts.rates[rung.index()]) {
            (Some(estimate), Some(rate)) => as_f64(estimate) * SHORT >= f64::from(rate),
            (None, _) | (_, None) => true,
        };
        let Some(rung) = lower().find(fits).or_else(|| lower().next_back()) else {
            self.aim = facts.in_use;
            return;
        };
        if self.climbed.take().is_some() {
            self.calm = (self.calm * 2).min(LONGEST_CALM);
        }
        self.aim = rung;
    }

    fn may_climb(&self, facts: &Facts, now: Instant) -> bool {
        let calm = if facts.estimate.is_some() {
            self.calm
        } else {
            self.calm * GUESS
        };
        self.calm_since
            .is_some_and(|since| now.saturating_duration_since(since) >= calm)
    }

    fn climb(&mut self, facts: &Facts, now: Instant) {
        let mut better = Rung::ALL
            .into_iter()
            .filter(|rung| *rung < facts.in_use && is_to_be_had(facts, *rung));
        let is_wished = std::mem::take(&mut self.is_wished);
        let rung = match facts.estimate {
            _ if is_wished => better.next(),
            Some(estimate) => better
                .find(|rung| facts.rates[rung.index()].is_some_and(|rate| as_f64(estimate) >= f64::from(rate) * ROOM)),
            None => better.next_back(),
        };
        if let Some(rung) = rung {
            self.aim = rung;
            self.calm_since = Some(now);
        }
    }
}

/// Whether a viewer may have `rung`, and it is there.
fn is_to_be_had(facts: &Facts, rung: Rung) -> bool {
    rung >= facts.best && facts.rates[rung.index()].is_some()
}

/// What is there in place of `rung`: the next lower one, or else the next better. With nothing at all, the full one.
fn nearest(facts: &Facts, rung: Rung) -> Rung {
    let there = || Rung::ALL.into_iter().filter(|other| is_to_be_had(facts, *other));
    let lower = there().find(|other| *other > rung);
    let better = || {
        Rung::ALL
            .into_iter()
            .rfind(|other| *other < rung && facts.rates[other.index()].is_some())
    };
    lower.or_else(better).unwrap_or(Rung::Full)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate of a rate")]
fn as_f64(bits: u64) -> f64 {
    bits as f64
}

#[cfg(test)]
mod tests;
