//! Changes as clients write them (`[EditInput]`): keys with values, turned into typed values. A key that is not named here changes nothing
//! but is refused, so that no input reaches an attribute that its form was not meant for.

use std::collections::BTreeMap;

use ferrocti_access::Level;
use ferrocti_graphql::FieldCall;
use ferrocti_model::clock::{Millis, parse_date};
use serde_json::Value;

use crate::fault::{Fault, code};

/// One change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    /// What is changed.
    pub(super) key: &'a str,
    /// Its new values.
    values: &'a [Value],
    /// Where below the key, in segments joined by `/`.
    path: &'a str,
    /// Whether something is taken away.
    remove: bool,
}

/// The changes of the argument `input`, in order.
pub(super) fn changes<'a>(call: &FieldCall<'a>) -> Result<Vec<Change<'a>>, Fault> {
    let items = match call.argument("input") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => &[],
    };
    items
        .iter()
        .filter(|item| !item.is_null())
        .map(|item| {
            let key = item.get("key").and_then(Value::as_str).unwrap_or_default();
            let values = match item.get("value") {
                Some(Value::Array(values)) => values.as_slice(),
                Some(single) => std::slice::from_ref(single),
                None => &[],
            };
            let path = item.get("object_path").and_then(Value::as_str);
            let change = Change {
                key,
                values,
                path: path.unwrap_or_default().trim_matches('/'),
                remove: item.get("operation").and_then(Value::as_str) == Some("remove"),
            };
            if change.path.is_empty() || key.ends_with("_confidence_level") {
                Ok(change)
            } else {
                Err(Fault::unsupported(format!(
                    "\"{key}\" is changed as a whole; leave object_path out."
                )))
            }
        })
        .collect()
}

impl<'a> Change<'a> {
    /// The new value; nothing for null, for no value and where it is removed.
    pub(super) fn one(&self) -> Option<&'a Value> {
        self.values
            .first()
            .filter(|value| !value.is_null() && !self.remove)
    }

    /// A text; empty counts as nothing.
    pub(super) fn text(&self) -> Result<Option<&'a str>, Fault> {
        match self.one() {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong("a text")),
        }
    }

    /// A text that must be there.
    pub(super) fn some_text(&self) -> Result<&'a str, Fault> {
        self.text()?
            .ok_or_else(|| self.wrong("a text that is not empty"))
    }

    /// A truth value, also as text; nothing counts as false.
    pub(super) fn truth(&self) -> Result<bool, Fault> {
        match self.one() {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(self.wrong("true or false")),
        }
    }

    /// A date.
    pub(super) fn date(&self) -> Result<Option<Millis>, Fault> {
        self.text()?
            .map(|text| {
                parse_date(text).ok_or_else(|| self.wrong("a date such as 2026-01-31T12:00:00Z"))
            })
            .transpose()
    }

    /// A whole number that is not negative, also as text; nothing counts as 0.
    pub(super) fn number(&self) -> Result<u32, Fault> {
        let number = match self.one() {
            None => return Ok(0),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        number.ok_or_else(|| self.wrong("a whole number that is not negative"))
    }

    /// Texts.
    pub(super) fn texts(&self) -> Result<Vec<&'a str>, Fault> {
        if self.remove {
            return Ok(Vec::new());
        }
        self.values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| value.as_str().ok_or_else(|| self.wrong("texts")))
            .collect()
    }

    /// The values that are objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = &'a Value> {
        self.values.iter().filter(|value| value.is_object())
    }

    /// A confidence level after this change of it.
    pub(super) fn level(&self, known: &Level) -> Result<Level, Fault> {
        let path = self.path.strip_prefix(self.key).unwrap_or(self.path);
        let mut steps = path.split('/').filter(|step| !step.is_empty());
        let mut level = known.clone();
        match (steps.next(), steps.next()) {
            (None, _) => {
                return match self.one() {
                    None => Ok(Level::default()),
                    Some(value) => level_of(value),
                };
            }
            (Some("max_confidence"), None) => {
                level.max = self.one().map(confidence).transpose()?;
            }
            (Some("overrides"), None) => {
                for value in self.values.iter().filter(|value| !value.is_null()) {
                    let (entity_type, max) = override_of(value)?;
                    if self.remove {
                        level.overrides.remove(&entity_type);
                    } else {
                        level.overrides.insert(entity_type, max);
                    }
                }
            }
            (Some("overrides"), Some(index)) => {
                let place: usize = index
                    .parse()
                    .map_err(|_| self.wrong("an override by its position"))?;
                let former = level.overrides.keys().nth(place).cloned();
                match (self.one(), steps.next(), former) {
                    (None, _, Some(former)) => {
                        level.overrides.remove(&former);
                    }
                    (Some(value), Some("max_confidence"), Some(former)) => {
                        level.overrides.insert(former, confidence(value)?);
                    }
                    (Some(value), None, former) => {
                        let (entity_type, max) = override_of(value)?;
                        if let Some(former) = former {
                            level.overrides.remove(&former);
                        }
                        level.overrides.insert(entity_type, max);
                    }
                    _ => return Err(self.wrong("an override by its position")),
                }
            }
            _ => return Err(self.wrong("a maximum confidence or overrides")),
        }
        Ok(level)
    }

    /// The refusal of a key that cannot be changed here.
    pub(super) fn refused(&self, what: &str) -> Fault {
        Fault::new(
            code::FORBIDDEN,
            format!("\"{}\" of {what} cannot be changed this way.", self.key),
        )
    }

    fn wrong(&self, expected: &str) -> Fault {
        Fault::functional(format!("\"{}\" takes {expected}.", self.key))
    }
}

/// A level as clients write it: `{max_confidence, overrides: [{entity_type, max_confidence}]}`.
pub(super) fn level_of(value: &Value) -> Result<Level, Fault> {
    let overrides = match value.get("overrides") {
        Some(Value::Array(items)) => items
            .iter()
            .map(override_of)
            .collect::<Result<BTreeMap<_, _>, Fault>>()?,
        _ => BTreeMap::new(),
    };
    let max = value.get("max_confidence").filter(|max| !max.is_null());
    Ok(Level {
        max: max.map(confidence).transpose()?,
        overrides,
    })
}

fn override_of(value: &Value) -> Result<(String, u8), Fault> {
    let entity_type = value.get("entity_type").and_then(Value::as_str);
    let entity_type = entity_type.filter(|name| !name.trim().is_empty());
    let max = value.get("max_confidence");
    match (entity_type, max) {
        (Some(entity_type), Some(max)) => Ok((entity_type.to_owned(), confidence(max)?)),
        _ => Err(Fault::functional(
            "An override has an entity_type and a max_confidence.",
        )),
    }
}

fn confidence(value: &Value) -> Result<u8, Fault> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_i64(),
    };
    number
        .and_then(|number| u8::try_from(number).ok())
        .filter(|number| *number <= ferrocti_access::MAX_CONFIDENCE)
        .ok_or_else(|| {
            Fault::new(
                code::VALIDATION,
                "A confidence level is a whole number between 0 and 100.",
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change<'a>(key: &'a str, path: &'a str, values: &'a [Value]) -> Change<'a> {
        Change {
            key,
            values,
            path: path.trim_matches('/'),
            remove: false,
        }
    }

    #[test]
    fn levels_are_changed_as_a_whole_or_in_parts() {
        let known = level_of(&json!({ "max_confidence": 60, "overrides": [{ "entity_type": "Report", "max_confidence": 10 }] })).unwrap();
        for (path, value, expected) in [
            ("", json!(null), json!({ "max": null, "overrides": {} })),
            (
                "",
                json!({ "max_confidence": 0, "overrides": [] }),
                json!({ "max": 0, "overrides": {} }),
            ),
            (
                "/user_confidence_level/max_confidence",
                json!("70"),
                json!({ "max": 70, "overrides": { "Report": 10 } }),
            ),
            (
                "overrides",
                json!({ "entity_type": "Malware", "max_confidence": 5 }),
                json!({ "max": 60, "overrides": { "Report": 10, "Malware": 5 } }),
            ),
            (
                "overrides/0",
                json!({ "entity_type": "Malware", "max_confidence": 5 }),
                json!({ "max": 60, "overrides": { "Malware": 5 } }),
            ),
            (
                "overrides/0/max_confidence",
                json!(90),
                json!({ "max": 60, "overrides": { "Report": 90 } }),
            ),
            (
                "overrides/0",
                json!(null),
                json!({ "max": 60, "overrides": {} }),
            ),
        ] {
            let values = [value];
            let level = change("user_confidence_level", path, &values)
                .level(&known)
                .unwrap();
            assert_eq!(
                serde_json::to_value(&level).unwrap(),
                expected,
                "{path} {values:?}"
            );
        }
    }

    #[test]
    fn levels_beyond_the_scale_are_refused() {
        for max in [
            json!(101),
            json!(-1),
            json!(1.5),
            json!("many"),
            json!(true),
        ] {
            assert!(
                level_of(&json!({ "max_confidence": max, "overrides": [] })).is_err(),
                "{max}"
            );
        }
    }

    #[test]
    fn values_of_the_wrong_form_are_refused_with_their_key() {
        let values = [json!(5)];
        let wrong = change("name", "", &values);
        assert!(format!("{:?}", wrong.text().unwrap_err()).contains("name"));
        assert!(wrong.truth().is_err() && wrong.date().is_err());
    }
}
