//! Draws the slate: why there is no source, and when it is tried again.

use std::time::Duration;

use ffmpeg_next::{format::Pixel, frame};
use framebridge_config::Slate;

use crate::text::{ADVANCE, GLYPH_HEIGHT, Plane};

/// The picture under the words, for FFmpeg: big enough to be read, small and slow enough to cost next to nothing.
pub(crate) const GRAPH: &str = "color=c=0x1c2733:size=640x360:rate=5,format=yuv420p";

const MARGIN: usize = 40;
const TITLE_DOT: usize = 5;
const TEXT_DOT: usize = 2;

/// Three halves of a line's height: lines stand apart.
const LINE: usize = GLYPH_HEIGHT * TEXT_DOT * 3 / 2;

/// More of a reason than fits is cut off.
const REASON_LINES: usize = 6;

/// Writes the slate as it is at `since_epoch` over a yuv420p picture; leaves any other as it is.
pub(crate) fn draw(frame: &mut frame::Video, slate: &Slate, since_epoch: Duration) {
    if frame.format() != Pixel::YUV420P {
        return;
    }
    let width = usize::try_from(frame.width()).unwrap_or(0).saturating_sub(2 * MARGIN);
    let mut luma = Plane::of(frame, 0);
    luma.write(MARGIN, MARGIN, TITLE_DOT, "NO SIGNAL");
    let mut top = MARGIN + 2 * GLYPH_HEIGHT * TITLE_DOT;
    let mut lines = wrap(&slate.reason, width / (ADVANCE * TEXT_DOT));
    lines.truncate(REASON_LINES);
    lines.extend([String::new(), next_attempt(slate.until, since_epoch)]);
    for line in lines {
        luma.write(MARGIN, top, TEXT_DOT, &line);
        top += LINE;
    }
}

/// Counts down, which shows that the picture is alive.
fn next_attempt(until: Duration, since_epoch: Duration) -> String {
    match until.saturating_sub(since_epoch).as_secs() {
        0 => "Trying again now".into(),
        left => {
            let (hours, minutes, seconds) = (
                until.as_secs() / 3600 % 24,
                until.as_secs() / 60 % 60,
                until.as_secs() % 60,
            );
            format!("Next attempt in {left} s, at {hours:02}:{minutes:02}:{seconds:02} UTC")
        }
    }
}

/// Lines of up to `columns` characters, broken between words where that can be had.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let line = lines.last_mut().map_or(0, |line| line.chars().count());
            let gap = usize::from(line > 0);
            if line > 0 && line + gap + rest.len() > columns {
                lines.push(String::new());
                continue;
            }
            let piece: String = rest.drain(..rest.len().min(columns.max(1))).collect();
            if let Some(line) = lines.last_mut() {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(&piece);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_within_those_that_are_too_long() {
        assert_eq!(wrap("exit code 75: gone", 10), ["exit code", "75: gone"]);
        assert_eq!(wrap("a /dev/video0123 b", 6), ["a", "/dev/v", "ideo01", "23 b"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn next_attempt_counts_down_to_the_time_it_names() {
        let until = Duration::from_secs(10 * 3600 + 31 * 60 + 7);
        let at = |before| next_attempt(until, until - Duration::from_millis(before));
        assert_eq!(at(42_000), "Next attempt in 42 s, at 10:31:07 UTC");
        assert_eq!(at(0), "Trying again now");
        assert_eq!(next_attempt(until, until * 2), "Trying again now");
    }

    #[test]
    fn words_change_only_what_has_room_for_them() {
        let slate = Slate {
            until: Duration::from_secs(60),
            reason: "exit code 75: ".repeat(100),
        };
        for (format, width, height, drawn) in [
            (Pixel::YUV420P, 640, 360, true),
            (Pixel::YUV420P, 16, 16, false),
            (Pixel::BGRZ, 640, 360, false),
        ] {
            let mut frame = frame::Video::new(format, width, height);
            frame.data_mut(0).fill(0);
            draw(&mut frame, &slate, Duration::ZERO);
            assert_eq!(
                frame.data(0).iter().any(|luma| *luma > 0),
                drawn,
                "{format:?} {width}x{height}"
            );
        }
    }
}
