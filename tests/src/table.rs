//! Tables for people.

use std::fmt;

/// Writes a table in Markdown, as the documents have them.
pub(crate) fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [String; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            write!(f, "| {cell:<width$} ")?;
        }
        writeln!(f, "|")?;
        if number == 0 {
            writeln!(f, "|{}", widths.map(|width| "-".repeat(width + 2) + "|").concat())?;
        }
    }
    Ok(())
}
