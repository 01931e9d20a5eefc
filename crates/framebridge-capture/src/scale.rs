//! Pictures in the size, format and colours that the encoder, or an image, takes.

use ffmpeg_next::{
    color::{Range, Space},
    format::Pixel,
    frame,
};

use crate::{
    FfmpegError, Picture,
    colour::Colours,
    ffi::{self, Conversion, Side, Traits, plain},
    wide::Mapping,
};

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

/// What pictures are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// How its numbers are stored.
    pub(crate) format: Pixel,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// What its numbers mean; the primaries and the transfer are the picture's, or BT.709's.
    pub(crate) colours: Colours,
}

/// Scales and converts. Belongs to one thread.
#[derive(Default)]
pub struct Scaler {
    first: Step,
    last: Step,
    mapping: Option<Mapping>,
}

/// A conversion and its last result, whose memory the next one takes over when nobody else refers to it any more.
#[derive(Default)]
struct Step {
    conversion: Option<Conversion>,
    result: Option<frame::Video>,
}

/// Why a picture could not be scaled.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// There is no way from one format and size to the other.
    #[error("can't convert pictures of the source ({from}) to {}x{}", size.0, size.1)]
    Unsupported {
        /// The source's format.
        from: &'static str,
        /// The size asked for.
        size: (u32, u32),
        /// FFmpeg's reason.
        #[source]
        source: FfmpegError,
    },
    /// Nothing here turns such colours into others.
    #[error("the source's colours are {0}, which can't be converted: have it send BT.709, BT.601 or BT.2020")]
    Colours(&'static str),
    /// It failed on one picture.
    #[error("can't scale a picture")]
    Scale(#[source] FfmpegError),
}

impl Scaler {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `picture` as `target`. One that is so already is not copied.
    ///
    /// # Errors
    /// FFmpeg can't convert it.
    pub(crate) fn convert(&mut self, picture: &Picture, target: &Target) -> Result<frame::Video, ScaleError> {
        let (frame, colours) = (&picture.frame, picture.colours());
        let source = Side {
            format: plain(frame.format()),
            size: (frame.width(), frame.height()),
            matrix: colours.matrix,
            full: colours.is_full(),
        };
        let end = Side {
            format: plain(target.format),
            size: target.size,
            matrix: target.colours.matrix,
            full: target.colours.is_full(),
        };
        if source == end && !colours.is_wide() {
            return ffi::reference(frame).map_err(|code| ScaleError::Scale(FfmpegError::of(code)));
        }
        if !colours.is_convertible() {
            return Err(ScaleError::Colours(
                colours.matrix.name().unwrap_or("of an unknown kind"),
            ));
        }
        let traits = Traits::of(frame.format());
        if colours.is_wide() {
            let rgb = Side::rgb(Pixel::RGB48LE, target.size);
            let wide = self.first.run(frame, source, rgb, Pixel::RGB48LE)?;
            let mapping = match self.mapping.take() {
                Some(mapping) if mapping.is_for(colours, traits.bits) => mapping,
                Some(_) | None => Mapping::new(colours, traits.bits),
            };
            let narrow = self.mapping.insert(mapping).map(&wide);
            let narrow_side = Side::rgb(Pixel::RGB24, target.size);
            return self.last.run(&narrow, narrow_side, end, target.format);
        }
        if traits.alpha || traits.palette {
            // swscale's own way from a palette to YUV is BT.601's, and it leaves transparency out.
            let rgb = Side::rgb(Pixel::BGRA, source.size);
            let mut opaque = self.first.run(frame, source, rgb, Pixel::BGRA)?;
            self.first.result = None;
            over_black(&mut opaque);
            return self.last.run(&opaque, rgb, end, target.format);
        }
        self.last.run(frame, source, end, target.format)
    }
}

impl Side {
    fn rgb(format: Pixel, size: (u32, u32)) -> Self {
        Self {
            format,
            size,
            matrix: Space::RGB,
            full: true,
        }
    }
}

impl Step {
    fn run(&mut self, frame: &frame::Video, from: Side, to: Side, format: Pixel) -> Result<frame::Video, ScaleError> {
        let failed = |code| ScaleError::Scale(FfmpegError::of(code));
        let conversion = match self.conversion.take() {
            Some(conversion) if conversion.is_between(from, to) => conversion,
            Some(_) | None => Conversion::open(from, to).map_err(|code| ScaleError::Unsupported {
                from: ffi::format_name(from.format),
                size: to.size,
                source: FfmpegError::of(code),
            })?,
        };
        let conversion = self.conversion.insert(conversion);
        let mut result = self
            .result
            .take()
            .filter(|last| (last.format(), (last.width(), last.height())) == (format, to.size))
            .filter(ffi::is_writable)
            .unwrap_or_else(|| frame::Video::new(format, to.size.0, to.size.1));
        conversion.run(frame, &mut result).map_err(failed)?;
        result.set_color_range(if to.full { Range::JPEG } else { Range::MPEG });
        result.set_color_space(to.matrix);
        ffi::reference(self.result.insert(result)).map_err(failed)
    }
}

/// Lays a BGRA picture over black: what shines through becomes dark.
fn over_black(frame: &mut frame::Video) {
    for pixel in frame.data_mut(0).chunks_exact_mut(4) {
        let alpha = u16::from(pixel[3]);
        if alpha < 255 {
            for part in &mut pixel[..3] {
                *part = u8::try_from((u16::from(*part) * alpha + 127) / 255).unwrap_or(u8::MAX);
            }
            pixel[3] = 255;
        }
    }
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
