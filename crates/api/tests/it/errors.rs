//! What goes wrong is told in the envelope that clients parse.

use serde_json::{Value, json};

use crate::Fixture;

const UNKNOWN: &str = "malware--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d";

#[test]
fn an_unknown_end_is_a_missing_reference() {
    let fixture = Fixture::new();
    let id = fixture.malware("Emotet");
    let query = "mutation R($input: StixCoreRelationshipAddInput) { stixCoreRelationshipAdd(input: $input) { id } }";
    let error = fixture.fail(
        query,
        json!({ "input": { "fromId": id, "toId": UNKNOWN, "relationship_type": "related-to" } }),
    );
    assert_eq!(error["name"], "MISSING_REFERENCE_ERROR");
    assert_eq!(error["message"], "Element(s) not found");
    assert_eq!(error["data"]["http_status"], 404);
    assert_eq!(error["data"]["doc_code"], "ELEMENT_NOT_FOUND");
    assert_eq!(error["extensions"]["data"], error["data"]);
    assert_eq!(error["path"], json!(["stixCoreRelationshipAdd"]));
}

#[test]
fn what_a_type_does_not_take_is_refused() {
    let fixture = Fixture::new();
    let cases = [
        (
            "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }",
            json!({ "name": "a", "stix_id": "nonsense--1" }),
            "BAD_USER_INPUT",
        ),
        (
            "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }",
            json!({ "name": "a", "first_seen": "yesterday" }),
            "BAD_USER_INPUT",
        ),
        (
            "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }",
            json!({ "description": "no name" }),
            "BAD_USER_INPUT",
        ),
        (
            "mutation M($input: StixCoreRelationshipAddInput) { stixCoreRelationshipAdd(input: $input) { id } }",
            json!({ "fromId": UNKNOWN, "toId": UNKNOWN, "relationship_type": "uses" }),
            "FUNCTIONAL_ERROR",
        ),
        (
            "mutation M($input: StixCoreRelationshipAddInput) { stixCoreRelationshipAdd(input: $input) { id } }",
            json!({ "fromId": UNKNOWN, "toId": UNKNOWN, "relationship_type": "eats" }),
            "FUNCTIONAL_ERROR",
        ),
    ];
    for (query, input, name) in cases {
        let error = fixture.fail(query, json!({ "input": input }));
        assert_eq!(error["name"], name, "{input}: {error}");
    }
}

#[test]
fn expected_refusals_carry_the_code_that_clients_look_for() {
    let fixture = Fixture::new();
    let query = "mutation A($value: String) { stixCyberObservableAdd(type: \"IPv4-Addr\", IPv4Addr: {value: $value}) { id } }";
    let error = fixture.fail(query, json!({ "value": "300.1.1.1" }));
    assert_eq!(
        (&error["name"], &error["data"]["doc_code"]),
        (
            &json!("FUNCTIONAL_ERROR"),
            &json!("INCORRECT_OBSERVABLE_FORMAT")
        )
    );
    let query = "mutation A($input: IndicatorAddInput!) { indicatorAdd(input: $input) { id } }";
    let error = fixture.fail(query, json!({ "input": { "name": "x", "pattern": "[broken", "pattern_type": "stix", "x_opencti_main_observable_type": "IPv4-Addr" } }));
    assert_eq!(error["data"]["doc_code"], "INCORRECT_INDICATOR_FORMAT");
}

#[test]
fn reading_what_is_not_there_is_null_and_no_error() {
    let fixture = Fixture::new();
    for id in [
        UNKNOWN,
        "0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d",
        "no id at all",
        "",
    ] {
        for field in [
            "malware",
            "stixCoreObject",
            "stixDomainObject",
            "stixCoreRelationship",
            "stixObjectOrStixRelationship",
            "stixRefRelationship",
        ] {
            let answer = fixture.run(
                &format!("query Q($id: String!) {{ {field}(id: $id) {{ __typename }} }}"),
                json!({ "id": id }),
            );
            assert_eq!(answer[field], Value::Null, "{field} {id:?}");
        }
    }
    let id = fixture.malware("Emotet");
    let other = fixture.run(
        "query Q($id: String!) { tool(id: $id) { id } report(id: $id) { id } }",
        json!({ "id": id }),
    );
    assert_eq!(other, json!({ "tool": null, "report": null }));
}

#[test]
fn filters_that_make_no_sense_are_named() {
    let fixture = Fixture::new();
    let query =
        "query Q($filters: FilterGroup) { malwares(filters: $filters) { edges { node { id } } } }";
    let filter = |key: &str, operator: &str| json!({ "mode": "and", "filters": [{ "key": key, "values": ["x"], "operator": operator }], "filterGroups": [] });
    let error = fixture.fail(query, json!({ "filters": filter("nonsense_key", "eq") }));
    assert_eq!(error["name"], "UNSUPPORTED_ERROR");
    assert!(error["message"].as_str().unwrap().contains("nonsense_key"));
    let error = fixture.fail(query, json!({ "filters": filter("name", "approximately") }));
    assert_eq!(error["name"], "BAD_USER_INPUT");
    let error = fixture.fail(
        "{ malwares(after: \"nonsense\") { edges { cursor } } }",
        json!({}),
    );
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
}
