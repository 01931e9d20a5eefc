//! Frames as they come, for those who watch by plain HTTP; with the last group of a stream that is sent on as it comes, for no
//! keyframe can be had there for who joins.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use framebridge_proto::media::AccessUnit;
use tokio::sync::broadcast::{Receiver, Sender};

/// Frames that wait for who watches: two seconds at 30 a second. Full: the oldest is lost, and the slow one goes on at a keyframe.
const UNITS: usize = 64;

/// What is kept: more than encoders send on without a keyframe. A group that is over it is forgotten, and who comes waits for the
/// next keyframe.
const MOST_UNITS: usize = 640;
const MOST_BYTES: usize = 16 << 20;

/// Units of a group come so close together for who joins, ns: players of films show what they are given in its own time, and
/// would stay behind by the group's length.
const STEP_NS: u64 = 1_000_000;

/// A group whose newest unit came longer ago is of another time.
const FRESH: Duration = Duration::from_secs(2);

/// See above.
#[derive(Debug)]
pub(crate) struct Units {
    watching: Sender<AccessUnit>,
    kept: Mutex<Kept>,
}

/// Empty where keyframes can be asked for.
#[derive(Debug, Default)]
struct Kept {
    units: Vec<AccessUnit>,
    bytes: usize,
    last: Option<Instant>,
}

impl Units {
    pub(crate) fn new() -> Self {
        Self {
            watching: Sender::new(UNITS),
            kept: Mutex::default(),
        }
    }

    /// Hands a unit to all who watch, and keeps it for those who come; `is_copied`: no keyframe can be asked for.
    pub(crate) fn send(&self, unit: &AccessUnit, is_copied: bool) {
        let mut kept = self.lock();
        kept.keep(unit, is_copied);
        if self.watching.receiver_count() > 0 {
            // Fails where the last of them has just left.
            _ = self.watching.send(unit.clone());
        }
    }

    /// For who comes: what there was of the group, as if it had come in the last moments, and what comes from now on.
    pub(crate) fn join(&self) -> (Vec<AccessUnit>, Receiver<AccessUnit>) {
        let kept = self.lock();
        let is_fresh = kept.last.is_some_and(|last| last.elapsed() < FRESH);
        let group = if is_fresh { kept.squeezed() } else { Vec::new() };
        (group, self.watching.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, unit: &AccessUnit, is_copied: bool) {
        if unit.keyframe || !is_copied {
            *self = Self::default();
        }
        let begins = unit.keyframe && is_copied;
        let follows = self
            .units
            .last()
            .is_some_and(|last| unit.sequence == last.sequence.wrapping_add(1));
        if !begins && !follows {
            *self = Self::default();
            return;
        }
        self.bytes += unit.payload.len();
        self.units.push(unit.clone());
        self.last = Some(Instant::now());
        if self.units.len() > MOST_UNITS || self.bytes > MOST_BYTES {
            *self = Self::default();
        }
    }

    fn squeezed(&self) -> Vec<AccessUnit> {
        let newest = self.units.last().map_or(0, |unit| unit.captured_ns);
        let count = self.units.len();
        (1..)
            .zip(&self.units)
            .map(|(number, unit)| {
                let back = u64::try_from(count - number).unwrap_or(u64::MAX);
                AccessUnit {
                    captured_ns: newest.saturating_sub(back.saturating_mul(STEP_NS)),
                    ..unit.clone()
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn unit(sequence: u64, bytes: usize) -> AccessUnit {
        AccessUnit {
            sequence,
            captured_ns: 10_000_000_000 + sequence * 40_000_000,
            encoded_ns: 0,
            pts: sequence * 3600,
            keyframe: sequence.is_multiple_of(100),
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn who_comes_gets_the_group_as_if_it_were_of_this_moment_and_all_that_follows() {
        let group = Units::new();
        (0..150).for_each(|number| group.send(&unit(number, 10), true));
        let (kept, mut follows) = group.join();
        assert_eq!(
            kept.iter().map(|unit| unit.sequence).collect::<Vec<_>>(),
            (100..150).collect::<Vec<_>>()
        );
        assert_eq!(kept[49].captured_ns, unit(149, 0).captured_ns);
        assert_eq!(kept[49].captured_ns - kept[0].captured_ns, 49 * STEP_NS);
        group.send(&unit(150, 10), true);
        assert_eq!(follows.try_recv().unwrap().sequence, 150);
    }

    #[test]
    fn nothing_is_kept_where_a_keyframe_can_be_had_after_a_gap_or_beyond_the_bounds() {
        let group = Units::new();
        let kept = |group: &Units| group.join().0.len();
        (0..50).for_each(|number| group.send(&unit(number, 10), false));
        assert_eq!(kept(&group), 0);
        (100..120)
            .chain(130..150)
            .for_each(|number| group.send(&unit(number, 10), true));
        assert_eq!(kept(&group), 0);
        (200..205).for_each(|number| group.send(&unit(number, MOST_BYTES / 4), true));
        assert_eq!(kept(&group), 0);
        (300..310).for_each(|number| group.send(&unit(number, 10), true));
        assert_eq!(kept(&group), 10);
    }
}
