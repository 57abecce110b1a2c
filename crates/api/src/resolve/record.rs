//! A node that is put together from values and other nodes: what is no object of its own but has some below it.

use std::sync::Arc;

use ferrocti_graphql::Resolved;
use serde_json::Value;

use super::Node;

/// What a field of a record is.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// A scalar, or an object of plain data.
    Value(Value),
    /// A value of the scalar type `JSON`.
    Json(Value),
    /// An object, or null.
    Node(Option<Node>),
    /// A list of objects.
    Nodes(Vec<Node>),
}

/// Fields by name.
#[derive(Debug, Clone)]
pub(crate) struct Record(Vec<(&'static str, Shown)>);

impl Record {
    /// A record of these fields; any other is null.
    pub(super) fn node(fields: Vec<(&'static str, Shown)>) -> Node {
        Node::Record(Arc::new(Self(fields)))
    }

    /// A field.
    pub(super) fn field<'p>(&'p self, name: &str) -> Resolved<'p, Node> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        match found.map(|(_, shown)| shown) {
            None => Resolved::Null,
            Some(Shown::Value(value)) => super::data(Some(value)),
            Some(Shown::Json(value)) => Resolved::Ref(value),
            Some(Shown::Node(node)) => Resolved::node(node.clone()),
            Some(Shown::Nodes(nodes)) => Resolved::nodes(nodes.iter().cloned()),
        }
    }
}

/// A value as a field.
pub(super) fn value(value: impl Into<Value>) -> Shown {
    Shown::Value(value.into())
}
