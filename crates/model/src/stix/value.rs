//! Values: from what JSON says to the stored form of an attribute's kind, or the reason why not.

use serde_json::{Map, Number, Value};

use super::date;
use crate::registry::{Attribute, Kind};

/// Why a value does not fit its attribute; what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not text.
    #[error("a text is expected")]
    Text,
    /// Not a whole number in range.
    #[error("a whole number of {0} bits is expected")]
    Integer(u8),
    /// Not a number.
    #[error("a number is expected")]
    Number,
    /// Not a truth value.
    #[error("true or false is expected")]
    Bool,
    /// Not a date.
    #[error("a date and time as in RFC 3339 is expected, such as 2024-01-31T12:00:00Z")]
    Date,
    /// Not an object.
    #[error("an object is expected")]
    Object,
    /// A list where one value is expected.
    #[error("one value is expected, not a list")]
    List,
}

/// The stored form of `value` for `attribute`; `None` when it says nothing (null, an empty date, a list of nulls only).
///
/// A single value stands for a list of one where a list is expected. Numbers as text and numbers as names are understood.
pub fn convert(attribute: &Attribute, value: Value) -> Result<Option<Value>, ValueError> {
    if value.is_null() {
        return Ok(None);
    }
    // hashes and similar: an object by nature, whatever the attribute says about lists
    if matches!(attribute.kind, Kind::Json) {
        return Ok(Some(value));
    }
    if attribute.multiple {
        let items = match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        let mut converted = Vec::with_capacity(items.len());
        for item in items {
            if let Some(item) = one(attribute.kind, item)? {
                converted.push(item);
            }
        }
        return Ok(Some(Value::Array(converted)));
    }
    one(attribute.kind, value)
}

fn one(kind: Kind, value: Value) -> Result<Option<Value>, ValueError> {
    Ok(match (kind, value) {
        (_, Value::Null) => None,
        (Kind::Json, value) => Some(value),
        (Kind::Dict | Kind::Object | Kind::Nested, value @ Value::Object(_)) => Some(value),
        (Kind::Object | Kind::Nested, value @ Value::Array(_)) => Some(value),
        (Kind::Dict | Kind::Object | Kind::Nested, _) => return Err(ValueError::Object),
        (_, Value::Array(_)) => return Err(ValueError::List),
        (Kind::Date, Value::String(text)) => match date::normalise(&text) {
            Some(normal) => Some(Value::String(normal)),
            None if text.trim().is_empty() => None,
            None => return Err(ValueError::Date),
        },
        (Kind::Date, _) => return Err(ValueError::Date),
        (Kind::Int, value) => integer(&value, i64::from(i32::MIN), i64::from(i32::MAX))
            .map(Some)
            .ok_or(ValueError::Integer(32))?,
        (Kind::Long, value) => integer(&value, i64::MIN, i64::MAX)
            .map(Some)
            .ok_or(ValueError::Integer(64))?,
        (Kind::Float, Value::Number(number)) => Some(Value::Number(number)),
        (Kind::Float, Value::String(text)) => {
            Some(Value::Number(float(&text).ok_or(ValueError::Number)?))
        }
        (Kind::Float, _) => return Err(ValueError::Number),
        (Kind::Bool, Value::Bool(value)) => Some(Value::Bool(value)),
        (Kind::Bool, Value::String(text)) => match text.trim() {
            "true" | "True" => Some(Value::Bool(true)),
            "false" | "False" => Some(Value::Bool(false)),
            _ => return Err(ValueError::Bool),
        },
        (Kind::Bool, _) => return Err(ValueError::Bool),
        (Kind::String | Kind::Text | Kind::Id | Kind::Enum | Kind::Vocabulary, value) => {
            match value {
                Value::String(text) => Some(Value::String(text)),
                Value::Number(number) => Some(Value::String(number.to_string())),
                Value::Bool(flag) => Some(Value::String(flag.to_string())),
                _ => return Err(ValueError::Text),
            }
        }
    })
}

fn integer(value: &Value, low: i64, high: i64) -> Option<Value> {
    let whole = match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?))?,
        Value::String(text) => text.trim().parse::<i64>().ok()?,
        _ => return None,
    };
    (low..=high)
        .contains(&whole)
        .then(|| Value::Number(whole.into()))
}

/// 5.0 is 5, as JSON does not tell them apart.
#[expect(
    clippy::cast_possible_truncation,
    reason = "only whole numbers below 2^53 get here"
)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn float(text: &str) -> Option<Number> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// Whether a value says nothing: null, blank text, an empty list or object.
#[must_use]
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two values are the same; numbers by their value, so that 5 is 5.0.
#[must_use]
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            a == b
                || (a.as_f64() == b.as_f64()
                    && a.as_f64()
                        .is_some_and(|n| n.abs() < 9_007_199_254_740_992.0))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

/// Hashes with their usual algorithm names and, where the algorithm writes hexadecimal digits, in lower case.
///
/// Accepts a dictionary (STIX) or a list of `{algorithm, hash}` (GraphQL). Entries without a value are left out.
pub fn hashes(value: Value) -> Result<Map<String, Value>, ValueError> {
    let mut result = Map::new();
    let mut add = |algorithm: &str, value: Value| -> Result<(), ValueError> {
        match value {
            Value::Null => Ok(()),
            Value::String(text) if text.trim().is_empty() => Ok(()),
            Value::String(text) => {
                let algorithm = hash_algorithm(algorithm);
                let text = text.trim();
                let text = if is_hexadecimal_hash(&algorithm) {
                    text.to_ascii_lowercase()
                } else {
                    text.to_owned()
                };
                result.insert(algorithm, Value::String(text));
                Ok(())
            }
            _ => Err(ValueError::Text),
        }
    };
    match value {
        Value::Object(members) => {
            for (algorithm, value) in members {
                add(&algorithm, value)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                let Value::Object(mut item) = item else {
                    return Err(ValueError::Object);
                };
                let Some(Value::String(algorithm)) = item.remove("algorithm") else {
                    return Err(ValueError::Text);
                };
                add(&algorithm, item.remove("hash").unwrap_or_default())?;
            }
        }
        _ => return Err(ValueError::Object),
    }
    Ok(result)
}

/// The spelling of STIX 2.1's hash-algorithm vocabulary: `sha256` becomes `SHA-256`.
fn hash_algorithm(given: &str) -> String {
    let upper = given.trim().to_ascii_uppercase();
    let name = match upper.as_str() {
        "SHA1" => "SHA-1",
        "SHA224" => "SHA-224",
        "SHA256" => "SHA-256",
        "SHA384" => "SHA-384",
        "SHA512" => "SHA-512",
        "SHA3256" => "SHA3-256",
        "SHA3512" => "SHA3-512",
        "MD-5" => "MD5",
        _ => return upper,
    };
    name.to_owned()
}

/// Fuzzy hashes (SSDEEP, TLSH, …) are case-sensitive texts.
fn is_hexadecimal_hash(algorithm: &str) -> bool {
    algorithm == "MD5" || algorithm.starts_with("SHA")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attribute(kind: Kind, multiple: bool) -> Attribute {
        Attribute {
            name: "a".to_owned(),
            kind,
            multiple,
            mandatory: false,
            customizable: false,
            editable: true,
            field: "a".to_owned(),
            fields: Vec::new(),
            preset: None,
            upsert: true,
            replace: false,
            internal: false,
            vocabulary: None,
            values: Vec::new(),
            stix: Vec::new(),
            output: None,
            input: None,
        }
    }

    #[test]
    fn values_take_the_stored_form_of_their_kind() {
        let cases = [
            (Kind::Int, false, json!("7"), Ok(Some(json!(7)))),
            (Kind::Int, false, json!(7.0), Ok(Some(json!(7)))),
            (Kind::Int, false, json!(7.5), Err(ValueError::Integer(32))),
            (
                Kind::Int,
                false,
                json!(3_000_000_000i64),
                Err(ValueError::Integer(32)),
            ),
            (
                Kind::Long,
                false,
                json!(3_000_000_000i64),
                Ok(Some(json!(3_000_000_000i64))),
            ),
            (Kind::Float, false, json!("1.5"), Ok(Some(json!(1.5)))),
            (Kind::Float, false, json!("x"), Err(ValueError::Number)),
            (Kind::Bool, false, json!("true"), Ok(Some(json!(true)))),
            (Kind::Bool, false, json!(1), Err(ValueError::Bool)),
            (Kind::String, false, json!(5), Ok(Some(json!("5")))),
            (Kind::String, false, json!(["a"]), Err(ValueError::List)),
            (Kind::String, false, json!({}), Err(ValueError::Text)),
            (Kind::String, true, json!("a"), Ok(Some(json!(["a"])))),
            (
                Kind::String,
                true,
                json!(["a", null, 2]),
                Ok(Some(json!(["a", "2"]))),
            ),
            (
                Kind::Date,
                false,
                json!("2024-01-01T00:00:00Z"),
                Ok(Some(json!("2024-01-01T00:00:00.000Z"))),
            ),
            (Kind::Date, false, json!(""), Ok(None)),
            (Kind::Date, false, json!("soon"), Err(ValueError::Date)),
            (Kind::Dict, false, json!("x"), Err(ValueError::Object)),
            (Kind::Text, false, Value::Null, Ok(None)),
        ];
        for (kind, multiple, given, expected) in cases {
            assert_eq!(
                convert(&attribute(kind, multiple), given.clone()),
                expected,
                "{kind:?} {given}"
            );
        }
    }

    #[test]
    fn hashes_have_one_spelling() {
        let expected = json!({"MD5": "ab", "SHA-256": "cd", "SSDEEP": "3:Ab:c"});
        let dictionary = json!({"md5": "AB", "SHA256": " CD ", "ssdeep": "3:Ab:c", "SHA-1": null});
        let list = json!([{"algorithm": "MD5", "hash": "Ab"}, {"algorithm": "sha-256", "hash": "cd"}, {"algorithm": "SSDEEP", "hash": "3:Ab:c"}]);
        assert_eq!(Value::Object(hashes(dictionary).unwrap()), expected);
        assert_eq!(Value::Object(hashes(list).unwrap()), expected);
        assert_eq!(hashes(json!([1])), Err(ValueError::Object));
    }
}
