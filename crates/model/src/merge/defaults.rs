//! What a new element has beyond what its input says.

use serde_json::{Map, Value};

use super::indicator;
use crate::{
    EntityType,
    clock::Millis,
    registry::Preset,
    stix::{date, value::is_empty},
};

/// Completes the attributes of a new element: the registry's presets, then what follows from the type and from other attributes.
///
/// The standard id is computed before, from what the input said: unknown periods do not enter it.
pub fn defaults(kind: &EntityType, attributes: &mut Map<String, Value>, now: Millis) {
    let date = date::format(now).unwrap_or_else(|| date::UNKNOWN_START.to_owned());
    for (attribute, preset) in kind.presets() {
        if attributes.get(&attribute.name).is_none_or(Value::is_null) {
            let value = match preset {
                Preset::Now => Value::String(date.clone()),
                Preset::Value(value) => value.clone(),
            };
            attributes.insert(attribute.name.clone(), value);
        }
    }
    match kind.name.as_str() {
        "Indicator" => indicator::complete(attributes, now),
        "Malware" => default(attributes, "is_family", Value::Bool(false)),
        "Security-Coverage" => default(attributes, "auto_enrichment_disable", Value::Bool(false)),
        "X509-Certificate" => default(attributes, "is_self_signed", Value::Bool(false)),
        "Label" => {
            let colour = label_colour(
                attributes
                    .get("value")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            );
            default(attributes, "color", Value::String(colour));
        }
        _ => {}
    }
}

fn default(attributes: &mut Map<String, Value>, name: &str, value: Value) {
    if attributes.get(name).is_none_or(is_empty) {
        attributes.insert(name.to_owned(), value);
    }
}

/// A colour `#rrggbb` that a text always gets.
#[must_use]
pub fn label_colour(text: &str) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    format!("#{:06x}", hash & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;

    const NOW: Millis = 1_700_000_000_000;

    fn created(kind: &str, given: Value) -> Value {
        let Value::Object(mut attributes) = given else {
            panic!("an object is needed")
        };
        defaults(Registry::get().by_name(kind).unwrap(), &mut attributes, NOW);
        Value::Object(attributes)
    }

    #[test]
    fn each_family_gets_what_upstream_gives_it() {
        let now = "2023-11-14T22:13:20.000Z";
        let (start, end) = (date::UNKNOWN_START, date::UNKNOWN_END);
        let cases = [
            (
                "Malware",
                json!({"name": "a"}),
                json!({"revoked": false, "confidence": 0, "lang": "en", "created": now, "modified": now, "is_family": false}),
            ),
            (
                "Malware",
                json!({"name": "a", "lang": "fr", "confidence": 10}),
                json!({"lang": "fr", "confidence": 10}),
            ),
            (
                "uses",
                json!({}),
                json!({"description": "", "start_time": start, "stop_time": end, "confidence": 0, "revoked": false, "created": now}),
            ),
            (
                "stix-sighting-relationship",
                json!({}),
                json!({"attribute_count": 1, "x_opencti_negative": false, "first_seen": start, "last_seen": end}),
            ),
            ("Kill-Chain-Phase", json!({}), json!({"x_opencti_order": 0})),
            (
                "IPv4-Addr",
                json!({"value": "192.0.2.1"}),
                json!({"value": "192.0.2.1"}),
            ),
        ];
        for (kind, given, expected) in cases {
            let result = created(kind, given);
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&result[name], value, "{kind}.{name}");
            }
        }
    }

    #[test]
    fn a_label_without_colour_gets_always_the_same() {
        let label = created("Label", json!({"value": "phishing"}));
        assert_eq!(
            label["color"],
            created("Label", json!({"value": "phishing"}))["color"]
        );
        assert!(
            label["color"]
                .as_str()
                .is_some_and(|colour| colour.len() == 7 && colour.starts_with('#'))
        );
        assert_eq!(
            created("Label", json!({"value": "phishing", "color": "#123456"}))["color"],
            "#123456"
        );
    }
}
