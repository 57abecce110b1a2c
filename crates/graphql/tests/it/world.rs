//! A small schema, data for it, and a resolver that reads the data and notes every call.

use std::sync::Mutex;

use ferrocti_graphql::{
    Engine, FieldCall, FieldError, Limits, OperationKind, Request, Resolved, Resolver, Response,
    Schema,
};
use serde_json::{Map, Value, json};

pub const SDL: &str = r#"
directive @constraint(minLength: Int, maxLength: Int, min: Float, max: Float, format: String) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION

scalar Any
scalar DateTime
scalar Upload
"A scalar with an address."
scalar Linked @specifiedBy(url: "https://example.org/linked")

enum Mode { and or old @deprecated(reason: "use and") }

"Everything with a name."
interface Thing {
  id: ID!
  name: String
  author: Person
  related(first: Int = 10, mode: Mode): [Thing]
  strict: String!
  origin: Thing
}

type Report implements Thing {
  id: ID!
  name: String
  author: Person
  related(first: Int = 10, mode: Mode): [Thing]
  strict: String!
  origin: Report
  pages: Int
  score: Float
  published: Boolean
  mode: Mode
  tags: [String!]
  grid: [[Int!]]
  any: Any
  members: [Member!]!
  content: Hit
}

type Malware implements Thing {
  id: ID!
  name: String
  author: Person
  related(first: Int = 10, mode: Mode): [Thing]
  strict: String!
  origin: Thing
  family: Boolean
  owner: Person!
}

type Person implements Thing {
  id: ID!
  name: String
  author: Person
  related(first: Int = 10, mode: Mode): [Thing]
  strict: String!
  origin: Thing
  boss: Person!
  rank: Int
}

type Member { role: String! person: Person! }

union Hit = Report | Person | Note
type Note { text: String }

input Filter { key: [String!]! values: [Any!]! mode: Mode = or }
input AddInput {
  name: String! @constraint(minLength: 2, format: "not-blank")
  count: Int = 3
  ratio: Float
  flag: Boolean
  short: String @constraint(maxLength: 3)
  ids: [ID!]
  born: DateTime
  filter: Filter
  filters: [Filter!]
  labels: [[String]] = [["a"], null]
  file: Upload
  files: [Upload]
}

type Query {
  thing: Thing
  things(first: Int): [Thing]
  report: Report
  reports: [Report!]
  hits: [Hit]
  grid: [[Thing]!]
  must: Report!
  me: Person
  echo(
    input: AddInput, any: Any, anys: [Any], id: ID, ids: [ID!], count: Int, total: Int = 7, ratio: Float,
    mode: Mode = and, when: DateTime, limit: Int @constraint(min: 1, max: 5000), name: String!= "none"
  ): Any
  secret: String
  page: [Report!]!
}

type Mutation {
  add(name: String!, input: AddInput): Report
  touch(name: String!): Report
  fail: Report!
  echo(input: AddInput, file: Upload, files: [Upload!], big: String): Any
}
"#;

/// `{"$ref": id}` stands for another object, `{"$error": code}` for a failing field.
fn data() -> Value {
    json!({
        "thing": {"$ref": "r1"},
        "things": [{"$ref": "r1"}, {"$ref": "m1"}, {"$ref": "p1"}, null, {"$ref": "r2"}],
        "report": {"$ref": "r1"},
        "reports": [{"$ref": "r1"}, {"$ref": "r2"}],
        "hits": [{"$ref": "r2"}, {"$ref": "p1"}, {"__typename": "Note", "text": "n"}, null],
        "grid": [[{"$ref": "r1"}, null], [], [{"$ref": "p1"}, {"$ref": "m1"}]],
        "must": {"$ref": "r2"},
        "me": {"$ref": "p1"},
        "secret": "s",
        "objects": {
            "r1": {
                "__typename": "Report", "id": "r1", "name": "Report \"1\"\n", "author": {"$ref": "p1"},
                "related": [{"$ref": "m1"}, {"$ref": "p1"}, null, {"$ref": "r2"}, {"$ref": "m2"}],
                "strict": "ok", "origin": {"$ref": "r2"}, "pages": 12, "score": 1.5, "published": true, "mode": "or",
                "tags": ["a", "b"], "grid": [[1, 2], null, []], "any": {"k": [1, {"x": null}]},
                "members": [{"__typename": "Member", "role": "lead", "person": {"$ref": "p1"}}],
                "content": {"$ref": "p2"}
            },
            "r2": {
                "__typename": "Report", "id": 2, "name": null, "author": null, "related": [],
                "strict": null, "origin": null, "pages": {"$error": "PAGES"}, "score": 3.25, "tags": ["a", null],
                "grid": [[1, null], [3]], "any": null, "mode": "and", "published": false,
                "members": [
                    {"__typename": "Member", "role": "one", "person": {"$ref": "p2"}},
                    {"__typename": "Member", "role": null, "person": {"$ref": "p1"}}
                ],
                "content": {"__typename": "Note", "text": "inside"}
            },
            "m1": {
                "__typename": "Malware", "id": "m1", "name": "Mal", "author": {"$ref": "p2"},
                "related": [{"$ref": "r1"}], "strict": "m", "origin": {"$ref": "p1"}, "family": true,
                "owner": {"$ref": "p1"}
            },
            "m2": {
                "__typename": "Malware", "id": "m2", "name": "Mal 2", "author": {"$error": "LOCKED"},
                "related": null, "strict": "m", "origin": {"$ref": "m1"}, "family": null, "owner": null
            },
            "p1": {
                "__typename": "Person", "id": "p1", "name": "Ann", "author": null, "related": [{"$ref": "r2"}],
                "strict": "p", "origin": null, "boss": {"$ref": "p2"}, "rank": 1
            },
            "p2": {
                "__typename": "Person", "id": "p2", "name": "Bob", "author": {"$ref": "p1"}, "related": [],
                "strict": "p", "origin": {"$ref": "r1"}, "boss": null, "rank": null
            }
        }
    })
}

/// A resolver call: type, field, arguments, number of parents.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub ty: String,
    pub field: String,
    pub arguments: Value,
    pub parents: usize,
    pub below: Vec<String>,
}

pub struct World {
    pub data: &'static Value,
    pub seen: Mutex<Vec<Seen>>,
    pub guarded: Mutex<Vec<String>>,
    /// `Type.field` that the guard refuses.
    pub refused: Vec<&'static str>,
}

impl World {
    pub fn new() -> Self {
        Self {
            data: Box::leak(Box::new(data())),
            seen: Mutex::default(),
            guarded: Mutex::default(),
            refused: Vec::new(),
        }
    }

    pub fn calls(&self, ty: &str, field: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|call| call.ty == ty && call.field == field)
            .cloned()
            .collect()
    }

    fn note(&self, call: &FieldCall<'_>, parents: usize) {
        self.seen.lock().unwrap().push(Seen {
            ty: call.parent_type.to_owned(),
            field: call.name.to_owned(),
            arguments: Value::Object(call.arguments.clone()),
            parents,
            below: call
                .selection
                .names()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        });
    }

    /// The object that a value stands for.
    pub fn target(&self, value: &'static Value) -> Option<&'static Value> {
        match value.get("$ref").and_then(Value::as_str) {
            Some(id) => Some(&self.data["objects"][id]),
            None if value.get("__typename").is_some() => Some(value),
            None => None,
        }
    }

    fn resolved(
        &self,
        value: &'static Value,
    ) -> Result<Resolved<'static, &'static Value>, FieldError> {
        if let Some(code) = value.get("$error").and_then(Value::as_str) {
            return Err(FieldError::new(code.to_owned(), "it failed").with("http_status", 500));
        }
        if let Some(target) = self.target(value) {
            return Ok(Resolved::Node(target));
        }
        Ok(match value {
            Value::Null => Resolved::Null,
            Value::String(text) => Resolved::Text(text),
            // A list of scalars may come as it is.
            Value::Array(items)
                if items
                    .iter()
                    .all(|item| !item.is_object() && !item.is_array()) =>
            {
                Resolved::Ref(value)
            }
            Value::Array(items) => Resolved::List(
                items
                    .iter()
                    .map(|item| self.resolved(item))
                    .collect::<Result<_, _>>()?,
            ),
            other => Resolved::Ref(other),
        })
    }
}

/// A list cut to the argument `first`.
fn cut<N>(resolved: Resolved<'_, N>, first: Option<u64>) -> Resolved<'_, N> {
    match (resolved, first) {
        (Resolved::List(mut items), Some(first)) => {
            items.truncate(first as usize);
            Resolved::List(items)
        }
        (other, _) => other,
    }
}

impl Resolver for World {
    type Node = &'static Value;

    fn type_of<'n>(&'n self, node: &'n &'static Value) -> &'n str {
        node["__typename"].as_str().unwrap()
    }

    fn guard(&self, parent_type: &str, field: &str) -> Result<(), FieldError> {
        let name = format!("{parent_type}.{field}");
        let refused = self.refused.contains(&name.as_str());
        self.guarded.lock().unwrap().push(name);
        if refused {
            Err(FieldError::new(
                "FORBIDDEN_ACCESS",
                "You are not allowed to do this.",
            ))
        } else {
            Ok(())
        }
    }

    fn resolve_root<'p>(
        &'p self,
        operation: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, Self::Node>, FieldError> {
        self.note(call, 1);
        match (operation, call.name) {
            (_, "echo") => Ok(Resolved::Leaf(Value::Object(call.arguments.clone()))),
            (OperationKind::Mutation, "fail") => Err(FieldError::new("FUNCTIONAL_ERROR", "no")),
            (OperationKind::Mutation, _) => Ok(Resolved::Node(&self.data["objects"]["r1"])),
            (OperationKind::Query, name) => Ok(cut(
                self.resolved(&self.data[name])?,
                call.argument("first").and_then(Value::as_u64),
            )),
        }
    }

    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Self::Node],
    ) -> Vec<Result<Resolved<'p, Self::Node>, FieldError>> {
        self.note(call, parents.len());
        parents
            .iter()
            .map(|parent| {
                Ok(cut(
                    self.resolved(&parent[call.name])?,
                    call.argument("first").and_then(Value::as_u64),
                ))
            })
            .collect()
    }
}

pub fn engine() -> Engine {
    engine_with(Limits::default())
}

pub fn engine_with(limits: Limits) -> Engine {
    Engine::new(Schema::parse(SDL).unwrap(), limits).scalar("DateTime", |value| {
        match value.as_str() {
            Some(text) if text.len() == 10 => Ok(Value::String(format!("{text}T00:00:00.000Z"))),
            _ => Err("DateTime must be a date like 2024-01-31".to_owned()),
        }
    })
}

pub fn variables(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

pub fn respond(world: &World, query: &str, values: &Value) -> Response {
    engine().run(Request::new(query, variables(values)), world)
}

/// The whole answer as JSON.
pub fn ask_with(world: &World, query: &str, values: &Value) -> Value {
    serde_json::from_slice(&respond(world, query, values).body).unwrap()
}

pub fn ask(query: &str) -> Value {
    ask_with(&World::new(), query, &Value::Null)
}

/// The data of an answer that must have no errors.
pub fn data_of(query: &str) -> Value {
    let answer = ask(query);
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    answer["data"].clone()
}

pub fn codes(answer: &Value) -> Vec<&str> {
    answer["errors"]
        .as_array()
        .map(|errors| {
            errors
                .iter()
                .map(|error| error["name"].as_str().unwrap())
                .collect()
        })
        .unwrap_or_default()
}
