//! Cuts what the other side wrote as it is read, so that nothing kept, logged or shown is longer than it may be.

use std::{fmt, marker::PhantomData};

use framebridge_proto::plain;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::{Header, REQUEST_HEADERS, RESPONSE_HEADERS, limits::MAX_HEADERS};

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
