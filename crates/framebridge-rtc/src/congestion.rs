//! Whether a viewer's link can't carry the stream, by what it reports.

use std::time::{Duration, Instant};

use crate::feedback::Report;

/// Loss is judged over so long at least. A report takes for lost what is only late, and the next one takes it back;
/// browsers send one with every NACK, so with every packet that is late.
const JUDGED_OVER: Duration = Duration::from_secs(1);
/// Loss of fewer packets than this says nothing.
const JUDGED_PACKETS: u32 = 32;
/// A share of lost packets that says a viewer's link can't carry the stream.
const HEAVY_LOSS: f32 = 0.25;
/// The same when the viewer also estimates less than half of what is sent.
const LOSS_OVER_ESTIMATE: f32 = 0.05;
/// Verdicts in a row that must say so.
const HEAVY_VERDICTS: u32 = 2;
/// After a hold there is no other for so long; each that follows soon doubles it, up to the longest. A hold that did not
/// help costs its viewer a second and everybody a keyframe, and will not help the next time.
const FIRST_CALM: Duration = Duration::from_secs(4);
const LONGEST_CALM: Duration = Duration::from_secs(32);
/// Who sends more than this many times of what TCP would on such a link, for so many verdicts, has to stop (RFC 8083 section
/// 4.3: three reporting intervals, of a second here).
const BEYOND_TCP: f32 = 10.0;
const BROKEN_VERDICTS: u32 = 3;
/// For so long; doubles each time it is soon after the last, up to the longest. Nothing tells that a link is better but trying.
const FIRST_BREAK: Duration = Duration::from_secs(10);
const LONGEST_BREAK: Duration = Duration::from_secs(80);
/// Bits of a full packet, and the least round trip: below it TCP's rate has no bound that matters.
const PACKET: f32 = 9_600.0;
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(10);

/// What is known of a viewer's link.
#[derive(Debug)]
pub(crate) struct Congestion {
    /// The report that what is judged next begins with, and when it came.
    since: Option<(Report, Instant)>,
    estimate: Option<f32>,
    /// The share that was lost when last judged.
    loss: f32,
    heavy: u32,
    calm: Duration,
    calm_until: Option<Instant>,
    /// Verdicts in a row that were beyond TCP.
    beyond: u32,
    pause: Duration,
    /// When the circuit breaker's last pause ended.
    mended: Option<Instant>,
}

/// What a report led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Packets lost since the verdict before.
    pub(crate) lost: u32,
    /// The viewer has to be held.
    pub(crate) is_congested: bool,
    /// The circuit breaker: sending has to stop for so long.
    pub(crate) pause: Option<Duration>,
}

impl Default for Congestion {
    fn default() -> Self {
        Self {
            since: None,
            estimate: None,
            loss: 0.0,
            heavy: 0,
            calm: FIRST_CALM,
            calm_until: None,
            beyond: 0,
            pause: FIRST_BREAK,
            mended: None,
        }
    }
}

impl Congestion {
    /// Notes what the viewer believes its link carries, bits per second.
    pub(crate) fn on_estimate(&mut self, bits_per_second: f32) {
        self.estimate = Some(bits_per_second);
    }

    /// Takes a reception report about a stream of `bits_per_second`, whose packets and their answers need `round_trip`; `None`
    /// while it is too early to say anything.
    pub(crate) fn on_report(
        &mut self,
        report: Report,
        (bits_per_second, round_trip): (f32, Duration),
        now: Instant,
    ) -> Option<Verdict> {
        let (first, since) = *self.since.get_or_insert((report, now));
        let packets = report.highest.wrapping_sub(first.highest);
        let is_backwards = packets > 1 << 31;
        if is_backwards {
            self.since = Some((report, now));
        }
        if is_backwards || packets < JUDGED_PACKETS || now.saturating_duration_since(since) < JUDGED_OVER {
            return None;
        }
        self.since = Some((report, now));
        let lost = u32::try_from(report.total_lost.wrapping_sub(first.total_lost)).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = lost as f32 / packets as f32;
        self.loss = share;
        let is_below_estimate = self.estimate.is_some_and(|estimate| estimate < bits_per_second / 2.0);
        let is_heavy = share >= HEAVY_LOSS || (is_below_estimate && share >= LOSS_OVER_ESTIMATE);
        self.heavy = if is_heavy { self.heavy + 1 } else { 0 };
        let is_calm = self.calm_until.is_some_and(|until| now < until);
        if !is_heavy && !is_calm {
            self.calm = FIRST_CALM;
        }
        let is_congested = self.heavy >= HEAVY_VERDICTS && !is_calm;
        let is_beyond = bits_per_second > BEYOND_TCP * fair(share, round_trip);
        self.beyond = if is_beyond { self.beyond + 1 } else { 0 };
        let pause = (self.beyond >= BROKEN_VERDICTS).then(|| self.open(now));
        Some(Verdict {
            lost,
            is_congested,
            pause,
        })
    }

    /// The circuit breaker opens: for how long.
    fn open(&mut self, now: Instant) -> Duration {
        let is_soon = self
            .mended
            .is_some_and(|mended| now.saturating_duration_since(mended) < LONGEST_BREAK);
        let pause = if is_soon {
            (self.pause * 2).min(LONGEST_BREAK)
        } else {
            FIRST_BREAK
        };
        (self.pause, self.mended, self.beyond) = (pause, Some(now + pause), 0);
        pause
    }

    /// The share of packets that was lost when last judged, 0 to 1.
    pub(crate) fn loss(&self) -> f32 {
        self.loss
    }

    /// The viewer is given another rung: what was lost of the one before says nothing of it.
    pub(crate) fn on_move(&mut self) {
        (self.since, self.loss, self.heavy) = (None, 0.0, 0);
    }

    /// Of a stream of `bits_per_second`, how much the link carries as far as is known: what may be sent again is a share of it.
    /// While so much is lost that the viewer may have to be held, that is nothing: repeats would take the place of what is new.
    pub(crate) fn carries(&self, bits_per_second: f32) -> f32 {
        if self.heavy > 0 {
            return 0.0;
        }
        self.estimate
            .map_or(bits_per_second, |estimate| estimate.min(bits_per_second))
    }

    /// The viewer is held until then: what was before says nothing of what comes after.
    pub(crate) fn on_hold(&mut self, until: Instant) {
        self.calm_until = Some(until + self.calm);
        self.calm = (self.calm * 2).min(LONGEST_CALM);
        (self.since, self.estimate, self.heavy) = (None, None, 0);
    }
}

/// What TCP would send where such a share is lost (RFC 8083 section 4.3, by the simplified throughput equation).
fn fair(share: f32, round_trip: Duration) -> f32 {
    let round_trip = round_trip.max(LEAST_ROUND_TRIP).as_secs_f32();
    if share > 0.0 {
        PACKET / (round_trip * (2.0 * share / 3.0).sqrt())
    } else {
        f32::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f32 = 2_500_000.0;
    const ROUND_TRIP: Duration = Duration::from_millis(50);
    const HOLD: Duration = Duration::from_secs(1);

    /// A viewer of 300 packets a second, who reports so often in a second; `lost(n)` of its first `n` packets are
    /// missing when it reports. When it is held within a minute.
    fn holds(reports: u64, estimate: Option<f32>, lost: impl Fn(u64) -> u64) -> Vec<u64> {
        let (start, mut congestion) = (Instant::now(), Congestion::default());
        let (mut held, mut holds) = (start, Vec::new());
        for number in 0..60 * reports {
            let now = start + Duration::from_millis(number * 1000 / reports);
            if now < held {
                continue;
            }
            if let Some(estimate) = estimate {
                congestion.on_estimate(estimate);
            }
            let packets = number * 300 / reports;
            let report = Report {
                total_lost: i32::try_from(lost(packets)).unwrap(),
                highest: u32::try_from(packets).unwrap(),
                last_report: 0,
                delay: 0,
            };
            let verdict = congestion.on_report(report, (RATE, ROUND_TRIP), now);
            if verdict.is_some_and(|verdict| verdict.is_congested) {
                held = now + HOLD;
                congestion.on_hold(held);
                holds.push((now - start).as_secs());
            }
        }
        holds
    }

    #[test]
    fn packets_that_are_only_late_are_not_lost() {
        // Many a report finds 40 packets on their way, which a browser counts as lost and takes back with the next.
        let late = |packets: u64| if packets / 10 % 7 < 3 { packets.min(40) } else { 0 };
        for reports in [1, 10, 30] {
            assert_eq!(holds(reports, Some(100_000.0), late), [0; 0]);
        }
    }

    #[test]
    fn heavy_loss_or_less_of_it_below_half_of_the_rate_is_congestion() {
        for (estimate, one_in, is_congested) in [
            (None, 3, true),
            (None, 5, false),
            (Some(2_000_000.0), 12, false),
            (Some(1_000_000.0), 12, true),
            (Some(1_000_000.0), 30, false),
        ] {
            let holds = holds(1, estimate, |packets| packets / one_in);
            assert_eq!(
                !holds.is_empty(),
                is_congested,
                "{estimate:?}, one in {one_in}: {holds:?}"
            );
        }
    }

    #[test]
    fn holds_that_do_not_help_become_rare() {
        let holds = holds(1, None, |packets| packets / 2);
        let pauses: Vec<u64> = holds.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(pauses.windows(2).all(|two| two[1] > two[0]), "{holds:?}");
        assert!(holds.len() <= 5, "{holds:?}");
    }

    #[test]
    fn repeats_are_a_share_of_what_the_link_carries() {
        let (start, mut congestion) = (Instant::now(), Congestion::default());
        let report = |seconds: u32, lost: i32| Report {
            total_lost: lost,
            highest: seconds * 300,
            last_report: 0,
            delay: 0,
        };
        let at = |seconds: u32| start + Duration::from_secs(seconds.into());
        let carries = |congestion: &Congestion| congestion.carries(RATE).to_string();
        assert_eq!(carries(&congestion), "2500000");
        congestion.on_estimate(1_000_000.0);
        assert_eq!(carries(&congestion), "1000000");
        congestion.on_report(report(0, 0), (RATE, ROUND_TRIP), at(0));
        congestion.on_report(report(1, 100), (RATE, ROUND_TRIP), at(1));
        assert_eq!(carries(&congestion), "0", "a third is lost");
        congestion.on_report(report(2, 100), (RATE, ROUND_TRIP), at(2));
        assert_eq!(carries(&congestion), "1000000");
        congestion.on_hold(at(3));
        assert_eq!(carries(&congestion), "2500000", "it is not known any more");
    }

    #[test]
    fn counts_that_fall_are_no_loss() {
        let mut congestion = Congestion::default();
        let start = Instant::now();
        let report = |total_lost, highest| Report {
            total_lost,
            highest,
            last_report: 0,
            delay: 0,
        };
        assert_eq!(congestion.on_report(report(5, 1000), (RATE, ROUND_TRIP), start), None);
        let verdict = congestion.on_report(report(-3, 1300), (RATE, ROUND_TRIP), start + JUDGED_OVER);
        let well = Verdict {
            lost: 0,
            is_congested: false,
            pause: None,
        };
        assert_eq!(verdict, Some(well));
        // The number of a new life of the viewer is lower.
        assert_eq!(
            congestion.on_report(report(0, 9), (RATE, ROUND_TRIP), start + JUDGED_OVER * 2),
            None
        );
    }

    /// After how many seconds of such a loss the circuit breaker opens, and for how long; with it open nothing is reported.
    fn breaks(one_in: i32, round_trip_ms: u64, seconds: u32) -> Vec<(u32, u64)> {
        let (start, mut congestion) = (Instant::now(), Congestion::default());
        let (mut closed, mut breaks) = (0, Vec::new());
        for second in 0..seconds {
            if second < closed {
                continue;
            }
            let highest = second * 300;
            let report = Report {
                total_lost: i32::try_from(highest).unwrap() / one_in,
                highest,
                last_report: 0,
                delay: 0,
            };
            let link = (RATE, Duration::from_millis(round_trip_ms));
            let now = start + Duration::from_secs(second.into());
            if let Some(pause) = congestion
                .on_report(report, link, now)
                .and_then(|verdict| verdict.pause)
            {
                breaks.push((second, pause.as_secs()));
                closed = second + u32::try_from(pause.as_secs()).unwrap();
            }
        }
        breaks
    }

    #[test]
    fn who_sends_far_more_than_tcp_would_stops_and_tries_again_more_and_more_rarely() {
        assert_eq!(breaks(2, 400, 5), [(3, 10)]);
        let pauses: Vec<u64> = breaks(2, 400, 400).into_iter().map(|(_, pause)| pause).collect();
        assert_eq!(pauses[..4], [10, 20, 40, 80]);
        // Loss that a video call lives with, near and far.
        for (one_in, round_trip) in [(12, 50), (12, 150), (33, 250), (3, 20)] {
            assert_eq!(breaks(one_in, round_trip, 60), [], "one in {one_in} at {round_trip} ms");
        }
    }
}
