//! The time, drawn into a picture for machines ([`framebridge_proto::stamp`]) and, below it, for people.

use std::time::Duration;

use ffmpeg_next::{format::Pixel, frame};
use framebridge_proto::stamp::{CELLS_PER_WIDTH, COLUMNS, ROWS, cells, is_white};

use crate::text::{ADVANCE, BLACK, GLYPH_HEIGHT, GREY, Plane, WHITE};

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
    let dot = cell / 4;
    let text = clock(since_epoch);
    let (text_width, text_height) = ((text.len() * ADVANCE + 1) * dot, (GLYPH_HEIGHT + 1) * dot);
    luma.fill(0, strip_height, text_width, text_height, BLACK);
    luma.write(dot, strip_height + dot, dot, &text);
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
    fn the_clock_shows_utc() {
        let text = clock(Duration::from_millis(86_400_000 + 13 * 3_600_000 + 5 * 60_000 + 9_087));
        assert_eq!(text, "13:05:09.087Z");
    }

    #[test]
    fn a_picture_too_small_for_it_is_left_alone() {
        draw(&mut frame::Video::new(Pixel::YUV420P, 16, 2), Duration::from_secs(1));
        draw(&mut frame::Video::new(Pixel::BGRZ, 64, 64), Duration::from_secs(1));
    }
}
