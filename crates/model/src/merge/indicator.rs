//! Indicators: how long they are valid, and what an upsert may change of that.

use serde_json::{Map, Value, json};

use super::{Merge, MergeContext, millis};
use crate::{
    Element, EntityType,
    clock::Millis,
    stix::{date, value::is_empty},
};

const MAIN_TYPE: &str = "x_opencti_main_observable_type";
const DAY: Millis = 86_400_000;

/// Days an indicator of a main observable type stays valid when nobody says how long.
fn lifetime(main_type: &str) -> Millis {
    let days = match main_type {
        "StixFile" | "Artifact" => 460,
        "IPv4-Addr" | "IPv6-Addr" | "Url" => 47,
        "Domain-Name" => 300,
        _ => 470,
    };
    days * DAY
}

/// Completes a new indicator: main observable type, period of validity, revocation.
pub fn complete(attributes: &mut Map<String, Value>, now: Millis) {
    if attributes.get(MAIN_TYPE).is_none_or(is_empty) {
        let yara = attributes
            .get("pattern_type")
            .and_then(Value::as_str)
            .is_some_and(|name| name.eq_ignore_ascii_case("yara"));
        attributes.insert(
            MAIN_TYPE.to_owned(),
            json!(if yara { "StixFile" } else { "Unknown" }),
        );
    }
    let get = |attributes: &Map<String, Value>, name: &str| attributes.get(name).and_then(millis);
    let from = get(attributes, "valid_from")
        .or_else(|| get(attributes, "created"))
        .unwrap_or(now);
    let revoked = attributes.get("revoked") == Some(&Value::Bool(true));
    let until = match get(attributes, "valid_until") {
        Some(until) if until <= from => from + 1000,
        Some(until) => until,
        None if revoked => from + 1000,
        None => {
            from + lifetime(
                attributes
                    .get(MAIN_TYPE)
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            )
        }
    };
    for (name, value) in [("valid_from", from), ("valid_until", until)] {
        if let Some(text) = date::format(value) {
            attributes.insert(name.to_owned(), Value::String(text));
        }
    }
    let revoked = revoked || until <= now;
    attributes.insert("revoked".to_owned(), Value::Bool(revoked));
    if revoked {
        attributes.insert("x_opencti_detection".to_owned(), Value::Bool(false));
    }
}

/// Attributes of a decaying indicator that an input leaves as they are: when it repeats the score that the decay started from,
/// or comes from a user who has set that score before, the decay goes on.
pub fn kept(
    kind: &EntityType,
    stored: &Map<String, Value>,
    input: &Element,
    context: &MergeContext<'_>,
) -> &'static [&'static str] {
    const DECAYING: &[&str] = &["x_opencti_score", "valid_from", "valid_until", "revoked"];
    if kind.name != "Indicator"
        || context.synchronized
        || stored.get("decay_applied_rule").is_none_or(is_empty)
    {
        return &[];
    }
    let Some(score) = input
        .attributes
        .get("x_opencti_score")
        .and_then(Value::as_i64)
    else {
        return &[];
    };
    let repeats_base = stored.get("decay_base_score").and_then(Value::as_i64) == Some(score);
    let set_before = stored
        .get("decay_history")
        .and_then(Value::as_array)
        .is_some_and(|history| {
            history.iter().any(|entry| {
                entry.get("score").and_then(Value::as_i64) == Some(score)
                    && context.creator.is_some()
                    && entry.get("updated_by").and_then(Value::as_str) == context.creator
            })
        });
    if repeats_base || set_before {
        DECAYING
    } else {
        &[]
    }
}

/// Brings validity and revocation together after a merge.
pub fn settle(merge: &mut Merge, input: &Element, context: &MergeContext<'_>) {
    if merge.kind.name != "Indicator" || merge.changes.is_empty() {
        return;
    }
    let (from, until) = (
        millis(merge.stored("valid_from")),
        millis(merge.stored("valid_until")),
    );
    if let (Some(from), Some(mut until)) = (from, until) {
        if until <= from {
            until = from + 1000;
            if let Some(text) = date::format(until) {
                merge.set("valid_until", Value::String(text));
            }
        }
        if until <= context.now {
            merge.set("revoked", Value::Bool(true));
        }
    }
    let revoked = *merge.stored("revoked") == Value::Bool(true);
    let revived = !revoked
        && merge
            .changes
            .iter()
            .any(|change| change.name == "revoked" && change.before == Value::Bool(true));
    if revived && !input.attributes.contains_key("x_opencti_score") {
        let base = merge.stored("decay_base_score").as_i64().unwrap_or(0);
        merge.set("x_opencti_score", base.max(50).into());
    }
    if revoked {
        merge.set("x_opencti_detection", Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_700_000_000_000;

    fn completed(given: Value) -> Value {
        let Value::Object(mut attributes) = given else {
            panic!("an object is needed")
        };
        complete(&mut attributes, NOW);
        Value::Object(attributes)
    }

    #[test]
    fn validity_follows_from_what_is_given() {
        let (now, created) = ("2023-11-14T22:13:20.000Z", "2023-11-01T00:00:00.000Z");
        let cases = [
            (json!({}), now, "2025-02-26T22:13:20.000Z", false),
            (
                json!({"created": created}),
                created,
                "2025-02-13T00:00:00.000Z",
                false,
            ),
            (
                json!({MAIN_TYPE: "IPv4-Addr"}),
                now,
                "2023-12-31T22:13:20.000Z",
                false,
            ),
            (
                json!({"valid_from": created, "valid_until": created}),
                created,
                "2023-11-01T00:00:01.000Z",
                true,
            ),
            (
                json!({"valid_from": created, "revoked": true}),
                created,
                "2023-11-01T00:00:01.000Z",
                true,
            ),
            (
                json!({"valid_from": created, "valid_until": "2023-11-02T00:00:00.000Z"}),
                created,
                "2023-11-02T00:00:00.000Z",
                true,
            ),
        ];
        for (given, from, until, revoked) in cases {
            let result = completed(given.clone());
            assert_eq!(
                (
                    &result["valid_from"],
                    &result["valid_until"],
                    &result["revoked"]
                ),
                (&json!(from), &json!(until), &json!(revoked)),
                "{given}"
            );
        }
    }

    #[test]
    fn the_main_observable_type_is_unknown_unless_the_language_tells() {
        assert_eq!(completed(json!({}))[MAIN_TYPE], "Unknown");
        assert_eq!(
            completed(json!({"pattern_type": "yara"}))[MAIN_TYPE],
            "StixFile"
        );
        assert_eq!(completed(json!({MAIN_TYPE: "Url"}))[MAIN_TYPE], "Url");
    }
}
