//! The time, drawn into a picture for machines ([`framebridge_proto::stamp`]) and, below it, for people.

use std::time::Duration;

use ffmpeg_next::{format::Pixel, frame};
use framebridge_proto::stamp::{CELLS_PER_WIDTH, COLUMNS, ROWS, cells, is_white};

/// Limited range, as all video here is.
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const GREY: u8 = 128;

/// The glyphs of a clock, five columns by seven rows, a row per byte, leftmost pixel in bit 4.
const GLYPHS: [(u8, [u8; 7]); 13] = [
    (b'0', [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e]),
    (b'1', [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e]),
    (b'2', [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f]),
    (b'3', [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e]),
    (b'4', [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02]),
    (b'5', [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e]),
    (b'6', [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e]),
    (b'7', [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08]),
    (b'8', [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e]),
    (b'9', [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c]),
    (b':', [0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00]),
    (b'.', [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c]),
    (b'Z', [0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f]),
];
const GLYPH_WIDTH: usize = 5;
const GLYPH_HEIGHT: usize = 7;

/// Draws `since_epoch` into the top-left corner of a yuv420p picture; leaves any other as it is.
pub(crate) fn draw(frame: &mut frame::Video, since_epoch: Duration) {
    if frame.format() != Pixel::YUV420P {
        return;
    }
    let cell = size(frame.width() / CELLS_PER_WIDTH);
    let (strip_width, strip_height) = (size(COLUMNS) * cell, size(ROWS) * cell);
    let cells = cells(u64::try_from(since_epoch.as_millis()).unwrap_or(0));
    let mut luma = Plane::of(frame, 0);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let value = if is_white(cells, column, row) { WHITE } else { BLACK };
            luma.fill(size(column) * cell, size(row) * cell, cell, cell, value);
        }
    }
    let pixel = cell / 4;
    let text = clock(since_epoch);
    let advance = (GLYPH_WIDTH + 1) * pixel;
    let (text_width, text_height) = (text.len() * advance + pixel, (GLYPH_HEIGHT + 2) * pixel);
    luma.fill(0, strip_height, text_width, text_height, BLACK);
    for (place, character) in text.bytes().enumerate() {
        luma.glyph(place * advance + pixel, strip_height + pixel, pixel, character);
    }
    for plane in [1, 2] {
        let mut chroma = Plane::of(frame, plane);
        chroma.fill(0, 0, strip_width / 2, strip_height / 2, GREY);
        chroma.fill(0, strip_height / 2, text_width / 2, text_height / 2, GREY);
    }
}

/// `HH:MM:SS.mmmZ`, UTC.
fn clock(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:03}Z",
        seconds % 60,
        since_epoch.subsec_millis()
    )
}

struct Plane<'a> {
    pixels: &'a mut [u8],
    stride: usize,
}

impl<'a> Plane<'a> {
    fn of(frame: &'a mut frame::Video, index: usize) -> Self {
        let stride = frame.stride(index);
        Self {
            pixels: frame.data_mut(index),
            stride,
        }
    }

    /// Fills a rectangle; what lies outside the plane is left out.
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, value: u8) {
        for row in self.pixels.chunks_mut(self.stride).skip(top).take(height) {
            let right = (left + width).min(row.len());
            row[left.min(right)..right].fill(value);
        }
    }

    fn glyph(&mut self, left: usize, top: usize, pixel: usize, character: u8) {
        let Some((_, rows)) = GLYPHS.iter().find(|(of, _)| *of == character) else {
            return;
        };
        for (y, bits) in rows.iter().enumerate() {
            for x in (0..GLYPH_WIDTH).filter(|x| bits >> (GLYPH_WIDTH - 1 - x) & 1 == 1) {
                self.fill(left + x * pixel, top + y * pixel, pixel, pixel, WHITE);
            }
        }
    }
}

fn size(pixels: u32) -> usize {
    usize::try_from(pixels).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use framebridge_proto::stamp;

    use super::*;

    #[test]
    fn the_stamp_can_be_read_from_the_picture() {
        let mut frame = frame::Video::new(Pixel::YUV420P, 1280, 720);
        draw(&mut frame, Duration::from_millis(1_795_413_600_123));
        let stride = frame.stride(0);
        assert_eq!(stamp::read(frame.data(0), stride, 1280), Some(1_795_413_600_123));
    }

    #[test]
    fn the_clock_shows_utc_in_glyphs_that_exist() {
        let text = clock(Duration::from_millis(86_400_000 + 13 * 3_600_000 + 5 * 60_000 + 9_087));
        assert_eq!(text, "13:05:09.087Z");
        assert!(
            text.bytes()
                .all(|character| GLYPHS.iter().any(|(of, _)| *of == character))
        );
    }

    #[test]
    fn a_picture_too_small_for_it_is_left_alone() {
        draw(&mut frame::Video::new(Pixel::YUV420P, 16, 2), Duration::from_secs(1));
        draw(&mut frame::Video::new(Pixel::BGRZ, 64, 64), Duration::from_secs(1));
    }
}
