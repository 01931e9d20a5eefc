//! How a viewer that starts in the past comes to the present.
//!
//! A stream that is sent on as its source has encoded it has keyframes seconds apart, and no others can be made. Who joins starts
//! at the last one and gets all that came since, as fast as is decent. With their own times players would show these pictures in
//! their own time, and be late by the group's length for good. So their times are squeezed into the moment before the present
//! ([`CatchUp::time`]): players decode them one after the other, and show what is left.
//!
//! The mapping is a pure function of a frame's time as long as it holds, so that a packet that is sent again is the same. The
//! times that a viewer sees only grow: what would not is not begun ([`CatchUp::plan`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::frame::Frame;

/// Of the viewer's time so much is given to what is past, ticks: a tenth of a second.
const MOST_TICKS: u64 = 9_000;

/// What is past comes in this many helpings at most, four milliseconds apart: within half a second, or three quarters, however
/// much it is ...
const HELPINGS: u64 = 128;

/// ... but for so many packets in each, which is 20 Mb/s.
const LEAST_HELPING: u64 = 8;

/// What was lost of it is sent again for so long after it began.
const REPEATED: Duration = Duration::from_secs(2);

/// After a group was sent to a viewer so much time and twice that of the group pass before it is sent again: nobody has more
/// sent to him than a small multiple of the stream.
const PAUSE: Duration = Duration::from_millis(500);

/// A viewer on its way from a keyframe in the past.
#[derive(Debug, Clone)]
pub(crate) struct CatchUp {
    /// The times of the frames from the keyframe to the newest one when it began.
    times: Arc<[u64]>,
    /// Ticks from one of them to the next, for this viewer.
    step: u64,
    /// The keyframe's first packet, and the number after the newest frame's last one.
    packets: (u64, u64),
    helping: u64,
    began: Instant,
    length: Duration,
}

impl CatchUp {
    /// For a viewer that has been told times up to `last`, from the first of `frames` on, which end with the newest. `None`: there is
    /// not enough time between the two yet.
    pub(crate) fn plan<'a>(
        frames: impl DoubleEndedIterator<Item = &'a Frame> + Clone,
        last: u64,
        now: Instant,
    ) -> Option<Self> {
        let (first, newest) = (frames.clone().next()?, frames.clone().next_back()?);
        let times: Arc<[u64]> = frames.map(|frame| frame.timestamp).collect();
        let steps = u64::try_from(times.len())
            .ok()?
            .checked_sub(1)
            .filter(|steps| *steps > 0)?;
        let room = newest.timestamp.checked_sub(last)?.saturating_sub(1).min(MOST_TICKS);
        let packets = (first.first, newest.end());
        // No two pictures may have the same time.
        (room >= steps).then(|| Self {
            times,
            step: room / steps,
            packets,
            helping: (packets.1 - packets.0).div_ceil(HELPINGS).max(LEAST_HELPING),
            began: now,
            length: now.saturating_duration_since(first.captured),
        })
    }

    /// A frame's time as the viewer is told it.
    pub(crate) fn time(&self, timestamp: u64) -> u64 {
        let present = self.times.last().copied().unwrap_or(0);
        if timestamp >= present {
            return timestamp;
        }
        let at = self.times.partition_point(|time| *time < timestamp);
        let before = u64::try_from(self.times.len() - 1 - at).unwrap_or(0);
        present - before * self.step
    }

    /// Packets that the viewer gets at once from `packet` on, of `usual` ones.
    pub(crate) fn helping(&self, packet: u64, usual: u64) -> u64 {
        let is_past = (self.packets.0..self.packets.1).contains(&packet);
        if is_past { self.helping.min(usual) } else { usual }
    }

    /// Whether what is past is still sent again.
    pub(crate) fn is_repeated(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) <= REPEATED
    }

    /// Whether the group may be sent again by now.
    pub(crate) fn may_begin_again(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= self.length * 2 + PAUSE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Payloads;

    /// Frames of three packets each at these times.
    fn frames(times: &[u64], now: Instant) -> Vec<Frame> {
        let unit: Vec<u8> = (0..3).flat_map(|_| [0, 0, 1, 0x41, 9]).collect();
        (0..)
            .zip(times)
            .map(|(number, time)| Frame::new(number * 3, *time, number == 0, now, Payloads::of(&unit)))
            .collect()
    }

    fn group(pictures: u64) -> Vec<u64> {
        (0..pictures).map(|number| 1_000_000 + number * 3600).collect()
    }

    #[test]
    fn who_joins_gets_a_whole_group_within_a_tenth_of_a_second_of_its_time() {
        let now = Instant::now();
        let frames = frames(&group(100), now);
        let plan = CatchUp::plan(frames.iter(), 0, now).unwrap();
        let times: Vec<u64> = frames.iter().map(|frame| plan.time(frame.timestamp)).collect();
        assert!(times.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(times[99], frames[99].timestamp, "the newest is now");
        assert_eq!(times[99] - times[0], MOST_TICKS / 99 * 99);
        assert_eq!(plan.time(frames[99].timestamp + 3600), frames[99].timestamp + 3600);
    }

    #[test]
    fn who_has_seen_the_newest_waits_for_the_next_picture() {
        let now = Instant::now();
        let frames = frames(&group(100), now);
        let seen = frames[98].timestamp;
        assert!(CatchUp::plan(frames[..99].iter(), seen, now).is_none());
        let plan = CatchUp::plan(frames.iter(), seen, now).unwrap();
        assert!(plan.time(frames[0].timestamp) > seen);
    }

    #[test]
    fn what_is_past_is_sent_in_helpings_and_what_is_new_as_usual() {
        let now = Instant::now();
        let frames = frames(&group(1000), now);
        let plan = CatchUp::plan(frames.iter(), 0, now).unwrap();
        assert_eq!(plan.helping(0, 64), 24, "3000 packets in half a second");
        assert_eq!(plan.helping(3000, 64), 64);
        let few = CatchUp::plan(frames[..10].iter(), 0, now).unwrap();
        assert_eq!(few.helping(0, 64), LEAST_HELPING);
    }

    #[test]
    fn a_group_is_not_sent_again_and_again() {
        let start = Instant::now();
        let frames = frames(&group(100), start);
        let later = start + Duration::from_secs(4);
        let plan = CatchUp::plan(frames.iter(), 0, later).unwrap();
        assert!(!plan.may_begin_again(later + Duration::from_secs(8)));
        assert!(plan.may_begin_again(later + Duration::from_millis(8500)));
    }

    proptest! {
        #[test]
        fn times_only_grow_and_no_two_are_the_same(
            steps in prop::collection::vec(prop_oneof![1_u64..4, 1_u64..20_000], 1..600),
            seen in 0_u64..4_000_000,
        ) {
            let mut time = 1_000_000;
            let times: Vec<u64> = steps.iter().map(|step| { time += step; time }).collect();
            let now = Instant::now();
            let frames = frames(&times, now);
            if let Some(plan) = CatchUp::plan(frames.iter(), seen, now) {
                let times: Vec<u64> = frames.iter().map(|frame| plan.time(frame.timestamp)).collect();
                prop_assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
                prop_assert!(times[0] > seen);
            }
        }
    }
}
