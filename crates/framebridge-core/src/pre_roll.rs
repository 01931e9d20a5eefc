//! Keeps the last whole groups of a stream, bounded in time and in bytes.

use std::{collections::VecDeque, time::Duration};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So much of the stream can be had back; nothing is kept where it is zero. The group that it begins in is kept
    /// whole.
    pub span: Duration,
    /// Bytes in all, whatever span that is.
    pub bytes: usize,
}

/// The pictures of the last seconds. The first one kept is always a keyframe.
#[derive(Debug)]
pub struct PreRoll<T> {
    limits: Limits,
    kept: VecDeque<Entry<T>>,
    bytes: usize,
    /// Bytes since the last keyframe, that included.
    group: usize,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    bytes: usize,
    keyframe: bool,
    at: Duration,
}

impl<T: Clone> PreRoll<T> {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: VecDeque::new(),
            bytes: 0,
            group: 0,
        }
    }

    /// Keeps a picture of `bytes` bytes, which was taken at `at` on a clock that only grows. Returns whether a keyframe
    /// is worth asking for: a group can only go as a whole, and this one has half of all the room there is.
    pub fn push(&mut self, item: T, bytes: usize, keyframe: bool, at: Duration) -> bool {
        if self.limits.span.is_zero() || (self.kept.is_empty() && !keyframe) {
            return false;
        }
        self.group = if keyframe { bytes } else { self.group + bytes };
        self.bytes += bytes;
        self.kept.push_back(Entry {
            item,
            bytes,
            keyframe,
            at,
        });
        let oldest_wanted = at.saturating_sub(self.limits.span);
        while let Some(second) = self.second_group() {
            if self.kept[second].at > oldest_wanted && self.bytes <= self.limits.bytes {
                break;
            }
            self.bytes -= self.kept.drain(..second).map(|gone| gone.bytes).sum::<usize>();
        }
        if self.bytes > self.limits.bytes {
            self.clear();
            return true;
        }
        self.group > self.limits.bytes / 2
    }

    /// The last `span` of what is kept, oldest first: from the keyframe at its beginning or before it, or from the first
    /// one there is; from a later one if it would be over `bytes`.
    pub fn last(&self, span: Duration, bytes: usize) -> Vec<T> {
        let Some(newest) = self.kept.back() else {
            return Vec::new();
        };
        let wanted = newest.at.saturating_sub(span);
        let (mut start, mut weight) = (self.kept.len(), 0);
        for (at, kept) in self.kept.iter().enumerate().rev() {
            weight += kept.bytes;
            if weight > bytes {
                break;
            }
            if kept.keyframe {
                start = at;
                if kept.at <= wanted {
                    break;
                }
            }
        }
        self.kept.range(start..).map(|kept| kept.item.clone()).collect()
    }

    /// Forgets everything: what comes next does not continue it.
    pub fn clear(&mut self) {
        self.kept.clear();
        (self.bytes, self.group) = (0, 0);
    }

    /// Where the second group begins.
    fn second_group(&self) -> Option<usize> {
        (1..self.kept.len()).find(|at| self.kept[*at].keyframe)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pre_roll(seconds: u32, bytes: usize) -> PreRoll<u32> {
        PreRoll::new(Limits {
            span: SECOND * seconds,
            bytes,
        })
    }

    /// One picture of one byte a second, a keyframe every fifth.
    fn run(pre_roll: &mut PreRoll<u32>, seconds: u32) {
        for n in 0..seconds {
            pre_roll.push(n, 1, n % 5 == 0, SECOND * n);
        }
    }

    #[test]
    fn last_seconds_begin_at_the_keyframe_before_them() {
        let mut pre_roll = pre_roll(10, 1000);
        run(&mut pre_roll, 33);
        // The newest is 32; 7 s before it is 25, a keyframe; 8 s before it lies in the group of 20.
        assert_eq!(pre_roll.last(SECOND * 7, 1000), (25..33).collect::<Vec<_>>());
        assert_eq!(pre_roll.last(SECOND * 8, 1000), (20..33).collect::<Vec<_>>());
        assert_eq!(
            pre_roll.last(SECOND * 60, 1000),
            (20..33).collect::<Vec<_>>(),
            "all there is"
        );
        assert_eq!(
            pre_roll.last(SECOND * 60, 9),
            (25..33).collect::<Vec<_>>(),
            "all that fits"
        );
        assert_eq!(pre_roll.last(SECOND * 60, 2), [0; 0]);
    }

    #[test]
    fn nothing_is_kept_before_a_keyframe_after_an_end_or_without_a_span() {
        let mut kept = pre_roll(10, 1000);
        kept.push(0, 1, false, SECOND);
        assert_eq!(kept.last(SECOND, 1000), [0; 0]);
        run(&mut kept, 8);
        kept.clear();
        assert_eq!(kept.last(SECOND, 1000), [0; 0]);
        let mut off = pre_roll(0, 1000);
        run(&mut off, 8);
        assert_eq!(off.last(SECOND, 1000), [0; 0]);
    }

    #[test]
    fn group_that_outgrows_its_room_asks_for_a_keyframe_and_goes_if_none_comes() {
        let mut kept = pre_roll(1000, 10);
        let asked: Vec<bool> = (0..11).map(|n| kept.push(n, 1, n == 0, SECOND * n)).collect();
        assert_eq!(asked.iter().position(|asked| *asked), Some(5));
        assert_eq!(kept.last(SECOND * 60, 1000), [0; 0]);
        kept.push(11, 4, true, SECOND * 11);
        assert_eq!(kept.last(SECOND * 60, 1000), [11]);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_every_answer_starts_at_a_keyframe(
            pictures in prop::collection::vec((0..12_u8, 1..30_usize, 1..3000_u64), 1..300),
            asked in 1..20_u32,
        ) {
            let limits = Limits { span: SECOND * 10, bytes: 200 };
            let mut kept = PreRoll::new(limits);
            let mut at = Duration::ZERO;
            for (number, (kind, bytes, step)) in pictures.into_iter().enumerate() {
                at += Duration::from_millis(step);
                kept.push((number, kind == 0), bytes, kind == 0, at);
                prop_assert!(kept.bytes <= limits.bytes);
                prop_assert_eq!(kept.bytes, kept.kept.iter().map(|kept| kept.bytes).sum::<usize>());
                if let Some(second) = kept.second_group() {
                    prop_assert!(kept.kept[second].at + limits.span > at, "the first group was of no use");
                }
                let last = kept.last(SECOND * asked, 100);
                prop_assert!(last.first().is_none_or(|(_, keyframe)| *keyframe));
                prop_assert!(last.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
                prop_assert!(last.last().is_none_or(|(newest, _)| *newest == number));
            }
        }
    }
}
