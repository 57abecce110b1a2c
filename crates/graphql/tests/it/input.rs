//! Coercion of variables and literals.

use ferrocti_graphql::{FieldCall, FieldError, OperationKind, Request, Resolved, Resolver};
use serde_json::{Value, json};

use crate::world::{World, ask_with, codes, engine};

/// Sends the value as variable of the type of an argument of `echo`, and returns what the resolver got.
fn variable(argument: &str, ty: &str, value: &Value) -> Result<Value, String> {
    let query = format!("query($v: {ty}) {{ echo({argument}: $v) }}");
    let answer = ask_with(
        &World::new(),
        &query,
        &json!({"v": value, "undeclared": [1]}),
    );
    result(&answer, argument)
}

fn literal(argument: &str, text: &str) -> Result<Value, String> {
    let answer = ask_with(
        &World::new(),
        &format!("{{ echo({argument}: {text}) }}"),
        &Value::Null,
    );
    result(&answer, argument)
}

fn result(answer: &Value, argument: &str) -> Result<Value, String> {
    if answer.get("errors").is_none() {
        return Ok(answer["data"]["echo"][argument].clone());
    }
    assert_eq!(codes(answer), ["BAD_USER_INPUT"], "{answer:#}");
    assert_eq!(answer["errors"][0]["data"]["http_status"], 400);
    Err(answer["errors"][0]["message"].as_str().unwrap().to_owned())
}

#[test]
fn variables_are_coerced_as_clients_expect() {
    let cases = [
        ("count", "Int", json!(10.0), Some(json!(10))),
        ("count", "Int", json!(-3), Some(json!(-3))),
        ("count", "Int", json!(10.5), None),
        ("count", "Int", json!(3_000_000_000_u64), None),
        ("count", "Int", json!("10"), None),
        ("count", "Int", json!(true), None),
        ("count", "Int", json!(null), Some(json!(null))),
        ("ratio", "Float", json!(1), Some(json!(1))),
        ("ratio", "Float", json!(1.25), Some(json!(1.25))),
        ("ratio", "Float", json!("1"), None),
        ("id", "ID", json!(5), Some(json!("5"))),
        ("id", "ID", json!("x"), Some(json!("x"))),
        (
            "id",
            "ID",
            json!(u64::MAX),
            Some(json!("18446744073709551615")),
        ),
        ("id", "ID", json!(1.5), None),
        ("id", "ID", json!(["x"]), None),
        ("ids", "[ID!]", json!("x"), Some(json!(["x"]))),
        ("ids", "[ID!]", json!(7), Some(json!(["7"]))),
        ("ids", "[ID!]", json!(["x", null]), None),
        ("anys", "[Any]", json!("bare"), Some(json!(["bare"]))),
        ("anys", "[Any]", json!(true), Some(json!([true]))),
        (
            "anys",
            "[Any]",
            json!([1, {"k": [null]}]),
            Some(json!([1, {"k": [null]}])),
        ),
        ("anys", "[Any]", json!(null), Some(json!(null))),
        ("any", "Any", json!({"a": 1}), Some(json!({"a": 1}))),
        ("mode", "Mode", json!("or"), Some(json!("or"))),
        ("mode", "Mode", json!("xor"), None),
        ("mode", "Mode", json!(1), None),
        (
            "when",
            "DateTime",
            json!("2024-01-31"),
            Some(json!("2024-01-31T00:00:00.000Z")),
        ),
        ("when", "DateTime", json!("soon"), None),
        ("when", "DateTime", json!(null), Some(json!(null))),
        ("limit", "Int", json!(5000), Some(json!(5000))),
        ("limit", "Int", json!(0), None),
        ("limit", "Int", json!(5001), None),
        ("name", "String!", json!(null), None),
        ("name", "String!", json!("x"), Some(json!("x"))),
        ("name", "String!", json!(5), None),
    ];
    for (argument, ty, value, expected) in cases {
        assert_eq!(
            variable(argument, ty, &value).ok(),
            expected,
            "{argument}: {ty} = {value}"
        );
    }
}

#[test]
fn literals_are_coerced_by_the_same_rules() {
    let cases = [
        ("count", "10", Some(json!(10))),
        ("ratio", "1", Some(json!(1))),
        ("ratio", "1.5e2", Some(json!(150.0))),
        ("id", "5", Some(json!("5"))),
        ("ids", "\"x\"", Some(json!(["x"]))),
        ("anys", "bare", Some(json!(["bare"]))),
        (
            "anys",
            "[1, {a: [null, true]}]",
            Some(json!([1, {"a": [null, true]}])),
        ),
        ("any", "{a: {b: \"c\"}}", Some(json!({"a": {"b": "c"}}))),
        ("any", "null", Some(json!(null))),
        ("mode", "or", Some(json!("or"))),
        (
            "when",
            "\"2024-01-31\"",
            Some(json!("2024-01-31T00:00:00.000Z")),
        ),
        ("when", "\"x\"", None),
        ("limit", "0", None),
        ("name", "\"\"\"block\"\"\"", Some(json!("block"))),
    ];
    for (argument, text, expected) in cases {
        assert_eq!(literal(argument, text).ok(), expected, "{argument}: {text}");
    }
}

#[test]
fn defaults_are_applied_and_absent_arguments_stay_absent() {
    let answer = ask_with(
        &World::new(),
        "query($c: Int, $m: Mode) { echo(count: $c, mode: $m, any: null) }",
        &json!({}),
    );
    assert_eq!(
        answer["data"]["echo"],
        json!({"any": null, "total": 7, "mode": "and", "name": "none"})
    );
}

#[test]
fn an_explicit_null_is_not_replaced_by_the_default() {
    let answer = ask_with(
        &World::new(),
        "query($m: Mode) { echo(mode: $m, total: null) }",
        &json!({"m": null}),
    );
    assert_eq!(
        answer["data"]["echo"],
        json!({"total": null, "mode": null, "name": "none"})
    );
}

#[test]
fn variables_have_defaults_of_their_own() {
    let query = "query($c: Int = 4, $i: AddInput = {name: \"deflt\", ids: 1}) { echo(count: $c, input: $i) }";
    let answer = ask_with(&World::new(), query, &json!({}));
    assert_eq!(answer["data"]["echo"]["count"], 4);
    assert_eq!(
        answer["data"]["echo"]["input"],
        json!({"name": "deflt", "count": 3, "ids": ["1"], "labels": [["a"], null]})
    );
}

#[test]
fn input_objects_get_defaults_and_bare_values_in_lists() {
    let value = json!({
        "name": "Ok", "count": 2.0, "ids": 9, "labels": "x", "born": "2024-01-31",
        "filter": {"key": "name", "values": "v"},
        "filters": {"key": ["a"], "values": [1, "b"], "mode": "and"}
    });
    assert_eq!(
        variable("input", "AddInput", &value).unwrap(),
        json!({
            "name": "Ok", "count": 2, "ids": ["9"], "born": "2024-01-31T00:00:00.000Z",
            "filter": {"key": ["name"], "values": ["v"], "mode": "or"},
            "filters": [{"key": ["a"], "values": [1, "b"], "mode": "and"}],
            "labels": [["x"]]
        })
    );
}

#[test]
fn variables_inside_literals_are_put_in() {
    let query = "query($n: String!, $v: Any!, $none: Float, $i: [ID!]) {
        echo(input: {name: $n, ratio: $none, ids: $i, filter: {key: [\"k\"], values: [$v, 1]}}, any: {deep: [$v]})
    }";
    let answer = ask_with(
        &World::new(),
        query,
        &json!({"n": "abc", "v": {"x": 1}, "i": 3}),
    );
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    assert_eq!(
        answer["data"]["echo"]["input"],
        json!({
            "name": "abc", "count": 3, "ids": ["3"], "filter": {"key": ["k"], "values": [{"x": 1}, 1], "mode": "or"},
            "labels": [["a"], null]
        })
    );
    assert_eq!(answer["data"]["echo"]["any"], json!({"deep": [{"x": 1}]}));
}

#[test]
fn a_wrong_value_is_named_by_its_path() {
    let cases = [
        (
            json!({"name": "ok", "filters": [{"key": "a", "values": [1]}, {"key": "a", "values": [null]}]}),
            "\"v.filters[1].values[0]\"",
            "not to be null",
        ),
        (
            json!({"name": "ok", "filter": {"key": ["a"]}}),
            "\"v.filter.values\"",
            "is required",
        ),
        (
            json!({"name": 5}),
            "\"v.name\"",
            "String cannot represent a non string value: 5",
        ),
        (
            json!({"name": "x"}),
            "\"v.name\"",
            "Must be at least 2 characters in length",
        ),
        (json!({"name": "   "}), "\"v.name\"", "Must not be blank"),
        (
            json!({"name": "ok", "short": "äöüß"}),
            "\"v.short\"",
            "Must be no more than 3 characters in length",
        ),
        (json!({}), "\"v.name\"", "is required"),
        (
            json!({"name": "ok", "nick": 1}),
            "\"v\"",
            "Field \"nick\" is not defined by type \"AddInput\"",
        ),
        (json!("text"), "\"v\"", "to be an object"),
        (
            json!({"name": "ok", "born": 5}),
            "\"v.born\"",
            "DateTime must be a date",
        ),
        (
            json!({"name": "ok", "labels": [["a", 5]]}),
            "\"v.labels[0][1]\"",
            "String cannot represent",
        ),
        (
            json!({"name": "ok", "flag": "yes"}),
            "\"v.flag\"",
            "Boolean cannot represent",
        ),
    ];
    for (value, place, what) in cases {
        let message = variable("input", "AddInput", &value).unwrap_err();
        assert!(message.starts_with("Variable \"$v\""), "{message}");
        assert!(
            message.contains(place) && message.contains(what),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_literal_is_named_by_its_path_too() {
    let message = literal(
        "input",
        "{name: \"ok\", filters: [{key: \"a\", values: [1]}], born: \"x\"}",
    )
    .unwrap_err();
    assert_eq!(
        message,
        "Argument \"input.born\" got an invalid value: DateTime must be a date like 2024-01-31."
    );
    assert!(
        literal("input", "{name: \"x\"}")
            .unwrap_err()
            .contains("\"input.name\"")
    );
}

#[test]
fn long_values_stay_out_of_messages() {
    let message = variable("count", "Int", &json!("LOCK".repeat(1000))).unwrap_err();
    assert!(message.len() < 200, "{message}");
}

#[test]
fn every_wrong_variable_is_reported() {
    let query = "query($a: Int, $b: Boolean!, $c: ID) { echo(count: $a, id: $c) me { id @include(if: $b) } }";
    let answer = ask_with(&World::new(), query, &json!({"a": "x", "c": {}}));
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"; 3]);
}

#[test]
fn a_null_variable_for_a_non_null_argument_with_default_is_an_error_of_the_field() {
    let query = "query($n: String) { me { id } echo(name: $n) }";
    let answer = ask_with(&World::new(), query, &json!({"n": null}));
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"]);
    assert_eq!(answer["data"], json!({"me": {"id": "p1"}, "echo": null}));
    assert_eq!(answer["errors"][0]["path"], json!(["echo"]));
    let absent = ask_with(&World::new(), query, &json!({}));
    assert_eq!(absent["data"]["echo"]["name"], "none");
}

#[test]
fn a_variable_used_twice_reaches_both_places() {
    let query =
        "mutation($b: String, $c: String) { a: echo(big: $b) b: echo(big: $b) c: echo(big: $c) }";
    let answer = ask_with(&World::new(), query, &json!({"b": "text", "c": "once"}));
    assert_eq!(
        answer["data"],
        json!({"a": {"big": "text"}, "b": {"big": "text"}, "c": {"big": "once"}})
    );
    // Also when the second use is below a fragment.
    let query = "mutation($b: String) { a: echo(big: $b) ...F } fragment F on Mutation { b: echo(big: $b) }";
    let answer = ask_with(&World::new(), query, &json!({"b": "text"}));
    assert_eq!(
        answer["data"],
        json!({"a": {"big": "text"}, "b": {"big": "text"}})
    );
    // And when a fragment with the only use is spread into two root fields.
    let query = "query($n: Int) { a: report { ...R } b: report { ...R } } fragment R on Report { related(first: $n) { id } }";
    let answer = ask_with(&World::new(), query, &json!({"n": 1}));
    assert_eq!(answer["data"]["a"], answer["data"]["b"]);
    assert_eq!(answer["data"]["a"]["related"].as_array().unwrap().len(), 1);
}

/// Notes where the text of an argument is in memory.
struct Address(std::sync::Mutex<Vec<usize>>);

impl Resolver for Address {
    type Node = ();
    fn type_of<'n>(&'n self, (): &'n ()) -> &'n str {
        ""
    }
    fn resolve_root<'p>(
        &'p self,
        _: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, ()>, FieldError> {
        let address = call.text("big").unwrap().as_ptr() as usize;
        self.0.lock().unwrap().push(address);
        Ok(Resolved::Null)
    }
    fn resolve<'p>(
        &'p self,
        _: &FieldCall<'_>,
        _: &[&'p ()],
    ) -> Vec<Result<Resolved<'p, ()>, FieldError>> {
        Vec::new()
    }
}

#[test]
fn a_variable_with_a_single_use_is_moved_and_not_copied() {
    let big = "x".repeat(1 << 20);
    let address = big.as_ptr() as usize;
    let seen = Address(std::sync::Mutex::default());
    let variables = [("b".to_owned(), Value::String(big))].into_iter().collect();
    let query = "mutation($b: String) { echo(big: $b) }";
    engine().run(Request::new(query, variables), &seen);
    assert_eq!(*seen.0.lock().unwrap(), [address]);
}
