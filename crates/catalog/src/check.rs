//! Whether the text of a value obeys its property, and what to say when it does not.

use std::fmt;

use ferrocti_model::clock::parse_date;
use serde_json::Value;

use crate::{
    schema::{Format, Kind, Property, Rules},
    secret::MASK,
};

/// The longest `KEY=value` that Linux gives to a program, in bytes: 32 pages, with the NUL at its end.
const MAX_VARIABLE: usize = (128 << 10) - 1;

/// What is wrong with one key. The text says what is expected; a value of a secret is never in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong.
    pub fault: ValueFault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.fault)
    }
}

/// What is wrong with a value. The values within are those that may be shown.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueFault {
    /// A required value is not there.
    #[error("a value is required{}", .about.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Missing {
        /// What the key is for.
        about: Option<String>,
    },
    /// A key that the contract does not know.
    #[error("the contract has no such key{}", .similar.as_ref().map(|key| format!("; did you mean {key}?")).unwrap_or_default())]
    Unknown {
        /// A key that looks like it.
        similar: Option<String>,
    },
    /// A key that the platform gives.
    #[error("the platform gives this key itself; leave it out")]
    Given,
    /// Not a boolean.
    #[error("{found} is no boolean; write `{}`", if *.meant { "true` or `false" } else { "false` or `true" })]
    Boolean {
        /// What was given.
        found: String,
        /// What is probably meant.
        meant: bool,
    },
    /// Not a whole number.
    #[error("{found} is no whole number")]
    Integer {
        /// What was given.
        found: String,
    },
    /// Not a number.
    #[error("{found} is no number")]
    Number {
        /// What was given.
        found: String,
    },
    /// Not one of the allowed texts.
    #[error("{found} is not allowed; write {}", one_of(.allowed))]
    NotAllowed {
        /// What was given.
        found: String,
        /// What is allowed.
        allowed: Vec<String>,
    },
    /// Too short.
    #[error("the value has {length} characters, at least {least} are needed")]
    TooShort {
        /// Characters given.
        length: u64,
        /// Characters needed.
        least: u64,
    },
    /// Too long.
    #[error("the value has {length} characters, at most {most} are allowed")]
    TooLong {
        /// Characters given.
        length: u64,
        /// Characters allowed.
        most: u64,
    },
    /// A number out of range.
    #[error("{found} is out of range; the number must be {expected}")]
    Range {
        /// What was given.
        found: String,
        /// E.g. `at least 1`.
        expected: String,
    },
    /// The pattern does not match.
    #[error("{found} does not match the pattern `{pattern}`")]
    Pattern {
        /// What was given.
        found: String,
        /// The pattern.
        pattern: String,
    },
    /// Not of the format.
    #[error("{found} is no {expected}")]
    Format {
        /// What was given.
        found: String,
        /// What is expected, with an example.
        expected: &'static str,
    },
    /// Too few items of a list.
    #[error("the list has {count} items, at least {least} are needed; separate them with commas")]
    TooFew {
        /// Items given.
        count: u64,
        /// Items needed.
        least: u64,
    },
    /// Too many items of a list.
    #[error("the list has {count} items, at most {most} are allowed")]
    TooMany {
        /// Items given.
        count: u64,
        /// Items allowed.
        most: u64,
    },
    /// Not JSON.
    #[error("the value must be {expected}; {reason}")]
    Json {
        /// What it must be.
        expected: &'static str,
        /// Where it fails.
        reason: String,
    },
    /// A character that no environment variable can have.
    #[error("the value has a NUL character, which no environment variable can have")]
    Nul,
    /// A key that cannot be the name of an environment variable.
    #[error(
        "this cannot be the name of an environment variable, which has at least one character and neither `=` nor NUL"
    )]
    Key,
    /// More than a program can be given in one environment variable.
    #[error(
        "name and value have {length} bytes, and no program can be given more than {MAX_VARIABLE} in one environment variable; put it into a file"
    )]
    TooMuch {
        /// Bytes given.
        length: usize,
    },
    /// The value could not be sealed.
    #[error("{0}")]
    Seal(crate::seal::SealError),
}

fn one_of(allowed: &[String]) -> String {
    let quoted: Vec<String> = allowed.iter().map(|text| format!("`{text}`")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// The most characters of a value that a message repeats.
const SHOWN: usize = 60;

/// A value as a message may repeat it.
fn shown(property: &Property, value: &str) -> String {
    if property.secret {
        return MASK.to_owned();
    }
    if value.chars().count() <= SHOWN {
        return format!("`{value}`");
    }
    let cut: String = value.chars().take(SHOWN).collect();
    format!("`{cut}…`")
}

/// The items of a list as it is written in an environment variable: split at commas, trimmed, without empty ones.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Why no program can be given such a variable, whatever a contract says of it.
#[must_use]
pub fn variable(key: &str, value: &str) -> Option<ValueFault> {
    let length = key.len() + 1 + value.len();
    if key.is_empty() || key.contains(['=', '\0']) {
        Some(ValueFault::Key)
    } else if value.contains('\0') {
        Some(ValueFault::Nul)
    } else if length > MAX_VARIABLE {
        Some(ValueFault::TooMuch { length })
    } else {
        None
    }
}

/// All that is wrong with the text of a value.
#[must_use]
pub fn check(property: &Property, value: &str) -> Vec<ValueFault> {
    let mut out = Vec::new();
    if let Some(fault) = variable(&property.key, value) {
        return vec![fault];
    }
    // what the contract itself proposes is right, whatever it says elsewhere
    if property.default.as_deref() == Some(value) {
        return out;
    }
    if property.kind == Kind::List {
        let count = items(value).count() as u64;
        if let Some(least) = property.min_items.filter(|least| count < *least) {
            out.push(ValueFault::TooFew { count, least });
        }
        if let Some(most) = property.max_items.filter(|most| count > *most) {
            out.push(ValueFault::TooMany { count, most });
        }
        for item in items(value) {
            one(property, property.item_kind, item, &mut out);
        }
    } else {
        one(property, property.kind, value, &mut out);
    }
    if property.json
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(value)
    {
        out.push(not_json("JSON", &error));
    }
    out
}

/// Checks a value that is no list, or an item of one.
fn one(property: &Property, kind: Kind, value: &str, out: &mut Vec<ValueFault>) {
    let found = || shown(property, value);
    match kind {
        Kind::Boolean if value != "true" && value != "false" => {
            out.push(ValueFault::Boolean {
                found: found(),
                meant: !matches!(
                    value.trim().to_ascii_lowercase().as_str(),
                    "false" | "no" | "off" | "0" | "n" | "f"
                ),
            });
        }
        Kind::Boolean => allowed(property, value, out),
        Kind::Integer | Kind::Number => {
            // a whole number may be as long as it likes; as a number it only has to be compared
            match value.trim().parse::<f64>().ok().filter(|n| n.is_finite()) {
                Some(number) if kind == Kind::Number || number.fract() == 0.0 => {
                    range(property, number, value, out);
                    allowed(property, value, out);
                }
                _ if kind == Kind::Integer => out.push(ValueFault::Integer { found: found() }),
                _ => out.push(ValueFault::Number { found: found() }),
            }
        }
        Kind::Object => match serde_json::from_str::<Value>(value) {
            Ok(Value::Object(_)) => {}
            Ok(other) => out.push(ValueFault::Json {
                expected: "a JSON object",
                reason: format!("it is {}", crate::read::kind(&other)),
            }),
            Err(error) => out.push(not_json("a JSON object", &error)),
        },
        // a list in a list has no form in an environment variable
        Kind::Text | Kind::Any | Kind::List => text(property, value, out),
    }
}

/// Says where JSON fails and not what it contains, which may be a secret.
fn not_json(expected: &'static str, error: &serde_json::Error) -> ValueFault {
    ValueFault::Json {
        expected,
        reason: format!(
            "it cannot be read at line {} column {}",
            error.line(),
            error.column()
        ),
    }
}

fn allowed(property: &Property, value: &str, out: &mut Vec<ValueFault>) {
    let allowed = &property.rules.allowed;
    if !allowed.is_empty() && !allowed.iter().any(|text| text == value) {
        out.push(ValueFault::NotAllowed {
            found: shown(property, value),
            allowed: allowed.clone(),
        });
    }
}

fn range(property: &Property, number: f64, value: &str, out: &mut Vec<ValueFault>) {
    let Rules {
        minimum,
        maximum,
        above,
        below,
        ..
    } = property.rules;
    let bounds = [
        (
            minimum,
            "at least",
            minimum.is_some_and(|bound| number < bound),
        ),
        (
            maximum,
            "at most",
            maximum.is_some_and(|bound| number > bound),
        ),
        (
            above,
            "greater than",
            above.is_some_and(|bound| number <= bound),
        ),
        (
            below,
            "less than",
            below.is_some_and(|bound| number >= bound),
        ),
    ];
    if bounds.iter().any(|(_, _, broken)| *broken) {
        let expected: Vec<String> = bounds
            .iter()
            .filter_map(|(bound, words, _)| Some(format!("{words} {}", (*bound)?)))
            .collect();
        out.push(ValueFault::Range {
            found: shown(property, value),
            expected: expected.join(" and "),
        });
    }
}

fn text(property: &Property, value: &str, out: &mut Vec<ValueFault>) {
    allowed(property, value, out);
    let rules = &property.rules;
    let length = value.chars().count() as u64;
    if let Some(least) = rules.min_length.filter(|least| length < *least) {
        out.push(ValueFault::TooShort { length, least });
    }
    if let Some(most) = rules.max_length.filter(|most| length > *most) {
        out.push(ValueFault::TooLong { length, most });
    }
    if let Some(pattern) = rules
        .pattern
        .as_ref()
        .filter(|pattern| !pattern.is_match(value))
    {
        out.push(ValueFault::Pattern {
            found: shown(property, value),
            pattern: pattern.as_str().to_owned(),
        });
    }
    if let Some(expected) = rules.format.and_then(|format| expected(format, value)) {
        out.push(ValueFault::Format {
            found: shown(property, value),
            expected,
        });
    }
}

/// What was expected, when a text is not of its format.
fn expected(format: Format, value: &str) -> Option<&'static str> {
    let (right, expected) = match format {
        Format::Password => return None,
        Format::Uri => (
            is_uri(value),
            "URI; write it with its scheme, e.g. `https://example.org`",
        ),
        Format::Duration => (
            is_duration(value),
            "ISO 8601 duration; write e.g. `PT1H` for an hour, `P1D` for a day, `PT30M` for half an hour",
        ),
        Format::Date => (
            value.len() == 10 && parse_date(value).is_some(),
            "date; write e.g. `2026-01-31`",
        ),
        // contracts have durations as defaults of such keys, and mean so long before now
        Format::DateTime => (
            value.len() > 10 && parse_date(value).is_some() || is_duration(value),
            "time; write e.g. `2026-01-31T00:00:00Z`, or a duration before now such as `P30D`",
        ),
        Format::Email => (
            is_email(value),
            "mail address; write e.g. `name@example.org`",
        ),
    };
    (!right).then_some(expected)
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_right = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    let signs_right = !text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c));
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host_right = match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => host.is_some_and(|host| {
            let name = host.rsplit('@').next().unwrap_or_default();
            !name.is_empty() && !name.starts_with(':')
        }),
        _ => !rest.is_empty(),
    };
    scheme_right && signs_right && host_right
}

/// `P`, then years, months and days, then `T` with hours, minutes and seconds, each at most once and at least one of them; or weeks alone.
pub(crate) fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    let date_right = parts(date, "YMD") || time.is_none() && parts(date, "W");
    let time_right = time.is_none_or(|time| !time.is_empty() && parts(time, "HMS"));
    date_right && time_right && !rest.is_empty()
}

/// Whether a text is made of numbers, each followed by one of the units, which come in their order.
fn parts(text: &str, units: &str) -> bool {
    let mut rest = text;
    let mut left = units;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let Some(unit) = rest[end..].chars().next() else {
            return false;
        };
        let Some(place) = left.find(unit) else {
            return false;
        };
        if end == 0 {
            return false;
        }
        left = &left[place + unit.len_utf8()..];
        rest = &rest[end + unit.len_utf8()..];
    }
    true
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601() {
        for right in [
            "PT1H",
            "P1D",
            "PT5M",
            "P1Y2M3DT4H5M6S",
            "P2W",
            "P30D",
            "PT30S",
            "P1DT1H",
        ] {
            assert!(is_duration(right), "{right}");
        }
        for wrong in [
            "",
            "P",
            "PT",
            "1H",
            "P1H",
            "PT1D",
            "P1DT",
            "PT1M1H",
            "P1W2D",
            "P-1D",
            "PD",
            "P1",
            "P1D ",
            "PT1H\u{fc}",
            "P1WT1H",
        ] {
            assert!(!is_duration(wrong), "{wrong}");
        }
    }

    #[test]
    fn uris_have_a_scheme_and_a_host() {
        for right in [
            "https://example.org",
            "http://localhost:8080/x?y=z#a",
            "https://user@host/",
            "ldap://x",
            "mailto:a@b",
            "http://[::1]:80",
        ] {
            assert!(is_uri(right), "{right}");
        }
        for wrong in [
            "",
            "example.org",
            "https://",
            "https:///x",
            "http:x",
            "https://a b",
            "://x",
            "1a:b",
            "https://:80",
            "x:",
            "ht tp://a",
        ] {
            assert!(!is_uri(wrong), "{wrong}");
        }
    }

    #[test]
    fn mail_addresses_have_two_sides() {
        assert!(is_email("a@example.org"));
        for wrong in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@.b"] {
            assert!(!is_email(wrong), "{wrong}");
        }
    }
}
