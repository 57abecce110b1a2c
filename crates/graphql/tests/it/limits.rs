//! Documents and answers that are too big, too deep or cyclic.

use std::sync::LazyLock;

use ferrocti_graphql::{
    Engine, FieldCall, FieldError, Limits, OperationKind, Request, Resolved, Resolver,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::world::{World, codes, engine, engine_with};

/// On a small stack, so that deep recursion would show.
fn refused(query: &str) -> String {
    let query = query.to_owned();
    std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(move || {
            let engine = engine();
            let refusal = engine.prepare(&query).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert_eq!(engine.cached_documents(), 0);
            refusal.to_string()
        })
        .unwrap()
        .join()
        .unwrap()
}

fn nested(open: &str, inner: &str, levels: usize) -> String {
    format!(
        "{{ me {{ {}{inner}{} }} }}",
        open.repeat(levels),
        " }".repeat(levels)
    )
}

#[test]
fn documents_of_any_depth_are_refused_without_deep_recursion() {
    for levels in [31, 60, 500, 20_000] {
        let message = refused(&nested("boss { ", "id", levels));
        assert!(message.contains("nests"), "{levels}: {message}");
    }
    let cases = [
        format!(
            "{{ me {{ {} id {} }} }}",
            "... on Person { ".repeat(500),
            "}".repeat(500)
        ),
        format!("{{ echo(any: {}1{}) }}", "[".repeat(5000), "]".repeat(5000)),
        format!(
            "{{ echo(any: {}1{}) }}",
            "{a:".repeat(5000),
            "}".repeat(5000)
        ),
        format!(
            "query($x: {}Int{}) {{ me {{ id }} }}",
            "[".repeat(5000),
            "]".repeat(5000)
        ),
        format!("{{ me{} }}", "{".repeat(30_000)),
        "(".repeat(10_000),
        format!(
            "{{ me {{ id @include(if: {}true{}) }} }}",
            "[".repeat(5000),
            "]".repeat(5000)
        ),
    ];
    for query in cases {
        refused(&query);
    }
}

#[test]
fn a_document_at_the_limit_of_depth_is_accepted() {
    // me + 28 × boss + id
    assert!(engine().prepare(&nested("boss { ", "id", 28)).is_ok());
    let message = refused(&nested("boss { ", "id", 29));
    assert!(
        message.contains("31 levels") && message.contains("at most 30"),
        "{message}"
    );
    // Inline fragments are not levels.
    let query = format!(
        "{{ me {{ {} id {} }} }}",
        "... on Person { boss { ... { ".repeat(28),
        "}}}".repeat(28)
    );
    assert!(engine().prepare(&query).is_ok(), "{query}");
}

#[test]
fn the_deepest_accepted_documents_run_on_a_small_stack() {
    let fragments = "... on Person { ".repeat(110);
    let queries = [
        format!("{{ echo(any: {}1{}) }}", "[".repeat(115), "]".repeat(115)),
        format!(
            "{{ echo(any: {}1{}) }}",
            "{a: ".repeat(115),
            "}".repeat(115)
        ),
        format!("{{ me {{ {fragments} id {} }} }}", "}".repeat(110)),
        nested("author { ", "id", 28),
        format!("{{ me {{ {} }} }}", "id ".repeat(9_000)),
    ];
    for query in queries {
        std::thread::Builder::new()
            .stack_size(1024 * 1024)
            .spawn(move || {
                let response = engine().run(Request::new(query, Map::new()), &World::new());
                assert!(response.errors.is_empty(), "{:?}", response.errors);
            })
            .unwrap()
            .join()
            .unwrap();
    }
}

#[test]
fn brackets_in_strings_and_comments_are_no_nesting() {
    let many = "[{(".repeat(500);
    let query = format!(
        "{{ # {many}\n echo(any: \"{many}\\\"{many}\", name: \"\"\"{many} \\\"\"\" {many}\"\"\") }}"
    );
    assert!(
        engine().prepare(&query).is_ok(),
        "{:?}",
        engine().prepare(&query)
    );
}

#[test]
fn a_document_with_too_many_tokens_or_bytes_is_refused() {
    let message = refused(&format!("{{ {} }}", "me { id } ".repeat(20_000)));
    assert!(message.contains("more than 20000 tokens"), "{message}");
    let message = refused(&format!("{{ me {{ {} }} }}", "id ".repeat(50_000)));
    assert!(message.contains("more than 20000 tokens"), "{message}");
    let message = refused(&format!("{{ me {{ id }} }} #{}", "x".repeat(300_000)));
    assert!(message.contains("bytes"), "{message}");
}

#[test]
fn fragments_that_spread_themselves_are_refused() {
    let one = refused("{ me { ...A } } fragment A on Person { id ...A }");
    assert!(one.contains("\"A\" within itself"), "{one}");
    let three = refused(
        "{ me { ...A } } fragment A on Person { boss { ...B } } fragment B on Person { ...C } fragment C on Person { id ...A }",
    );
    assert!(three.contains("within itself"), "{three}");
}

#[test]
fn long_chains_of_fragments_are_refused() {
    let chain: String = (0..1000)
        .map(|i| format!("fragment F{i} on Person {{ ...F{} }} ", i + 1))
        .collect();
    let message = refused(&format!(
        "{{ me {{ ...F0 }} }} {chain} fragment F1000 on Person {{ id }}"
    ));
    assert!(message.contains("spread one another"), "{message}");
}

#[test]
fn fragments_that_multiply_are_counted_expanded() {
    // 2^20 fields from a few hundred bytes.
    let doubling: String = (0..20)
        .map(|i| format!("fragment F{i} on Person {{ a{i}: author {{ ...F{n} }} b{i}: author {{ ...F{n} }} }} ", n = i + 1))
        .collect();
    let message = refused(&format!(
        "{{ me {{ ...F0 }} }} {doubling} fragment F20 on Person {{ id }}"
    ));
    assert!(message.contains("more than 20000 fields"), "{message}");
}

#[test]
fn an_operation_with_too_many_root_fields_is_refused() {
    let aliases: String = (0..101).map(|i| format!("a{i}: me {{ id }} ")).collect();
    let message = refused(&format!("{{ {aliases} }}"));
    assert!(message.contains("101 root fields"), "{message}");
}

#[test]
fn introspection_that_multiplies_is_refused() {
    let mut query = "name".to_owned();
    for _ in 0..4 {
        query = format!("fields {{ type {{ {query} }} }}");
    }
    let message = refused(&format!("{{ __schema {{ types {{ {query} }} }} }}"));
    assert!(message.contains("introspection"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the text is, the answer is a document or a refusal with a sentence and status 400.
    #[test]
    fn any_text_is_prepared_or_refused(tokens in proptest::collection::vec(0..TOKENS.len(), 0..60), noise in ".{0,8}", at in 0..60_usize) {
        let mut text: String = tokens.iter().map(|token| format!("{} ", TOKENS[*token])).collect();
        let at = text.char_indices().map(|(i, _)| i).nth(at * 3).unwrap_or(text.len());
        text.insert_str(at, &noise);
        if let Err(refusal) = ENGINE.prepare(&text) {
            prop_assert_eq!(refusal.status, 400);
            prop_assert!(refusal.errors.iter().all(|error| !error.message.is_empty()));
            prop_assert!(!refusal.errors.is_empty());
        }
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

const TOKENS: [&str; 40] = [
    "{",
    "}",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "$",
    "@",
    "=",
    "...",
    "|",
    "&",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "F",
    "Person",
    "Thing",
    "me",
    "report",
    "id",
    "name",
    "echo",
    "any",
    "count",
    "$x",
    "1",
    "-1.5e3",
    "\"s\"",
    "\"",
    "\"\"\"",
    "#",
    "@skip(if: true)",
    "...F",
];

#[test]
fn the_cache_of_documents_is_bounded() {
    let engine = engine_with(Limits {
        cached_document_bytes: 100_000,
        ..Limits::default()
    });
    for i in 0..200 {
        engine.prepare(&format!("{{ me {{ a{i}: id }} }}")).unwrap();
    }
    let kept = engine.cached_documents();
    assert!((1..=12).contains(&kept), "{kept}");
}

#[test]
fn an_answer_with_too_many_values_is_given_up() {
    let engine = engine_with(Limits {
        max_values: 8,
        ..Limits::default()
    });
    let world = World::new();
    let run = |query: &str| -> Value {
        serde_json::from_slice(&engine.run(Request::new(query, Map::new()), &world).body).unwrap()
    };
    assert_eq!(run("{ reports { id name } }").get("errors"), None);
    for query in [
        "{ reports { id name pages } }",
        "{ things { id } grid { id } }",
        "{ reports { related { id } } }",
    ] {
        let answer = run(query);
        assert_eq!(answer["data"], Value::Null, "{query}");
        assert_eq!(codes(&answer), ["RESPONSE_TOO_LARGE"], "{query}");
    }
}

#[test]
fn an_answer_with_too_many_bytes_is_given_up() {
    let engine = engine_with(Limits {
        max_response_bytes: 200,
        ..Limits::default()
    });
    let world = World::new();
    let run = |query: &str| -> Value {
        serde_json::from_slice(&engine.run(Request::new(query, Map::new()), &world).body).unwrap()
    };
    assert_eq!(run("{ me { id } }").get("errors"), None);
    let long = format!("{{ echo(any: \"{}\") }}", "x".repeat(300));
    assert_eq!(codes(&run(&long)), ["RESPONSE_TOO_LARGE"]);
    // Short values under long keys.
    let keys: String = (0..10)
        .map(|i| format!("{}{i}: id ", "k".repeat(40)))
        .collect();
    assert_eq!(
        codes(&run(&format!("{{ me {{ {keys} }} }}"))),
        ["RESPONSE_TOO_LARGE"]
    );
    assert_eq!(
        codes(&run("{ __schema { types { name } } }")),
        ["RESPONSE_TOO_LARGE"]
    );
}

#[test]
fn the_list_of_errors_is_bounded_but_nulls_are_not() {
    struct Failing;
    impl Resolver for Failing {
        type Node = ();
        fn type_of<'n>(&'n self, (): &'n ()) -> &'n str {
            "Report"
        }
        fn resolve_root<'p>(
            &'p self,
            _: OperationKind,
            _: &FieldCall<'_>,
        ) -> Result<Resolved<'p, ()>, FieldError> {
            Ok(Resolved::nodes([(); 500]))
        }
        fn resolve<'p>(
            &'p self,
            _: &FieldCall<'_>,
            parents: &[&'p ()],
        ) -> Vec<Result<Resolved<'p, ()>, FieldError>> {
            parents
                .iter()
                .map(|()| Err(FieldError::new("NO", "no")))
                .collect()
        }
    }
    let response = engine().run(Request::new("{ reports { name } }", Map::new()), &Failing);
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["errors"].as_array().unwrap().len(), 100);
    let rows = answer["data"]["reports"].as_array().unwrap();
    assert!(rows.len() == 500 && rows.iter().all(|row| row["name"].is_null()));
}
