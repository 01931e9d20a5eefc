//! Whether something grows. Pure.

use crate::sample::Sample;

/// A life with fewer samples after its warm-up says nothing.
const FEWEST: usize = 5;

/// Of how the values of a life lie about their line, so much is left out at each end: what a single busy moment does.
const OUTLIERS_PERCENT: usize = 5;

/// What may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// All in all it may rise by so much, or by this share of what it is, whichever is more.
    Rise {
        /// In the measure's own unit.
        by: f64,
        /// Of the level; 0: none.
        share: f64,
    },
    /// It may come and go, and never be more than this: what is thrown away only when enough has come together.
    Most(f64),
}

/// One value at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Hours since the beginning.
    pub at_h: f64,
    /// In the measure's own unit.
    pub value: f64,
}

/// What one measure of one process came to, over all its lives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Lives that were long enough to be judged.
    pub lives: usize,
    /// What was judged of them, hours in all.
    pub hours: f64,
    /// In the middle.
    pub level: f64,
    /// The most that it ever was, warming up included.
    pub most: f64,
    /// The line's slope, the same for all lives.
    pub per_hour: f64,
    /// What the line has risen by in the time that was judged.
    pub rise: f64,
    /// How far the values lie about their lines, but for outliers.
    pub scatter: f64,
    /// What it may rise by, or be at most.
    pub allowed: f64,
    /// What it comes to.
    pub verdict: Verdict,
}

/// What a trend comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays where it is, as far as can be told.
    Steady,
    /// It grows.
    Grows,
    /// No life was long enough.
    TooShort,
}

/// Judges the lives of one measure, each in the order of time, without what is within `warm_up_h` of a life's first sample.
///
/// All lives have one line's slope, each its own height: the median of the slopes between any two samples of the same life
/// (Theil and Sen), which neither single peaks nor one step move. It grows where that line has risen by more than is
/// allowed, and by more than the values scatter about it, as they do where memory is taken in pieces and given back in heaps.
pub fn judge(lives: &[Vec<Point>], warm_up_h: f64, bound: Bound) -> Trend {
    let judged: Vec<Vec<Point>> = lives
        .iter()
        .map(|life| {
            let from = life.first().map_or(0.0, |first| first.at_h + warm_up_h);
            life.iter().copied().filter(|point| point.at_h >= from).collect()
        })
        .filter(|life: &Vec<Point>| life.len() >= FEWEST)
        .collect();
    let values = judged.iter().flatten().map(|point| point.value);
    let level = Sample::of(values).percentile(50);
    let slopes = judged.iter().flat_map(|life| slopes(life));
    let per_hour = Sample::of(slopes).percentile(50);
    let hours: f64 = judged.iter().map(|life| span(life)).sum();
    let apart = Sample::of(judged.iter().flat_map(|life| residuals(life, per_hour)));
    let scatter = apart.percentile(100 - OUTLIERS_PERCENT) - apart.percentile(OUTLIERS_PERCENT);
    let most = Sample::of(lives.iter().flatten().map(|point| point.value)).percentile(100);
    let rise = per_hour * hours;
    let (allowed, is_growth) = match bound {
        Bound::Rise { by, share } => {
            let allowed = by.max(share * level);
            (allowed, rise > allowed && rise > scatter)
        }
        Bound::Most(allowed) => (allowed, most > allowed),
    };
    let verdict = if is_growth {
        Verdict::Grows
    } else if matches!(bound, Bound::Rise { .. }) && judged.is_empty() {
        Verdict::TooShort
    } else {
        Verdict::Steady
    };
    Trend {
        lives: judged.len(),
        hours,
        level,
        most,
        per_hour,
        rise,
        scatter,
        allowed,
        verdict,
    }
}

fn span(life: &[Point]) -> f64 {
    let ends = life.first().zip(life.last());
    ends.map_or(0.0, |(first, last)| last.at_h - first.at_h)
}

fn slopes(life: &[Point]) -> impl Iterator<Item = f64> {
    let pairs = life
        .iter()
        .enumerate()
        .flat_map(move |(at, one)| life[at + 1..].iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| (other.value - one.value) / (other.at_h - one.at_h))
}

/// How far each value is from the line of this slope through the middle of its life.
fn residuals(life: &[Point], per_hour: f64) -> Vec<f64> {
    let off: Vec<f64> = life.iter().map(|point| point.value - per_hour * point.at_h).collect();
    let middle = Sample::of(off.iter().copied()).percentile(50);
    off.into_iter().map(|value| value - middle).collect()
}

#[cfg(test)]
mod tests {
    use framebridge_core::random::Random;

    use super::*;

    const MEMORY: Bound = Bound::Rise {
        by: 2_048.0,
        share: 0.03,
    };
    const DESCRIPTORS: Bound = Bound::Rise { by: 2.0, share: 0.0 };
    const WARM_UP_H: f64 = 5.0 / 60.0;

    /// A sample a minute, `value` of the hour and of the number of the minute.
    fn life(from_min: u32, minutes: u32, mut value: impl FnMut(f64, u32) -> f64) -> Vec<Point> {
        let at = |minute: u32| f64::from(from_min + minute) / 60.0;
        let points = (0..minutes).map(|minute| Point {
            at_h: at(minute),
            value: value(f64::from(minute) / 60.0, minute),
        });
        points.collect()
    }

    /// Noise of so much to either side.
    fn noise(seed: u64, by: u32) -> impl FnMut() -> f64 {
        let mut random = Random::new(seed);
        move || f64::from(u32::try_from(random.below(2 * by as usize + 1)).unwrap()) - f64::from(by)
    }

    #[test]
    fn leak_is_found_in_noise() {
        let mut noise = noise(1, 300);
        let leaks = life(0, 120, |hour, _| 60_000.0 + 1_500.0 * hour + noise());
        let trend = judge(&[leaks], WARM_UP_H, MEMORY);
        assert_eq!(trend.verdict, Verdict::Grows, "{trend:?}");
        assert!((1_300.0..1_700.0).contains(&trend.per_hour), "{trend:?}");
    }

    #[test]
    fn leak_is_found_over_lives_that_are_each_too_short_for_it() {
        let mut noise = noise(2, 300);
        let mut leaks = |from| life(from, 30, |hour, _| 60_000.0 + 1_800.0 * hour + noise());
        let lives = [leaks(0), leaks(30), leaks(60), leaks(90)];
        assert_eq!(judge(&lives[..1], WARM_UP_H, MEMORY).verdict, Verdict::Steady);
        let trend = judge(&lives, WARM_UP_H, MEMORY);
        assert_eq!((trend.verdict, trend.lives), (Verdict::Grows, 4), "{trend:?}");
    }

    #[test]
    fn descriptor_that_is_lost_now_and_then_is_found() {
        let leaks = life(0, 120, |_, minute| 40.0 + f64::from(minute / 20));
        assert_eq!(judge(&[leaks], WARM_UP_H, DESCRIPTORS).verdict, Verdict::Grows);
        // And a leak in steps, as arenas grow.
        let steps = life(0, 120, |_, minute| 60_000.0 + 4_000.0 * f64::from(minute / 30));
        assert_eq!(judge(&[steps], WARM_UP_H, MEMORY).verdict, Verdict::Grows);
    }

    #[test]
    fn noise_is_no_growth() {
        for seed in 0..50 {
            let mut memory = noise(seed, 4_000);
            let steady = life(0, 120, |_, _| 60_000.0 + memory());
            let mut few = noise(seed, 3);
            let descriptors = life(0, 120, |_, _| 40.0 + few());
            assert_eq!(judge(&[steady], WARM_UP_H, MEMORY).verdict, Verdict::Steady);
            assert_eq!(judge(&[descriptors], WARM_UP_H, DESCRIPTORS).verdict, Verdict::Steady);
        }
    }

    #[test]
    fn sawtooth_of_two_teeth_is_no_growth_wherever_it_is_cut_off() {
        for minutes in 71..160 {
            let sawtooth = life(0, minutes, |_, minute| 60_000.0 + 400.0 * f64::from(minute % 35));
            let trend = judge(&[sawtooth], 0.0, MEMORY);
            assert_eq!(trend.verdict, Verdict::Steady, "after {minutes}: {trend:?}");
        }
    }

    #[test]
    fn warming_up_and_one_step_are_no_growth() {
        let warms = life(0, 120, |_, minute| 60_000.0 - 20_000.0 / f64::from(1 + minute * minute));
        assert_eq!(judge(&[warms], WARM_UP_H, MEMORY).verdict, Verdict::Steady);
        let step = life(0, 120, |_, minute| if minute < 80 { 60_000.0 } else { 65_000.0 });
        assert_eq!(judge(&[step], WARM_UP_H, MEMORY).verdict, Verdict::Steady);
        // A life that begins higher than the one before is another life.
        let lives = [life(0, 60, |_, _| 60_000.0), life(60, 60, |_, _| 70_000.0)];
        assert_eq!(judge(&lives, WARM_UP_H, MEMORY).verdict, Verdict::Steady);
    }

    #[test]
    fn what_is_thrown_away_in_heaps_has_a_most_and_no_slope() {
        let rotated = life(0, 120, |_, minute| 20.0 * f64::from(minute % 100));
        assert_eq!(
            judge(std::slice::from_ref(&rotated), 0.0, Bound::Most(2_000.0)).verdict,
            Verdict::Steady
        );
        assert_eq!(judge(&[rotated], 0.0, Bound::Most(1_900.0)).verdict, Verdict::Grows);
    }

    #[test]
    fn what_is_too_short_is_not_judged() {
        let short = life(0, 9, |hour, _| 60_000.0 * hour);
        assert_eq!(judge(&[short], WARM_UP_H, MEMORY).verdict, Verdict::TooShort);
        assert_eq!(judge(&[], WARM_UP_H, MEMORY).verdict, Verdict::TooShort);
    }
}
