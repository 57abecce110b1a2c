//! Collecting, merging, batching, order.

use ferrocti_graphql::{OperationKind, Request};
use serde_json::{Value, json};

use crate::world::{World, ask, ask_with, data_of, engine, respond, variables};

#[test]
fn fields_come_in_the_order_of_the_document() {
    let world = World::new();
    let response = respond(
        &world,
        "{ report { pages z: name id __typename author { rank name } } }",
        &Value::Null,
    );
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        r#"{"data":{"report":{"pages":12,"z":"Report \"1\"\n","id":"r1","__typename":"Report","author":{"rank":1,"name":"Ann"}}}}"#
    );
    assert_eq!(response.status, 200);
}

#[test]
fn a_field_in_an_interface_fragment_and_in_a_type_fragment_is_resolved_once() {
    let world = World::new();
    let query = "{ things { ... on Thing { id author { name } } ... on Report { author { id name } pages: name } ... on Malware { author { rank } } } }";
    let answer = ask_with(&world, query, &Value::Null);
    assert_eq!(
        answer["data"]["things"][0],
        json!({"id": "r1", "author": {"name": "Ann", "id": "p1"}, "pages": "Report \"1\"\n"})
    );
    assert_eq!(
        answer["data"]["things"][1],
        json!({"id": "m1", "author": {"name": "Bob", "rank": null}})
    );
    assert_eq!(
        answer["data"]["things"][2],
        json!({"id": "p1", "author": null})
    );
    assert_eq!(answer["data"]["things"][3], Value::Null);
    assert_eq!(answer["data"]["things"][4]["id"], "2");
    for ty in ["Report", "Malware", "Person"] {
        assert_eq!(world.calls(ty, "author").len(), 1, "{ty}");
    }
    assert_eq!(world.calls("Report", "author")[0].parents, 2);
    assert_eq!(world.calls("Report", "author")[0].below, ["name", "id"]);
}

#[test]
fn one_call_serves_every_place_of_a_level() {
    let world = World::new();
    // The same type on the same level, reached through three fields and two aliases.
    let query = "{ a: reports { author { name } } b: report { author { id } origin { author { id } } } thing { ... on Report { author { rank } } } }";
    let answer = ask_with(&world, query, &Value::Null);
    assert_eq!(answer["data"]["a"][0]["author"], json!({"name": "Ann"}));
    assert_eq!(answer["data"]["b"]["author"], json!({"id": "p1"}));
    assert_eq!(answer["data"]["thing"]["author"], json!({"rank": 1}));
    let calls = world.calls("Report", "author");
    assert_eq!(
        calls.iter().map(|call| call.parents).collect::<Vec<_>>(),
        [4, 1]
    );
    assert_eq!(calls[0].below, ["name", "id", "rank"]);
}

#[test]
fn equal_arguments_under_two_aliases_share_a_call_and_different_ones_do_not() {
    let world = World::new();
    let query = "query($n: Int) { report { a: related(first: 1) { id } b: related(first: $n) { name } c: related(first: 2) { id } d: related { id } } }";
    let answer = ask_with(&world, query, &json!({"n": 1}));
    assert_eq!(answer["data"]["report"]["a"], json!([{"id": "m1"}]));
    assert_eq!(answer["data"]["report"]["b"], json!([{"name": "Mal"}]));
    assert_eq!(answer["data"]["report"]["c"].as_array().unwrap().len(), 2);
    assert_eq!(answer["data"]["report"]["d"].as_array().unwrap().len(), 5);
    let calls = world.calls("Report", "related");
    let firsts: Vec<(Value, usize)> = calls
        .iter()
        .map(|call| (call.arguments["first"].clone(), call.parents))
        .collect();
    assert_eq!(firsts, [(json!(1), 2), (json!(2), 1), (json!(10), 1)]);
}

#[test]
fn types_are_told_apart_in_unions() {
    let data = data_of(
        "{ hits { __typename ... on Note { text } ... on Thing { id } ... on Person { name } } }",
    );
    assert_eq!(
        data["hits"],
        json!([
            {"__typename": "Report", "id": "2"},
            {"__typename": "Person", "id": "p1", "name": "Ann"},
            {"__typename": "Note", "text": "n"},
            null
        ])
    );
}

#[test]
fn an_object_that_no_fragment_fits_is_empty_and_not_null() {
    let data = data_of("{ hits { ... on Note { text } } }");
    assert_eq!(data["hits"], json!([{}, {}, {"text": "n"}, null]));
}

#[test]
fn lists_of_lists_keep_their_form() {
    let data = data_of("{ grid { id } report { grid tags any } }");
    assert_eq!(
        data["grid"],
        json!([[{"id": "r1"}, null], [], [{"id": "p1"}, {"id": "m1"}]])
    );
    assert_eq!(
        data["report"],
        json!({"grid": [[1, 2], null, []], "tags": ["a", "b"], "any": {"k": [1, {"x": null}]}})
    );
}

#[test]
fn conditions_are_looked_up_in_every_request() {
    let engine = engine();
    let world = World::new();
    let query = "query($deep: Boolean!, $plain: Boolean = false) {
        report { id name @include(if: $deep) author @skip(if: $plain) { ...F @include(if: $deep) name } ... on Thing @include(if: $deep) { strict } }
    } fragment F on Person { rank name }";
    let prepared = engine.prepare(query).unwrap();
    let run = |values: Value| -> Value {
        let request = Request::new("", variables(&values));
        serde_json::from_slice(&engine.execute(&prepared, request, &world).body).unwrap()
    };
    let deep = json!({"id": "r1", "name": "Report \"1\"\n", "author": {"rank": 1, "name": "Ann"}, "strict": "ok"});
    assert_eq!(run(json!({"deep": true}))["data"]["report"], deep);
    assert_eq!(
        run(json!({"deep": false}))["data"]["report"],
        json!({"id": "r1", "author": {"name": "Ann"}})
    );
    assert_eq!(
        run(json!({"deep": false, "plain": true}))["data"]["report"],
        json!({"id": "r1"})
    );
    assert_eq!(run(json!({"deep": true}))["data"]["report"], deep);
}

#[test]
fn the_key_order_follows_what_is_included() {
    let world = World::new();
    let query = "query($x: Boolean!) { report { name @include(if: $x) id name } }";
    let text = |x: bool| String::from_utf8(respond(&world, query, &json!({"x": x})).body).unwrap();
    assert!(text(true).contains(r#"{"name":"Report \"1\"\n","id":"r1"}"#));
    assert!(text(false).contains(r#"{"id":"r1","name":"Report \"1\"\n"}"#));
}

#[test]
fn constant_conditions_count_too() {
    let data = data_of(
        "{ report { id @skip(if: true) name @include(if: false) pages @skip(if: false) @include(if: true) } }",
    );
    assert_eq!(data["report"], json!({"pages": 12}));
}

#[test]
fn a_null_condition_is_refused() {
    let query = "query($x: Boolean = true) { report { id @include(if: $x) } }";
    let answer = ask_with(&World::new(), query, &json!({"x": null}));
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["name"], "BAD_USER_INPUT");
}

#[test]
fn mutations_run_one_after_the_other_with_everything_below() {
    let world = World::new();
    ask_with(
        &world,
        r#"mutation { a: add(name: "x") { author { name } } b: touch(name: "y") { author { name } } }"#,
        &Value::Null,
    );
    let order: Vec<String> = world
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|call| format!("{}.{}", call.ty, call.field))
        .collect();
    assert_eq!(
        order,
        [
            "Mutation.add",
            "Report.author",
            "Person.name",
            "Mutation.touch",
            "Report.author",
            "Person.name"
        ]
    );
}

#[test]
fn the_operation_name_selects_among_several() {
    let engine = engine();
    let world = World::new();
    let prepared = engine
        .prepare("query A { me { id } } mutation B { touch(name: \"x\") { id } } query C { must { id } me { name } }")
        .unwrap();
    assert_eq!(prepared.kind(Some("A")), Ok(OperationKind::Query));
    assert_eq!(prepared.kind(Some("B")), Ok(OperationKind::Mutation));
    assert_eq!(prepared.root_fields(Some("C")).unwrap(), ["must", "me"]);
    let run = |name: Option<&str>| {
        let mut request = Request::default();
        request.operation_name = name.map(str::to_owned);
        engine.execute(&prepared, request, &world)
    };
    assert_eq!(run(Some("A")).body, br#"{"data":{"me":{"id":"p1"}}}"#);
    assert_eq!(run(Some("B")).body, br#"{"data":{"touch":{"id":"r1"}}}"#);
    assert_eq!(run(None).status, 400);
    let missing = run(Some("D"));
    assert_eq!(missing.status, 400);
    assert!(
        missing.errors[0]
            .message
            .contains("no operation named \"D\"")
    );
}

#[test]
fn a_resolver_sees_what_is_selected_below() {
    struct Probe(std::sync::Mutex<Vec<bool>>);
    impl ferrocti_graphql::Resolver for Probe {
        type Node = ();
        fn type_of<'n>(&'n self, (): &'n ()) -> &'n str {
            "Report"
        }
        fn resolve_root<'p>(
            &'p self,
            _: OperationKind,
            call: &ferrocti_graphql::FieldCall<'_>,
        ) -> Result<ferrocti_graphql::Resolved<'p, ()>, ferrocti_graphql::FieldError> {
            assert_eq!(call.field_type, "Thing");
            *self.0.lock().unwrap() = [
                &["author", "name"][..],
                &["author", "rank"],
                &["author"],
                &["author", "boss", "id"],
                &["author", "boss", "name"],
                &["origin"],
                &[],
            ]
            .iter()
            .map(|path| call.selection.selects(path))
            .collect();
            Ok(ferrocti_graphql::Resolved::Null)
        }
        fn resolve<'p>(
            &'p self,
            _: &ferrocti_graphql::FieldCall<'_>,
            _: &[&'p ()],
        ) -> Vec<Result<ferrocti_graphql::Resolved<'p, ()>, ferrocti_graphql::FieldError>> {
            Vec::new()
        }
    }
    let probe = Probe(std::sync::Mutex::default());
    let query = "query($no: Boolean!) { thing { ... on Malware { who: author { title: name } } ...F origin @include(if: $no) { id } } }
        fragment F on Report { author { boss { id name @skip(if: true) } } }";
    engine().run(
        Request::new(query, variables(&json!({"no": false}))),
        &probe,
    );
    assert_eq!(
        *probe.0.lock().unwrap(),
        [true, false, true, true, false, false, false]
    );
}

#[test]
fn guards_are_asked_once_for_each_field_of_a_type() {
    let world = World::new();
    ask_with(
        &world,
        "{ things { id name } reports { id } me { id boss { id } } __typename }",
        &Value::Null,
    );
    let mut guarded = world.guarded.lock().unwrap().clone();
    let asked = guarded.len();
    guarded.sort();
    guarded.dedup();
    assert_eq!(asked, guarded.len());
    assert!(guarded.contains(&"Report.id".to_owned()) && guarded.contains(&"Query.me".to_owned()));
}

#[test]
fn a_refused_field_never_reaches_its_resolver() {
    let mut world = World::new();
    world.refused = vec!["Report.author", "Query.secret"];
    let answer = ask_with(
        &world,
        "{ secret reports { id author { name } } me { name } }",
        &Value::Null,
    );
    assert_eq!(
        answer["data"],
        json!({"secret": null, "reports": [{"id": "r1", "author": null}, {"id": "2", "author": null}], "me": {"name": "Ann"}})
    );
    assert!(world.calls("Report", "author").is_empty());
    assert!(world.calls("Query", "secret").is_empty());
    let paths: Vec<&Value> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["path"])
        .collect();
    assert_eq!(
        paths,
        [
            &json!(["secret"]),
            &json!(["reports", 0, "author"]),
            &json!(["reports", 1, "author"])
        ]
    );
    assert_eq!(answer["errors"][0]["name"], "FORBIDDEN_ACCESS");
}

#[test]
fn prepared_documents_are_kept_and_equal_texts_share_one() {
    let engine = engine();
    let one = engine.prepare("{ me { id } }").unwrap();
    let two = engine.prepare("{ me { id } }").unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    assert!(engine.prepare("{ nothing }").is_err());
    assert!(engine.prepare("{ me { ").is_err());
    assert_eq!(engine.cached_documents(), 1);
}

#[test]
fn a_more_specific_type_of_the_object_is_honoured() {
    let data = data_of("{ thing { origin { id ... on Report { pages: id } } } }");
    assert_eq!(data["thing"]["origin"], json!({"id": "2", "pages": "2"}));
}

#[test]
fn values_that_do_not_fit_their_type_are_errors() {
    // `origin` of a Report is declared as Report: the declared type holds, without asking for the node's type.
    let answer = ask("{ hits { ... on Report { score pages } } }");
    assert_eq!(
        answer["data"]["hits"][0],
        json!({"score": 3.25, "pages": null})
    );
}

#[test]
fn threads_share_an_engine_and_a_prepared_document() {
    let engine = engine();
    let query = "query($x: Boolean!) { things { id @include(if: $x) author { name } } }";
    let run = |x: bool| {
        let request = Request::new(query, variables(&json!({"x": x})));
        engine.run(request, &World::new()).body
    };
    let expected = [run(false), run(true)];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (run, expected) = (&run, &expected);
            scope.spawn(move || {
                for i in 0..50 {
                    let x = (thread + i) % 3 == 0;
                    assert_eq!(run(x), expected[usize::from(x)]);
                }
            });
        }
    });
    assert_eq!(engine.cached_documents(), 1);
}
