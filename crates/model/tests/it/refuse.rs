//! What the decoder refuses, and with which words.

use ferrocti_model::stix;
use serde_json::{Map, Value, json};

use crate::decode::{CREATED, decode, id, octi};

#[track_caller]
fn refusal(stix_type: &str, properties: Value) -> String {
    decode(stix_type, properties)
        .expect_err("it is refused")
        .to_string()
}

#[test]
fn each_fault_is_refused_with_its_reason() {
    let ends = |more: Value| {
        let mut properties = json!({"relationship_type": "uses", "source_ref": id("malware", 2), "target_ref": id("tool", 3)});
        properties
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        properties
    };
    let cases = [
        (
            "x-mitre-tactic",
            json!({"name": "a"}),
            "objects of type \"x-mitre-tactic\" are not supported",
        ),
        (
            "language-content",
            json!({}),
            "objects of type \"language-content\" are not supported",
        ),
        (
            "malware",
            json!({"name": "a", "colour": "red"}),
            "property \"colour\" is not known for Malware; name a custom property x_colour",
        ),
        (
            "malware",
            json!({"description": "a"}),
            "Malware needs property \"name\"",
        ),
        (
            "malware",
            json!({"name": " "}),
            "Malware needs property \"name\"",
        ),
        (
            "report",
            json!({"name": "a"}),
            "Report needs property \"published\"",
        ),
        ("location", json!({}), "Position needs property \"name\""),
        (
            "observed-data",
            json!({"first_observed": CREATED, "last_observed": CREATED, "number_observed": 1}),
            "Observed-Data needs property \"object_refs\"",
        ),
        (
            "observed-data",
            json!({"objects": {"0": {"type": "url"}}}),
            "STIX 2.0",
        ),
        (
            "malware",
            json!({"name": "a", "created": "yesterday"}),
            "property \"created\": a date and time as in RFC 3339 is expected",
        ),
        (
            "malware",
            json!({"name": "a", "created": "10000-01-01T00:00:00Z"}),
            "RFC 3339",
        ),
        (
            "ipv4-addr",
            json!({"value": "192.0.2.1", "x_opencti_score": 101}),
            "property \"x_opencti_score\" must lie between 0 and 100",
        ),
        (
            "malware",
            json!({"name": "a", "confidence": "high"}),
            "property \"confidence\": a whole number of 32 bits is expected",
        ),
        (
            "malware",
            json!({"name": {"en": "a"}}),
            "property \"name\": a text is expected",
        ),
        (
            "malware",
            json!({"name": "a", "is_family": "perhaps"}),
            "true or false is expected",
        ),
        (
            "malware",
            json!({"name": "a", "created_by_ref": "me"}),
            "property \"created_by_ref\": \"me\" is not a STIX id",
        ),
        (
            "indicator",
            json!({"pattern": "[a:b = 'c']", "x_opencti_score": -1}),
            "between 0 and 100",
        ),
        (
            "indicator",
            json!({"pattern": "[a:b = 'c'"}),
            "the indicator's pattern is not correct: at offset 10: ] is expected",
        ),
        (
            "indicator",
            json!({"name": "a"}),
            "Indicator needs property \"pattern\"",
        ),
        (
            "indicator",
            json!({"pattern": "[a:b='c']", "x_opencti_main_observable_type": "Malware"}),
            "\"Malware\" is not a type of observable",
        ),
        (
            "indicator",
            json!({"pattern": "[a:b='c']", "valid_from": "2024-02-01T00:00:00Z", "valid_until": CREATED}),
            "\"valid_until\" lies before \"valid_from\"",
        ),
        (
            "ipv4-addr",
            json!({"value": "300.1.1.1"}),
            "\"300.1.1.1\" is not a correct value of IPv4-Addr",
        ),
        ("ipv4-addr", json!({}), "IPv4-Addr needs property \"value\""),
        (
            "file",
            json!({"hashes": {"MD5": "zz"}}),
            "an MD5 has 32 hexadecimal digits",
        ),
        (
            "relationship",
            json!({"relationship_type": "uses", "source_ref": id("malware", 2)}),
            "uses needs property \"target_ref\"",
        ),
        (
            "relationship",
            ends(json!({"target_ref": null})),
            "uses needs property \"target_ref\"",
        ),
        (
            "relationship",
            ends(json!({"target_ref": id("malware", 2)})),
            "a relationship cannot point from an object to itself",
        ),
        (
            "relationship",
            ends(json!({"target_ref": id("x-mitre-asset", 2)})),
            "property \"target_ref\": \"x-mitre-asset--",
        ),
        (
            "relationship",
            ends(json!({"relationship_type": "likes"})),
            "relationships of type \"likes\" are not supported",
        ),
        (
            "relationship",
            ends(json!({"start_time": "2024-02-01T00:00:00Z", "stop_time": CREATED})),
            "\"stop_time\" lies before \"start_time\"",
        ),
        (
            "sighting",
            json!({"sighting_of_ref": id("malware", 2), "where_sighted_refs": []}),
            "needs property \"where_sighted_refs\"",
        ),
        (
            "sighting",
            json!({"where_sighted_refs": [id("identity", 3)]}),
            "needs property \"sighting_of_ref\"",
        ),
        (
            "malware",
            json!({"name": "a", "opencti_operation": "send_email"}),
            "operation \"send_email\" is not carried out for bundles",
        ),
        (
            "malware",
            json!({"name": "a", "extensions": octi(json!({"opencti_operation": "add_groups"}))}),
            "operation \"add_groups\" is not carried out",
        ),
        (
            "marking-definition",
            json!({"definition_type": "x"}),
            "neither a definition nor a name",
        ),
    ];
    for (stix_type, properties, expected) in cases {
        let message = refusal(stix_type, properties.clone());
        assert!(
            message.contains(expected),
            "{stix_type} {properties}: {message}"
        );
    }
}

#[test]
fn objects_without_identity_are_refused() {
    let cases = [
        (
            json!({"type": "malware", "name": "a"}),
            "it has no text property \"id\"",
        ),
        (
            json!({"id": id("malware", 1), "name": "a"}),
            "it has no text property \"type\"",
        ),
        (
            json!({"type": "malware", "id": "malware--1", "name": "a"}),
            "its id is not usable: \"malware--1\" is not a STIX id",
        ),
        (
            json!({"type": "malware", "id": id("tool", 1), "name": "a"}),
            "its id tool--00000000-0000-4000-8000-000000000001 is of another type than the object",
        ),
        (
            json!({"type": "malware", "id": 7, "name": "a"}),
            "it has no text property \"id\"",
        ),
    ];
    for (object, expected) in cases {
        let message = stix::decode(object.as_object().cloned().expect("an object"))
            .expect_err("it is refused")
            .to_string();
        assert!(message.contains(expected), "{message}");
    }
    let refused = stix::decode_json("[1]").expect_err("it is refused");
    assert!(
        refused.to_string().contains("not a JSON object"),
        "{refused}"
    );
}

#[test]
fn inferred_objects_are_skipped_rather_than_faulty() {
    let refused = decode(
        "malware",
        json!({"name": "a", "extensions": octi(json!({"is_inferred": true}))}),
    )
    .expect_err("it is skipped");
    assert!(refused.reason.is_skip());
    assert_eq!(refused.name.as_deref(), Some("a"));
    assert!(
        !decode("malware", json!({}))
            .expect_err("it is refused")
            .reason
            .is_skip()
    );
}

proptest::proptest! {
    /// Objects of any form are decoded or refused, never a panic.
    #[test]
    fn no_object_makes_the_decoder_panic(
        stix_type in proptest::sample::select(vec!["malware", "indicator", "relationship", "sighting", "file", "identity", "location", "marking-definition", "windows-registry-key", "process"]),
        properties in proptest::collection::vec((
            proptest::sample::select(vec![
                "name", "labels", "external_references", "kill_chain_phases", "extensions", "hashes", "values", "pattern", "definition", "definition_type",
                "source_ref", "target_ref", "relationship_type", "sighting_of_ref", "where_sighted_refs", "object_marking_refs", "created", "confidence",
                "aliases", "x_opencti_tags", "x_opencti_files", "coverage", "malware_types", "x_custom", "environment_variables", "opencti_operation",
            ]),
            proptest::sample::select(vec![
                Value::Null, json!(""), json!("uses"), json!("malware--00000000-0000-4000-8000-000000000001"), json!(-1), json!(1.5), json!(true), json!([]), json!({}),
                json!([null, 1, "a", {}, []]), json!({"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba": 5, "windows-process-ext": []}),
                json!({"a": {"b": []}}), json!([{"kill_chain_name": 1, "value": [], "name": {}, "url": 5, "data": 1}]), json!("2024-01-01T00:00:00Z"),
            ]),
        ), 0..8)
    ) {
        let properties: Map<String, Value> = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let _ = decode(stix_type, Value::Object(properties));
    }
}

#[test]
fn one_sighting_object_stands_for_a_bounded_number_of_sightings() {
    let many = |stix_type: &str| -> Vec<String> { (1..=101).map(|n| id(stix_type, n)).collect() };
    let reason = refusal(
        "sighting",
        json!({"sighting_of_ref": id("malware", 1), "observed_data_refs": many("observed-data"), "where_sighted_refs": many("identity")}),
    );
    assert!(reason.contains("more than 10000 sightings"), "{reason}");
}
