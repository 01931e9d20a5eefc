//! What becomes of what a publisher sends.

use std::time::Instant;

use framebridge_core::reception::Unit;

use super::Worker;
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
        let ViewerState::Closed(reason) = state else {
            return;
        };
        let Some(viewer) = self.viewers.remove(slot) else {
            return;
        };
        let session = viewer.session;
        self.batch.outlets.leave(session);
        self.shared.close_publisher(&session);
        tracing::debug!(%session, %reason, "a publisher's session has ended");
    }
}
