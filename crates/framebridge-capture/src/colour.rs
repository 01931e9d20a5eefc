//! What the numbers in a picture mean as colours, and what is said of them in the stream.
//!
//! | picture | taken for | sent as |
//! | --- | --- | --- |
//! | RGB, grey, palette | what it says, else BT.709's primaries and transfer | BT.709 where the stream is HD, else BT.601 |
//! | YUV that says nothing | BT.709 where it is HD, else BT.601 | the same |
//! | YUV of BT.709 or BT.601 | what it says | the same, its numbers untouched |
//! | YUV of other matrices | what it says | BT.709 where the stream is HD, else BT.601 |
//! | BT.2020 primaries, PQ, HLG | what it says | BT.709 primaries and transfer, mapped |
//!
//! Whatever goes out is of limited range: what many players take for granted, whatever the stream says.

use ffmpeg_next::{
    color::{Primaries, Range, Space, TransferCharacteristic as Transfer},
    frame,
};

use crate::ffi::{Traits, plain};

/// What a picture's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    pub(crate) matrix: Space,
    pub(crate) range: Range,
    pub(crate) primaries: Primaries,
    pub(crate) transfer: Transfer,
}

/// What to take for granted of pictures of one source that do not say it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// The matrix; `None`: as the size suggests.
    pub(crate) matrix: Option<Space>,
    /// The range of pictures without colour.
    pub(crate) grey: Range,
}

/// A picture is HD from this longest edge on, or where its shortest edge is above [`SD_LINES`]: the bounds that players
/// use for pictures that say nothing.
const HD_EDGE: u32 = 1280;

/// The most lines that SD has.
const SD_LINES: u32 = 576;

impl Colours {
    /// BT.709, as television and the web have it.
    pub const HD: Self = Self {
        matrix: Space::BT709,
        range: Range::MPEG,
        primaries: Primaries::BT709,
        transfer: Transfer::BT709,
    };

    /// What `frame` says, completed by what it leaves unsaid.
    pub(crate) fn of(frame: &frame::Video, unsaid: Unsaid) -> Self {
        let traits = Traits::of(frame.format());
        let said = Self::said(frame);
        let says_primaries = !matches!(
            said.primaries,
            Primaries::Unspecified | Primaries::Reserved0 | Primaries::Reserved
        );
        let says_transfer = !matches!(
            said.transfer,
            Transfer::Unspecified | Transfer::Reserved0 | Transfer::Reserved
        );
        let says_matrix = !matches!(said.matrix, Space::Unspecified | Space::Reserved | Space::RGB);
        let primaries = if says_primaries {
            said.primaries
        } else {
            Primaries::BT709
        };
        let transfer = if says_transfer { said.transfer } else { Transfer::BT709 };
        let matrix = if traits.rgb {
            Space::RGB
        } else if says_matrix {
            said.matrix
        } else if primaries == Primaries::BT2020 {
            Space::BT2020NCL
        } else {
            let size = (frame.width(), frame.height());
            unsaid.matrix.unwrap_or_else(|| usual_matrix(size))
        };
        let range = if traits.rgb || plain(frame.format()) != frame.format() {
            Range::JPEG
        } else if said.range != Range::Unspecified {
            said.range
        } else if traits.grey {
            unsaid.grey
        } else {
            Range::MPEG
        };
        Self {
            matrix,
            range,
            primaries,
            transfer,
        }
    }

    /// Those that `frame` says; only of a frame that was [`tagged`](Self::tag).
    pub(crate) fn said(frame: &frame::Video) -> Self {
        Self {
            matrix: frame.color_space(),
            range: frame.color_range(),
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
        }
    }

    /// Writes them into `frame`.
    pub(crate) fn tag(self, frame: &mut frame::Video) {
        frame.set_color_space(self.matrix);
        frame.set_color_range(self.range);
        frame.set_color_primaries(self.primaries);
        frame.set_color_transfer_characteristic(self.transfer);
    }

    /// What they are sent as in pictures of `size`.
    pub fn sent(self, size: (u32, u32)) -> Self {
        let usual = Self {
            matrix: usual_matrix(size),
            ..Self::HD
        };
        let is_known_everywhere = matches!(self.matrix, Space::BT709 | Space::BT470BG | Space::SMPTE170M);
        if self.is_wide() {
            usual
        } else {
            Self {
                matrix: if is_known_everywhere { self.matrix } else { usual.matrix },
                range: Range::MPEG,
                ..self
            }
        }
    }

    /// Whether there are colours or lights in it that BT.709 does not have.
    pub(crate) fn is_wide(self) -> bool {
        self.primaries == Primaries::BT2020 || self.is_hdr()
    }

    /// Whether its numbers stand for lights brighter than white.
    pub(crate) fn is_hdr(self) -> bool {
        matches!(self.transfer, Transfer::SMPTE2084 | Transfer::ARIB_STD_B67)
    }

    /// Whether black is 0 and white the largest number.
    pub(crate) fn is_full(self) -> bool {
        self.range == Range::JPEG
    }

    /// Whether numbers of these colours can be turned into others.
    pub(crate) fn is_convertible(self) -> bool {
        !matches!(
            self.matrix,
            Space::YCGCO | Space::SMPTE2085 | Space::ChromaDerivedNCL | Space::ChromaDerivedCL | Space::ICTCP
        )
    }
}

/// The matrix that pictures of `size` have where they say nothing.
fn usual_matrix(size: (u32, u32)) -> Space {
    if size.0.max(size.1) >= HD_EDGE || size.0.min(size.1) > SD_LINES {
        Space::BT709
    } else {
        Space::SMPTE170M
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::format::Pixel;

    use super::*;

    const NOTHING: Unsaid = Unsaid {
        matrix: None,
        grey: Range::MPEG,
    };

    fn sent(format: Pixel, size: (u32, u32), encoded: (u32, u32)) -> Colours {
        Colours::of(&frame::Video::new(format, size.0, size.1), NOTHING).sent(encoded)
    }

    #[test]
    fn what_says_nothing_is_taken_by_its_size() {
        for (size, matrix) in [
            ((1920, 1080), Space::BT709),
            ((1280, 720), Space::BT709),
            ((720, 1280), Space::BT709),
            ((1024, 600), Space::BT709),
            ((720, 576), Space::SMPTE170M),
            ((360, 640), Space::SMPTE170M),
        ] {
            let colours = Colours::of(&frame::Video::new(Pixel::YUV420P, size.0, size.1), NOTHING);
            assert_eq!((colours.matrix, colours.range), (matrix, Range::MPEG), "{size:?}");
            assert_eq!(colours.sent((640, 360)).matrix, matrix, "its numbers stay as they are");
        }
    }

    #[test]
    fn rgb_is_sent_as_the_streams_size_suggests() {
        for format in [Pixel::BGRZ, Pixel::RGB565LE, Pixel::PAL8, Pixel::GBRP] {
            assert_eq!(sent(format, (1920, 1080), (1920, 1080)), Colours::HD, "{format:?}");
            assert_eq!(sent(format, (1920, 1080), (640, 360)).matrix, Space::SMPTE170M);
        }
    }

    #[test]
    fn what_is_said_is_kept_but_for_the_range() {
        let mut frame = frame::Video::new(Pixel::YUV420P, 1920, 1080);
        let said = Colours {
            matrix: Space::BT470BG,
            range: Range::JPEG,
            primaries: Primaries::BT470BG,
            transfer: Transfer::IEC61966_2_1,
        };
        said.tag(&mut frame);
        let colours = Colours::of(&frame, NOTHING);
        assert_eq!(colours, said);
        let limited = Colours {
            range: Range::MPEG,
            ..said
        };
        assert_eq!(colours.sent((1920, 1080)), limited);
    }

    #[test]
    fn wide_colours_are_sent_as_bt709() {
        for (primaries, transfer) in [
            (Primaries::BT2020, Transfer::BT2020_10),
            (Primaries::BT2020, Transfer::SMPTE2084),
            (Primaries::BT709, Transfer::ARIB_STD_B67),
        ] {
            let mut frame = frame::Video::new(Pixel::YUV420P10LE, 1920, 1080);
            frame.set_color_primaries(primaries);
            frame.set_color_transfer_characteristic(transfer);
            let colours = Colours::of(&frame, NOTHING);
            assert!(colours.is_wide());
            assert_eq!(colours.sent((1920, 1080)), Colours::HD);
        }
    }
}
