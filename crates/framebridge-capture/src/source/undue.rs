//! What was read and may have to wait for its time.

use std::time::{Duration, Instant};

use ffmpeg_next::frame;

use super::{SourceError, coded::CodedPicture};
use crate::Interrupt;

/// What was read, the times that belong to it, and no look at it before [`wait`](Self::wait).
pub struct Undue<T> {
    what: T,
    /// Its time in the source.
    time: Option<Duration>,
    taken: Instant,
    due: Instant,
}

/// A picture, decoded.
pub type UnduePicture = Undue<frame::Video>;

/// A picture as its source has encoded it: H.264, and nothing that browsers don't play.
pub type UndueUnit = Undue<CodedPicture>;

impl<T> Undue<T> {
    pub(super) fn new(what: T, time: Option<Duration>, taken: Instant, due: Instant) -> Self {
        Self { what, time, taken, due }
    }

    /// Its time in the source, where that has one.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// When it was taken, as far as is known: of a network source, when it came.
    pub fn taken(&self) -> Instant {
        self.taken
    }

    /// When it is to be shown, or sent.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// It was taken then and is due then.
    pub fn place(&mut self, taken: Instant, due: Instant) {
        (self.taken, self.due) = (taken, due);
    }

    /// It, once it is due; or the interrupt was stopped.
    pub(super) fn wait(self, interrupt: &Interrupt) -> Result<T, SourceError> {
        if interrupt.wait_until(self.due) {
            Ok(self.what)
        } else {
            Err(SourceError::Stopped)
        }
    }
}

impl<T> std::fmt::Debug for Undue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undue").field("due", &self.due).finish_non_exhaustive()
    }
}
