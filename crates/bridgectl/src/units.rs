//! Sizes and spans of time in the units that people use.

/// `800 kb/s`, `4 Mb/s`, `2.5 Mb/s`
pub(crate) fn bitrate(bits_per_second: u32) -> String {
    let (whole, tenth) = (bits_per_second / 1_000_000, bits_per_second / 100_000 % 10);
    match (whole, tenth) {
        (0, _) => format!("{} kb/s", bits_per_second / 1000),
        (_, 0) => format!("{whole} Mb/s"),
        _ => format!("{whole}.{tenth} Mb/s"),
    }
}

/// How long ago, in the largest unit: `9 ms`, `4 s`, `12 min`, `3 h`, `2 d`.
pub(crate) fn age(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The two largest units of a span of seconds: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_that_people_use() {
        for (bits, text) in [(800_000, "800 kb/s"), (4_000_000, "4 Mb/s"), (2_550_000, "2.5 Mb/s")] {
            assert_eq!(bitrate(bits), text);
        }
        for (ms, text) in [
            (9, "9 ms"),
            (4_900, "4 s"),
            (746_566, "12 min"),
            (7_200_000, "2 h"),
            (200_000_000, "2 d"),
        ] {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, text) in [
            (4, "4 s"),
            (200, "3 min 20 s"),
            (7_500, "2 h 5 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
