//! Whether a link carries more than is sent to it: for a moment more is sent, and looked at how that comes through.

use std::time::{Duration, Instant};

use super::{delivered::per_second, history::Landed};

/// A probe sends so many times of what is known to be carried, or so many after one that has failed: most will then ...
const STEP: f64 = 2.0;
const CAREFUL_STEP: f64 = 1.5;
/// ... for so long, so that a link that carries just what is known has a queue of that or half of it afterwards.
const LENGTH: Duration = Duration::from_millis(150);
/// Some links let a burst through and then carry less than it seemed (a token bucket). Where one has shown that, probes are twice as long
/// from then on, up to this, which outlasts a bucket of some hundred kilobytes. A queue ends them as soon as there is one.
const LONGEST: Duration = Duration::from_millis(1200);
/// What was sent comes in, and is told of, so long after it, besides a round trip.
const VERDICT: Duration = Duration::from_millis(250);
/// So much of what was sent has to come through in time.
const SUCCESS: f64 = 0.85;
/// Between two probes that succeed.
const PAUSE: Duration = Duration::from_millis(700);
/// After one that does not the next comes so much later; doubles, up to the longest: a link that is back is used again within
/// ten seconds, and one that is not has some hundredths of its rate and a short queue now and then from it.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// No more is added at once, bytes: a burst of more packets may overrun a link that would carry their rate.
const MOST_AT_ONCE: f64 = 9_600.0;

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// The link has carried so many bits per second.
    Carried(f64),
    /// The link can't carry more now.
    Failed,
}

#[derive(Debug)]
enum State {
    /// Not before then.
    Idle(Instant),
    Probing(Running),
}

/// A probe under way.
#[derive(Debug)]
struct Running {
    /// Bits per second that are sent.
    rate: f64,
    began: Instant,
    length: Duration,
    /// Microseconds of our clock.
    from: i64,
    to: i64,
    /// Bytes sent since.
    sent: f64,
    /// When its first and last packets came, microseconds of the viewer's clock, and bytes without the first group's.
    came: Option<(i64, i64, u64)>,
    round_trip: Duration,
}

/// Probes one viewer's link.
#[derive(Debug)]
pub(super) struct Probe {
    state: State,
    pause: Duration,
    step: f64,
    /// How long the next one is.
    length: Duration,
}

impl Probe {
    /// None so far.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Idle(now + FIRST_PAUSE / 2),
            pause: FIRST_PAUSE,
            step: STEP,
            length: LENGTH,
        }
    }

    /// One that succeeded has said too much: it was too short for this link.
    pub(super) fn lengthen(&mut self) {
        self.length = (self.length * 2).min(LONGEST);
    }

    /// One that succeeded was right.
    pub(super) fn shorten(&mut self) {
        self.length = (self.length / 2).max(LENGTH);
    }

    /// Begins one, if it is time: the link carries `known`, and `wanted` would be sent, bits per second.
    pub(super) fn begin(&mut self, (known, wanted): (f64, f64), round_trip: Duration, micros: i64, now: Instant) {
        if matches!(self.state, State::Idle(due) if due <= now) && wanted > known {
            let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX);
            self.state = State::Probing(Running {
                rate: wanted.min(known * self.step),
                began: now,
                length: self.length,
                from: micros,
                to: micros + length,
                sent: 0.0,
                came: None,
                round_trip,
            });
        }
    }

    /// Whether one is being sent.
    pub(super) fn is_sending(&self, now: Instant) -> bool {
        matches!(&self.state, State::Probing(running) if now.saturating_duration_since(running.began) <= running.length)
    }

    /// So many bytes have been sent.
    pub(super) fn on_sent(&mut self, bytes: u32) {
        if let State::Probing(running) = &mut self.state {
            running.sent += f64::from(bytes);
        }
    }

    /// Bytes that are to be added now.
    pub(super) fn padding(&self, now: Instant) -> f64 {
        let State::Probing(running) = &self.state else {
            return 0.0;
        };
        let passed = now.saturating_duration_since(running.began);
        if passed > running.length {
            return 0.0;
        }
        (running.rate / 8.0 * passed.as_secs_f64() - running.sent).clamp(0.0, MOST_AT_ONCE)
    }

    /// Packets have come.
    pub(super) fn on_landed(&mut self, part: &Landed) {
        if let State::Probing(running) = &mut self.state
            && (running.from..=running.to).contains(&part.sent)
        {
            running.came = Some(match running.came {
                None => (part.latest, part.latest, 0),
                Some((first, last, bytes)) => (first, last.max(part.latest), bytes + u64::from(part.bytes)),
            });
        }
    }

    /// What has come of it, if it is over: `is_over`: the link's queue grows.
    pub(super) fn outcome(&mut self, is_over: bool, now: Instant) -> Option<Outcome> {
        let State::Probing(running) = &self.state else {
            return None;
        };
        let is_told = now.saturating_duration_since(running.began) > running.length + VERDICT + running.round_trip;
        if !is_told && !is_over {
            return None;
        }
        // A probe that could not be filled (there was nothing to fill it with) shows what it was.
        let length = running.length.as_secs_f64();
        let tried = (running.sent * 8.0 / length).min(running.rate);
        let came = running
            .came
            .map_or(0.0, |(first, last, bytes)| per_second(bytes, last - first));
        let has_come = !is_over && came >= tried * SUCCESS && tried > running.rate / 2.0;
        let (outcome, pause) = if has_come {
            (self.pause, self.step) = (FIRST_PAUSE, STEP);
            (Outcome::Carried(tried), PAUSE)
        } else {
            let pause = self.pause;
            (self.pause, self.step) = ((pause * 2).min(LONGEST_PAUSE), CAREFUL_STEP);
            (Outcome::Failed, pause)
        };
        self.state = State::Idle(now + pause);
        Some(outcome)
    }

    /// Not before so long from now: the link has just shown that it can't carry more.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let State::Idle(due) = &mut self.state {
            *due = (*due).max(now + FIRST_PAUSE);
        }
    }
}
