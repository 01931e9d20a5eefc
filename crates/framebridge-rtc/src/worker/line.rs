//! What becomes of a line.

use std::time::Instant;

use super::Worker;
use crate::{CloseReason, Input, LineEvent, ViewerState, viewer::Slot};

impl Worker {
    /// Tells a line's owner. One that does not read, or is gone, has no use for it any more.
    pub(super) fn on_line(&mut self, slot: Slot, event: LineEvent, now: Instant) {
        let viewer = self.viewers.get_mut(slot);
        let is_lost = viewer.is_some_and(|viewer| viewer.line.as_ref().is_some_and(|line| !line.tell(event)));
        if is_lost {
            self.handle(slot, Input::Close(CloseReason::LanesFailed), now);
        }
    }

    /// A line's life went on.
    pub(super) fn on_line_state(&mut self, slot: Slot, state: ViewerState) {
        let ViewerState::Closed(reason) = state else {
            return;
        };
        let Some(viewer) = self.viewers.remove(slot) else {
            return;
        };
        let session = viewer.session;
        self.batch.outlets.leave(session);
        self.shared.lines.close(&session);
        tracing::debug!(%session, %reason, "a line has ended");
    }
}
