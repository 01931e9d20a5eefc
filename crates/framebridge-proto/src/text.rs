//! What others wrote, as it may be kept, logged and shown.

/// At most `most` bytes of `text`, on one line and without what steers a terminal or turns the direction of writing; with no
/// more memory than it takes.
pub fn plain(text: &str, most: usize) -> String {
    let kept = &text[..text.floor_char_boundary(most)];
    let mut plain = String::with_capacity(kept.len());
    plain.extend(kept.chars().map(|letter| if steers(letter) { ' ' } else { letter }));
    plain
}

/// Control characters (C0, DEL, C1), and those that order writing to the left or the right.
fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_blanked_and_no_letter_is_halved() {
        let plained = plain("a\x1b]0;title\x07b\r\nc\u{9b}2J\u{202e}d", 100);
        assert_eq!(plained, "a ]0;title b  c 2J d");
        assert_eq!(plain("grün", 3), "gr", "no half a letter");
        assert_eq!(plain(&"x".repeat(250_000), 10).capacity(), 10);
    }
}
