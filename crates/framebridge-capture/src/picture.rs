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

    /// Whether it shows the same as `other`, to the last pixel.
    pub fn shows_same(&self, other: &Self) -> bool {
        let (frame, other) = (&self.frame, &other.frame);
        let traits = |frame: &frame::Video| (frame.format(), frame.width(), frame.height(), frame.aspect_ratio());
        traits(frame) == traits(other)
            && Colours::said(frame) == Colours::said(other)
            && ffi::has_same_pixels(frame, other)
    }

    /// Width and height in pixels that are square, as it is meant to be seen.
    pub fn size(&self) -> (u32, u32) {
        shape::square((self.frame.width(), self.frame.height()), self.frame.aspect_ratio())
    }

    /// What it is like: what each thing is called, and what it is.
    pub(crate) fn findings(&self) -> Vec<(&'static str, String)> {
        let (stored, shown) = ((self.frame.width(), self.frame.height()), self.size());
        let mut size = format!("{}x{}", shown.0, shown.1);
        if stored != shown {
            size += &format!(", of {}x{} pixels that are not square", stored.0, stored.1);
        }
        let colours = self.colours();
        let said = [
            colours.matrix.name(),
            colours.range.name(),
            colours.primaries.name(),
            colours.transfer.name(),
        ];
        let said: Vec<&str> = said.into_iter().map(|name| name.unwrap_or("unknown")).collect();
        vec![
            ("size", size),
            ("pixels", ffi::format_name(self.frame.format()).to_owned()),
            (
                "colours",
                format!(
                    "matrix {}, range {}, primaries {}, transfer {}",
                    said[0], said[1], said[2], said[3]
                ),
            ),
        ]
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
