//! What a viewer's link is like, for operators who look: where it goes, what it loses, what it carries.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use framebridge_proto::{media::Rung, millis};

use crate::{Report, sdp::CandidateKind};

/// Loss and rate are of so long at least: less would jump about.
const WINDOW: Duration = Duration::from_secs(2);

/// A viewer's link, as last seen; it is looked at once a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    /// Where media goes; `None`: nowhere yet.
    pub remote: Option<SocketAddr>,
    /// Whether it goes by TCP.
    pub is_tcp: bool,
    /// What kind of candidate of the viewer that is; `None` for one that an earlier process connected.
    pub kind: Option<CandidateKind>,
    /// The share of packets that did not come, 0 to 1; `None` before the viewer has reported twice.
    pub loss: Option<f32>,
    /// Bits of media that are sent in a second, without what is sent again.
    pub bits_per_second: Option<u64>,
    /// There and back.
    pub round_trip: Option<Duration>,
    /// Bits per second that it carries, as far as that is known: where it carries more than is sent, nobody knows how much.
    pub estimate: Option<u64>,
    /// How long packets wait for their turn on it; `None`: the viewer does not tell when they come.
    pub queue_delay: Option<Duration>,
    /// Why it is sent nothing for now, if it is not.
    pub hold: Option<HoldReason>,
    /// Which rung it is given.
    pub rung: Rung,
    /// It wants no better one.
    pub best: Rung,
    /// Bits per second that the full rung takes; `None`: nobody has said so.
    pub full_rate: Option<u32>,
}

/// Why a viewer is sent nothing for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// It loses too much to make a picture of the rest.
    Loss,
    /// It loses so much at such a distance that whoever shares its link is in trouble (RFC 8083).
    CircuitBreaker,
    /// What is written to its TCP connection waits.
    Behind,
}

impl HoldReason {
    /// The reason in a word or two, for lists and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::CircuitBreaker => "circuit breaker",
            Self::Behind => "behind",
        }
    }
}

/// Keeps a [`Link`] as reports come and bytes go.
#[derive(Debug, Default)]
pub(crate) struct LinkWatch {
    link: Link,
    reported: Option<(Report, Instant)>,
    sent: Option<(u32, Instant)>,
}

impl LinkWatch {
    /// The viewer reports.
    pub(crate) fn on_report(&mut self, report: Report, round_trip: Option<Duration>, now: Instant) {
        self.link.round_trip = round_trip.or(self.link.round_trip);
        let (first, since) = *self.reported.get_or_insert((report, now));
        if now.saturating_duration_since(since) < WINDOW {
            return;
        }
        let packets = report.highest.wrapping_sub(first.highest);
        let lost = report.total_lost.wrapping_sub(first.total_lost).max(0);
        self.reported = Some((report, now));
        // A number that has fallen is of a new life of the viewer.
        if (1..1 << 31).contains(&packets) {
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let loss = (lost as f32 / packets as f32).min(1.0);
            self.link.loss = Some(loss);
        }
    }

    /// Media goes to `remote`.
    pub(crate) fn on_path(&mut self, remote: SocketAddr, is_tcp: bool, kind: Option<CandidateKind>) {
        (self.link.remote, self.link.is_tcp, self.link.kind) = (Some(remote), is_tcp, kind);
    }

    /// So many payload bytes have gone there so far, modulo 2^32.
    pub(crate) fn on_sent(&mut self, octets: u32, now: Instant) {
        let (first, since) = *self.sent.get_or_insert((octets, now));
        let span = now.saturating_duration_since(since);
        if span >= WINDOW {
            let bits = u64::from(octets.wrapping_sub(first)) * 8;
            self.link.bits_per_second = Some(bits * 1000 / millis(span));
            self.sent = Some((octets, now));
        }
    }

    /// It carries so much, and packets wait so long.
    pub(crate) fn on_estimate(&mut self, estimate: Option<u64>, queue_delay: Option<Duration>) {
        (self.link.estimate, self.link.queue_delay) = (estimate, queue_delay);
    }

    /// It is sent nothing for that reason, or is sent its stream.
    pub(crate) fn on_hold(&mut self, reason: Option<HoldReason>) {
        self.link.hold = reason;
    }

    /// The viewer is given this rung.
    pub(crate) fn on_rung(&mut self, rung: Rung, best: Rung, full_rate: Option<u32>) {
        (self.link.rung, self.link.best, self.link.full_rate) = (rung, best, full_rate);
    }

    /// Media goes nowhere now.
    pub(crate) fn on_silence(&mut self) {
        self.link.bits_per_second = Some(0);
        self.sent = None;
    }

    /// The link as it is.
    pub(crate) fn link(&self) -> Link {
        self.link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(total_lost: i32, highest: u32) -> Report {
        Report {
            total_lost,
            highest,
            last_report: 0,
            delay: 0,
        }
    }

    #[test]
    fn loss_and_rate_are_of_the_last_seconds() {
        let (mut watch, start) = (LinkWatch::default(), Instant::now());
        let remote = ([192, 0, 2, 1], 9).into();
        assert_eq!(watch.link(), Link::default());
        for (second, lost, loss) in [
            (0, 0, None),
            (1, 100, None),
            (2, 100, Some(0.125)),
            (4, 100, Some(0.0)),
            (6, 90, Some(0.0)),
        ] {
            let now = start + Duration::from_secs(second);
            watch.on_report(report(lost, u32::try_from(second).expect("small") * 400), None, now);
            let octets = u32::MAX.wrapping_add(u32::try_from(second).expect("small") * 1000);
            watch.on_path(remote, true, Some(CandidateKind::Relayed));
            watch.on_sent(octets, now);
            assert_eq!(watch.link().loss, loss, "second {second}");
        }
        let link = watch.link();
        assert_eq!((link.remote, link.bits_per_second), (Some(remote), Some(8000)));
        assert!(link.is_tcp);
        watch.on_report(report(0, 5), Some(WINDOW), start + Duration::from_secs(8));
        assert_eq!(
            watch.link().loss,
            Some(0.0),
            "a new life of the viewer says nothing yet"
        );
        assert_eq!(watch.link().round_trip, Some(WINDOW));
        watch.on_silence();
        assert_eq!(watch.link().bits_per_second, Some(0));
    }
}
