//! What viewers' pages tell of how they fare: kept for a moment, for operators.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use framebridge_proto::StreamName;
use framebridge_rtc::SessionId;
use serde::Deserialize;
use utoipa::ToSchema;

/// A report says how things are for so long: three of a page that tells each 5 s.
const LIFE: Duration = Duration::from_secs(15);

/// What comes sooner after the one before is not taken: nobody tells more often.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// So many freezes between two reports are believed; they take time themselves.
const MOST_FREEZES: u32 = 60;

/// A viewer's picture is no later than this, milliseconds, where it is believed.
const LATEST: f64 = 60_000.0;

/// How a viewer fares, as its page tells each 5 s. What it does not know it leaves out.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub(crate) struct Report {
    /// Pictures shown a second.
    #[schema(minimum = 0, maximum = 1000)]
    fps: Option<f64>,
    /// From a picture's way out of the server to the screen, milliseconds.
    #[schema(minimum = 0, maximum = 60_000)]
    wire_to_screen_ms: Option<f64>,
    /// Of 100 packets, those that did not come.
    #[schema(minimum = 0, maximum = 100)]
    loss_percent: Option<f64>,
    /// Times the picture has frozen since the session began.
    freezes: Option<u32>,
}

/// A report as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    stream: StreamName,
    at: Instant,
    pub(crate) fps: Option<f64>,
    pub(crate) wire_to_screen_ms: Option<f64>,
    pub(crate) loss_percent: Option<f64>,
    pub(crate) freezes: u32,
}

/// The latest report of each session that has told of late, so no more than there are sessions; and what was counted.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<SessionId, Kept>,
    freezes: BTreeMap<StreamName, u64>,
}

/// What the viewers of a stream tell, put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    /// How many have told of late.
    pub(crate) viewers: usize,
    /// From the way out to the screen, milliseconds: the middle one's, and that which one in twenty is past.
    pub(crate) wire_to_screen_ms: Option<(f64, f64)>,
    /// Of 100 packets those that did not come, the mean.
    pub(crate) loss_percent: Option<f64>,
    /// Times a picture has frozen, since this process began.
    pub(crate) freezes: u64,
}

impl Reports {
    /// Takes a report of `session`, which is open; false: it came too soon.
    pub(crate) fn take(&self, session: SessionId, stream: &StreamName, report: Report, now: Instant) -> bool {
        let mut known = self.known();
        known
            .latest
            .retain(|_, kept| now.saturating_duration_since(kept.at) <= LIFE);
        let before = known.latest.get(&session);
        if before.is_some_and(|before| now.saturating_duration_since(before.at) < LEAST_PAUSE) {
            return false;
        }
        let freezes = report.freezes.unwrap_or_default();
        let fresh = before.map_or(0, |before| freezes.saturating_sub(before.freezes).min(MOST_FREEZES));
        *known.freezes.entry(stream.clone()).or_default() += u64::from(fresh);
        let within = |value: Option<f64>, most: f64| value.filter(|value| (0.0..=most).contains(value));
        let kept = Kept {
            stream: stream.clone(),
            at: now,
            fps: within(report.fps, 1000.0),
            wire_to_screen_ms: within(report.wire_to_screen_ms, LATEST),
            loss_percent: within(report.loss_percent, 100.0),
            freezes,
        };
        known.latest.insert(session, kept);
        true
    }

    /// What a session has told of late.
    pub(crate) fn of(&self, session: &SessionId, now: Instant) -> Option<Kept> {
        let known = self.known();
        let kept = known.latest.get(session)?;
        (now.saturating_duration_since(kept.at) <= LIFE).then(|| kept.clone())
    }

    /// What all viewers of a stream have told of late.
    pub(crate) fn summary(&self, stream: &StreamName, now: Instant) -> Summary {
        let known = self.known();
        let fresh: Vec<&Kept> = known
            .latest
            .values()
            .filter(|kept| kept.stream == *stream && now.saturating_duration_since(kept.at) <= LIFE)
            .collect();
        let mut delays: Vec<f64> = fresh.iter().filter_map(|kept| kept.wire_to_screen_ms).collect();
        delays.sort_by(f64::total_cmp);
        let at = |part: usize| delays.get(delays.len() * part / 100).or(delays.last()).copied();
        let losses: Vec<f64> = fresh.iter().filter_map(|kept| kept.loss_percent).collect();
        let count = u32::try_from(losses.len()).unwrap_or(u32::MAX);
        Summary {
            viewers: fresh.len(),
            wire_to_screen_ms: at(50).zip(at(95)),
            loss_percent: (count > 0).then(|| losses.iter().sum::<f64>() / f64::from(count)),
            freezes: known.freezes.get(stream).copied().unwrap_or_default(),
        }
    }

    /// There is no such stream any more.
    pub(crate) fn forget(&self, stream: &StreamName) {
        self.known().freezes.remove(stream);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        format!("{number:032x}").parse().unwrap()
    }

    fn report(delay: f64, loss: f64, freezes: u32) -> Report {
        Report {
            fps: Some(30.0),
            wire_to_screen_ms: Some(delay),
            loss_percent: Some(loss),
            freezes: Some(freezes),
        }
    }

    #[test]
    fn reports_of_a_stream_add_up_while_they_are_fresh() {
        let (reports, test, start) = (Reports::default(), "test".parse().unwrap(), Instant::now());
        for number in 1..=20_u8 {
            assert!(reports.take(session(number), &test, report(f64::from(number), 1.0, 3), start));
        }
        assert!(!reports.take(session(1), &test, report(99.0, 1.0, 9), start + LEAST_PAUSE / 2));
        let summary = reports.summary(&test, start + LIFE);
        assert_eq!((summary.viewers, summary.wire_to_screen_ms), (20, Some((11.0, 20.0))));
        assert_eq!(
            (summary.loss_percent, summary.freezes),
            (Some(1.0), 0),
            "what was before is not counted"
        );
        assert!(reports.of(&session(1), start + LIFE).is_some());

        let later = start + LIFE + LEAST_PAUSE;
        assert_eq!(reports.summary(&test, later).viewers, 0);
        assert!(reports.of(&session(1), later).is_none());
        assert_eq!(reports.summary(&"other".parse().unwrap(), start), Summary::default());
    }

    #[test]
    fn nobody_makes_a_counter_run_or_a_figure_absurd() {
        let (reports, test, start) = (Reports::default(), "test".parse().unwrap(), Instant::now());
        reports.take(session(1), &test, report(-5.0, f64::NAN, 0), start);
        reports.take(session(1), &test, report(1e12, 101.0, u32::MAX), start + LEAST_PAUSE);
        let summary = reports.summary(&test, start + LEAST_PAUSE);
        assert_eq!((summary.wire_to_screen_ms, summary.loss_percent), (None, None));
        assert_eq!(summary.freezes, u64::from(MOST_FREEZES));
        reports.forget(&test);
        assert_eq!(reports.summary(&test, start).freezes, 0);
    }
}
