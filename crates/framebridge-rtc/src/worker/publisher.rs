//! What becomes of what a publisher sends.

use std::time::Instant;

use framebridge_core::reception::Unit;

use super::{Worker, may_send};
use crate::{CloseReason, Input, ViewerState, publishers::Taken, viewer::Slot};

impl Worker {
    /// Hands a publisher's frame over. A publisher that nobody has a use for any more is told so.
    pub(super) fn on_unit(&mut self, slot: Slot, unit: Unit, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let Some(publisher) = &mut viewer.publisher else {
            return;
        };
        // By the peer alone: whoever brought the frame takes its outputs, too. By `Worker::handle` it would be one call within another
        // for each frame that is queued.
        match publisher.unit(unit) {
            Taken::Yes => {}
            Taken::No => viewer.peer.handle(Input::Keyframe, now),
            Taken::Deserted => viewer.peer.handle(Input::Close(CloseReason::Left), now),
        }
    }

    /// Tells a publisher something, if it is there and what the viewer file allows covers it.
    pub(super) fn tell_publisher(&mut self, slot: Slot, mut packet: Vec<u8>) {
        if let Some(viewer) = self.viewers.get_mut(slot)
            && let Some((track, path)) = viewer.peer.media()
            && may_send(&mut viewer.reservation.as_mut(), &self.viewer_file, track, (0, 0))
        {
            track.protect(&mut packet);
            self.batch.push(&path, &packet);
        }
    }

    /// Has the viewer file know a publisher as it is now, where it is elsewhere than what is kept says.
    pub(super) fn keep_publisher(&mut self, slot: Slot) {
        let viewer = self.viewers.get_mut(slot).filter(|viewer| viewer.publisher.is_some());
        let is_outdated = viewer.is_some_and(|viewer| {
            let (path, reservation) = (viewer.peer.path(), viewer.reservation.as_ref());
            path.zip(reservation)
                .is_some_and(|(path, reservation)| reservation.is_outdated(&path, &viewer.peer))
        });
        if is_outdated {
            self.keep(slot);
        }
    }

    /// Ends a publisher's session that nobody knows any more: the command to do so may have found no room.
    pub(super) fn end_forgotten(&mut self, slot: Slot, now: Instant) {
        let publisher = self.viewers.get_mut(slot).filter(|viewer| viewer.publisher.is_some());
        let Some(session) = publisher.map(|viewer| viewer.session) else {
            return;
        };
        let is_known = self.shared.publishers().contains_key(&session);
        if !is_known {
            self.end(slot, CloseReason::Left, now);
        }
    }

    /// A publisher's life went on.
    pub(super) fn on_publisher_state(&mut self, slot: Slot, state: ViewerState) {
        if let Some(publisher) = self.viewers.get_mut(slot).and_then(|viewer| viewer.publisher.as_mut()) {
            publisher.state(state);
        }
        if state == ViewerState::Live {
            self.keep(slot);
        }
        let ViewerState::Closed(reason) = state else {
            return;
        };
        let Some(viewer) = self.viewers.remove(slot) else {
            return;
        };
        let session = viewer.session;
        if let Some(reservation) = viewer.reservation {
            self.viewer_file.wipe(reservation.place);
        }
        self.batch.outlets.leave(session);
        self.shared.close_publisher(&session);
        tracing::debug!(%session, %reason, "a publisher's session has ended");
    }
}
