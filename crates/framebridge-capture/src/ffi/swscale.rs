//! Conversion of size, format and colours by swscale, with the colours said: `ffmpeg-next` leaves them to swscale's
//! defaults, which are BT.601 whatever the picture says.

use std::ffi::{CStr, c_int};

use ffmpeg_next::{
    Error, color,
    error::{EINVAL, ENOMEM},
    ffi::{
        AV_PIX_FMT_FLAG_ALPHA, AV_PIX_FMT_FLAG_PAL, AV_PIX_FMT_FLAG_RGB, AVColorSpace, AVPixelFormat, SWS_ACCURATE_RND,
        SWS_BILINEAR, SwsContext, av_opt_set_int, sws_alloc_context, sws_freeContext, sws_getCoefficients,
        sws_init_context, sws_scale, sws_setColorspaceDetails,
    },
    format::{Pixel, pixel::Descriptor},
    frame,
};

use super::check;

/// Brightness, contrast and saturation that change nothing, in swscale's 16.16 fixed point.
const UNCHANGED: (c_int, c_int, c_int) = (0, 1 << 16, 1 << 16);

/// One end of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// How the numbers are stored.
    pub(crate) format: Pixel,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// How numbers and colours belong together, where they are no RGB.
    pub(crate) matrix: color::Space,
    /// Whether black is 0 and white the largest number.
    pub(crate) full: bool,
}

/// A way from one side to another.
pub(crate) struct Conversion {
    context: *mut SwsContext,
    from: Side,
    to: Side,
}

impl Conversion {
    /// Prepares a conversion.
    pub(crate) fn open(from: Side, to: Side) -> Result<Self, Error> {
        // SAFETY: the context is ours alone and freed by `Self::drop`, whatever follows. The options' names are C
        // strings of swscale's own; the coefficients are its static tables, which it only reads.
        unsafe {
            let context = sws_alloc_context();
            if context.is_null() {
                return Err(Error::Other { errno: ENOMEM });
            }
            let conversion = Self { context, from, to };
            let options: [(&CStr, i64); 9] = [
                (c"srcw", from.size.0.into()),
                (c"srch", from.size.1.into()),
                (c"src_format", format_number(from.format)),
                (c"src_range", from.full.into()),
                (c"dstw", to.size.0.into()),
                (c"dsth", to.size.1.into()),
                (c"dst_format", format_number(to.format)),
                (c"dst_range", to.full.into()),
                (c"sws_flags", i64::from(SWS_BILINEAR) | i64::from(SWS_ACCURATE_RND)),
            ];
            for (name, value) in options {
                check(av_opt_set_int(context.cast(), name.as_ptr(), value, 0))?;
            }
            check(sws_init_context(context, std::ptr::null_mut(), std::ptr::null_mut()))?;
            let (brightness, contrast, saturation) = UNCHANGED;
            // Refused where neither side is YUV, which then needs none of it.
            _ = sws_setColorspaceDetails(
                context,
                sws_getCoefficients(coefficients(from.matrix)),
                from.full.into(),
                sws_getCoefficients(coefficients(to.matrix)),
                to.full.into(),
                brightness,
                contrast,
                saturation,
            );
            Ok(conversion)
        }
    }

    /// Whether it leads from `from` to `to`.
    pub(crate) fn is_between(&self, from: Side, to: Side) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// Converts a picture into the memory of another.
    pub(crate) fn run(&mut self, from: &frame::Video, to: &mut frame::Video) -> Result<(), Error> {
        let fits = |frame: &frame::Video, side: &Side| {
            (plain(frame.format()), (frame.width(), frame.height())) == (side.format, side.size)
        };
        if !fits(from, &self.from) || !fits(to, &self.to) {
            return Err(Error::Other { errno: EINVAL });
        }
        let height = c_int::try_from(self.from.size.1).map_err(|_large| Error::InvalidData)?;
        // SAFETY: both frames are live, own their buffers, and have just been found to be of the formats and sizes that
        // the context was made for, which is all that swscale reads and writes.
        let rows = unsafe {
            let (source, target) = (&*from.as_ptr(), &*to.as_mut_ptr());
            sws_scale(
                self.context,
                source.data.as_ptr().cast(),
                source.linesize.as_ptr(),
                0,
                height,
                target.data.as_ptr(),
                target.linesize.as_ptr(),
            )
        };
        check(rows)
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        // SAFETY: the one context that `self` owns.
        unsafe { sws_freeContext(self.context) };
    }
}

/// The format without the range that FFmpeg's older names carry.
pub(crate) fn plain(format: Pixel) -> Pixel {
    [
        (Pixel::YUVJ420P, Pixel::YUV420P),
        (Pixel::YUVJ411P, Pixel::YUV411P),
        (Pixel::YUVJ422P, Pixel::YUV422P),
        (Pixel::YUVJ440P, Pixel::YUV440P),
        (Pixel::YUVJ444P, Pixel::YUV444P),
    ]
    .into_iter()
    .find_map(|(old, plain)| (old == format).then_some(plain))
    .unwrap_or(format)
}

fn format_number(format: Pixel) -> i64 {
    AVPixelFormat::from(format) as i64
}

/// swscale numbers its tables as ITU-T H.273 numbers matrices; for one that it does not know it has a default.
fn coefficients(matrix: color::Space) -> c_int {
    AVColorSpace::from(matrix) as c_int
}

/// FFmpeg's name of a format.
pub(crate) fn format_name(format: Pixel) -> &'static str {
    format.descriptor().map_or("unknown", Descriptor::name)
}

/// What kind of numbers a pixel format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// RGB, directly or by a palette.
    pub(crate) rgb: bool,
    /// No colour at all.
    pub(crate) grey: bool,
    /// Some of the pixels may let shine through what is behind them.
    pub(crate) alpha: bool,
    /// Numbers that stand for colours listed elsewhere.
    pub(crate) palette: bool,
    /// Of the number of one colour of one pixel.
    pub(crate) bits: u32,
}

impl Traits {
    /// Those of `format`; of one that FFmpeg does not describe, those of ordinary YUV.
    pub(crate) fn of(format: Pixel) -> Self {
        // SAFETY: the description is FFmpeg's static data, or null.
        let described = unsafe { format.descriptor().and_then(|found| found.as_ptr().as_ref()) };
        let (flags, components) = described.map_or((0, 3), |found| (found.flags, found.nb_components));
        let has = |flag: c_int| flags & u64::from(flag.unsigned_abs()) != 0;
        let palette = has(AV_PIX_FMT_FLAG_PAL);
        let depth = described.map_or(8, |found| found.comp[0].depth);
        Self {
            rgb: has(AV_PIX_FMT_FLAG_RGB) || palette,
            grey: components <= 2 && !palette && !has(AV_PIX_FMT_FLAG_RGB),
            alpha: has(AV_PIX_FMT_FLAG_ALPHA),
            palette,
            bits: u32::try_from(depth).unwrap_or(8),
        }
    }
}
