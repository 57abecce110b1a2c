//! What inputs ask for besides the object itself, as clients read it back.

use serde_json::{Value, json};

use crate::Fixture;

const INDICATOR: &str = "mutation I($input: IndicatorAddInput!) { indicatorAdd(input: $input) { id observables { edges { node { id entity_type observable_value } } } } }";

fn observables(added: &Value) -> Vec<(&str, &str)> {
    added["observables"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let text = |name: &str| edge["node"][name].as_str().unwrap();
            (text("entity_type"), text("observable_value"))
        })
        .collect()
}

#[test]
fn an_indicator_is_added_with_its_observables() {
    let fixture = Fixture::new();
    let input = json!({ "name": "Bad", "pattern_type": "stix", "createObservables": true, "x_opencti_score": 80,
        "pattern": "[domain-name:value = 'example.org' OR url:value = 'https://example.org/']" });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let added = fixture.run(INDICATOR, json!({ "input": input }))["indicatorAdd"].clone();
        assert_eq!(
            observables(&added),
            [
                ("Domain-Name", "example.org"),
                ("Url", "https://example.org/")
            ]
        );
        ids.push(added["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let read = "{ stixCyberObservables { edges { node { x_opencti_score x_opencti_description indicators { edges { node { name } } } } } } }";
    let read = fixture.run(read, json!({}))["stixCyberObservables"]["edges"].clone();
    assert_eq!(read.as_array().unwrap().len(), 2);
    for edge in read.as_array().unwrap() {
        assert_eq!(
            edge["node"],
            json!({ "x_opencti_score": 80, "x_opencti_description": "Simple observable of indicator Bad",
                "indicators": { "edges": [{ "node": { "name": "Bad" } }] } })
        );
    }
}

#[test]
fn an_indicator_is_based_on_the_observables_that_its_input_names() {
    let fixture = Fixture::new();
    let query = "mutation { stixCyberObservableAdd(type: \"Url\", Url: {value: \"https://example.org/\"}) { id standard_id } }";
    let url = fixture.run(query, json!({}))["stixCyberObservableAdd"].clone();
    let input = |id: &Value| json!({ "input": { "name": "Bad", "pattern_type": "stix", "pattern": "[url:value LIKE '%example%']", "basedOn": [id] } });
    for id in ["id", "standard_id"] {
        let added = fixture.run(INDICATOR, input(&url[id]))["indicatorAdd"].clone();
        assert_eq!(observables(&added), [("Url", "https://example.org/")]);
    }
    let error = fixture.fail(
        INDICATOR,
        input(&json!("url--00000000-0000-4000-8000-000000000001")),
    );
    assert_eq!(error["name"], "MISSING_REFERENCE_ERROR", "{error}");
}

#[test]
fn an_observable_is_added_with_its_indicator() {
    let fixture = Fixture::new();
    let query = "mutation { stixCyberObservableAdd(type: \"IPv4-Addr\", createIndicator: true, x_opencti_score: 70, IPv4Addr: {value: \"192.0.2.1\"}) \
                 { id indicators { edges { node { name description pattern pattern_type x_opencti_main_observable_type x_opencti_score } } } } }";
    let expected = json!([{ "node": { "name": "192.0.2.1", "description": "Simple indicator of observable 192.0.2.1",
        "pattern": "[ipv4-addr:value = '192.0.2.1']", "pattern_type": "stix", "x_opencti_main_observable_type": "IPv4-Addr",
        "x_opencti_score": 70 } }]);
    for _ in 0..2 {
        let added = fixture.run(query, json!({}))["stixCyberObservableAdd"].clone();
        assert_eq!(added["indicators"]["edges"], expected);
    }
    let query = "mutation { stixCyberObservableAdd(type: \"Persona\", createIndicator: true, Persona: {persona_name: \"p\", persona_type: \"t\"}) \
                 { id indicators { edges { node { id } } } } }";
    let added = fixture.run(query, json!({}))["stixCyberObservableAdd"].clone();
    assert_eq!(
        added["indicators"]["edges"],
        json!([]),
        "nothing finds a persona"
    );
}

#[test]
fn a_new_value_of_an_open_vocabulary_is_kept_and_one_of_a_closed_vocabulary_refused() {
    let fixture = Fixture::new();
    let query = "mutation { malwareAdd(input: {name: \"Foo\", malware_types: [\"zzlocal\"]}) { malware_types } }";
    assert_eq!(
        fixture.run(query, json!({}))["malwareAdd"]["malware_types"],
        json!(["zzlocal"])
    );
    let query =
        "{ vocabularies(search: \"zzlocal\") { edges { node { name category { key } } } } }";
    assert_eq!(
        fixture.run(query, json!({}))["vocabularies"]["edges"],
        json!([{ "node": { "name": "zzlocal", "category": { "key": "malware_type_ov" } } }])
    );
    let input = json!({ "name": "Bad", "pattern_type": "own language", "pattern": "x" });
    let error = fixture.fail(INDICATOR, json!({ "input": input }));
    assert_eq!(error["name"], "FUNCTIONAL_ERROR", "{error}");
}
