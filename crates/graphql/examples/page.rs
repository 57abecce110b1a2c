//! Time of an execution in process: a page of 50 objects with 20 fields, and a single object.
//!
//! `cargo run --release -p ferrocti-graphql --example page`. Every object has 14 leaves, an author and two lists of
//! references with fields of their own, selected through interface fragments. The rows are in memory: what is
//! measured is the engine. Prints the best of several rounds, with the document prepared before, and the time
//! of a first sight of the document.

use std::time::{Duration, Instant};

use ferrocti_graphql::{
    Engine, FieldCall, FieldError, Limits, OperationKind, Request, Resolved, Resolver, Schema,
};
use serde_json::{Map, Value, json};

const ROWS: usize = 50;
const ROUNDS: usize = 7;
const RUNS: u32 = 500;

const SDL: &str = "
scalar DateTime
interface Thing { id: ID! standard_id: String! entity_type: String! parent_types: [String]! }
type Label implements Thing { id: ID! standard_id: String! entity_type: String! parent_types: [String]! value: String color: String }
type Author implements Thing { id: ID! standard_id: String! entity_type: String! parent_types: [String]! name: String! }
type Report implements Thing {
  id: ID! standard_id: String! entity_type: String! parent_types: [String]!
  created_at: DateTime! updated_at: DateTime! revoked: Boolean! confidence: Int lang: String created: DateTime modified: DateTime
  name: String! description: String report_types: [String] x_opencti_reliability: String published: DateTime
  createdBy: Thing objectMarking: [Label!] objectLabel: [Label!]
}
type PageInfo { startCursor: String! endCursor: String! hasNextPage: Boolean! globalCount: Int! }
type Edge { node: Report! cursor: String! }
type Connection { edges: [Edge!]! pageInfo: PageInfo! }
type Query { reports(first: Int, after: ID): Connection report(id: String!): Report }
";

const NODE: &str = "
  id standard_id entity_type parent_types created_at updated_at revoked confidence lang created modified
  name description report_types x_opencti_reliability published
  createdBy { ... on Thing { id standard_id entity_type } ... on Author { name } }
  objectMarking { id value color }
  objectLabel { id value color }
";

/// Rows as a store would hold them.
struct Rows {
    reports: Vec<Value>,
    author: Value,
    labels: Vec<Value>,
}

#[derive(Clone, Copy)]
enum Node<'r> {
    Page,
    Edge(usize),
    PageInfo,
    Row(&'r Value),
}

impl Rows {
    fn new() -> Self {
        let thing = |kind: &str, i: usize| {
            json!({
                "id": format!("4b1c7b0e-0000-4000-8000-{i:012}"), "standard_id": format!("{kind}--4b1c7b0e-0000-5000-8000-{i:012}"),
                "entity_type": kind, "parent_types": ["Basic-Object", "Stix-Object", "Stix-Core-Object"],
                "created_at": "2024-01-31T08:15:30.000Z", "updated_at": "2024-02-01T08:15:30.000Z", "revoked": false,
                "confidence": 80, "lang": "en", "created": "2024-01-31T08:15:30.000Z", "modified": "2024-01-31T08:15:30.000Z",
                "name": format!("Report number {i}"), "description": "d".repeat(300), "report_types": ["threat-report"],
                "x_opencti_reliability": null, "published": "2024-01-31T08:15:30.000Z", "value": "TLP:GREEN", "color": "#2e7d32"
            })
        };
        Self {
            reports: (0..ROWS).map(|i| thing("report", i)).collect(),
            author: thing("identity", 1),
            labels: (0..2).map(|i| thing("label", i)).collect(),
        }
    }
}

impl<'r> Resolver for &'r Rows {
    type Node = Node<'r>;

    fn type_of<'n>(&'n self, _: &'n Node<'r>) -> &'n str {
        // The only field with an abstract type is `createdBy`.
        "Author"
    }

    fn resolve_root<'p>(
        &'p self,
        _: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, Node<'r>>, FieldError> {
        Ok(Resolved::Node(match call.name {
            "report" => Node::Row(&self.reports[0]),
            _ => Node::Page,
        }))
    }

    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Node<'r>],
    ) -> Vec<Result<Resolved<'p, Node<'r>>, FieldError>> {
        parents
            .iter()
            .map(|parent| {
                Ok(match (parent, call.name) {
                    (Node::Page, "edges") => Resolved::nodes((0..ROWS).map(Node::Edge)),
                    (Node::Page, _) => Resolved::Node(Node::PageInfo),
                    (Node::Edge(i), "node") => Resolved::Node(Node::Row(&self.reports[*i])),
                    (Node::Edge(i), _) => Resolved::leaf(i.to_string()),
                    (Node::PageInfo, "globalCount") => Resolved::leaf(1_000_000),
                    (Node::PageInfo, "hasNextPage") => Resolved::leaf(true),
                    (Node::PageInfo, _) => Resolved::Text("WzFd"),
                    (Node::Row(_), "createdBy") => Resolved::Node(Node::Row(&self.author)),
                    (Node::Row(_), "objectMarking" | "objectLabel") => {
                        Resolved::nodes(self.labels.iter().map(Node::Row))
                    }
                    (Node::Row(row), name) => row.get(name).into(),
                })
            })
            .collect()
    }
}

fn measure(
    engine: &Engine,
    rows: &Rows,
    query: &str,
    variables: &Map<String, Value>,
) -> (f64, f64, usize) {
    let started = Instant::now();
    let prepared = engine.prepare(query);
    let first = started.elapsed();
    let mut best = Duration::MAX;
    let mut bytes = 0;
    if let Ok(prepared) = prepared {
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for _ in 0..RUNS {
                // As a server would: the document is looked up by its text every time.
                let request = Request::new(query, variables.clone());
                let response = engine.run(request, &rows);
                assert!(response.errors.is_empty(), "{:?}", response.errors);
                bytes = response.body.len();
            }
            best = best.min(started.elapsed() / RUNS);
        }
        drop(prepared);
    }
    (best.as_secs_f64() * 1e6, first.as_secs_f64() * 1e6, bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new(Schema::parse(SDL)?, Limits::default());
    let rows = Rows::new();
    let page = format!(
        "query($first: Int) {{ reports(first: $first) {{ edges {{ node {{ {NODE} }} }} pageInfo {{ startCursor endCursor hasNextPage globalCount }} }} }}"
    );
    let single = format!("query($id: String!) {{ report(id: $id) {{ {NODE} }} }}");
    for (name, query, variables) in [
        ("page of 50 x 20", &page, json!({"first": 50})),
        ("single object", &single, json!({"id": "x"})),
    ] {
        let variables = variables.as_object().cloned().unwrap_or_default();
        let (best, first, bytes) = measure(&engine, &rows, query, &variables);
        println!("{name:>16}: {best:7.1} µs, {bytes} bytes; preparing the document {first:.0} µs");
    }
    Ok(())
}
