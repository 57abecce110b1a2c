//! What an application implements to answer queries.

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::plan::Selection;

/// Kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Reads.
    Query,
    /// Changes; root fields run one after the other, each with everything below it.
    Mutation,
}

/// The application's side of an execution. One value serves one request (or many: methods take `&self`).
pub trait Resolver {
    /// Something that has fields: what an object type stands for.
    type Node;

    /// Name of the object type of a node. Asked only where the schema declares an interface or a union;
    /// elsewhere the declared type holds, so that one node may stand for several types.
    fn type_of<'n>(&'n self, node: &'n Self::Node) -> &'n str;

    /// Asked once per request for every (object type, field) before that field is resolved for the first time.
    /// An error becomes the error of the field, and no resolver runs for it.
    ///
    /// # Errors
    /// Whatever the client shall read, typically "forbidden".
    fn guard(&self, parent_type: &str, field: &str) -> Result<(), FieldError> {
        let _ = (parent_type, field);
        Ok(())
    }

    /// Resolves a field of the query or mutation type.
    ///
    /// # Errors
    /// The field's error.
    fn resolve_root<'p>(
        &'p self,
        operation: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, Self::Node>, FieldError>;

    /// Resolves a field for all parents of one level: exactly one answer per parent, in their order.
    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Self::Node],
    ) -> Vec<Result<Resolved<'p, Self::Node>, FieldError>>;
}

/// Value of a field. `Ref` and `Text` borrow from the parent node and save a copy.
#[derive(Debug, Clone)]
pub enum Resolved<'p, N> {
    /// Null.
    Null,
    /// A scalar or an enum value; for a list of these an array.
    Leaf(Value),
    /// As `Leaf`.
    Ref(&'p Value),
    /// A string, or an enum value.
    Text(&'p str),
    /// An object.
    Node(N),
    /// A list of anything.
    List(Vec<Resolved<'p, N>>),
}

impl<N> Resolved<'_, N> {
    /// `Node` or null.
    pub fn node(node: Option<N>) -> Self {
        node.map_or(Self::Null, Self::Node)
    }

    /// A list of nodes.
    pub fn nodes(nodes: impl IntoIterator<Item = N>) -> Self {
        Self::List(nodes.into_iter().map(Self::Node).collect())
    }

    /// Anything that turns into JSON.
    pub fn leaf(value: impl Into<Value>) -> Self {
        Self::Leaf(value.into())
    }
}

impl<'p, N> From<Option<&'p Value>> for Resolved<'p, N> {
    fn from(value: Option<&'p Value>) -> Self {
        value.map_or(Self::Null, Self::Ref)
    }
}

impl<'p, N> From<Option<&'p str>> for Resolved<'p, N> {
    fn from(value: Option<&'p str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

/// One call of a resolver: a field with its arguments.
#[derive(Debug, Clone, Copy)]
pub struct FieldCall<'a> {
    /// Object type that has the field.
    pub parent_type: &'a str,
    /// Name of the field (never its alias).
    pub name: &'a str,
    /// Coerced arguments with defaults applied, in the schema's order. An argument that was neither given nor
    /// has a default is absent. An `Upload` is the index of the file part.
    pub arguments: &'a Map<String, Value>,
    /// Named type of the field, without list and non-null.
    pub field_type: &'a str,
    /// What is selected below the field.
    pub selection: Selection<'a>,
}

impl<'a> FieldCall<'a> {
    /// An argument; null counts as absent.
    pub fn argument(&self, name: &str) -> Option<&'a Value> {
        self.arguments.get(name).filter(|value| !value.is_null())
    }

    /// A string or id argument.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.argument(name)?.as_str()
    }
}
