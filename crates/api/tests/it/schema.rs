//! The served schema: current in the repository, and every field of it answerable.

use crate::Fixture;
use serde_json::json;

#[test]
fn the_checked_in_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema.graphql");
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(
        checked_in == ferrocti_api::sdl::build(),
        "run `cargo run -p ferrocti-api --example sdl` and commit schema.graphql"
    );
}

#[test]
fn introspection_tells_the_schema() {
    let fixture = Fixture::new();
    let answer = fixture.run("{ __schema { queryType { name } } __type(name: \"Malware\") { fields { name } interfaces { name } } }", json!({}));
    let fields: Vec<_> = answer["__type"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert!(
        fields.contains(&"malware_types")
            && fields.contains(&"objectMarking")
            && fields.contains(&"toStix")
    );
    let interfaces: Vec<_> = answer["__type"]["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        interfaces,
        [
            "BasicObject",
            "StixObject",
            "StixCoreObject",
            "StixDomainObject"
        ]
    );
}
