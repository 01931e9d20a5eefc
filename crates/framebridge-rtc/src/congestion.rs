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

/// What is known of a viewer's link.
#[derive(Debug)]
pub(crate) struct Congestion {
    /// The report that what is judged next begins with, and when it came.
    since: Option<(Report, Instant)>,
    estimate: Option<f32>,
    heavy: u32,
    calm: Duration,
    calm_until: Option<Instant>,
}

/// What a report led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Packets lost since the verdict before.
    pub(crate) lost: u32,
    /// The viewer has to be held.
    pub(crate) is_congested: bool,
}

impl Default for Congestion {
    fn default() -> Self {
        Self {
            since: None,
            estimate: None,
            heavy: 0,
            calm: FIRST_CALM,
            calm_until: None,
        }
    }
}

impl Congestion {
    /// Notes what the viewer believes its link carries, bits per second.
    pub(crate) fn on_estimate(&mut self, bits_per_second: f32) {
        self.estimate = Some(bits_per_second);
    }

    /// Takes a reception report about a stream of `bits_per_second`; `None` while it is too early to say anything.
    pub(crate) fn on_report(&mut self, report: Report, bits_per_second: f32, now: Instant) -> Option<Verdict> {
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
        let is_below_estimate = self.estimate.is_some_and(|estimate| estimate < bits_per_second / 2.0);
        let is_heavy = share >= HEAVY_LOSS || (is_below_estimate && share >= LOSS_OVER_ESTIMATE);
        self.heavy = if is_heavy { self.heavy + 1 } else { 0 };
        let is_calm = self.calm_until.is_some_and(|until| now < until);
        if !is_heavy && !is_calm {
            self.calm = FIRST_CALM;
        }
        let is_congested = self.heavy >= HEAVY_VERDICTS && !is_calm;
        Some(Verdict { lost, is_congested })
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

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f32 = 2_500_000.0;
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
            let verdict = congestion.on_report(report, RATE, now);
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
        congestion.on_report(report(0, 0), RATE, at(0));
        congestion.on_report(report(1, 100), RATE, at(1));
        assert_eq!(carries(&congestion), "0", "a third is lost");
        congestion.on_report(report(2, 100), RATE, at(2));
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
        assert_eq!(congestion.on_report(report(5, 1000), RATE, start), None);
        let verdict = congestion.on_report(report(-3, 1300), RATE, start + JUDGED_OVER);
        let (lost, is_congested) = (0, false);
        assert_eq!(verdict, Some(Verdict { lost, is_congested }));
        // The number of a new life of the viewer is lower.
        assert_eq!(congestion.on_report(report(0, 9), RATE, start + JUDGED_OVER * 2), None);
    }
}
