//! Dates as the platform keeps them: RFC 3339, UTC, milliseconds, `Z`.

use std::fmt::Write as _;

/// The date that stands for "since ever" in start dates.
pub const UNKNOWN_START: &str = "1970-01-01T00:00:00.000Z";
/// The date that stands for "until ever" in end dates.
pub const UNKNOWN_END: &str = "5138-11-16T09:46:40.000Z";

/// Milliseconds since the Unix epoch of an RFC 3339 date; `None` when it is not one. Fractions below a millisecond are cut.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes.get(from..to)?.iter().try_fold(0i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let punctuation =
        bytes[4] == b'-' && bytes[7] == b'-' && bytes[13] == b':' && bytes[16] == b':';
    if !punctuation || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let in_range = (1..=12).contains(&month)
        && day >= 1
        && day <= days_in(year, month)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let mut at = 19;
    let mut millis = 0;
    if bytes[at] == b'.' {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        for place in 0..3 {
            let digit = if place < digits {
                i64::from(bytes[at + 1 + place] - b'0')
            } else {
                0
            };
            millis = millis * 10 + digit;
        }
        at += 1 + digits;
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && bytes[at + 3] == b':' => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            if *sign == b'+' {
                hours * 60 + minutes
            } else {
                -(hours * 60 + minutes)
            }
        }
        _ => return None,
    };
    // a leap second counts as the last second of its minute
    let seconds = days_from_epoch(year, month, day) * 86_400
        + hour * 3600
        + (minute - offset_minutes) * 60
        + second.min(59);
    Some(seconds * 1000 + millis)
}

/// The stored form of milliseconds since the Unix epoch; `None` outside the years 0001 to 9999.
#[must_use]
pub fn format(millis: i64) -> Option<String> {
    let days = millis.div_euclid(86_400_000);
    let rest = millis.rem_euclid(86_400_000);
    let (year, month, day) = civil(days);
    if !(1..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second, milli) = (
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000,
    );
    let mut text = String::with_capacity(24);
    write!(
        text,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
    )
    .ok()?;
    Some(text)
}

/// The stored form of a date text; `None` when it is not an RFC 3339 date within the years 0001 to 9999.
#[must_use]
pub fn normalise(text: &str) -> Option<String> {
    let text = text.trim();
    let millis = parse(text)?;
    let bytes = text.as_bytes();
    if bytes.len() == 24
        && bytes[10] == b'T'
        && bytes[23] == b'Z'
        && bytes[19] == b'.'
        && &text[..4] != "0000"
        && &text[17..19] != "60"
    {
        return Some(text.to_owned());
    }
    format(millis)
}

/// Whether a stored date stands for "unknown": within the first hour of 1970 or before, or at the end sentinel or beyond.
#[must_use]
pub fn is_unknown(millis: i64) -> bool {
    !(3_600_001..100_000_000_000_000).contains(&millis)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the leap day is the last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_out_in_utc_with_milliseconds() {
        let cases = [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02T03:04:05.1Z", "2024-01-02T03:04:05.100Z"),
            ("2024-01-02T03:04:05.123456789Z", "2024-01-02T03:04:05.123Z"),
            ("2024-01-02T03:04:05.123Z", "2024-01-02T03:04:05.123Z"),
            ("2024-01-02t03:04:05z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-01T01:00:00+02:30", "2023-12-31T22:30:00.000Z"),
            ("2024-02-29T23:59:60Z", "2024-02-29T23:59:59.000Z"),
            (UNKNOWN_START, UNKNOWN_START),
            (UNKNOWN_END, UNKNOWN_END),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ];
        for (given, expected) in cases {
            assert_eq!(normalise(given).as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn what_is_not_an_rfc_3339_date_is_refused() {
        let cases = [
            "",
            "2024",
            "2024-01-02",
            "2024-01-02T03:04:05",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05+0200",
            "2024-01-02T03:04:05ZZ",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "２024-01-02T03:04:05Z",
            "yesterday at five o'clock",
        ];
        for given in cases {
            assert_eq!(normalise(given), None, "{given}");
        }
    }

    #[test]
    fn the_sentinels_are_unknown_and_ordinary_dates_are_not() {
        for (text, expected) in [
            (UNKNOWN_START, true),
            (UNKNOWN_END, true),
            ("1999-01-01T00:00:00Z", false),
            ("2030-01-01T00:00:00Z", false),
        ] {
            assert_eq!(is_unknown(parse(text).unwrap()), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn formatting_and_parsing_are_inverse(millis in -62_135_596_800_000i64..253_402_300_799_999) {
            proptest::prop_assert_eq!(parse(&format(millis).unwrap()), Some(millis));
        }
    }
}
