//! What viewers say of their reception, and what is done about it.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Instant, SystemTime},
};

use super::{Worker, may_send};
use crate::{
    Feedback, HoldReason,
    channel::Channel,
    clock::ntp,
    ice::Path,
    track::Track,
    viewer::{HOLD, Slot, Standing, Viewer},
};

impl Worker {
    pub(super) fn on_feedback(&mut self, slot: Slot, feedback: &Feedback, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let Some(Some(channel)) = self.channels.get_mut(viewer.channel()) else {
            return;
        };
        let counters = &channel.stream.counters;
        // One that is held gets its keyframe when the time has come, and until then nothing.
        let is_held = matches!(viewer.standing, Standing::Held(_));
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
                let most = numbers.len() as u64;
                if let Some((track, path)) = viewer.peer.media()
                    && !is_held
                    && may_send(&mut viewer.reservation.as_mut(), &self.viewer_file, track, (0, most))
                {
                    let carries = viewer.congestion.carries(channel.rate());
                    let earned = (&mut viewer.repeats, carries);
                    let numbered = track.next_number();
                    let sent = channel.repeat(numbers, earned, (track, &path), &mut self.batch, now);
                    repeated = sent.packets;
                    if let Some(first) = numbered {
                        viewer.rate.on_sent(first, sent.packets, sent.bytes, now);
                    }
                }
                let asked = numbers.len() as u64 + beyond;
                counters.nacks.fetch_add(asked, Relaxed);
                counters.retransmitted.fetch_add(repeated, Relaxed);
                counters.repeats_refused.fetch_add(asked - repeated, Relaxed);
                counters.packets_sent.fetch_add(repeated, Relaxed);
            }
            Feedback::Report(report) => {
                let round_trip = report.round_trip(ntp(SystemTime::now()));
                viewer.link.on_report(*report, round_trip, now);
                if let Some(round_trip) = round_trip {
                    viewer.repeats.on_round_trip(round_trip);
                    viewer.rate.on_round_trip(viewer.repeats.round_trip());
                }
                let link = (channel.rate(), viewer.repeats.round_trip());
                let Some(verdict) = viewer.congestion.on_report(*report, link, now) else {
                    return;
                };
                counters.packets_lost.fetch_add(verdict.lost.into(), Relaxed);
                if verdict.is_congested && !is_held && !viewer.is_stepping_down(now) {
                    tracing::debug!(session = %viewer.session, lost = verdict.lost, "congested: held");
                    counters.holds.fetch_add(1, Relaxed);
                    (viewer.standing, viewer.hold) = (Standing::Held(now + HOLD), HoldReason::Loss);
                    viewer.congestion.on_hold(now + HOLD);
                }
                if let Some(pause) = verdict.pause {
                    tracing::info!(session = %viewer.session, lost = verdict.lost, ?pause, "circuit breaker: held");
                    counters.holds.fetch_add(u64::from(!is_held), Relaxed);
                    (viewer.standing, viewer.hold) = (Standing::Held(now + pause), HoldReason::CircuitBreaker);
                    viewer.congestion.on_hold(now + pause);
                }
            }
            Feedback::Estimate(bits_per_second) => {
                if !viewer.rate.has_feedback() {
                    viewer.congestion.on_estimate(*bits_per_second);
                }
                viewer.rate.on_told(*bits_per_second);
            }
            Feedback::Arrivals(arrivals) => {
                viewer.rate.on_arrivals(arrivals, now);
                if let Some(estimate) = viewer.rate.estimate() {
                    #[expect(clippy::cast_precision_loss, reason = "a rate")]
                    viewer.congestion.on_estimate(estimate as f32);
                }
            }
        }
    }
}

/// A viewer that wishes for a keyframe where none can be made begins with the last one again, and catches up.
fn begin_again(viewer: &mut Viewer, channel: &mut Channel, is_heard: bool, now: Instant) {
    let may = |(track, _): (&mut Track, Path)| channel.may_begin_again(track, now);
    if is_heard && viewer.peer.media().is_some_and(may) {
        viewer.standing = Standing::Waiting;
        channel.is_dirty = true;
    }
}
