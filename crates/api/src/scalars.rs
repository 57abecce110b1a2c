//! Checks of the custom scalars on their way in.

use ferrocti_graphql::Engine;
use ferrocti_model::clock::stored_date;
use ferrocti_model::{Ident, StixId};
use serde_json::Value;

/// Adds the checks to an engine.
pub(crate) fn register(engine: Engine) -> Engine {
    engine
        .scalar("DateTime", date)
        .scalar("StixId", stix_id)
        .scalar("StixRef", stix_ref)
}

/// RFC 3339 in, milliseconds and `Z` on.
fn date(value: Value) -> Result<Value, String> {
    match &value {
        // Clients send an empty text where they mean nothing.
        Value::String(text) if text.is_empty() => Ok(Value::Null),
        Value::String(text) => stored_date(text)
            .map(|date| Value::from(date.into_owned()))
            .ok_or_else(|| format!("{text:?} is not a date; write it as 2026-01-31T12:00:00Z")),
        _ => Err("a date must be a text".to_owned()),
    }
}

fn stix_id(value: Value) -> Result<Value, String> {
    match &value {
        Value::String(text) => StixId::parse(text)
            .map(|_| ())
            .map_err(|error| error.to_string())?,
        _ => return Err("a STIX id must be a text".to_owned()),
    }
    Ok(value)
}

/// Types of the platform's own, whose standard ids are no STIX ids.
const INTERNAL: [&str; 4] = ["user", "group", "role", "capability"];

fn stix_ref(value: Value) -> Result<Value, String> {
    let internal = |text: &str| {
        let parts = text.split_once("--");
        parts.is_some_and(|(kind, id)| INTERNAL.contains(&kind) && Ident::parse(id).is_ok())
    };
    match &value {
        Value::String(text) if internal(text) => {}
        Value::String(text) => Ident::parse(text)
            .map(|_| ())
            .map_err(|error| error.to_string())?,
        _ => return Err("an identifier must be a text".to_owned()),
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_brought_into_stored_form() {
        for (given, expected) in [
            ("2026-01-31T12:00:00Z", Some("2026-01-31T12:00:00.000Z")),
            (
                "2026-01-31T13:00:00+01:00",
                Some("2026-01-31T12:00:00.000Z"),
            ),
            ("yesterday", None),
        ] {
            assert_eq!(
                date(Value::from(given)).ok(),
                expected.map(Value::from),
                "{given}"
            );
        }
    }

    #[test]
    fn identifiers_of_the_wrong_form_are_refused() {
        assert!(stix_id(Value::from("malware--31b940d4-6f7f-459a-80ea-9c1f17b58abc")).is_ok());
        for wrong in [
            "malware",
            "malware--1",
            "nonsense--31b940d4-6f7f-459a-80ea-9c1f17b58abc",
        ] {
            assert!(stix_id(Value::from(wrong)).is_err(), "{wrong}");
        }
        for right in [
            "31b940d4-6f7f-459a-80ea-9c1f17b58abc",
            "group--31b940d4-6f7f-459a-80ea-9c1f17b58abc",
        ] {
            assert!(stix_ref(Value::from(right)).is_ok(), "{right}");
        }
        assert!(stix_ref(Value::from("group--x")).is_err());
    }
}
