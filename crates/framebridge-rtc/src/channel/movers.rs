//! Viewers who come from another rung.

use std::time::Instant;

use framebridge_proto::media::Rung;

use super::Channel;
use crate::{packetizer::CLOCK_HZ, viewer::Slot};

/// How much earlier a rung's keyframe may be on the timeline than the picture of another rung that it is the same as, in ticks: the
/// clocks of two rungs differ by their rounding.
const SAME_PICTURE: u64 = CLOCK_HZ / 100;

impl Channel {
    /// Where a viewer can start now that was sent another rung up to this time: nothing that it is given may be of before.
    pub(crate) fn entry_after(&self, last: Option<u64>, now: Instant) -> Option<u64> {
        let first = self.entry(now)?;
        let frame = &self.frames[self.position(first)?];
        last.is_none_or(|last| frame.timestamp + SAME_PICTURE > last)
            .then_some(first)
    }

    /// A viewer of another rung waits for a keyframe of this one. It is asked for where that costs nobody else on the full rung
    /// one more; else the next one comes by itself.
    pub(crate) fn await_mover(&mut self, slot: Slot, now: Instant) {
        if !self.movers.contains(&slot) {
            self.movers.push(slot);
        }
        self.is_dirty = true;
        self.wants_keyframe |= self.may_ask_for_movers() && self.lacks_entry(now);
    }

    /// Whether those who wait may have a keyframe made.
    pub(crate) fn may_ask_for_movers(&self) -> bool {
        self.rung != Rung::Full || !self.stream.rungs.is_fed(Rung::Full)
    }

    /// The highest rate of late, bits per second; `None` while nothing comes.
    pub(crate) fn peak_rate(&self) -> Option<u32> {
        (self.peak > 0.0).then(|| whole(self.peak))
    }

    /// [`rate`](Self::rate) in whole bits per second.
    pub(crate) fn whole_rate(&self) -> u32 {
        whole(self.rate)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive, and one that does not fit is as good as the largest that does"
)]
fn whole(rate: f32) -> u32 {
    rate as u32
}
