//! What an upsert tells of values that only a lack of confidence keeps out.

use serde_json::{Value, json};

use crate::merge::{context, merged};

#[test]
fn what_only_a_lack_of_trust_keeps_out_is_told() {
    let cases = [
        (
            "a value",
            json!({"description": "a"}),
            json!({"description": "b"}),
            vec!["description"],
        ),
        (
            "the same value",
            json!({"description": "a"}),
            json!({"description": "a"}),
            vec![],
        ),
        ("a gap", json!({}), json!({"description": "b"}), vec![]),
        (
            "nothing",
            json!({"description": "a"}),
            json!({"description": "", "malware_types": []}),
            vec![],
        ),
        (
            "what nobody may change",
            json!({"lang": "en"}),
            json!({"lang": "fr"}),
            vec![],
        ),
        (
            "a custom property",
            json!({"x_a": 1}),
            json!({"x_a": 2}),
            vec!["x_a"],
        ),
        (
            "a longer list",
            json!({"malware_types": ["a"]}),
            json!({"malware_types": ["a", "b"]}),
            vec!["malware_types"],
        ),
        (
            "part of a list",
            json!({"malware_types": ["a", "b"]}),
            json!({"malware_types": ["b"]}),
            vec![],
        ),
        (
            "another name",
            json!({"name": "A"}),
            json!({"name": "B"}),
            vec!["name"],
        ),
        (
            "the name in other letters",
            json!({"name": "A"}),
            json!({"name": " a "}),
            vec![],
        ),
        (
            "a name that is an alias",
            json!({"name": "A", "aliases": ["B"]}),
            json!({"name": "b"}),
            vec![],
        ),
        (
            "another alias",
            json!({"name": "A", "aliases": ["B"]}),
            json!({"aliases": ["a", "b", "C"]}),
            vec!["aliases"],
        ),
        (
            "known aliases",
            json!({"name": "A", "aliases": ["B"]}),
            json!({"aliases": ["a", "b"]}),
            vec![],
        ),
        (
            "dates of its own rule",
            json!({"created": "2020-01-01T00:00:00.000Z"}),
            json!({"created": "2021-01-01T00:00:00.000Z", "confidence": 10}),
            vec![],
        ),
    ];
    for (name, stored, input, expected) in cases {
        let told = |confidence| {
            merged(
                "Malware",
                stored.clone(),
                input.clone(),
                50,
                &context(confidence),
            )
            .withheld
        };
        assert_eq!(told(49), expected, "{name}");
        assert_eq!(told(50), [] as [&str; 0], "{name}, with equal trust");
    }
}

#[test]
fn what_is_replaced_by_force_is_replaced_by_less_trust_too() {
    let coverage = |score: i64| json!({"coverage_information": [{"coverage_name": "a", "coverage_score": score}]});
    let result = merged(
        "Security-Coverage",
        coverage(10),
        coverage(20),
        50,
        &context(49),
    );
    assert_eq!(
        Value::Object(result.attributes)["coverage_information"],
        coverage(20)["coverage_information"]
    );
    assert_eq!(result.withheld, [] as [&str; 0]);
}
