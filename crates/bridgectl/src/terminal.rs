//! The terminal that somebody looks at.

use std::io;

/// What every terminal has room for.
const SMALLEST: (usize, usize) = (80, 24);

/// Its columns and rows; those of a plain one where it does not say.
pub(crate) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => SMALLEST,
    }
}
