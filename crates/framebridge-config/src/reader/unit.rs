//! What numbers are counted in, and what is meant where somebody writes the unit beside one.

use std::fmt;

/// What a key's number is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    BitsPerSecond,
    Pixels,
    Mebibytes,
}

impl Unit {
    /// That of `key`, where it has one.
    pub(super) fn of(key: &str) -> Option<Self> {
        match key.rsplit('.').next()? {
            "bitrate" => Some(Self::BitsPerSecond),
            "longest_edge" => Some(Self::Pixels),
            name if name.ends_with("_ms") => Some(Self::Milliseconds),
            name if name.ends_with("_mb") => Some(Self::Mebibytes),
            _ => None,
        }
    }

    /// The number that is meant by a text like `5s` or `2.5M`.
    pub(super) fn meant(self, text: &str) -> Option<u64> {
        let text = text.trim();
        let end = text
            .find(|found: char| !found.is_ascii_digit() && found != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let suffix = suffix.trim().to_ascii_lowercase();
        let (_, factor) = self.suffixes().iter().find(|(known, _)| *known == suffix)?;
        times(number, *factor)
    }

    /// What people write behind a number, and how many of this unit it is.
    fn suffixes(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Milliseconds => &[
                ("ms", 1),
                ("s", 1000),
                ("sec", 1000),
                ("m", 60_000),
                ("min", 60_000),
                ("h", 3_600_000),
            ],
            Self::BitsPerSecond => &[
                ("bit/s", 1),
                ("bps", 1),
                ("k", 1000),
                ("kbit", 1000),
                ("kbps", 1000),
                ("kbit/s", 1000),
                ("kb/s", 1000),
                ("m", 1_000_000),
                ("mbit", 1_000_000),
                ("mbps", 1_000_000),
                ("mbit/s", 1_000_000),
                ("mb/s", 1_000_000),
            ],
            Self::Pixels => &[("px", 1)],
            Self::Mebibytes => &[
                ("m", 1),
                ("mb", 1),
                ("mib", 1),
                ("g", 1024),
                ("gb", 1024),
                ("gib", 1024),
            ],
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "milliseconds",
            Self::BitsPerSecond => "bits a second",
            Self::Pixels => "pixels",
            Self::Mebibytes => "MiB",
        })
    }
}

/// A decimal number so many times, if that is a whole one.
fn times(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u64.checked_pow(part.len().try_into().ok()?)?;
    let parts: u64 = part.parse().ok()?;
    let parts = parts.checked_mul(factor)?;
    let whole: u64 = whole.parse().ok()?;
    (parts % scale == 0).then_some(())?;
    whole.checked_mul(factor)?.checked_add(parts / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_with_its_unit_beside_it_is_understood() {
        for (key, text, meant) in [
            ("streams.a.linger_ms", "5s", Some(5000)),
            ("streams.a.linger_ms", "1.5 min", Some(90_000)),
            ("streams.a.linger_ms", "0.0001s", None),
            ("video.bitrate", "2.5M", Some(2_500_000)),
            ("video.bitrate", "2500 kbit/s", Some(2_500_000)),
            ("video.bitrate", "99999999999999999999M", None),
            ("video.longest_edge", "1280px", Some(1280)),
            ("video.longest_edge", "720p", None),
            ("webrtc.memory_budget_mb", "1G", Some(1024)),
            ("video.bitrate", "high", None),
            ("video.bitrate", "", None),
        ] {
            assert_eq!(Unit::of(key).and_then(|unit| unit.meant(text)), meant, "{key} {text}");
        }
        assert_eq!(Unit::of("video.fps"), None);
    }
}
