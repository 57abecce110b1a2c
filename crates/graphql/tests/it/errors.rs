//! Error envelopes, null propagation, paths and places.

use ferrocti_graphql::{FieldCall, FieldError, OperationKind, Request, Resolved, Resolver};
use serde_json::{Value, json};

use crate::world::{World, ask, ask_with, codes, engine, respond};

#[test]
fn an_error_has_the_whole_envelope() {
    let answer = ask("{\n  reports { pages }\n}");
    assert_eq!(
        answer["data"],
        json!({"reports": [{"pages": 12}, {"pages": null}]})
    );
    assert_eq!(
        answer["errors"],
        json!([{
            "message": "it failed",
            "name": "PAGES",
            "data": {"http_status": 500},
            "extensions": {"code": "PAGES", "data": {"http_status": 500}},
            "path": ["reports", 1, "pages"],
            "locations": [{"line": 2, "column": 13}]
        }])
    );
}

#[test]
fn data_comes_before_errors() {
    let response = respond(&World::new(), "{ reports { pages } }", &Value::Null);
    let body = String::from_utf8(response.body).unwrap();
    assert!(body.starts_with(r#"{"data":{"reports""#), "{body}");
    assert_eq!(response.errors.len(), 1);
    assert_eq!(response.status, 200);
}

#[test]
fn null_propagates_to_the_nearest_nullable_place() {
    let cases = [
        // a nullable object
        (
            "{ reports { id } must { strict } }",
            json!(null),
            vec!["must", "strict"],
        ),
        (
            "{ things { strict } }",
            json!({"things": [{"strict": "ok"}, {"strict": "m"}, {"strict": "p"}, null, null]}),
            vec!["things", "4", "strict"],
        ),
        // a non-null item makes the list null
        (
            "{ me { id } reports { strict } }",
            json!({"me": {"id": "p1"}, "reports": null}),
            vec!["reports", "1", "strict"],
        ),
        // through two non-null objects and a non-null list
        (
            "{ thing { ... on Report { origin { members { role } } } } }",
            json!({"thing": {"origin": null}}),
            vec!["thing", "origin", "members", "1", "role"],
        ),
        // through a non-null field of an object
        (
            "{ me { boss { boss { id } } } }",
            json!({"me": null}),
            vec!["me", "boss", "boss"],
        ),
        // an item of a list of scalars
        (
            "{ hits { ... on Report { tags } } }",
            json!({"hits": [{"tags": null}, {}, {}, null]}),
            vec!["hits", "0", "tags", "1"],
        ),
        // an item of a list in a list: the inner list is null
        (
            "{ hits { ... on Report { grid } } }",
            json!({"hits": [{"grid": [null, [3]]}, {}, {}, null]}),
            vec!["hits", "0", "grid", "0", "1"],
        ),
    ];
    for (query, data, path) in cases {
        let answer = ask(query);
        assert_eq!(answer["data"], data, "{query}");
        let errors = answer["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{query}: {errors:?}");
        let found: Vec<String> = errors[0]["path"]
            .as_array()
            .unwrap()
            .iter()
            .map(|segment| {
                segment
                    .as_str()
                    .map_or_else(|| segment.to_string(), str::to_owned)
            })
            .collect();
        assert_eq!(found, path, "{query}");
        assert_eq!(errors[0]["name"], "INTERNAL_SERVER_ERROR", "{query}");
    }
}

#[test]
fn a_null_for_a_non_null_field_names_the_field() {
    let answer = ask("{ must { strict } }");
    assert_eq!(
        answer["errors"][0]["message"],
        "Cannot return null for non-nullable field Report.strict."
    );
}

#[test]
fn a_failing_mutation_keeps_the_data_of_the_others_unless_it_is_non_null() {
    let answer = ask(r#"mutation { touch(name: "x") { id } fail { id } }"#);
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(codes(&answer), ["FUNCTIONAL_ERROR"]);
}

#[test]
fn the_path_uses_aliases() {
    let answer = ask("{ all: reports { p: pages } }");
    assert_eq!(answer["errors"][0]["path"], json!(["all", 1, "p"]));
}

#[test]
fn every_place_of_a_merged_field_is_located() {
    let answer = ask("{ reports { pages ... on Report { pages } } }");
    assert_eq!(
        answer["errors"][0]["locations"],
        json!([{"line": 1, "column": 13}, {"line": 1, "column": 35}])
    );
}

#[test]
fn syntax_and_validation_errors_are_plain_sentences() {
    let cases = [
        ("{ me { id }", 400, "GRAPHQL_PARSE_FAILED", "syntax error"),
        ("", 400, "GRAPHQL_PARSE_FAILED", ""),
        (
            "{ me { salary } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "Cannot query field \"salary\" on type \"Person\".",
        ),
        (
            "query($x: Int) { me { id } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "Variable \"$x\" is never used.",
        ),
        (
            "{ me }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "must have a selection of subfields",
        ),
        (
            "query($x: String) { things(first: $x) { id } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "used in position expecting type \"Int\"",
        ),
        (
            "{ echo(mode: xor) }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "does not exist in \"Mode\" enum",
        ),
        (
            "{ things { n: name ... on Report { n: pages } } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "conflict",
        ),
        (
            "{ report { related(first: 1) { id } related(first: 2) { id } } }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "differing arguments",
        ),
        (
            "type A { b: Int }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "not executable",
        ),
        (
            "fragment F on Report { id }",
            400,
            "GRAPHQL_VALIDATION_FAILED",
            "",
        ),
    ];
    for (query, status, code, part) in cases {
        let response = respond(&World::new(), query, &Value::Null);
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(response.status, status, "{query}");
        assert_eq!(answer["data"], Value::Null, "{query}");
        assert_eq!(answer["errors"][0]["name"], code, "{query}");
        let messages: Vec<&str> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["message"].as_str().unwrap())
            .collect();
        assert!(
            messages.iter().any(|message| message.contains(part)),
            "{query}: {messages:?}"
        );
        for message in messages {
            assert!(
                !message.contains('\u{1b}')
                    && !message.contains(".graphql")
                    && !message.contains('\n'),
                "{message}"
            );
        }
    }
}

#[test]
fn a_validation_error_has_its_place_and_comes_alone() {
    let answer = ask("{\n  me {\n    salary\n  }\n}");
    assert_eq!(
        answer["errors"][0]["locations"],
        json!([{"line": 3, "column": 5}])
    );
    assert_eq!(codes(&answer), ["GRAPHQL_VALIDATION_FAILED"]);
}

/// Answers every field with what the test says.
struct Fixed(Value);

impl Resolver for Fixed {
    type Node = u8;
    fn type_of<'n>(&'n self, node: &'n u8) -> &'n str {
        ["Report", "Note", "Ghost"][*node as usize]
    }
    fn resolve_root<'p>(
        &'p self,
        _: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, u8>, FieldError> {
        match call.name {
            "thing" => Ok(Resolved::Node(self.0.as_u64().unwrap_or(0) as u8)),
            "secret" => Ok(Resolved::Node(0)),
            "reports" => Ok(Resolved::nodes([0, 0])),
            _ => Ok(Resolved::Node(0)),
        }
    }
    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p u8],
    ) -> Vec<Result<Resolved<'p, u8>, FieldError>> {
        let answers = if call.name == "name" {
            1
        } else {
            parents.len()
        };
        (0..answers).map(|_| Ok(Resolved::Ref(&self.0))).collect()
    }
}

fn fixed(query: &str, value: Value) -> Value {
    serde_json::from_slice(
        &engine()
            .run(Request::new(query, serde_json::Map::new()), &Fixed(value))
            .body,
    )
    .unwrap()
}

#[test]
fn leaves_are_coerced_to_their_type_or_refused() {
    let cases = [
        ("id", json!(5), Some(json!("5"))),
        ("id", json!({"a": 1}), None),
        ("strict", json!(1.5), Some(json!("1.5"))),
        ("strict", json!(true), Some(json!("true"))),
        ("strict", json!(["a"]), None),
        ("pages", json!(3.0), Some(json!(3))),
        ("pages", json!(3.5), None),
        ("pages", json!(3_000_000_000_u64), None),
        ("pages", json!("3"), None),
        ("score", json!(3), Some(json!(3))),
        ("score", json!("3"), None),
        ("published", json!(false), Some(json!(false))),
        ("published", json!(0), None),
        ("mode", json!("and"), Some(json!("and"))),
        ("mode", json!("xor"), None),
        ("any", json!([{"a": [1]}]), Some(json!([{"a": [1]}]))),
        ("tags", json!("a"), None),
        ("grid", json!([[1], null]), Some(json!([[1], null]))),
        ("grid", json!([1]), None),
        ("author { id }", json!("p1"), None),
        ("author { id }", Value::Null, Some(Value::Null)),
    ];
    for (field, value, expected) in cases {
        let answer = fixed(&format!("{{ report {{ {field} }} }}"), value.clone());
        let name = field.split(' ').next().unwrap();
        match expected {
            Some(expected) => {
                assert_eq!(answer["data"]["report"][name], expected, "{field} {value}");
                assert_eq!(answer.get("errors"), None, "{field} {value}");
            }
            None => {
                assert_eq!(codes(&answer), ["INTERNAL_SERVER_ERROR"], "{field} {value}");
                let message = answer["errors"][0]["message"].as_str().unwrap();
                assert!(message.contains(&format!("Report.{name}")), "{message}");
            }
        }
    }
}

#[test]
fn an_object_of_a_type_that_does_not_fit_is_an_error() {
    for (node, name) in [(1, "Note"), (2, "Ghost")] {
        let answer = fixed("{ thing { __typename } }", json!(node));
        assert_eq!(answer["data"], json!({"thing": null}));
        assert!(
            answer["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains(name)
        );
    }
}

#[test]
fn an_object_for_a_scalar_is_an_error() {
    let answer = fixed("{ secret }", Value::Null);
    assert_eq!(
        answer["errors"][0]["message"],
        "Field Query.secret of type String cannot represent an object."
    );
}

#[test]
fn a_resolver_that_forgets_a_parent_is_an_error_for_all() {
    let answer = fixed("{ reports { name } }", json!("x"));
    assert_eq!(
        answer["data"],
        json!({"reports": [{"name": null}, {"name": null}]})
    );
    assert_eq!(
        codes(&answer),
        ["INTERNAL_SERVER_ERROR", "INTERNAL_SERVER_ERROR"]
    );
}

#[test]
fn wrong_variables_are_answered_with_status_200_and_no_execution() {
    let world = World::new();
    let response = respond(
        &world,
        "query($n: Int!) { things(first: $n) { id } }",
        &json!({"n": "x"}),
    );
    assert_eq!(response.status, 200);
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"]);
    assert_eq!(
        answer["errors"][0]["locations"],
        json!([{"line": 1, "column": 7}])
    );
    assert!(world.seen.lock().unwrap().is_empty());
    let also = ask_with(
        &world,
        "query($n: Int!) { things(first: $n) { id } }",
        &json!({}),
    );
    assert_eq!(codes(&also), ["BAD_USER_INPUT"]);
}
