//! What an upsert changes, rule by rule, and what it never does.

use ferrocti_model::{
    Element, Registry,
    merge::{self, MergeContext, Merged},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: i64 = 1_717_000_000_000;
const NOW_TEXT: &str = "2024-05-29T16:26:40.000Z";
const START: &str = "1970-01-01T00:00:00.000Z";
const END: &str = "5138-11-16T09:46:40.000Z";

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is not an object"),
    }
}

pub fn context(confidence: u8) -> MergeContext<'static> {
    MergeContext {
        now: NOW,
        creator: None,
        confidence: Some(confidence),
        synchronized: false,
    }
}

fn element(kind: &str, attributes: Value) -> Element {
    let mut element = Element::new(Registry::get().by_name(kind).expect("a type"));
    element.attributes = object(attributes);
    element
}

pub fn merged(
    kind: &str,
    stored: Value,
    input: Value,
    stored_confidence: u8,
    context: &MergeContext<'_>,
) -> Merged {
    merge::upsert(
        object(stored),
        Some(stored_confidence),
        &element(kind, input),
        context,
    )
}

/// Attributes after the merge, without the time of the change.
fn after(kind: &str, stored: Value, input: Value, confidence: (u8, u8)) -> Value {
    let mut result = merged(kind, stored, input, confidence.0, &context(confidence.1)).attributes;
    result.shift_remove("modified");
    Value::Object(result)
}

const EQUAL: (u8, u8) = (50, 50);
const WEAKER: (u8, u8) = (50, 49);

#[test]
fn single_values_follow_trust_and_gaps_are_always_filled() {
    let cases = [
        (
            "equal trust replaces",
            EQUAL,
            json!({"description": "old"}),
            json!({"description": "new"}),
            json!({"description": "new"}),
        ),
        (
            "less trust does not",
            WEAKER,
            json!({"description": "old"}),
            json!({"description": "new"}),
            json!({"description": "old"}),
        ),
        (
            "less trust fills a gap",
            WEAKER,
            json!({}),
            json!({"description": "new"}),
            json!({"description": "new"}),
        ),
        (
            "less trust fills a blank",
            WEAKER,
            json!({"description": " "}),
            json!({"description": "new"}),
            json!({"description": "new"}),
        ),
        (
            "empty text does not erase",
            EQUAL,
            json!({"description": "old"}),
            json!({"description": ""}),
            json!({"description": "old"}),
        ),
        (
            "null does not erase",
            EQUAL,
            json!({"description": "old"}),
            json!({"description": null}),
            json!({"description": "old"}),
        ),
        (
            "an empty list does not erase",
            EQUAL,
            json!({"malware_types": ["a"]}),
            json!({"malware_types": []}),
            json!({"malware_types": ["a"]}),
        ),
        (
            "false is a value",
            EQUAL,
            json!({"is_family": true}),
            json!({"is_family": false}),
            json!({"is_family": false}),
        ),
        (
            "what integrations may not change stays",
            EQUAL,
            json!({"lang": "en"}),
            json!({"lang": "fr"}),
            json!({"lang": "en"}),
        ),
        (
            "but is filled when absent",
            WEAKER,
            json!({}),
            json!({"lang": "fr"}),
            json!({"lang": "fr"}),
        ),
        (
            "custom properties are values like others",
            EQUAL,
            json!({"x_a": 1}),
            json!({"x_a": 2, "x_b": 3}),
            json!({"x_a": 2, "x_b": 3}),
        ),
        (
            "less trusted custom properties fill gaps",
            WEAKER,
            json!({"x_a": 1}),
            json!({"x_a": 2, "x_b": 3}),
            json!({"x_a": 1, "x_b": 3}),
        ),
    ];
    for (name, confidence, stored, input, expected) in cases {
        assert_eq!(
            after("Malware", stored, input, confidence),
            expected,
            "{name}"
        );
    }
}

#[test]
fn lists_are_joined_and_dictionaries_merged() {
    let cases = [
        (
            "union keeps order",
            "Malware",
            EQUAL,
            json!({"malware_types": ["a", "b"]}),
            json!({"malware_types": ["c", "a"]}),
            json!({"malware_types": ["a", "b", "c"]}),
        ),
        (
            "less trust adds nothing",
            "Malware",
            WEAKER,
            json!({"malware_types": ["a"]}),
            json!({"malware_types": ["b"]}),
            json!({"malware_types": ["a"]}),
        ),
        (
            "hashes are merged",
            "StixFile",
            EQUAL,
            json!({"hashes": {"MD5": "a", "SHA-1": "b"}}),
            json!({"hashes": {"MD5": "c", "SHA-256": "d"}}),
            json!({"hashes": {"MD5": "c", "SHA-1": "b", "SHA-256": "d"}}),
        ),
        (
            "coverage replaces",
            "Security-Coverage",
            EQUAL,
            json!({"coverage_information": [{"coverage_name": "a", "coverage_score": 1}]}),
            json!({"coverage_information": [{"coverage_name": "b", "coverage_score": 2}]}),
            json!({"coverage_information": [{"coverage_name": "b", "coverage_score": 2}]}),
        ),
        (
            "5 is 5.0",
            "Vulnerability",
            EQUAL,
            json!({"x_opencti_cvss_base_score": 5}),
            json!({"x_opencti_cvss_base_score": 5.0}),
            json!({"x_opencti_cvss_base_score": 5}),
        ),
    ];
    for (name, kind, confidence, stored, input, expected) in cases {
        assert_eq!(after(kind, stored, input, confidence), expected, "{name}");
    }
}

#[test]
fn dates_of_origin_keep_their_extremes_whatever_the_trust() {
    let (early, late) = ("2020-01-01T00:00:00.000Z", "2022-01-01T00:00:00.000Z");
    let cases = [
        (
            json!({"created": late}),
            json!({"created": early}),
            json!({"created": early}),
        ),
        (
            json!({"created": early}),
            json!({"created": late}),
            json!({"created": early}),
        ),
        (
            json!({"x_opencti_modified_at": early}),
            json!({"x_opencti_modified_at": late}),
            json!({"x_opencti_modified_at": late}),
        ),
        (
            json!({"x_opencti_modified_at": late}),
            json!({"x_opencti_modified_at": early}),
            json!({"x_opencti_modified_at": late}),
        ),
    ];
    for (stored, input, expected) in cases {
        assert_eq!(after("Malware", stored, input, WEAKER), expected);
    }
}

#[test]
fn periods_widen_and_counts_grow_only_when_a_known_period_does() {
    let (a, b, c, d) = (
        "2020-01-01T00:00:00.000Z",
        "2021-01-01T00:00:00.000Z",
        "2022-01-01T00:00:00.000Z",
        "2023-01-01T00:00:00.000Z",
    );
    let sighting = |first: &str, last: &str, count: i64| json!({"first_seen": first, "last_seen": last, "attribute_count": count});
    let cases = [
        (
            "longer at both ends",
            sighting(b, c, 1),
            sighting(a, d, 2),
            sighting(a, d, 3),
        ),
        (
            "within",
            sighting(a, d, 1),
            sighting(b, c, 2),
            sighting(a, d, 1),
        ),
        (
            "equal",
            sighting(a, d, 1),
            sighting(a, d, 2),
            sighting(a, d, 1),
        ),
        (
            "unknown gives way",
            sighting(START, END, 1),
            sighting(b, c, 2),
            sighting(b, c, 1),
        ),
        (
            "unknown does not widen",
            sighting(b, c, 1),
            sighting(START, END, 2),
            sighting(b, c, 1),
        ),
        (
            "later end only",
            sighting(b, c, 4),
            json!({"last_seen": d, "attribute_count": 1}),
            sighting(b, d, 5),
        ),
    ];
    for (name, stored, input, expected) in cases {
        assert_eq!(
            after("stix-sighting-relationship", stored, input, WEAKER),
            expected,
            "{name}"
        );
    }
    let relationship = after(
        "uses",
        json!({"start_time": b, "stop_time": c}),
        json!({"start_time": a, "stop_time": d}),
        WEAKER,
    );
    assert_eq!(relationship, json!({"start_time": a, "stop_time": d}));
    let observed = |first: &str, last: &str, count: i64| json!({"first_observed": first, "last_observed": last, "number_observed": count});
    assert_eq!(
        after("Observed-Data", observed(b, c, 1), observed(a, c, 5), EQUAL),
        observed(a, c, 6)
    );
    // domain objects have ordinary dates
    assert_eq!(
        after(
            "Malware",
            json!({"first_seen": a}),
            json!({"first_seen": b}),
            EQUAL
        ),
        json!({"first_seen": b})
    );
}

#[test]
fn aliases_are_joined_and_an_old_name_becomes_one() {
    let cases = [
        (
            "union without case",
            json!({"name": "A", "aliases": ["b"]}),
            json!({"aliases": ["B", "c", "a"]}),
            json!({"name": "A", "aliases": ["b", "c"]}),
        ),
        (
            "renamed",
            json!({"name": "A"}),
            json!({"name": "B"}),
            json!({"name": "B", "aliases": ["A"]}),
        ),
        (
            "renamed to an alias",
            json!({"name": "A", "aliases": ["B", "C"]}),
            json!({"name": "B"}),
            json!({"name": "B", "aliases": ["C", "A"]}),
        ),
        (
            "written otherwise",
            json!({"name": "a"}),
            json!({"name": "A"}),
            json!({"name": "A"}),
        ),
    ];
    for (name, stored, input, expected) in cases {
        assert_eq!(after("Malware", stored, input, EQUAL), expected, "{name}");
    }
    let file = after(
        "StixFile",
        json!({"name": "a.exe"}),
        json!({"name": "b.exe"}),
        EQUAL,
    );
    assert_eq!(
        file,
        json!({"name": "b.exe", "x_opencti_additional_names": ["a.exe"]})
    );
    assert_eq!(
        after(
            "Malware",
            json!({"name": "A"}),
            json!({"name": "B"}),
            WEAKER
        ),
        json!({"name": "A"})
    );
}

#[test]
fn confidence_is_the_limited_one_and_creators_are_noted() {
    let stored = json!({"name": "A", "confidence": 30, "creator_id": ["u1"]});
    let input = element("Malware", json!({"name": "A", "confidence": 100}));
    let by_other = MergeContext {
        creator: Some("u2"),
        ..context(60)
    };
    let result = merge::upsert(object(stored), Some(30), &input, &by_other);
    assert_eq!(result.attributes["confidence"], 60);
    assert_eq!(result.attributes["creator_id"], json!(["u1", "u2"]));
    let names: Vec<&str> = result
        .changes
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!(names, ["confidence", "modified", "creator_id"]);

    let unchanged = merge::upsert(
        object(json!({"name": "A", "creator_id": ["u1"]})),
        None,
        &element("Malware", json!({"name": "A"})),
        &MergeContext {
            creator: Some("u2"),
            ..context(60)
        },
    );
    let names: Vec<&str> = unchanged
        .changes
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["creator_id"],
        "a new creator alone is no modification"
    );
}

#[test]
fn synchronized_input_replaces_even_with_nothing() {
    let context = MergeContext {
        synchronized: true,
        ..context(0)
    };
    let stored =
        json!({"description": "old", "malware_types": ["a"], "aliases": ["x"], "lang": "en"});
    let input = json!({"description": "", "malware_types": ["b"], "aliases": ["y"], "lang": "fr"});
    let mut result = merged("Malware", stored, input.clone(), 100, &context).attributes;
    result.shift_remove("modified");
    assert_eq!(Value::Object(result), input);
}

#[test]
fn changes_tell_before_and_after_and_the_time_is_noted_except_on_observables() {
    let result = merged(
        "Malware",
        json!({"description": "old"}),
        json!({"description": "new", "first_seen": START}),
        0,
        &context(0),
    );
    let told: Vec<_> = result
        .changes
        .iter()
        .map(|change| (change.name.as_str(), &change.before, &change.after))
        .collect();
    assert_eq!(
        told,
        [
            ("description", &json!("old"), &json!("new")),
            ("first_seen", &Value::Null, &json!(START)),
            ("modified", &Value::Null, &json!(NOW_TEXT)),
        ]
    );
    let observable = merged(
        "IPv4-Addr",
        json!({"value": "192.0.2.1"}),
        json!({"x_opencti_score": 5}),
        0,
        &context(0),
    );
    assert_eq!(observable.changes.len(), 1);
    assert_eq!(observable.attributes.get("modified"), None);
}

#[test]
fn indicators_expire_revive_and_keep_decaying() {
    let (past, future) = ("2024-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z");
    let expired = after(
        "Indicator",
        json!({"valid_from": past, "valid_until": future, "revoked": false, "x_opencti_detection": true}),
        json!({"valid_until": "2024-02-01T00:00:00.000Z"}),
        EQUAL,
    );
    assert_eq!(
        (&expired["revoked"], &expired["x_opencti_detection"]),
        (&json!(true), &json!(false))
    );

    let revived = after(
        "Indicator",
        json!({"valid_from": past, "valid_until": future, "revoked": true, "x_opencti_score": 10}),
        json!({"revoked": false}),
        EQUAL,
    );
    assert_eq!(
        (&revived["revoked"], &revived["x_opencti_score"]),
        (&json!(false), &json!(50))
    );

    let stays_expired = after(
        "Indicator",
        json!({"valid_from": past, "valid_until": past, "revoked": true}),
        json!({"revoked": false, "description": "d"}),
        EQUAL,
    );
    assert_eq!(stays_expired["revoked"], true);

    let decaying = json!({
        "decay_applied_rule": {"decay_rule_id": "r"}, "decay_base_score": 80, "x_opencti_score": 60, "valid_from": past, "valid_until": future, "revoked": false
    });
    let repeated = after(
        "Indicator",
        decaying.clone(),
        json!({"x_opencti_score": 80, "valid_until": "2031-01-01T00:00:00.000Z"}),
        EQUAL,
    );
    assert_eq!(
        (&repeated["x_opencti_score"], &repeated["valid_until"]),
        (&json!(60), &json!(future))
    );
    let restarted = after("Indicator", decaying, json!({"x_opencti_score": 90}), EQUAL);
    assert_eq!(restarted["x_opencti_score"], 90);
}

/// Attribute maps over a few attributes of each form, with values that often meet.
fn attributes() -> impl Strategy<Value = Map<String, Value>> {
    let word = prop::sample::select(vec!["", "a", "A", "b", "c", " "]);
    let words = prop::collection::vec(word.clone(), 0..4);
    let date = prop::sample::select(vec![
        START,
        "2020-01-01T00:00:00.000Z",
        "2021-06-01T00:00:00.000Z",
        "2029-01-01T00:00:00.000Z",
        END,
    ]);
    let value = prop_oneof![Just(Value::Null), word.clone().prop_map(|word| json!(word))];
    (
        (
            prop::option::of(value),
            prop::option::of(word),
            prop::option::of(words.clone()),
            prop::option::of(words),
        ),
        prop::collection::vec(prop::option::of(date), 8),
        prop::option::of(0..100i64),
        prop::option::of(any::<bool>()),
        prop::option::of(prop::collection::btree_map("[abc]", "[xyz]", 0..3)),
    )
        .prop_map(
            |((description, name, aliases, types), dates, number, flag, custom)| {
                let mut map = Map::new();
                let mut put = |name: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        map.insert(name.to_owned(), value);
                    }
                };
                put("description", description);
                put("name", name.map(|name| json!(name)));
                put("aliases", aliases.map(|aliases| json!(aliases)));
                put("malware_types", types.map(|types| json!(types)));
                let names = [
                    "created",
                    "first_seen",
                    "last_seen",
                    "start_time",
                    "stop_time",
                    "valid_from",
                    "valid_until",
                    "x_opencti_modified_at",
                ];
                for (name, date) in names.iter().zip(dates) {
                    put(name, date.map(|date| json!(date)));
                }
                put("attribute_count", number.map(|number| json!(number)));
                put("x_opencti_score", number.map(|number| json!(number)));
                put("revoked", flag.map(|flag| json!(flag)));
                put("x_opencti_detection", flag.map(|flag| json!(flag)));
                put("x_custom", custom.map(|custom| json!(custom)));
                map
            },
        )
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

proptest! {
    #[test]
    fn the_same_input_again_changes_nothing(
        kind in prop::sample::select(vec!["Malware", "Indicator", "stix-sighting-relationship", "uses", "IPv4-Addr", "StixFile", "Observed-Data"]),
        stored in attributes(), input in attributes(), old in 0..3u8, new in 0..3u8
    ) {
        let mut element = Element::new(Registry::get().by_name(kind).expect("a type"));
        element.attributes = input;
        let context = MergeContext { creator: Some("u1"), ..context(new) };
        let once = merge::upsert(stored, Some(old), &element, &context);
        let confidence = once.attributes.get("confidence").and_then(Value::as_u64).and_then(|value| u8::try_from(value).ok()).or(Some(old));
        let twice = merge::upsert(once.attributes.clone(), confidence, &element, &context);
        prop_assert_eq!(&twice.changes, &vec![]);
        prop_assert_eq!(twice.attributes, once.attributes);
    }

    #[test]
    fn nothing_that_is_there_is_lost_to_nothing(stored in attributes(), input in attributes(), old in 0..3u8, new in 0..3u8) {
        let mut element = Element::new(Registry::get().by_name("Malware").expect("a type"));
        element.attributes = input;
        let result = merge::upsert(stored.clone(), Some(old), &element, &context(new));
        for (name, value) in &stored {
            if !is_empty(value) {
                let now = result.attributes.get(name).cloned().unwrap_or_default();
                // the only alias may have become the name
                prop_assert!(!is_empty(&now) || name == "aliases", "{} was {} and is {}", name, value, now);
            }
        }
    }

    #[test]
    fn every_difference_is_told_as_a_change(stored in attributes(), input in attributes(), old in 0..3u8, new in 0..3u8) {
        let mut element = Element::new(Registry::get().by_name("Indicator").expect("a type"));
        element.attributes = input;
        let result = merge::upsert(stored.clone(), Some(old), &element, &context(new));
        let mut reversed = result.attributes.clone();
        for change in &result.changes {
            if change.before.is_null() {
                reversed.shift_remove(&change.name);
            } else {
                reversed.insert(change.name.clone(), change.before.clone());
            }
        }
        let stored: Map<String, Value> = stored.into_iter().filter(|(_, value)| !value.is_null()).collect();
        reversed.retain(|_, value| !value.is_null());
        prop_assert_eq!(reversed, stored);
    }
}
