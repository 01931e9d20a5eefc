//! What becomes of what a publisher sends.

use std::time::Instant;

use framebridge_core::reception::Unit;

use super::Worker;
use crate::{CloseReason, Input, ViewerState, publishers::Taken, viewer::Slot};

impl Worker {
    /// Hands a publisher's frame over. A publisher that nobody has a use for any more is told so.
    pub(super) fn on_unit(&mut self, slot: Slot, unit: Unit, now: Instant) {
        let publisher = self.viewers.get_mut(slot).and_then(|viewer| viewer.publisher.as_mut());
        match publisher.map(|publisher| publisher.unit(unit)) {
            Some(Taken::No) => self.handle(slot, Input::Keyframe, now),
            Some(Taken::Deserted) => self.handle(slot, Input::Close(CloseReason::Left), now),
            Some(Taken::Yes) | None => {}
        }
    }

    /// A publisher's life went on.
    pub(super) fn on_publisher_state(&mut self, slot: Slot, state: ViewerState) {
        if let Some(publisher) = self.viewers.get_mut(slot).and_then(|viewer| viewer.publisher.as_ref()) {
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
