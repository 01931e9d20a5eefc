//! Whether a picture is black: a source that is, shows nothing.

use ffmpeg_next::format::Pixel;

use crate::{
    colour::Colours,
    picture::Picture,
    scale::{ScaleError, Scaler, Target, fit},
};

/// The longest edge of the copy that is looked at.
const LOOK_EDGE: u32 = 160;

/// Black is 16; a camera in the dark has some noise on it.
const BLACKEST: u8 = 24;

impl Picture {
    /// Whether nothing but black is to be seen in it. Looks at a small copy, in which fine lines still show as grey.
    ///
    /// # Errors
    /// FFmpeg can't convert it.
    pub fn is_black(&self, scaler: &mut Scaler) -> Result<bool, ScaleError> {
        let target = Target {
            format: Pixel::YUV420P,
            size: fit(self.size(), LOOK_EDGE),
            colours: Colours::HD,
        };
        let small = scaler.convert(self, &target)?;
        let (width, height) = (target.size.0 as usize, target.size.1 as usize);
        let rows = small.data(0).chunks(small.stride(0)).take(height);
        Ok(rows
            .flat_map(|row| row.iter().take(width))
            .all(|luma| *luma <= BLACKEST))
    }
}
