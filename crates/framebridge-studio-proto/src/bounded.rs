//! Cuts what the other side wrote as it is read, so that nothing kept, logged or shown is longer than it may be.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::{Header, REQUEST_HEADERS, RESPONSE_HEADERS, limits::MAX_HEADERS};

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

/// A text of at most `MOST` bytes; what is beyond is cut.
pub(crate) fn text<'de, D: Deserializer<'de>, const MOST: usize>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| plain(&text, MOST))
}

/// [`text`], where there may be none.
pub(crate) fn optional_text<'de, D: Deserializer<'de>, const MOST: usize>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| plain(&text, MOST)))
}

/// The first `MOST` of a list; what is beyond is left out.
pub(crate) fn list<'de, D, T, const MOST: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    some(from, MOST, Some)
}

/// The first `MOST` words of a list, each of at most `LONGEST` bytes.
pub(crate) fn words<'de, D, const MOST: usize, const LONGEST: usize>(from: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    some(from, MOST, |word: String| Some(plain(&word, LONGEST)))
}

/// Those of [`REQUEST_HEADERS`] that there are, [`MAX_HEADERS`] in all.
pub(crate) fn request_headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Header>, D::Error> {
    headers(from, REQUEST_HEADERS)
}

/// Those of [`RESPONSE_HEADERS`] that there are, [`MAX_HEADERS`] in all.
pub(crate) fn response_headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Header>, D::Error> {
    headers(from, RESPONSE_HEADERS)
}

fn headers<'de, D: Deserializer<'de>>(from: D, known: &'static [&'static str]) -> Result<Vec<Header>, D::Error> {
    let mut left = MAX_HEADERS;
    some(from, usize::MAX, move |(name, value): Header| {
        let header = known.contains(&name.as_str()).then_some((name, value))?;
        left = left.checked_sub(header.0.len() + header.1.len())?;
        Some(header)
    })
}

/// Of a list the first `most` that `keep` keeps. The rest is read, and not kept.
fn some<'de, D, T, U>(from: D, most: usize, keep: impl FnMut(T) -> Option<U>) -> Result<Vec<U>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Keeping<T, F> {
        most: usize,
        keep: F,
        of: PhantomData<T>,
    }

    impl<'de, T: Deserialize<'de>, U, F: FnMut(T) -> Option<U>> Visitor<'de> for Keeping<T, F> {
        type Value = Vec<U>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<U>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < self.most {
                let Some(item) = list.next_element()? else {
                    break;
                };
                kept.extend((self.keep)(item));
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            kept.shrink_to_fit();
            Ok(kept)
        }
    }

    let of = PhantomData;
    from.deserialize_seq(Keeping { most, keep, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_other_side_are_one_plain_line_of_their_length() {
        assert_eq!(
            plain("a\x1b]0;title\x07b\r\nc\u{9b}2J\u{202e}d", 100),
            "a ]0;title b  c 2J d"
        );
        assert_eq!(plain("grün", 3), "gr", "no half a letter");
        let long = "x".repeat(250_000);
        assert_eq!(plain(&long, 10).capacity(), 10);
    }
}
