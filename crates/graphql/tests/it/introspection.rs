//! `__schema`, `__type` and `__typename`.

use apollo_compiler::introspection::partial_execute;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::{ExecutableDocument, Schema};
use ferrocti_graphql::Request;
use serde_json::{Value, json};

use crate::world::{SDL, World, ask, ask_with, data_of, engine};

const FULL: &str = "query IntrospectionQuery {
  __schema {
    description queryType { name } mutationType { name } subscriptionType { name }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields { ...InputValue } interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }
}";

/// What the schema library's own introspection answers.
fn reference(query: &str, variables: &Value) -> Value {
    let schema = Schema::parse_and_validate(SDL, "s").unwrap();
    let document = ExecutableDocument::parse_and_validate(&schema, query, "q").unwrap();
    let operation = document.operations.get(None).unwrap();
    let given = serde_json::from_value(variables.clone()).unwrap();
    let values = coerce_variable_values(&schema, operation, &given).unwrap();
    let implementers = schema.implementers_map();
    let response = partial_execute(&schema, &implementers, &document, operation, &values).unwrap();
    assert!(response.errors.is_empty());
    serde_json::to_value(response.data).unwrap()
}

#[test]
fn the_whole_schema_is_described_as_by_the_reference() {
    let data = data_of(FULL);
    assert!(data["__schema"]["types"].as_array().unwrap().len() > 20);
    similar_asserts(&data, &reference(FULL, &json!({})));
}

#[test]
fn single_types_are_described_as_by_the_reference() {
    let query = "query($name: String!) { __type(name: $name) { __typename kind name description specifiedByURL
        fields { name type { kind name ofType { kind name ofType { name kind } } } args { name defaultValue } }
        interfaces { name } possibleTypes { name } enumValues { name } inputFields { name defaultValue type { name kind } } ofType { name } } }";
    for name in [
        "Thing", "Report", "Hit", "Mode", "AddInput", "Linked", "Int", "Query", "__Type", "Nothing",
    ] {
        let variables = json!({"name": name});
        let answer = ask_with(&World::new(), query, &variables);
        assert_eq!(answer.get("errors"), None);
        similar_asserts(&answer["data"], &reference(query, &variables));
    }
}

fn similar_asserts(found: &Value, expected: &Value) {
    assert_eq!(found.to_string(), expected.to_string());
}

#[test]
fn introspection_stands_beside_ordinary_fields() {
    let data = data_of(
        "{ me { __typename name } __typename t: __type(name: \"Note\") { name fields { name } } __schema { queryType { name } } }",
    );
    assert_eq!(
        data.to_string(),
        r#"{"me":{"__typename":"Person","name":"Ann"},"__typename":"Query","t":{"name":"Note","fields":[{"name":"text"}]},"__schema":{"queryType":{"name":"Query"}}}"#
    );
}

#[test]
fn the_resolver_is_not_asked_for_introspection() {
    let world = World::new();
    ask_with(&world, "{ __schema { types { name } } }", &Value::Null);
    assert!(world.seen.lock().unwrap().is_empty() && world.guarded.lock().unwrap().is_empty());
}

#[test]
fn an_introspection_answer_is_the_same_when_it_is_kept() {
    let (engine, world) = (engine(), World::new());
    let run = || {
        engine
            .run(Request::new(FULL, serde_json::Map::new()), &world)
            .body
    };
    let first = run();
    assert!(first.len() > 10_000);
    assert_eq!(run(), first);
}

#[test]
fn conditions_apply_within_introspection() {
    let query = "query($x: Boolean!) { __type(name: \"Note\") { name kind @include(if: $x) } }";
    assert_eq!(
        ask_with(&World::new(), query, &json!({"x": false}))["data"],
        json!({"__type": {"name": "Note"}})
    );
    assert_eq!(
        ask_with(&World::new(), query, &json!({"x": true}))["data"],
        json!({"__type": {"name": "Note", "kind": "OBJECT"}})
    );
}

#[test]
fn introspection_is_not_a_mutation() {
    let answer = ask("mutation { __schema { queryType { name } } }");
    assert_eq!(answer["errors"][0]["name"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(
        ask("mutation { __typename }")["data"],
        json!({"__typename": "Mutation"})
    );
}
