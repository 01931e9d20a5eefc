//! A picture as it was taken from the source.

use std::time::Duration;

use ffmpeg_next::frame;
use rustix::time::{ClockId, clock_gettime};

use crate::{colour::Colours, ffi, shape};

/// One decoded picture and when it was taken.
pub struct Picture {
    pub(crate) frame: frame::Video,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub captured_ns: u64,
}

impl Picture {
    /// A picture taken `ago`.
    pub(crate) fn taken(frame: frame::Video, ago: Duration) -> Self {
        let captured_ns = monotonic_ns().saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(0));
        Self { frame, captured_ns }
    }

    /// The same picture, as if taken so much later.
    ///
    /// # Panics
    /// There is no memory for a reference.
    #[must_use]
    pub fn again(&self, later: Duration) -> Self {
        let frame = ffi::reference(&self.frame).expect("memory for a reference");
        let captured_ns = self.captured_ns + u64::try_from(later.as_nanos()).unwrap_or(0);
        Self { frame, captured_ns }
    }

    /// Width and height in pixels that are square, as it is meant to be seen.
    pub fn size(&self) -> (u32, u32) {
        shape::square((self.frame.width(), self.frame.height()), self.frame.aspect_ratio())
    }

    /// What its numbers mean.
    pub fn colours(&self) -> Colours {
        Colours::said(&self.frame)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (size, format) = (self.size(), self.frame.format());
        f.debug_struct("Picture")
            .field("size", &size)
            .field("format", &format)
            .field("captured_ns", &self.captured_ns)
            .finish()
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of [`Picture::captured_ns`].
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}
