//! Pictures in the size and format that the encoder takes.

use ffmpeg_next::{
    format::Pixel,
    frame,
    software::scaling::{Context, Flags},
};

use crate::{FfmpegError, Picture, ffi};

/// The size that a picture of `size` is encoded in: its longest edge is at most `longest_edge`, its shape is kept, and
/// both edges are even, as 4:2:0 needs. A picture is never made larger: that costs bits and shows nothing more.
pub fn fit(size: (u32, u32), longest_edge: u32) -> (u32, u32) {
    let longest = size.0.max(size.1).max(1);
    let target = longest.min(longest_edge);
    let edge = |edge: u32| {
        let scaled = (u64::from(edge) * u64::from(target) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(target).max(2) & !1
    };
    (edge(size.0), edge(size.1))
}

/// Scales and converts. Belongs to one thread.
#[derive(Default)]
pub struct Scaler {
    context: Option<Context>,
    /// The last result, whose memory the next one takes over when nobody else refers to it any more.
    scaled: Option<frame::Video>,
}

/// Why a picture could not be scaled.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// There is no way from one format and size to the other.
    #[error("can't convert pictures of the source to {}x{}", size.0, size.1)]
    Unsupported {
        /// The size asked for.
        size: (u32, u32),
        /// FFmpeg's reason.
        #[source]
        source: FfmpegError,
    },
    /// It failed on one picture.
    #[error("can't scale a picture")]
    Scale(#[source] FfmpegError),
}

impl Scaler {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `picture` in `size` and `format`. One that is so already is not copied.
    ///
    /// # Errors
    /// FFmpeg can't convert it.
    pub(crate) fn convert(
        &mut self,
        picture: &Picture,
        format: Pixel,
        size: (u32, u32),
    ) -> Result<frame::Video, ScaleError> {
        let frame = &picture.frame;
        let failed = |code| ScaleError::Scale(FfmpegError::of(code));
        if frame.format() == format && picture.size() == size {
            return ffi::reference(frame).map_err(failed);
        }
        let context = match self.context.take() {
            Some(context) if fits(&context, frame, format, size) => context,
            Some(_) | None => open(frame, format, size)?,
        };
        let context = self.context.insert(context);
        let mut scaled = self
            .scaled
            .take()
            .filter(|last| (last.format(), (last.width(), last.height())) == (format, size))
            .filter(ffi::is_writable)
            .unwrap_or_else(frame::Video::empty);
        context.run(frame, &mut scaled).map_err(failed)?;
        ffi::reference(self.scaled.insert(scaled)).map_err(failed)
    }
}

fn open(frame: &frame::Video, format: Pixel, size: (u32, u32)) -> Result<Context, ScaleError> {
    Context::get(
        frame.format(),
        frame.width(),
        frame.height(),
        format,
        size.0,
        size.1,
        Flags::BILINEAR,
    )
    .map_err(|code| ScaleError::Unsupported {
        size,
        source: FfmpegError::of(code),
    })
}

fn fits(context: &Context, frame: &frame::Video, format: Pixel, size: (u32, u32)) -> bool {
    let (input, output) = (context.input(), context.output());
    (input.format, input.width, input.height) == (frame.format(), frame.width(), frame.height())
        && (output.format, (output.width, output.height)) == (format, size)
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_edge_bounds_the_size_and_both_edges_are_even() {
        for (size, longest_edge, fitted) in [
            ((1280, 720), 1280, (1280, 720)),
            ((1280, 720), 1920, (1280, 720)),
            ((1920, 1080), 1280, (1280, 720)),
            ((1080, 1920), 1280, (720, 1280)),
            ((1279, 719), 1280, (1278, 718)),
            ((1366, 768), 640, (640, 360)),
            ((4096, 16), 64, (64, 2)),
            ((3, 3), 64, (2, 2)),
            ((1, 1), 64, (2, 2)),
        ] {
            assert_eq!(fit(size, longest_edge), fitted, "{size:?} in {longest_edge}");
        }
    }
}
