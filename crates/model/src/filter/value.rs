//! Filter values: what a key compares with, and relative dates.

use jiff::{
    SignedDuration, Span, Timestamp, ToSpan,
    civil::{DateTime, Weekday},
    tz::Offset,
};
use serde_json::Value;

use super::{FilterError, Operand};
use crate::{
    clock::{self, Millis},
    registry::Kind,
};

/// How the values of an attribute are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Id,
    Number,
    Bool,
    Date,
    Structure,
}

impl Form {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::String | Kind::Text | Kind::Enum | Kind::Vocabulary => Self::Text,
            Kind::Id => Self::Id,
            Kind::Int | Kind::Long | Kind::Float => Self::Number,
            Kind::Bool => Self::Bool,
            Kind::Date => Self::Date,
            Kind::Json | Kind::Dict | Kind::Object | Kind::Nested => Self::Structure,
        }
    }
}

/// Where a relative date that is rounded goes: to the start of the unit, or to its last millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    Down,
    Up,
}

/// A value as an attribute of that form compares it. Clients write numbers, truth values and dates as texts too.
pub(super) fn operand(
    key: &str,
    form: Form,
    value: &Value,
    now: Millis,
    round: Round,
) -> Result<Operand, FilterError> {
    let refuse = |expected| FilterError::Value {
        key: key.to_owned(),
        value: shown(value),
        expected,
    };
    match (form, value) {
        (Form::Text | Form::Id, Value::String(text)) => Ok(Operand::Text(text.clone())),
        (Form::Text | Form::Id, Value::Number(number)) => Ok(Operand::Text(number.to_string())),
        (Form::Text | Form::Id, Value::Bool(truth)) => Ok(Operand::Text(truth.to_string())),
        (Form::Text | Form::Id, _) => Err(refuse("texts")),
        (Form::Number, Value::Number(number)) => number
            .as_f64()
            .map(Operand::Number)
            .ok_or_else(|| refuse("numbers")),
        (Form::Number, Value::String(text)) => {
            let number = text
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite());
            number.map(Operand::Number).ok_or_else(|| refuse("numbers"))
        }
        (Form::Number, _) => Err(refuse("numbers")),
        (Form::Bool, Value::Bool(truth)) => Ok(Operand::Bool(*truth)),
        (Form::Bool, Value::String(text)) if text.eq_ignore_ascii_case("true") => {
            Ok(Operand::Bool(true))
        }
        (Form::Bool, Value::String(text)) if text.eq_ignore_ascii_case("false") => {
            Ok(Operand::Bool(false))
        }
        (Form::Bool, _) => Err(refuse("true or false")),
        (Form::Date, Value::String(text)) => {
            date(text, now, round).map(Operand::Date).ok_or_else(|| {
                refuse("dates (2024-01-31T00:00:00Z) or relative dates (now-7d, now-1M/M)")
            })
        }
        (Form::Date, _) => Err(refuse("dates as texts")),
        (Form::Structure, _) => Err(refuse(
            "no value itself; name one of its fields, such as hashes.MD5,",
        )),
    }
}

/// A date, or a date relative to now: `now`, then steps `+1d`, `-2w`, `/M` (rounding) from left to right.
fn date(text: &str, now: Millis, round: Round) -> Option<Millis> {
    let text = text.trim();
    match text.strip_prefix("now") {
        Some(steps) => relative(steps, now, round),
        None => clock::parse_date(text),
    }
}

fn relative(steps: &str, now: Millis, round: Round) -> Option<Millis> {
    let mut at = Offset::UTC.to_datetime(Timestamp::from_millisecond(now).ok()?);
    if !steps.is_ascii() {
        return None;
    }
    let mut rest = steps;
    while let Some(sign) = rest.chars().next() {
        rest = &rest[1..];
        match sign {
            '+' | '-' => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let count = if digits == 0 {
                    1
                } else {
                    rest[..digits].parse::<i64>().ok()?
                };
                let count = if sign == '-' { -count } else { count };
                rest = &rest[digits..];
                at = at.checked_add(step(rest.chars().next()?, count)?).ok()?;
            }
            '/' => at = rounded(at, rest.chars().next()?, round)?,
            _ => return None,
        }
        // the step has read its unit
        rest = &rest[1..];
    }
    Some(Offset::UTC.to_timestamp(at).ok()?.as_millisecond())
}

fn step(unit: char, count: i64) -> Option<Span> {
    /// Enough for any date that can be written, and far from the limits of a span.
    const MOST: i64 = 100_000_000;
    let count = Some(count).filter(|count| count.abs() <= MOST)?;
    let span = Span::new();
    match unit {
        's' => span.try_seconds(count),
        'm' => span.try_minutes(count),
        'h' | 'H' => span.try_hours(count),
        'd' => span.try_days(count),
        'w' => span.try_weeks(count),
        'M' => span.try_months(count),
        'y' => span.try_years(count),
        _ => return None,
    }
    .ok()
}

fn rounded(at: DateTime, unit: char, round: Round) -> Option<DateTime> {
    let start = match unit {
        's' => at.date().at(at.hour(), at.minute(), at.second(), 0),
        'm' => at.date().at(at.hour(), at.minute(), 0, 0),
        'h' | 'H' => at.date().at(at.hour(), 0, 0, 0),
        'd' => at.date().at(0, 0, 0, 0),
        'w' => {
            let since_monday = i64::from(at.weekday().since(Weekday::Monday));
            at.date()
                .checked_sub(since_monday.days())
                .ok()?
                .at(0, 0, 0, 0)
        }
        'M' => at.date().first_of_month().at(0, 0, 0, 0),
        'y' => at.date().first_of_year().at(0, 0, 0, 0),
        _ => return None,
    };
    match round {
        Round::Down => Some(start),
        Round::Up => start
            .checked_add(step(unit, 1)?)
            .ok()?
            .checked_sub(SignedDuration::from_millis(1))
            .ok(),
    }
}

/// A value for an error message, shortened.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

/// A text of a client for an error message.
pub(super) fn shortened(text: &str) -> String {
    const LIMIT: usize = 80;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_dates_are_counted_and_rounded_from_left_to_right() {
        let now = clock::parse_date("2024-03-31T10:20:30.456Z").unwrap();
        for (text, down, up) in [
            (
                "now",
                "2024-03-31T10:20:30.456Z",
                "2024-03-31T10:20:30.456Z",
            ),
            (
                "now-30d/d",
                "2024-03-01T00:00:00.000Z",
                "2024-03-01T23:59:59.999Z",
            ),
            (
                "now-1M",
                "2024-02-29T10:20:30.456Z",
                "2024-02-29T10:20:30.456Z",
            ),
            (
                "now/w",
                "2024-03-25T00:00:00.000Z",
                "2024-03-31T23:59:59.999Z",
            ),
            (
                "now-1y/y",
                "2023-01-01T00:00:00.000Z",
                "2023-12-31T23:59:59.999Z",
            ),
            (
                "now/M+1d",
                "2024-03-02T00:00:00.000Z",
                "2024-04-01T23:59:59.999Z",
            ),
            (
                "now+2h",
                "2024-03-31T12:20:30.456Z",
                "2024-03-31T12:20:30.456Z",
            ),
            (
                "now-90m/h",
                "2024-03-31T08:00:00.000Z",
                "2024-03-31T08:59:59.999Z",
            ),
            (
                "now-d",
                "2024-03-30T10:20:30.456Z",
                "2024-03-30T10:20:30.456Z",
            ),
            (
                "2024-01-01T00:00:00+01:00",
                "2023-12-31T23:00:00.000Z",
                "2023-12-31T23:00:00.000Z",
            ),
        ] {
            let at = |round| date(text, now, round).map(clock::format_date);
            assert_eq!(at(Round::Down).as_deref(), Some(down), "{text}");
            assert_eq!(at(Round::Up).as_deref(), Some(up), "{text}");
        }
    }

    #[test]
    fn what_is_no_relative_date_is_refused() {
        for text in [
            "now-",
            "now-1",
            "now-1x",
            "now/é",
            "nowé",
            "now-99999999999999999999d",
            "now-100000000y",
            "now 1d",
            "NOW",
            "now//d",
            "now-1d/",
        ] {
            assert_eq!(date(text, 0, Round::Down), None, "{text}");
        }
    }
}
