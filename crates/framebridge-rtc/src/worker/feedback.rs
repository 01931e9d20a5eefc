//! What viewers say of their reception, and what is done about it.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use super::{Worker, ntp_now};
use crate::{
    Feedback,
    channel::Channel,
    ice::Path,
    track::Track,
    viewer::{Feed, HOLD, Slot, Viewer},
};

impl Worker {
    pub(super) fn on_feedback(&mut self, slot: Slot, feedback: &Feedback, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let Some(Some(channel)) = self.channels.get_mut(viewer.stream.number) else {
            return;
        };
        let counters = &channel.stream.counters;
        // One that is held gets its keyframe when the time has come, and until then nothing.
        let is_held = matches!(viewer.feed, Feed::Held(_));
        match feedback {
            Feedback::KeyframeRequest => {
                let is_heard = viewer.wishes.hear(now);
                channel.on_wish(is_heard, is_held);
                begin_again(viewer, channel, is_heard && !is_held, now);
            }
            Feedback::IntraRequest(number) => {
                let is_heard = viewer.wishes.hear_command(*number, now);
                channel.on_wish(is_heard, is_held);
                begin_again(viewer, channel, is_heard && !is_held, now);
            }
            Feedback::Missing { numbers, beyond } => {
                let mut repeated = 0;
                if let Some((track, path)) = viewer.peer.media()
                    && !is_held
                {
                    let carries = viewer.congestion.carries(channel.rate());
                    let earned = (&mut viewer.repeats, carries);
                    repeated = channel.repeat(numbers, earned, (&*track, &path), &mut self.batch, now);
                }
                let asked = numbers.len() as u64 + beyond;
                counters.nacks.fetch_add(asked, Relaxed);
                counters.retransmitted.fetch_add(repeated, Relaxed);
                counters.repeats_refused.fetch_add(asked - repeated, Relaxed);
                counters.packets_sent.fetch_add(repeated, Relaxed);
            }
            Feedback::Report(report) => {
                let round_trip = report.round_trip(ntp_now());
                viewer.link.on_report(*report, round_trip, now);
                if let Some(round_trip) = round_trip {
                    viewer.repeats.on_round_trip(round_trip);
                }
                let Some(verdict) = viewer.congestion.on_report(*report, channel.rate(), now) else {
                    return;
                };
                counters.packets_lost.fetch_add(verdict.lost.into(), Relaxed);
                if verdict.is_congested && !is_held {
                    tracing::debug!(session = %viewer.session, lost = verdict.lost, "congested: held");
                    counters.holds.fetch_add(1, Relaxed);
                    viewer.feed = Feed::Held(now + HOLD);
                    viewer.congestion.on_hold(now + HOLD);
                }
            }
            Feedback::Estimate(bits_per_second) => viewer.congestion.on_estimate(*bits_per_second),
        }
    }
}

/// A viewer that wishes for a keyframe where none can be made begins with the last one again, and catches up.
fn begin_again(viewer: &mut Viewer, channel: &mut Channel, is_heard: bool, now: Instant) {
    let may = |(track, _): (&mut Track, Path)| channel.may_begin_again(track, now);
    if is_heard && viewer.peer.media().is_some_and(may) {
        viewer.feed = Feed::Waiting;
        channel.is_dirty = true;
    }
}
