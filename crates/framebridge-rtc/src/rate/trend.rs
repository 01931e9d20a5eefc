//! Whether a link's queue grows, by how long packets take: a line through the last delays (the "trendline" of Google's congestion
//! control), and how far the delay is above the least that was seen.
//!
//! Of packets that are sent at once only the soonest counts. The others wait for each other, and a link that lets some come
//! later than others is no slower for it.

use std::collections::VecDeque;

/// Delays that the line goes through, and the fewest that it needs.
const WINDOW: usize = 20;
const FEWEST: usize = 8;
/// Weight of what was before in the smoothed delay: enough that one late picture makes no slope.
const SMOOTHING: f64 = 0.75;
/// The slope is compared as that of this many delays and times this, as the thresholds were found (draft-ietf-rmcat-gcc-02).
const MOST_DELAYS: f64 = 60.0;
const GAIN: f64 = 4.0;
/// The threshold follows what the link does: fast towards what is near, slowly away (the same, section 5.4).
const FIRST_THRESHOLD: f64 = 12.5;
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;
const LEAST_THRESHOLD: f64 = 6.0;
const MOST_THRESHOLD: f64 = 600.0;
/// What is so far above the threshold is no noise to follow.
const OUTLIER: f64 = 15.0;
/// A queue shorter than this is no sign of anything: jitter of Wi-Fi, of mobile networks and of a busy viewer is of that size.
/// Milliseconds.
const JITTER: f64 = 30.0;
/// So many pictures in a row have to show it: a machine that is busy for a moment is no link that is full.
const IN_A_ROW: u32 = 3;
/// A queue longer than this is too long, though it may grow no more. Milliseconds.
const LONG: f64 = 80.0;
/// The least delay of this many groups in a row is the queue's: the least of one of a single late packet is not.
const CALMEST_OF: usize = 3;
/// The least delay ever is that of the last one to two of these: clocks drift, paths change. Milliseconds.
const BASE_WINDOW: f64 = 30_000.0;
/// A delay that stays up for so long, without a slope and without loss, is a longer path and no queue. Milliseconds.
const NEW_PATH: f64 = 6_000.0;

/// What a link's queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Normal,
    /// It grows, or is long and stays so.
    Over,
    /// It drains.
    Under,
}

/// Follows a link's queue.
#[derive(Debug)]
pub(super) struct Trend {
    /// When a delay was found, and the smoothed delay; milliseconds.
    points: VecDeque<(f64, f64)>,
    smoothed: Option<f64>,
    threshold: f64,
    slope: f64,
    usage: Usage,
    overuses: u32,
    last: VecDeque<f64>,
    /// The least delay of this window, of the one before, and when this one began.
    base: Option<(f64, f64, f64)>,
    /// Since when the queue is long and does not grow.
    long_since: Option<f64>,
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            points: VecDeque::new(),
            smoothed: None,
            threshold: FIRST_THRESHOLD,
            slope: 0.0,
            usage: Usage::Normal,
            overuses: 0,
            last: VecDeque::new(),
            base: None,
            long_since: None,
        }
    }
}

impl Trend {
    /// A group of packets came at `at`, after a delay of so long (from an unknown zero on); milliseconds. `is_lossy`: the link
    /// loses packets meanwhile.
    pub(super) fn update(&mut self, at: f64, delay: f64, is_lossy: bool) {
        self.last.push_back(delay);
        if self.last.len() > CALMEST_OF {
            self.last.pop_front();
        }
        self.note_base(at, delay);
        let smoothed = self
            .smoothed
            .map_or(delay, |before| SMOOTHING * before + (1.0 - SMOOTHING) * delay);
        let since = self.points.back().map_or(0.0, |(last, _)| at - last);
        self.smoothed = Some(smoothed);
        self.points.push_back((at, smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        if self.points.len() < FEWEST {
            return;
        }
        let slope = slope(&self.points);
        let score = count(self.points.len()).min(MOST_DELAYS) * slope * GAIN;
        self.judge(slope, score, at, is_lossy);
        self.slope = slope;
        self.adapt(score, since);
    }

    /// What the queue does.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// How long packets wait, milliseconds.
    pub(super) fn queue(&self) -> f64 {
        let calmest = self.last.iter().copied().reduce(f64::min);
        let base = self.base.map(|(this, before, _)| this.min(before));
        calmest.zip(base).map_or(0.0, |(delay, base)| (delay - base).max(0.0))
    }

    fn judge(&mut self, slope: f64, score: f64, at: f64, is_lossy: bool) {
        let queue = self.queue();
        let is_long = queue > LONG && score > -self.threshold;
        let grows = score > self.threshold && queue > JITTER && slope >= self.slope * 0.8;
        self.overuses = if grows || is_long { self.overuses + 1 } else { 0 };
        self.usage = match () {
            () if self.overuses >= IN_A_ROW => Usage::Over,
            () if score < -self.threshold => Usage::Under,
            () => Usage::Normal,
        };
        if !is_long || score > self.threshold || is_lossy {
            self.long_since = None;
        } else if at - *self.long_since.get_or_insert(at) > NEW_PATH {
            let least = self.last.iter().copied().fold(f64::INFINITY, f64::min);
            self.base = Some((least, least, at));
            self.long_since = None;
        }
    }

    fn adapt(&mut self, score: f64, since: f64) {
        let distance = score.abs() - self.threshold;
        if distance > OUTLIER {
            return;
        }
        let gain = if distance < 0.0 { DOWN } else { UP };
        self.threshold =
            (self.threshold + gain * distance * since.clamp(0.0, 100.0)).clamp(LEAST_THRESHOLD, MOST_THRESHOLD);
    }

    fn note_base(&mut self, at: f64, delay: f64) {
        let (this, before, began) = self.base.unwrap_or((delay, f64::INFINITY, at));
        self.base = Some(if at - began > BASE_WINDOW {
            (delay, this, at)
        } else {
            (this.min(delay), before, began)
        });
    }
}

/// The slope of the line with the least squares. Summed from the first point on, so that large times cost no digits.
fn slope(points: &VecDeque<(f64, f64)>) -> f64 {
    let n = count(points.len());
    let Some((first_x, first_y)) = points.front().copied() else {
        return 0.0;
    };
    let (mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0);
    for (at, delay) in points {
        let (right, up) = (at - first_x, delay - first_y);
        x += right;
        y += up;
        xx += right * right;
        xy += right * up;
    }
    let (above, below) = (xy - x * y / n, xx - x * x / n);
    if below > 0.0 { above / below } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "at most WINDOW")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found after each of 30 pictures a second whose delays these are.
    fn follow(delays: impl Iterator<Item = f64>) -> Vec<Usage> {
        let mut trend = Trend::default();
        let mut at = 0.0;
        delays
            .map(|delay| {
                at += 33.3;
                trend.update(at + delay, delay, false);
                trend.usage()
            })
            .collect()
    }

    #[test]
    fn queue_that_grows_is_found_within_half_a_second_and_one_that_drains_is_no_overuse() {
        // A link that carries four fifths of the stream.
        let grows = (0..60).map(|n| 40.0 + f64::from(n) * 8.0);
        let usages = follow((0..30).map(|_| 40.0).chain(grows));
        let found = usages.iter().position(|usage| *usage == Usage::Over).unwrap();
        assert!((30..45).contains(&found), "{found}");
        let drains = (0..20).map(|n| 240.0 - f64::from(n) * 10.0);
        let usages = follow((0..60).map(|n| 40.0 + f64::from(n.min(25)) * 8.0).chain(drains));
        assert!(usages[72..].iter().all(|usage| *usage == Usage::Under), "{usages:?}");
    }

    #[test]
    fn late_packets_are_no_queue() {
        // A quarter comes 10 ms late, a few 30 ms.
        let late = |n: u32| match n.wrapping_mul(2_654_435_761) >> 26 {
            0..=15 => 10.0,
            16..=17 => 30.0,
            _ => 0.0,
        };
        let usages = follow((0..2000).map(|n| 50.0 + late(n)));
        assert!(!usages.contains(&Usage::Over));
    }

    #[test]
    fn queue_that_stays_long_is_too_long_and_a_longer_path_is_none() {
        let usages = follow((0..400).map(|n| if n < 60 { 40.0 } else { 200.0 }));
        assert!(usages[65..200].iter().all(|usage| *usage == Usage::Over));
        assert!(usages[300..].iter().all(|usage| *usage == Usage::Normal));
    }
}
