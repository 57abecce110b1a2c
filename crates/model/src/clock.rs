//! Time and randomness as parameters: everything that needs "now" or a random value takes one of these, so that tests decide.

use std::borrow::Cow;

use jiff::{civil::DateTime, tz::Offset};
use uuid::Uuid;

use crate::stix::date;

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The current time in milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
}

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random values.
    fn fill(&self, bytes: &mut [u8]);

    /// A random UUID (version 4).
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A time-ordered UUID (version 7) for the given time.
    fn uuid_at(&self, now: Millis) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        uuid::Builder::from_unix_timestamp_millis(now.unsigned_abs(), &bytes).into_uuid()
    }
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Millis) -> Self {
        Self(now.into())
    }

    /// Moves the clock forward by `millis`.
    pub fn advance(&self, millis: Millis) {
        self.0
            .fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// A reproducible source of bytes (splitmix64); for tests, never for secrets.
#[derive(Debug, Default)]
pub struct SeededEntropy(std::sync::atomic::AtomicU64);

impl SeededEntropy {
    /// A source that always gives the same bytes for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.into())
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::SeqCst)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The first and the last time that can be written: years 1 to 9999.
const FIRST: Millis = -62_135_596_800_000;
const LAST: Millis = 253_402_300_799_999;

/// A time as it is stored and shown: RFC 3339 in UTC with milliseconds and `Z`, e.g. `2024-01-02T03:04:05.000Z`.
#[must_use]
pub fn format_date(millis: Millis) -> String {
    date::format(millis.clamp(FIRST, LAST)).unwrap_or_default()
}

/// Reads an RFC 3339 time with any offset, in the years 1 to 9999; a time without offset, or a bare date, is taken as UTC.
/// `None`: not a time.
#[must_use]
pub fn parse_date(text: &str) -> Option<Millis> {
    date::parse(text)
        .or_else(|| {
            let civil = text.parse::<DateTime>().ok()?;
            Some(Offset::UTC.to_timestamp(civil).ok()?.as_millisecond())
        })
        .filter(|millis| (FIRST..=LAST).contains(millis))
}

/// Brings a time into the stored form; what has it already is not copied. `None`: not a time.
#[must_use]
pub fn stored_date(text: &str) -> Option<Cow<'_, str>> {
    let millis = parse_date(text)?;
    // a leap second is the one thing in the stored form that is written differently
    let bytes = text.as_bytes();
    let stored = matches!(bytes, [_, _, _, _, _, _, _, _, _, _, b'T', .., b'Z'])
        && bytes.len() == 24
        && bytes[17..20] != *b"60.";
    Some(if stored {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format_date(millis))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_out_in_utc_with_milliseconds() {
        for (given, stored) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02T03:04:05.123456Z", "2024-01-02T03:04:05.123Z"),
            ("2024-01-02T05:04:05+02:00", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02 03:04:05Z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02t03:04:05.000z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02T03:04:05", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02", "2024-01-02T00:00:00.000Z"),
            ("2016-12-31T23:59:60.000Z", "2016-12-31T23:59:59.000Z"),
            ("2024-01-02T03:04:05.0000Z", "2024-01-02T03:04:05.000Z"),
            ("2024-01-02T03:04:05.1234Z", "2024-01-02T03:04:05.123Z"),
            ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"),
            ("5138-11-16T09:46:40.000Z", "5138-11-16T09:46:40.000Z"),
            ("1900-06-01T00:00:00.001Z", "1900-06-01T00:00:00.001Z"),
        ] {
            assert_eq!(stored_date(given).as_deref(), Some(stored), "{given}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for given in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "12345",
            "2024-01-02T03:04:05.000",
            "2024-01-02T25:00:00Z",
        ] {
            let expected = given == "2024-01-02T03:04:05.000";
            assert_eq!(stored_date(given).is_some(), expected, "{given}");
        }
    }

    #[test]
    fn a_time_out_of_range_is_cut_to_what_can_be_written() {
        assert_eq!(&format_date(Millis::MAX)[..10], "9999-12-31");
        assert_eq!(&format_date(Millis::MIN)[..10], "0001-01-01");
    }
}
