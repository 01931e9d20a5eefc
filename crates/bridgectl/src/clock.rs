//! Reads and writes times as people do.

const MS_PER_DAY: u64 = 86_400_000;

/// `2026-11-23 06:40:08.123Z`
pub(crate) fn utc(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / MS_PER_DAY);
    let ms = unix_ms % MS_PER_DAY;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1000
    )
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar, counted from a first of March, so that the
/// leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Reads a moment in the past: `10m` ago, or `2026-11-23 06:40[:08]` or `2026-11-23`, in UTC. Milliseconds since the Unix epoch.
///
/// # Errors
/// It is neither; the text has examples.
pub(crate) fn moment(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Ok(ago) = seconds(text) {
        return Ok(now_ms.saturating_sub(ago.saturating_mul(1000)));
    }
    date_and_time(text).ok_or_else(|| {
        format!(
            "`{text}` is no moment: use a span up to now like 90s, 10m or 2h, or a time in UTC like `2026-11-23 06:40`"
        )
    })
}

fn date_and_time(text: &str) -> Option<u64> {
    let text = text.trim_end_matches('Z');
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, mark: char| {
        text.split(mark)
            .map(|part| part.parse::<u64>().ok())
            .collect::<Option<Vec<_>>>()
    };
    let (day, time) = (numbers(day, '-')?, numbers(time, ':')?);
    let (&[year, month, day], &[hour, minute, ref rest @ ..]) = (&day[..], &time[..]) else {
        return None;
    };
    let second = match *rest {
        [] => 0,
        [second] => second,
        _ => return None,
    };
    let days = days(year, month, day)?;
    (hour < 24 && minute < 60 && second < 60).then(|| days * MS_PER_DAY + (hour * 3600 + minute * 60 + second) * 1000)
}

/// The day since 1970-01-01 that is that date, if there is one: the way back of [`date`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let years = year - 1970;
    // A year has a quarter of a day more, and a month up to three: the date is no further behind the guess.
    let guess = (years * 365 + (month - 1) * 28 + day).saturating_sub(2);
    (guess..=guess + years / 4 + 40).find(|&days| date(days) == (year, month, day))
}

/// Reads `90s`, `30m`, `1h`, `7d`.
///
/// # Errors
/// It is no span of time; the text has examples.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, factor)));
    found
        .and_then(|(number, factor)| number.parse::<u64>().ok()?.checked_mul(*factor))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| format!("`{text}` is no span of time: use e.g. 90s, 30m, 1h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = 1_795_416_008_123;
        for (text, ms) in [
            ("10m", now - 600_000),
            ("9999d", now - 9_999 * MS_PER_DAY),
            ("2026-11-23 06:40:08", 1_795_416_008_000),
            ("2026-11-23T06:40:08Z", 1_795_416_008_000),
            ("2026-11-23 06:40", 1_795_416_000_000),
            ("2026-11-23", 1_795_392_000_000),
            ("1970-01-01", 0),
            ("2024-02-29", 1_709_164_800_000),
            ("2100-03-01", 4_107_542_400_000),
        ] {
            assert_eq!(moment(text, now), Ok(ms), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-29",
            "2026-13-01",
            "2026-11-23 25:00",
            "06:40",
            "1969-12-31",
            "2026-11",
            "99999999999-1-1",
        ] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_of_time_are_read_as_people_write_them() {
        for (text, expected) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "1", "h", "-1h", "1.5h", "0s", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn leap_days_and_turns_of_the_year_are_where_they_belong() {
        for (unix_ms, text) in [
            (0, "1970-01-01 00:00:00.000Z"),
            (951_782_400_000, "2000-02-29 00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29 23:59:59.999Z"),
            (1_735_689_599_000, "2024-12-31 23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000Z"),
        ] {
            assert_eq!(utc(unix_ms), text);
        }
    }
}
