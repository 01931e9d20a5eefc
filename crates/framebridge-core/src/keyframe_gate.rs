//! Makes one keyframe serve all who ask within an interval.

use std::time::{Duration, Instant};

/// At most one IDR per this time serves all who ask: an IDR costs several times what another picture does.
const INTERVAL: Duration = Duration::from_millis(250);

/// The same for those who ask from outside, whoever they are and however often: what that costs, every viewer pays.
const OUTSIDE_INTERVAL: Duration = Duration::from_secs(1);

/// Collects requests for a keyframe and says when to make one.
#[derive(Debug)]
pub struct KeyframeGate {
    interval: Duration,
    wanted: bool,
    last: Option<Instant>,
}

impl KeyframeGate {
    /// An encoder's, which nobody has asked yet.
    pub fn of_encoder() -> Self {
        Self::every(INTERVAL)
    }

    /// One for requests from outside.
    pub fn of_outside() -> Self {
        Self::every(OUTSIDE_INTERVAL)
    }

    fn every(interval: Duration) -> Self {
        let (wanted, last) = (false, None);
        Self { interval, wanted, last }
    }

    /// Somebody needs a keyframe.
    pub fn request(&mut self) {
        self.wanted = true;
    }

    /// Whether the picture at hand is to be a keyframe.
    pub fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout(now).is_some_and(|due| due <= now)
    }

    /// When a keyframe is due; `None`: nobody waits for one.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = || self.last.map_or(now, |last| last + self.interval);
        self.wanted.then(due)
    }

    /// A keyframe was made, asked for or not; it serves all who have asked so far.
    pub fn made(&mut self, now: Instant) {
        (self.wanted, self.last) = (false, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_requests_get_one_keyframe_per_interval() {
        let (mut gate, start) = (KeyframeGate::of_encoder(), Instant::now());
        assert!(!gate.is_due(start), "nobody has asked");
        let mut made = 0;
        for millis in 0..1000 {
            let now = start + Duration::from_millis(millis);
            gate.request();
            if gate.is_due(now) {
                gate.made(now);
                made += 1;
            }
        }
        assert_eq!(made, 4);
    }

    #[test]
    fn a_keyframe_that_comes_by_itself_serves_those_who_wait() {
        let (mut gate, start) = (KeyframeGate::of_encoder(), Instant::now());
        gate.request();
        gate.made(start);
        assert!(!gate.is_due(start + INTERVAL));
        gate.request();
        assert!(!gate.is_due(start + INTERVAL / 2));
        assert!(gate.is_due(start + INTERVAL), "held back, not forgotten");
    }

    #[test]
    fn from_outside_one_a_second_is_made_and_the_last_request_is_served() {
        let (mut gate, start) = (KeyframeGate::of_outside(), Instant::now());
        let mut made = Vec::new();
        for millis in 0..3000 {
            let now = start + Duration::from_millis(millis);
            if millis <= 1500 {
                gate.request();
            }
            if gate.is_due(now) {
                gate.made(now);
                made.push(millis);
            }
        }
        assert_eq!(made, [0, 1000, 2000]);
        assert_eq!(gate.poll_timeout(start), None);
    }
}
