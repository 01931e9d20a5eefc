//! Which key gives which symbol: the display's map, read without asking it.

/// No symbol.
const NONE: u32 = 0;

/// Where a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) keycode: u8,
    /// Bit 0: with Shift. Bit 1: with the key for third symbols (AltGr).
    pub(super) level: u8,
    /// Whether Caps Lock changes it as Shift does.
    pub(super) is_letter: bool,
}

/// A display's keys and their symbols.
#[derive(Debug, Default)]
pub(super) struct Keymap {
    pub(super) first: u8,
    /// Symbols of a key.
    pub(super) width: usize,
    pub(super) symbols: Vec<u32>,
}

impl Keymap {
    fn keys(&self) -> impl Iterator<Item = (u8, &[u32])> {
        let keys = self.symbols.chunks(self.width.max(1));
        (self.first..=u8::MAX).zip(keys)
    }

    /// Where a symbol is in a group of the map: as few modifiers as may be. `has_third`: a key for third symbols exists.
    pub(super) fn find(&self, keysym: u32, group: usize, has_third: bool) -> Option<Found> {
        // The core protocol's order: two symbols of each of two groups, then the third and fourth of the first, and so on.
        let columns = if group == 1 { [2, 3, 6, 7] } else { [0, 1, 4, 5] };
        let levels = if has_third { 0..4_u8 } else { 0..2 };
        for level in levels {
            let column = columns[usize::from(level)];
            let found = self.keys().find(|(_, symbols)| symbols.get(column) == Some(&keysym));
            if let Some((keycode, symbols)) = found {
                let case = [columns[usize::from(level & 2)], columns[usize::from(level | 1)]];
                let case = case.map(|column| symbols.get(column).copied().unwrap_or(NONE));
                let is_letter = matches!((to_char(case[0]), to_char(case[1])), (Some(lower), Some(upper))
                    if lower != upper && lower.to_uppercase().eq(upper.to_uppercase()));
                return Some(Found {
                    keycode,
                    level,
                    is_letter,
                });
            }
        }
        None
    }

    /// Whichever key has a symbol, at any level: for keys that are no characters.
    pub(super) fn key_of(&self, keysym: u32) -> Option<u8> {
        let mut keys = self.keys();
        keys.find(|(_, symbols)| symbols.contains(&keysym))
            .map(|(keycode, _)| keycode)
    }

    /// Keys without a symbol, from the last: the first ones may be on somebody's keyboard.
    pub(super) fn spare(&self) -> Vec<u8> {
        // One that was bound by a process before has one strange symbol, whatever is pressed with it.
        let is_free = |symbols: &[u32]| {
            let first = symbols.first().copied().unwrap_or(NONE);
            let is_ours = first > 0x20 && to_char(first).is_some() && symbols.get(1) == Some(&first);
            symbols
                .iter()
                .all(|symbol| *symbol == NONE || (is_ours && *symbol == first))
        };
        let mut spare: Vec<u8> = self
            .keys()
            .filter(|(_, symbols)| is_free(symbols))
            .map(|(keycode, _)| keycode)
            .collect();
        spare.reverse();
        spare
    }

    /// A key has this symbol now, whatever is pressed with it.
    pub(super) fn bind(&mut self, keycode: u8, keysym: u32) {
        let at = usize::from(keycode.saturating_sub(self.first)) * self.width;
        if let Some(symbols) = self.symbols.get_mut(at..at + self.width) {
            symbols.fill(NONE);
            symbols.iter_mut().take(2).for_each(|symbol| *symbol = keysym);
        }
    }
}

/// The symbol of a character (the X protocol, appendix A).
pub(super) fn keysym_of(character: char) -> u32 {
    match u32::from(character) {
        // Enter and Tab are keys.
        0x0a | 0x0d => 0xff0d,
        0x09 => 0xff09,
        code @ (0x20..=0x7e | 0xa0..=0xff) => code,
        code => 0x0100_0000 | code,
    }
}

/// The character of a symbol, where it is one by the same rule.
pub(super) fn to_char(keysym: u32) -> Option<char> {
    match keysym {
        0x20..=0x7e | 0xa0..=0xff => char::from_u32(keysym),
        0x0100_0100..=0x0110_ffff => char::from_u32(keysym & 0x00ff_ffff),
        _ => None,
    }
}

/// Whether a symbol is that of a key that does something, in place of a character: whatever is pressed with it stays pressed.
pub(super) fn is_function(keysym: u32) -> bool {
    matches!(keysym, 0xfe00..=0xfeff | 0xff00..=0xffff | 0x1000_0000..=0x1fff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys 10 to 13: q Q (and @), 1 !, ä Ä, nothing.
    fn german() -> Keymap {
        #[rustfmt::skip]
        let symbols = vec![
            0x71, 0x51, 0x71, 0x51, 0x40, 0,
            0x31, 0x21, 0x31, 0x21, 0, 0,
            0xe4, 0xc4, 0xe4, 0xc4, 0, 0,
            0, 0, 0, 0, 0, 0,
        ];
        Keymap {
            first: 10,
            width: 6,
            symbols,
        }
    }

    #[test]
    fn symbols_are_found_where_they_take_the_least() {
        let found = |keysym, has_third| {
            german()
                .find(keysym, 0, has_third)
                .map(|found| (found.keycode, found.level, found.is_letter))
        };
        assert_eq!(found(0x71, true), Some((10, 0, true)));
        assert_eq!(found(0x51, true), Some((10, 1, true)));
        assert_eq!(found(0x40, true), Some((10, 2, false)));
        assert_eq!(found(0x40, false), None, "no key for third symbols");
        assert_eq!(found(0x21, true), Some((11, 1, false)));
        assert_eq!(found(0xc4, true), Some((12, 1, true)));
        assert_eq!(found(0x0100_20ac, true), None);
    }

    #[test]
    fn spare_key_takes_any_symbol() {
        let mut map = german();
        assert_eq!(map.spare(), [13]);
        map.bind(13, keysym_of('日'));
        assert_eq!(map.spare(), [13], "what was bound may be bound anew");
        let found = map.find(keysym_of('日'), 0, true).unwrap();
        assert_eq!((found.keycode, found.level, found.is_letter), (13, 0, false));
    }

    #[test]
    fn characters_have_symbols_and_keys_are_told_from_them() {
        for character in ['a', 'é', 'ÿ', '€', '日', '😀', ' '] {
            assert_eq!(to_char(keysym_of(character)), Some(character));
            assert!(!is_function(keysym_of(character)));
        }
        assert!(
            [0xff0d, 0xff51, 0xffe1, 0xfe03, 0x1008_ff13]
                .into_iter()
                .all(is_function)
        );
        assert_eq!(keysym_of('\n'), 0xff0d);
    }
}
