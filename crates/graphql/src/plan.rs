//! Plans: for a selection set and an object type, the fields to resolve, collected and merged once and kept.
//!
//! `@skip` and `@include` depend on variables. A document therefore has one [`Plan`] per combination of their
//! values; within a plan every selection is simply in or out. Types are planned when an object of them first turns up.

use std::collections::HashSet;
use std::sync::Arc;

use apollo_compiler::ast::{DirectiveList, Type, Value as Literal};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::executable::{ExecutableDocument, Field, Operation, Selection as Selected};
use apollo_compiler::schema::{EnumType, ExtendedType, FieldDefinition};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Node};
use parking_lot::RwLock;
use serde_json::{Map, Value};

use crate::coerce::{Coercion, Variables};
use crate::error::{FieldError, write_json};
use crate::schema::{Schema, TypeIndex};

/// How one operation is executed for given values of its conditions.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) document: Arc<Valid<ExecutableDocument>>,
    /// Values of the variables that `@skip` and `@include` use.
    conditions: Vec<(Name, bool)>,
    pub(crate) root: Set,
}

/// What is selected below a field: the sub-selections of all its merged occurrences.
#[derive(Debug)]
pub(crate) struct Set {
    source: Source,
    types: RwLock<Vec<Arc<TypePlan>>>,
}

#[derive(Debug)]
enum Source {
    Operation(Node<Operation>),
    Fields(Vec<Node<Field>>),
}

/// The fields of one object type, in the order of the document.
#[derive(Debug)]
pub(crate) struct TypePlan {
    pub(crate) ty: TypeIndex,
    pub(crate) name: Name,
    pub(crate) fields: Vec<Planned>,
    /// Whether a field is selected more than once, under several keys.
    pub(crate) repeats: bool,
}

/// One field to resolve.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Response key.
    pub(crate) key: Name,
    /// `"key":`
    pub(crate) key_text: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) definition: Node<FieldDefinition>,
    /// Position among the type's fields; identifies the field together with the type.
    pub(crate) position: usize,
    pub(crate) arguments: Arguments,
    pub(crate) shape: Shape,
    pub(crate) set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The resolver's.
    Ordinary,
    /// `__typename`
    TypeName,
    /// `__schema` and `__type`
    Introspection,
}

#[derive(Debug)]
pub(crate) enum Arguments {
    /// Without variables: coerced when the plan was made.
    Fixed(Result<Map<String, Value>, FieldError>),
    /// Coerced in every execution.
    Variable,
}

/// A field's type, prepared for completing values.
#[derive(Debug)]
pub(crate) enum Shape {
    Leaf {
        non_null: bool,
        leaf: Leaf,
    },
    Object {
        non_null: bool,
        declared: TypeIndex,
        is_abstract: bool,
    },
    List {
        non_null: bool,
        item: Box<Shape>,
    },
}

#[derive(Debug)]
pub(crate) enum Leaf {
    String,
    Id,
    Int,
    Float,
    Boolean,
    Enum(Node<EnumType>),
    Any,
}

impl Shape {
    pub(crate) fn non_null(&self) -> bool {
        match self {
            Self::Leaf { non_null, .. }
            | Self::Object { non_null, .. }
            | Self::List { non_null, .. } => *non_null,
        }
    }

    fn new(ty: &Type, schema: &Schema) -> Self {
        let non_null = ty.is_non_null();
        let name = match ty {
            Type::List(inner) | Type::NonNullList(inner) => {
                return Self::List {
                    non_null,
                    item: Box::new(Self::new(inner, schema)),
                };
            }
            Type::Named(name) | Type::NonNullNamed(name) => name,
        };
        let leaf = match schema.definitions().types.get_full(name) {
            Some((declared, _, definition)) if !definition.is_leaf() => {
                return Self::Object {
                    non_null,
                    declared,
                    is_abstract: schema.is_abstract_index(declared),
                };
            }
            Some((_, _, ExtendedType::Enum(definition))) => Leaf::Enum(definition.clone()),
            _ => match name.as_str() {
                "String" => Leaf::String,
                "ID" => Leaf::Id,
                "Int" => Leaf::Int,
                "Float" => Leaf::Float,
                "Boolean" => Leaf::Boolean,
                _ => Leaf::Any,
            },
        };
        Self::Leaf { non_null, leaf }
    }
}

impl Set {
    fn new(source: Source) -> Self {
        Self {
            source,
            types: RwLock::default(),
        }
    }

    /// The merged occurrences of the field; empty for the root.
    pub(crate) fn occurrences(&self) -> &[Node<Field>] {
        match &self.source {
            Source::Operation(_) => &[],
            Source::Fields(fields) => fields,
        }
    }

    fn each_selection<'s>(&'s self, visit: &mut impl FnMut(&'s Selected)) {
        match &self.source {
            Source::Operation(operation) => {
                operation.selection_set.selections.iter().for_each(visit);
            }
            Source::Fields(fields) => fields
                .iter()
                .flat_map(|field| &field.selection_set.selections)
                .for_each(visit),
        }
    }
}

impl Plan {
    pub(crate) fn new(
        document: Arc<Valid<ExecutableDocument>>,
        operation: Node<Operation>,
        conditions: Vec<(Name, bool)>,
    ) -> Self {
        Self {
            document,
            conditions,
            root: Set::new(Source::Operation(operation)),
        }
    }

    /// The plan for objects of one type below one field.
    pub(crate) fn for_type(
        &self,
        set: &Set,
        ty: TypeIndex,
        coercion: &Coercion<'_>,
    ) -> Arc<TypePlan> {
        if let Some(plan) = set.types.read().iter().find(|plan| plan.ty == ty) {
            return plan.clone();
        }
        let plan = Arc::new(self.make(set, ty, coercion));
        let mut types = set.types.write();
        match types.iter().find(|plan| plan.ty == ty) {
            Some(other) => other.clone(),
            None => {
                types.push(plan.clone());
                plan
            }
        }
    }

    fn make(&self, set: &Set, ty: TypeIndex, coercion: &Coercion<'_>) -> TypePlan {
        let schema = coercion.schema;
        let mut keys: IndexMap<&Name, Vec<Node<Field>>> = IndexMap::default();
        let mut visited = HashSet::new();
        set.each_selection(&mut |selection| {
            self.collect(selection, ty, schema, &mut visited, &mut keys);
        });
        let type_name = schema.type_name(ty);
        let mut fields: Vec<Planned> = Vec::with_capacity(keys.len());
        for (key, occurrences) in keys {
            let Some(first) = occurrences.first() else {
                continue;
            };
            // The concrete type's own definition: it may be more specific than the interface's.
            let Ok(definition) = schema.definitions().type_field(type_name, &first.name) else {
                continue;
            };
            let mut key_text = Vec::with_capacity(key.len() + 3);
            write_json(&mut key_text, key.as_str());
            key_text.push(b':');
            let arguments = if first
                .arguments
                .iter()
                .any(|argument| has_variable(&argument.value))
            {
                Arguments::Variable
            } else {
                Arguments::Fixed(coercion.arguments(
                    &definition.arguments,
                    &first.arguments,
                    &mut Variables::default(),
                ))
            };
            fields.push(Planned {
                key: key.clone(),
                key_text,
                kind: match first.name.as_str() {
                    "__typename" => Kind::TypeName,
                    "__schema" | "__type" => Kind::Introspection,
                    _ => Kind::Ordinary,
                },
                definition: definition.node.clone(),
                position: position(schema, ty, &first.name),
                arguments,
                shape: Shape::new(&definition.ty, schema),
                set: Set::new(Source::Fields(occurrences)),
            });
        }
        let mut names: Vec<&str> = fields
            .iter()
            .map(|field| field.definition.name.as_str())
            .collect();
        names.sort_unstable();
        TypePlan {
            ty,
            name: schema
                .definitions()
                .types
                .get_index(ty)
                .map_or_else(|| Name::new_unchecked("_"), |(name, _)| name.clone()),
            repeats: names.windows(2).any(|pair| pair[0] == pair[1]),
            fields,
        }
    }

    /// The specification's CollectFields. Its recursion is bounded by the document's checks.
    fn collect<'s>(
        &'s self,
        selection: &'s Selected,
        ty: TypeIndex,
        schema: &Schema,
        visited: &mut HashSet<&'s Name>,
        keys: &mut IndexMap<&'s Name, Vec<Node<Field>>>,
    ) {
        if !self.includes(selection.directives()) {
            return;
        }
        let (condition, inner) = match selection {
            Selected::Field(field) => {
                keys.entry(field.response_key())
                    .or_default()
                    .push(field.clone());
                return;
            }
            Selected::FragmentSpread(spread) => {
                if !visited.insert(&spread.fragment_name) {
                    return;
                }
                match self.document.fragments.get(&spread.fragment_name) {
                    Some(fragment) => (Some(fragment.type_condition()), &fragment.selection_set),
                    None => return,
                }
            }
            Selected::InlineFragment(inline) => {
                (inline.type_condition.as_ref(), &inline.selection_set)
            }
        };
        let applies = condition.is_none_or(|condition| {
            schema
                .index(condition)
                .is_some_and(|declared| schema.applies(declared, ty))
        });
        if applies {
            for selection in &inner.selections {
                self.collect(selection, ty, schema, visited, keys);
            }
        }
    }

    fn includes(&self, directives: &DirectiveList) -> bool {
        let is = |name: &str, otherwise: bool| match directives
            .get(name)
            .and_then(|directive| directive.specified_argument_by_name("if"))
            .map(|value| value.as_ref())
        {
            Some(Literal::Boolean(value)) => *value,
            Some(Literal::Variable(variable)) => self
                .conditions
                .iter()
                .find(|(name, _)| name == variable)
                .map_or(otherwise, |(_, value)| *value),
            _ => otherwise,
        };
        directives.0.is_empty() || (!is("skip", false) && is("include", true))
    }

    /// Whether fields of these names are selected one below the other, whatever their types and aliases.
    fn selects<'s>(&'s self, selections: &'s [Selected], path: &[&str]) -> bool {
        let mut found = false;
        self.each_field(selections, &mut |field| {
            found = found
                || path.split_first().is_some_and(|(name, rest)| {
                    field.name == *name
                        && (rest.is_empty() || self.selects(&field.selection_set.selections, rest))
                });
        });
        found
    }

    fn each_field<'s>(
        &'s self,
        selections: &'s [Selected],
        visit: &mut dyn FnMut(&'s Node<Field>),
    ) {
        for selection in selections {
            if !self.includes(selection.directives()) {
                continue;
            }
            match selection {
                Selected::Field(field) => visit(field),
                Selected::InlineFragment(inline) => {
                    self.each_field(&inline.selection_set.selections, visit);
                }
                Selected::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.fragment_name) {
                        self.each_field(&fragment.selection_set.selections, visit);
                    }
                }
            }
        }
    }
}

fn position(schema: &Schema, ty: TypeIndex, field: &str) -> usize {
    match schema.definitions().types.get_index(ty) {
        Some((_, ExtendedType::Object(object))) => {
            object.fields.get_index_of(field).unwrap_or(usize::MAX)
        }
        _ => usize::MAX,
    }
}

fn has_variable(value: &Literal) -> bool {
    match value {
        Literal::Variable(_) => true,
        Literal::List(items) => items.iter().any(|item| has_variable(item)),
        Literal::Object(members) => members.iter().any(|(_, member)| has_variable(member)),
        _ => false,
    }
}

/// What a query selects below a field, so that a resolver can leave out work that nobody asked for.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) sets: &'a [&'a Set],
}

impl<'a> Selection<'a> {
    /// Whether fields of these names are selected one below the other: `selects(&["pageInfo", "globalCount"])`.
    /// Type conditions are not looked at (the concrete types are not known yet); `@skip` and `@include` are.
    pub fn selects(&self, path: &[&str]) -> bool {
        let mut found = false;
        for set in self.sets {
            for field in set.occurrences() {
                found = found || self.plan.selects(&field.selection_set.selections, path);
            }
        }
        found
    }

    /// Names of the fields selected directly below, each once, in the order of the document.
    pub fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&'a str> = Vec::new();
        for set in self.sets {
            for field in set.occurrences() {
                self.plan
                    .each_field(&field.selection_set.selections, &mut |field| {
                        if !names.contains(&field.name.as_str()) {
                            names.push(field.name.as_str());
                        }
                    });
            }
        }
        names
    }
}
