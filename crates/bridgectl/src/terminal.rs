//! The terminal that somebody looks at.

use std::{
    env,
    io::{self, IsTerminal as _},
};

/// What every terminal has room for.
const SMALLEST: (usize, usize) = (80, 24);

/// Whether stdout is a terminal that can be written over: one that says nothing of itself, or calls itself dumb, can't.
pub(crate) fn has_screen() -> bool {
    let is_able = |term: &std::ffi::OsString| !term.is_empty() && term != "dumb";
    io::stdout().is_terminal() && env::var_os("TERM").as_ref().is_some_and(is_able)
}

/// Its columns and rows; those of a plain one where it does not say.
pub(crate) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => SMALLEST,
    }
}
