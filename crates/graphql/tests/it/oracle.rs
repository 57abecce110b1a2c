//! Random queries, answered as by the schema library's own executor, which goes field by field and knows nothing
//! of plans, levels or merging ahead of time.

use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::serde_json_bytes;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use ferrocti_graphql::{Engine, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{SDL, World, engine, variables};

/// An object of the world, for the oracle.
struct Naive<'w> {
    world: &'w World,
    object: &'static Value,
    ty: &'static str,
}

impl<'w> Naive<'w> {
    fn resolved(&self, value: &'static Value) -> Result<ResolvedValue<'w>, FieldError> {
        if value.get("$error").is_some() {
            return Err(FieldError {
                message: "failed".to_owned(),
            });
        }
        if let Some(object) = self.world.target(value) {
            return Ok(ResolvedValue::object(Naive {
                world: self.world,
                object,
                ty: object["__typename"].as_str().unwrap(),
            }));
        }
        Ok(match value {
            Value::Array(items) => {
                let items: Result<Vec<_>, _> =
                    items.iter().map(|item| self.resolved(item)).collect();
                ResolvedValue::list(items?)
            }
            value => ResolvedValue::leaf(serde_json_bytes::Value::from(value.clone())),
        })
    }
}

impl ObjectValue for Naive<'_> {
    fn type_name(&self) -> &str {
        self.ty
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let value = &self.object[info.field_name()];
        // The engine writes ids as strings; the oracle does not coerce.
        if info.field_name() == "id" {
            let id = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            return Ok(ResolvedValue::leaf(id));
        }
        match (
            value,
            info.arguments()
                .get("first")
                .and_then(|first| first.as_u64()),
        ) {
            (Value::Array(items), Some(first)) => {
                let items: Result<Vec<_>, _> = items
                    .iter()
                    .take(first as usize)
                    .map(|item| self.resolved(item))
                    .collect();
                Ok(ResolvedValue::list(items?))
            }
            (value, _) => self.resolved(value),
        }
    }
}

/// Builds a valid query out of a stream of choices.
struct Builder<'c> {
    choices: std::slice::Iter<'c, u8>,
    fields_left: usize,
}

const SCALARS: [(&str, &[&str]); 5] = [
    ("Thing", &["id", "name", "strict", "__typename"]),
    (
        "Report",
        &[
            "id",
            "name",
            "strict",
            "pages",
            "score",
            "tags",
            "grid",
            "any",
            "mode",
            "published",
        ],
    ),
    ("Malware", &["id", "name", "strict", "family"]),
    ("Person", &["id", "name", "strict", "rank"]),
    ("Note", &["text", "__typename"]),
];

const OBJECTS: [(&str, &[(&str, &str)]); 6] = [
    (
        "Query",
        &[
            ("thing", "Thing"),
            ("things", "Thing"),
            ("report", "Report"),
            ("reports", "Report"),
            ("hits", "Hit"),
            ("grid", "Thing"),
            ("me", "Person"),
            ("must", "Report"),
        ],
    ),
    ("Thing", &[("author", "Person"), ("related", "Thing")]),
    (
        "Report",
        &[
            ("author", "Person"),
            ("related", "Thing"),
            ("members", "Member"),
            ("content", "Hit"),
        ],
    ),
    (
        "Malware",
        &[
            ("author", "Person"),
            ("related", "Thing"),
            ("owner", "Person"),
        ],
    ),
    (
        "Person",
        &[
            ("author", "Person"),
            ("related", "Thing"),
            ("boss", "Person"),
        ],
    ),
    ("Member", &[("person", "Person")]),
];

const CONDITIONS: [(&str, &[&str]); 6] = [
    ("Thing", &["Thing", "Report", "Malware", "Person", "Hit"]),
    ("Hit", &["Thing", "Report", "Person", "Note", "Hit"]),
    ("Report", &["Report", "Thing", "Hit"]),
    ("Malware", &["Malware", "Thing"]),
    ("Person", &["Person", "Thing", "Hit"]),
    ("Note", &["Note", "Hit"]),
];

fn of<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| *value)
}

impl Builder<'_> {
    fn pick(&mut self, below: usize) -> usize {
        usize::from(self.choices.next().copied().unwrap_or(0)) % below
    }

    fn directive(&mut self) -> &'static str {
        match self.pick(12) {
            0 => " @include(if: $yes)",
            1 => " @skip(if: $yes)",
            2 => " @include(if: $no)",
            3 => " @skip(if: $no) @include(if: true)",
            _ => "",
        }
    }

    fn selections(&mut self, ty: &str, depth: usize) -> String {
        let mut text = String::from("{ ");
        for _ in 0..=self.pick(4) {
            if self.fields_left == 0 {
                break;
            }
            self.fields_left -= 1;
            text.push_str(&self.selection(ty, depth));
            text.push(' ');
        }
        text.push_str("__typename }");
        text
    }

    fn selection(&mut self, ty: &str, depth: usize) -> String {
        let condition = self.directive();
        let kind = self.pick(10);
        if kind < 3
            && depth > 0
            && let Some(conditions) = of(&CONDITIONS, ty)
        {
            let inner = conditions[self.pick(conditions.len())];
            let below = self.selections(inner, depth - 1);
            return format!("... on {inner}{condition} {below}");
        }
        if kind == 3 && matches!(ty, "Thing" | "Report" | "Person" | "Hit") {
            let fragments: &[&str] = if ty == "Report" { &["F"] } else { &["F", "G"] };
            return format!("...{}{condition}", fragments[self.pick(fragments.len())]);
        }
        if kind < 8
            && depth > 0
            && let Some(fields) = of(&OBJECTS, ty)
        {
            let (name, inner) = fields[self.pick(fields.len())];
            let below = self.selections(inner, depth - 1);
            let (alias, arguments) = match (name, self.pick(4)) {
                ("related", 0) => ("two: ", "(first: 2)"),
                ("related", 1) => ("few: ", "(first: $few)"),
                ("related" | "boss", _) => ("", ""),
                (_, 0) => ("again_", ""),
                _ => ("", ""),
            };
            let alias = if alias == "again_" {
                format!("again_{name}: ")
            } else {
                alias.to_owned()
            };
            return format!("{alias}{name}{arguments}{condition} {below}");
        }
        match of(&SCALARS, ty) {
            Some(fields) => {
                let name = fields[self.pick(fields.len())];
                let alias = if self.pick(6) == 0 {
                    format!("other_{name}: ")
                } else {
                    String::new()
                };
                format!("{alias}{name}{condition}")
            }
            None => "__typename".to_owned(),
        }
    }
}

fn query(choices: &[u8]) -> String {
    let mut builder = Builder {
        choices: choices.iter(),
        fields_left: 120,
    };
    let mut root = builder.selections("Query", 6);
    // Every variable and fragment must be used somewhere.
    root.insert_str(
        1,
        " me { id @include(if: $yes) name @skip(if: $no) few: related(first: $few) { ...F ...G } } ",
    );
    let f = builder.selections_without_spreads("Thing", 3);
    let g = builder.selections_without_spreads("Person", 3);
    format!(
        "query($yes: Boolean!, $no: Boolean!, $few: Int) {root}\nfragment F on Thing {f}\nfragment G on Person {g}"
    )
}

impl Builder<'_> {
    /// For fragments: no cycles.
    fn selections_without_spreads(&mut self, ty: &str, depth: usize) -> String {
        self.fields_left = 20;
        let text = self.selections(ty, depth);
        text.replace("...F", "__typename")
            .replace("...G", "__typename")
    }
}

struct Oracle {
    schema: Valid<Schema>,
    engine: Engine,
    world: World,
}

impl Oracle {
    fn new() -> Self {
        Self {
            schema: Schema::parse_and_validate(SDL, "s").unwrap(),
            engine: engine(),
            world: World::new(),
        }
    }

    /// Data and whether there were errors.
    fn expected(&self, query: &str, values: &Value) -> (Value, bool) {
        let document = ExecutableDocument::parse_and_validate(&self.schema, query, "q").unwrap();
        let operation = document.operations.get(None).unwrap();
        let given = serde_json::from_value(values.clone()).unwrap();
        let values = coerce_variable_values(&self.schema, operation, &given).unwrap();
        let root = Naive {
            world: &self.world,
            object: self.world.data,
            ty: "Query",
        };
        let response = Execution::new(&self.schema, &document)
            .coerced_variable_values(&values)
            .execute_sync(&root)
            .unwrap();
        (
            serde_json::to_value(response.data).unwrap(),
            !response.errors.is_empty(),
        )
    }

    fn check(&self, query: &str, values: &Value) -> Result<(), TestCaseError> {
        let (data, failed) = self.expected(query, values);
        let response = self
            .engine
            .run(Request::new(query, variables(values)), &self.world);
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        // As text: the order of keys counts.
        prop_assert_eq!(answer["data"].to_string(), data.to_string(), "{}", query);
        prop_assert_eq!(!response.errors.is_empty(), failed, "{}", query);
        Ok(())
    }
}

#[test]
fn random_queries_are_answered_as_by_the_reference() {
    let oracle = Oracle::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (
        proptest::collection::vec(any::<u8>(), 0..400),
        any::<bool>(),
        any::<bool>(),
        0..4_i32,
    );
    runner
        .run(&strategy, |(choices, yes, no, few)| {
            let values = json!({"yes": yes, "no": no, "few": few});
            oracle.check(&query(&choices), &values)
        })
        .unwrap();
}

#[test]
fn one_prepared_document_serves_all_values_of_its_conditions() {
    let oracle = Oracle::new();
    let choices: Vec<u8> = (0..400_u32).map(|i| (i * 73 % 251) as u8).collect();
    let query = query(&choices);
    for _ in 0..2 {
        for (yes, no) in [(true, true), (true, false), (false, true), (false, false)] {
            oracle
                .check(&query, &json!({"yes": yes, "no": no, "few": 2}))
                .unwrap();
        }
    }
}
