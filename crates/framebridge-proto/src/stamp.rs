//! The machine-readable time in the picture of `test:`, for whoever measures latency or freezes at a viewer.
//!
//! A strip in the top-left corner holds 64 cells, [`COLUMNS`] × [`ROWS`], read row by row: the 8 bits of [`SYNC`], 48
//! bits of wall-clock time (milliseconds since the Unix epoch, as a browser's `Date.now()` gives them) and 8 bits of
//! CRC over those 48, each most significant bit first. A white cell is 1, a black one 0.
//!
//! A cell is a square whose edge is the picture's width divided by [`CELLS_PER_WIDTH`], whatever the picture was
//! scaled to: 16 pixels at 1280, 8 at 640. So the middle of column `c` in row `r` lies at
//! `((c + 0.5) * width / 80, (r + 0.5) * width / 80)`; whoever reads it looks at those points alone.

/// Cells in a row.
pub const COLUMNS: u32 = 16;

/// Rows of cells.
pub const ROWS: u32 = 4;

/// The picture's width divided by this is a cell's edge.
pub const CELLS_PER_WIDTH: u32 = 80;

/// The first eight cells. Tells a stamp from a picture without one.
pub const SYNC: u8 = 0b1010_0110;

/// Luma from which a cell counts as white.
const WHITE_FROM: u32 = 128;

const CELLS: u32 = COLUMNS * ROWS;
const TIME_MASK: u64 = (1 << 48) - 1;

/// The cells for a time: bit 63 is the first cell.
pub fn cells(unix_ms: u64) -> u64 {
    let time = unix_ms & TIME_MASK;
    u64::from(SYNC) << 56 | time << 8 | u64::from(crc(time))
}

/// Whether the cell at `column`, `row` of `cells` is white.
pub fn is_white(cells: u64, column: u32, row: u32) -> bool {
    cells >> (CELLS - 1 - (row * COLUMNS + column)) & 1 == 1
}

/// The time that `cells` say, or `None` if they are no stamp.
pub fn time(cells: u64) -> Option<u64> {
    let [sync, .., check] = cells.to_be_bytes();
    let time = cells >> 8 & TIME_MASK;
    (sync == SYNC && check == crc(time)).then_some(time)
}

/// Reads the stamp from a picture's luma: 8 bits a pixel, `stride` bytes from row to row. `None`: there is none.
pub fn read(luma: &[u8], stride: usize, width: u32) -> Option<u64> {
    let at = |cell: u32| {
        let middle = usize::try_from((2 * cell + 1) * width / (2 * CELLS_PER_WIDTH)).ok()?;
        Some(middle)
    };
    let mut cells = 0;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let (x, y) = (at(column)?, at(row)?);
            let (left, top) = (x.checked_sub(1)?, y.checked_sub(1)?);
            // Four pixels around the middle, so that one pixel of ringing decides nothing.
            let sum: u32 = [(left, top), (x, top), (left, y), (x, y)]
                .iter()
                .map(|&(x, y)| luma.get(y * stride + x).copied().map(u32::from))
                .sum::<Option<u32>>()?;
            cells = cells << 1 | u64::from(sum / 4 >= WHITE_FROM);
        }
    }
    time(cells)
}

/// CRC-8, polynomial x⁸ + x² + x + 1, over the six bytes of the time.
fn crc(time: u64) -> u8 {
    time.to_be_bytes()[2..].iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ byte,
            |crc: u8, _bit| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_413_600_123;

    fn picture(width: u32, cells: u64) -> Vec<u8> {
        let height = width * ROWS / CELLS_PER_WIDTH;
        (0..width * height)
            .map(|at| {
                let (x, y) = (
                    at % width * CELLS_PER_WIDTH / width,
                    at / width * CELLS_PER_WIDTH / width,
                );
                if x < COLUMNS && is_white(cells, x, y) { 235 } else { 16 }
            })
            .collect()
    }

    #[test]
    fn a_time_comes_back_from_its_cells_and_from_pictures_of_any_usual_width() {
        assert_eq!(time(cells(NOW)), Some(NOW));
        for width in [320, 480, 640, 960, 1280, 1920] {
            let width_in_bytes = usize::try_from(width).unwrap();
            assert_eq!(
                read(&picture(width, cells(NOW)), width_in_bytes, width),
                Some(NOW),
                "{width} wide"
            );
        }
    }

    #[test]
    fn a_picture_without_a_stamp_has_no_time() {
        assert_eq!(read(&[16; 1280 * 64], 1280, 1280), None);
        assert_eq!(read(&[235; 1280 * 64], 1280, 1280), None);
        assert_eq!(read(&[], 1280, 1280), None);
        assert_eq!(read(&[235; 64], 8, 8), None);
    }

    #[test]
    fn one_wrong_cell_anywhere_is_noticed() {
        for cell in 0..CELLS {
            assert_eq!(time(cells(NOW) ^ 1 << cell), None, "cell {cell}");
        }
    }
}
