//! One keyframe for all who ask within a while.

use std::time::{Duration, Instant};

/// At most one IDR per this time serves all who ask: an IDR costs several times what another picture does.
const INTERVAL: Duration = Duration::from_millis(250);

/// Collects requests for a keyframe and says when to make one. Asked once per picture, so it needs no timer.
#[derive(Debug, Default)]
pub struct KeyframeGate {
    wanted: bool,
    last: Option<Instant>,
}

impl KeyframeGate {
    /// One that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody needs a keyframe.
    pub fn request(&mut self) {
        self.wanted = true;
    }

    /// Whether the picture at hand is to be a keyframe.
    pub fn is_due(&self, now: Instant) -> bool {
        self.wanted
            && self
                .last
                .is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL)
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
        let (mut gate, start) = (KeyframeGate::new(), Instant::now());
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
        let (mut gate, start) = (KeyframeGate::new(), Instant::now());
        gate.request();
        gate.made(start);
        assert!(!gate.is_due(start + INTERVAL));
        gate.request();
        assert!(!gate.is_due(start + INTERVAL / 2));
        assert!(gate.is_due(start + INTERVAL), "held back, not forgotten");
    }
}
