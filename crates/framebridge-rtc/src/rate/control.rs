//! How much a link carries: down at once when its queue grows or it loses much, up slowly while it does neither
//! (draft-ietf-rmcat-gcc-02, sections 5.5 and 6).

use std::time::{Duration, Instant};

use super::trend::Usage;

/// What is left of what arrives when the queue has grown: a little less than the link carries, so that the queue drains.
const BACK_OFF: f64 = 0.85;
/// Where little is sent, what arrives says little: then one step down is no more than this.
const LEAST_STEP: f64 = 0.7;
/// Growth in a second while nothing is known of the link's limit.
const GROWTH: f64 = 1.08;
/// And so many bits more in a second.
const SLOWEST: f64 = 1_000.0;
/// Nobody knows whether the link carries more than so many times of what arrives; what is believed without knowing is off by a
/// quarter at most of a link that carries a little more.
const UNKNOWN: f64 = 1.25;
/// For so long after the first estimate that follows what arrives, down as well: a stream begins with a keyframe.
const SETTLING: Duration = Duration::from_secs(3);
/// Bits of a full packet: near the limit the estimate grows by one in a response time.
const PACKET: f64 = 9_600.0;
/// Besides the round trip, a response takes so long: feedback, and finding out.
const RESPONSE: Duration = Duration::from_millis(100);
/// Two steps down are so long apart, and a round trip: the first has to show.
const STEP_PAUSE: Duration = Duration::from_millis(200);
/// A limit that was found is believed for so long after the queue has last grown: links change, and a viewer that was busy for a
/// moment looks like one.
const LIMIT_HOLDS: Duration = Duration::from_secs(20);
/// The limit that was found holds for so many times its deviation.
const NEAR: f64 = 3.0;
/// Shares of lost packets from which on the estimate falls, and below which it may grow.
const HEAVY_LOSS: f32 = 0.12;
const LITTLE_LOSS: f32 = 0.02;
/// An estimate is never below this: an audio call's rate.
const LEAST: f64 = 30_000.0;

/// The estimate, and what it is made from.
#[derive(Debug, Default)]
pub(super) struct Control {
    estimate: Option<f64>,
    /// What loss allows; `None`: everything.
    loss_limit: Option<f64>,
    /// What arrived when the queue grew: mean and variance, as a share of the mean.
    limit: Option<(f64, f64)>,
    updated: Option<Instant>,
    stepped: Option<Instant>,
    stepped_for_loss: Option<Instant>,
    settling: Option<Instant>,
}

/// What is known of the link at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) usage: Usage,
    /// Bits per second that arrive; `None`: not known yet.
    pub(super) delivered: Option<f64>,
    /// What the link has carried while it had a queue; `None`: it has none.
    pub(super) capacity: Option<f64>,
    /// The share of packets that is lost.
    pub(super) loss: f32,
    pub(super) round_trip: Duration,
}

impl Control {
    /// Bits per second that the link carries.
    pub(super) fn estimate(&self) -> Option<f64> {
        let estimate = self.estimate?;
        Some(self.loss_limit.map_or(estimate, |limit| limit.min(estimate)))
    }

    /// The link is as it is seen.
    pub(super) fn update(&mut self, seen: Seen, now: Instant) {
        let Some(delivered) = seen.delivered else { return };
        let passed = self
            .updated
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let passed = passed.min(Duration::from_secs(1)).as_secs_f64();
        self.updated = Some(now);
        if self
            .stepped
            .is_some_and(|last| now.saturating_duration_since(last) > LIMIT_HOLDS)
        {
            self.limit = None;
        }
        if self.estimate.is_none() {
            self.settling = Some(now + SETTLING);
        }
        let before = *self.estimate.get_or_insert(delivered * UNKNOWN);
        match seen.usage {
            Usage::Over => self.step_down(before, delivered, seen, now),
            Usage::Under => {}
            Usage::Normal if self.settling.is_some_and(|end| now < end) => self.estimate = Some(delivered * UNKNOWN),
            Usage::Normal => self.grow(before, delivered, seen.round_trip, passed),
        }
        self.heed_loss(delivered, seen, passed, now);
    }

    /// Whether the link has shown where its limit is.
    pub(super) fn has_limit(&self) -> bool {
        self.limit.is_some() || self.loss_limit.is_some()
    }

    /// A probe has shown that the link carries so much.
    pub(super) fn on_proof(&mut self, carried: f64) {
        self.settling = None;
        self.estimate = Some(self.estimate.map_or(carried, |estimate| estimate.max(carried)));
        self.limit = self.limit.filter(|(limit, _)| *limit > carried);
        self.loss_limit = self.loss_limit.filter(|limit| *limit > carried);
    }

    fn step_down(&mut self, before: f64, delivered: f64, seen: Seen, now: Instant) {
        self.settling = None;
        let pause = STEP_PAUSE + seen.round_trip;
        if self
            .stepped
            .is_some_and(|last| now.saturating_duration_since(last) < pause)
        {
            return;
        }
        self.stepped = Some(now);
        let carried = seen.capacity.map_or(delivered, |capacity| capacity.max(delivered));
        self.note_limit(carried);
        // Without a queue that has carried something for a while, there may be room that was not used.
        let least = if seen.capacity.is_none() {
            before * LEAST_STEP
        } else {
            0.0
        };
        let target = (carried * BACK_OFF).max(least);
        self.estimate = Some(target.min(before).max(LEAST));
    }

    fn grow(&mut self, before: f64, delivered: f64, round_trip: Duration, passed: f64) {
        if let Some((limit, variance)) = self.limit
            && delivered > limit * (1.0 + NEAR * variance.sqrt())
        {
            self.limit = None;
        }
        // What arrives is carried. Where no limit has shown, a little more is believed at once: a picture that stood still
        // may begin to move.
        let grown = match self.limit {
            None => (before * GROWTH.powf(passed) + SLOWEST * passed).max(delivered * UNKNOWN),
            Some((limit, _)) if before > limit * BACK_OFF => {
                (before + PACKET * passed / (round_trip + RESPONSE).as_secs_f64()).max(delivered)
            }
            Some(_) => (before * GROWTH.powf(passed) + SLOWEST * passed).max(delivered),
        };
        let unknown = (delivered * UNKNOWN).max(before);
        self.estimate = Some(grown.min(unknown));
    }

    fn heed_loss(&mut self, delivered: f64, seen: Seen, passed: f64, now: Instant) {
        let Some(estimate) = self.estimate else { return };
        let pause = STEP_PAUSE + RESPONSE + seen.round_trip;
        let may_step = self
            .stepped_for_loss
            .is_none_or(|last| now.saturating_duration_since(last) >= pause);
        if seen.loss > HEAVY_LOSS && may_step {
            self.stepped_for_loss = Some(now);
            let from = self.loss_limit.unwrap_or(estimate).min(estimate);
            let share = 1.0 - 0.5 * f64::from(seen.loss);
            // What arrives in spite of loss is carried.
            self.loss_limit = Some((from * share).max(delivered * BACK_OFF).max(LEAST));
        } else if seen.loss < LITTLE_LOSS
            && let Some(limit) = self.loss_limit
        {
            let limit = limit * GROWTH.powf(passed) + SLOWEST * passed;
            self.loss_limit = Some(limit).filter(|limit| *limit < estimate);
        }
    }

    fn note_limit(&mut self, delivered: f64) {
        /// Weight of the newest in the mean.
        const WEIGHT: f64 = 0.1;
        let (limit, variance) = self.limit.unwrap_or((delivered, 0.01));
        let off = (delivered - limit) / limit.max(1.0);
        self.limit = Some(if off.abs() > NEAR * variance.sqrt() {
            (delivered, 0.01)
        } else {
            let variance = (1.0 - WEIGHT) * variance + WEIGHT * off * off;
            (limit + WEIGHT * (delivered - limit), variance.clamp(0.0004, 0.01))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(usage: Usage, delivered: f64, loss: f32) -> Seen {
        Seen {
            usage,
            delivered: Some(delivered),
            capacity: (usage == Usage::Over && delivered > 100_000.0).then_some(delivered),
            loss,
            round_trip: Duration::from_millis(50),
        }
    }

    /// The estimate after the link was seen so for so many tenths of a second.
    fn after(control: &mut Control, start: Instant, tenths: std::ops::Range<u32>, seen: Seen) -> f64 {
        for tenth in tenths {
            control.update(seen, start + Duration::from_millis(100) * tenth);
        }
        control.estimate().unwrap()
    }

    #[test]
    fn estimate_steps_below_what_arrives_and_grows_no_further_than_is_known() {
        let (mut control, start) = (Control::default(), Instant::now());
        assert_eq!(control.estimate(), None);
        let calm = seen(Usage::Normal, 2_000_000.0, 0.0);
        let full = after(&mut control, start, 0..100, calm);
        assert!((full - 2_500_000.0).abs() < 1.0, "{full}");
        let over = after(&mut control, start, 100..110, seen(Usage::Over, 1_000_000.0, 0.0));
        assert!((over - 850_000.0).abs() < 1.0, "{over}");
        // What arrives without a queue is carried, and near the limit the estimate grows by packets.
        let later = after(&mut control, start, 110..120, seen(Usage::Normal, 1_000_000.0, 0.0));
        assert!((1_000_000.0..1_080_000.0).contains(&later), "{later}");
    }

    #[test]
    fn estimate_keeps_up_with_a_picture_that_begins_to_move() {
        let (mut control, start) = (Control::default(), Instant::now());
        after(&mut control, start, 0..100, seen(Usage::Normal, 20_000.0, 0.0));
        let moving = after(&mut control, start, 100..101, seen(Usage::Normal, 2_000_000.0, 0.0));
        assert!((moving - 2_500_000.0).abs() < 1.0, "{moving}");
    }

    #[test]
    fn limit_is_forgotten_when_the_queue_has_not_grown_for_a_while() {
        let (mut control, start) = (Control::default(), Instant::now());
        after(&mut control, start, 0..10, seen(Usage::Over, 1_000_000.0, 0.0));
        assert!(control.has_limit());
        after(&mut control, start, 10..150, seen(Usage::Normal, 900_000.0, 0.0));
        assert!(control.has_limit());
        after(&mut control, start, 150..220, seen(Usage::Normal, 900_000.0, 0.0));
        assert!(!control.has_limit());
    }

    #[test]
    fn queue_while_little_is_sent_costs_no_more_than_a_step() {
        let (mut control, start) = (Control::default(), Instant::now());
        after(&mut control, start, 0..100, seen(Usage::Normal, 2_000_000.0, 0.0));
        let over = after(&mut control, start, 100..101, seen(Usage::Over, 50_000.0, 0.0));
        assert!((over - 1_750_000.0).abs() < 1.0, "{over}");
    }

    #[test]
    fn heavy_loss_brings_the_estimate_down_to_what_arrives_and_little_loss_does_not() {
        let (mut control, start) = (Control::default(), Instant::now());
        let calm = after(&mut control, start, 0..100, seen(Usage::Normal, 2_500_000.0, 0.08));
        assert!(calm > 3_000_000.0, "{calm}");
        // A policer that lets 1 Mb/s through, and no queue.
        let lossy = after(&mut control, start, 100..150, seen(Usage::Normal, 1_000_000.0, 0.6));
        assert!((800_000.0..1_000_000.0).contains(&lossy), "{lossy}");
        let again = after(&mut control, start, 150..650, seen(Usage::Normal, 2_500_000.0, 0.0));
        assert!(again > 2_500_000.0, "{again}");
    }

    #[test]
    fn what_a_probe_has_shown_is_known() {
        let (mut control, start) = (Control::default(), Instant::now());
        after(&mut control, start, 0..10, seen(Usage::Over, 600_000.0, 0.0));
        control.on_proof(1_200_000.0);
        assert_eq!(control.estimate(), Some(1_200_000.0));
    }
}
