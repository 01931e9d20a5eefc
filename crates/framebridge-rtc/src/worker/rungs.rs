//! Which rung each viewer is given, and how it gets from one to another: at a keyframe of the other one, with nothing left out and
//! nothing twice, and without a keyframe more for anybody else on the full rung.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use framebridge_core::rung::Facts;
use framebridge_proto::media::Rung;

use super::Worker;
use crate::{
    HoldReason, SessionId,
    channel::Channel,
    viewer::{Slot, Standing, Viewer, Viewers},
};

/// A viewer that is to have less is given what it has for so long meanwhile; then it is held, as without rungs.
const MOVE_LIMIT: Duration = Duration::from_millis(1500);

impl Worker {
    /// Looks at what a viewer's link carries, and aims at the rung for it.
    pub(super) fn choose(&mut self, slot: Slot, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        if !viewer.watches() {
            return;
        }
        let in_use = viewer.footing.in_use();
        let is_known = viewer.stream.rungs.rates()[Rung::Full.index()].is_some();
        if !is_known || (!viewer.stream.rungs.is_ladder() && in_use == Rung::Full) {
            return;
        }
        let facts = facts(viewer, &self.channels);
        let aim = viewer.choice.observe(&facts, now);
        viewer.rate.wants(viewer.choice.wants(&facts));
        if aim == viewer.footing.aim() {
            return;
        }
        tracing::debug!(session = %viewer.session, %in_use, %aim, ?facts, "another rung");
        viewer.footing.change(in_use, aim);
        viewer.aimed = now;
        if aim != in_use {
            let stream = Arc::clone(&viewer.stream);
            let is_gone = facts.rates[in_use.index()].is_none();
            let channel = self.channel(&stream, aim);
            channel.await_mover(slot, now);
            // What it is given may have stopped: it needs a keyframe as who has no picture does.
            channel.wants_keyframe |= is_gone && channel.lacks_entry(now);
        }
    }

    /// A viewer says how much it wants.
    pub(super) fn on_best(&mut self, session: &SessionId, best: Rung, now: Instant) {
        if let Some(slot) = self.viewers.by_session(session)
            && let Some(viewer) = self.viewers.get_mut(slot)
        {
            let is_more = best < viewer.best;
            viewer.best = best;
            if is_more {
                viewer.choice.wish();
            }
            let is_kept = viewer.reservation.is_some();
            self.choose(slot, now);
            if is_kept {
                self.keep(slot);
            }
            // Somebody asks for it, as who joins does.
            if let Some(viewer) = self.viewers.get_mut(slot)
                && viewer.footing.aim() < viewer.footing.in_use()
            {
                let (stream, aim) = (Arc::clone(&viewer.stream), viewer.footing.aim());
                let channel = self.channel(&stream, aim);
                channel.wants_keyframe |= channel.lacks_entry(now);
                channel.is_dirty = true;
            }
        }
    }

    /// These viewers have left these channels for others.
    pub(super) fn leave_channels(&mut self, left: &[(Slot, usize)], now: Instant) {
        for (slot, from) in left {
            if let Some(Some(channel)) = self.channels.get_mut(*from) {
                channel.members.retain(|member| member != slot);
            }
            if let Some(viewer) = self.viewers.get_mut(*slot) {
                viewer.congestion.on_move();
                viewer.rate.on_move();
                self.shared.note_link(viewer, now);
                viewer.stream.counters.moves.fetch_add(1, Relaxed);
            }
            // At once: the next process goes on with what the viewer gets.
            self.keep(*slot);
        }
    }

    /// Gives viewers that wait for this channel's next keyframe that keyframe, if it is there. Returns those that came, and the
    /// channels that they have left.
    pub(super) fn take_movers(channel: &mut Channel, viewers: &mut Viewers, now: Instant) -> Vec<(Slot, usize)> {
        let mut came = Vec::new();
        channel.movers.retain(|slot| {
            let Some(viewer) = viewers.get_mut(*slot) else {
                return false;
            };
            let is_meant = viewer.stream.number == channel.stream.number
                && viewer.footing.aim() == channel.rung
                && viewer.footing.in_use() != channel.rung;
            let is_in_frame = viewer.is_in_frame && matches!(viewer.standing, Standing::At(_));
            if is_meant && !is_in_frame {
                came.push(*slot);
            }
            is_meant
        });
        came.retain(|slot| viewers.get_mut(*slot).is_some_and(|viewer| enter(channel, viewer, now)));
        let moved = |slot: &Slot| came.contains(slot);
        channel.movers.retain(|slot| !moved(slot));
        let left = came.iter().filter_map(|slot| {
            let viewer = viewers.get_mut(*slot)?;
            let left = viewer.channel();
            viewer.footing.change(channel.rung, channel.rung);
            channel.members.push(*slot);
            Some((*slot, left))
        });
        left.collect()
    }
}

/// Has a viewer begin on a channel, if there is a keyframe that is later than all that it was sent.
fn enter(channel: &Channel, viewer: &mut Viewer, now: Instant) -> bool {
    let Some((track, _)) = viewer.peer.media() else {
        return false;
    };
    let Some(first) = channel.entry_after(track.last_timestamp(), now) else {
        return false;
    };
    track.jump(first);
    viewer.standing = Standing::At(first);
    true
}

/// What is seen of a viewer.
fn facts(viewer: &Viewer, channels: &[Option<Channel>]) -> Facts {
    let offered = viewer.stream.rungs.rates();
    let channel = |rung: Rung| channels.get(viewer.stream.channel(rung))?.as_ref();
    // What a rung really takes may be less than it may take: a desktop stands still most of the time. One that is not made now
    // would take the same share of it as the full one.
    let seen = |rung: Rung| channel(rung).and_then(Channel::peak_rate).map(f64::from);
    let share = match (offered[Rung::Full.index()].map(f64::from), seen(Rung::Full)) {
        (Some(offered), Some(seen)) => (seen / offered).min(1.0),
        (None, _) | (_, None) => 1.0,
    };
    let rates = Rung::ALL.map(|rung| {
        let offered = offered[rung.index()].map(f64::from)?;
        // What comes as its source has encoded it heeds no offer.
        let most = if rung == Rung::Full && viewer.stream.is_copied() {
            f64::INFINITY
        } else {
            offered
        };
        Some(whole(seen(rung).map_or(offered * share, |seen| seen.min(most))))
    });
    let in_use = viewer.footing.in_use();
    // By TCP nothing is lost, and what comes late says the same.
    let is_behind = matches!(viewer.standing, Standing::Held(_)) && viewer.hold == HoldReason::Behind;
    let loss = viewer.rate.loss().max(viewer.congestion.loss());
    Facts {
        rates,
        sent: channel(in_use).map_or(0, Channel::whole_rate),
        in_use,
        best: viewer.best,
        estimate: viewer.rate.estimate(),
        is_overused: viewer.rate.is_overused(),
        loss: if is_behind { 1.0 } else { loss },
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and what is offered"
)]
fn whole(rate: f64) -> u32 {
    rate as u32
}

impl Viewer {
    /// Whether it is on its way to a lower rung, and may be given what it has meanwhile.
    pub(super) fn is_stepping_down(&self, now: Instant) -> bool {
        self.footing.aim() > self.footing.in_use() && now.saturating_duration_since(self.aimed) < MOVE_LIMIT
    }
}
