//! A valid schema, and the questions that planning and execution ask it often.

use std::collections::HashMap;

use apollo_compiler::Schema as Definitions;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;

use crate::error::{self, Error, code};
use crate::resolver::OperationKind;

/// Position of a type in the schema's table of types.
pub(crate) type TypeIndex = usize;

/// A parsed and validated schema.
#[derive(Debug)]
pub struct Schema {
    definitions: Valid<Definitions>,
    sdl: String,
    /// For every interface and union: which types of the table it may stand for.
    possible: HashMap<TypeIndex, Vec<bool>>,
}

/// SDL that is not a valid schema.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the schema is not valid: {}", .problems.join("; "))]
pub struct SchemaError {
    /// One sentence each, with line and column.
    pub problems: Vec<String>,
}

impl Schema {
    /// Parses and validates SDL text.
    ///
    /// # Errors
    /// Every problem found, with its place in the text.
    pub fn parse(sdl: &str) -> Result<Self, SchemaError> {
        let definitions =
            Definitions::parse_and_validate(sdl, "schema.graphql").map_err(|invalid| {
                SchemaError {
                    problems: error::diagnostics(&invalid.errors, code::VALIDATION)
                        .iter()
                        .map(problem)
                        .collect(),
                }
            })?;
        let mut possible: HashMap<TypeIndex, Vec<bool>> = HashMap::new();
        let none = vec![false; definitions.types.len()];
        for (index, definition) in definitions.types.values().enumerate() {
            match definition {
                ExtendedType::Interface(_) => {
                    possible.entry(index).or_insert_with(|| none.clone());
                }
                ExtendedType::Union(union) => {
                    let members = possible.entry(index).or_insert_with(|| none.clone());
                    for member in &union.members {
                        if let Some(member) = definitions.types.get_index_of(member.as_str()) {
                            members[member] = true;
                        }
                    }
                }
                ExtendedType::Object(object) => {
                    for interface in &object.implements_interfaces {
                        if let Some(interface) = definitions.types.get_index_of(interface.as_str())
                        {
                            possible.entry(interface).or_insert_with(|| none.clone())[index] = true;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            definitions,
            sdl: sdl.to_owned(),
            possible,
        })
    }

    /// The text it was parsed from.
    pub fn sdl(&self) -> &str {
        &self.sdl
    }

    /// Whether a type is an interface or a union.
    pub fn is_abstract(&self, name: &str) -> bool {
        self.index(name)
            .is_some_and(|index| self.possible.contains_key(&index))
    }

    /// Object types that an interface or a union may stand for, in the order of the SDL; an object type stands for itself.
    pub fn possible_types(&self, name: &str) -> Vec<&str> {
        let Some((index, _, definition)) = self.definitions.types.get_full(name) else {
            return Vec::new();
        };
        match self.possible.get(&index) {
            Some(members) => members
                .iter()
                .enumerate()
                .filter(|(_, member)| **member)
                .map(|(member, _)| self.type_name(member))
                .collect(),
            None if definition.is_object() => vec![self.type_name(index)],
            None => Vec::new(),
        }
    }

    /// Whether a type (of any kind) is defined.
    pub fn has_type(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    /// Whether an object type or interface has a field.
    pub fn has_field(&self, type_name: &str, field: &str) -> bool {
        self.definitions.type_field(type_name, field).is_ok()
    }

    /// Names of the fields of an object type or interface, in the order of the SDL.
    pub fn field_names(&self, type_name: &str) -> Vec<&str> {
        match self.definitions.types.get(type_name) {
            Some(ExtendedType::Object(object)) => {
                object.fields.keys().map(|name| name.as_str()).collect()
            }
            Some(ExtendedType::Interface(interface)) => {
                interface.fields.keys().map(|name| name.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Names of the object types, built-in ones left out, in the order of the SDL.
    pub fn object_types(&self) -> impl Iterator<Item = &str> {
        self.definitions
            .types
            .values()
            .filter(|definition| definition.is_object() && !definition.is_built_in())
            .map(|definition| definition.name().as_str())
    }

    /// Name of the query or mutation type.
    pub fn root_type(&self, operation: OperationKind) -> Option<&str> {
        let roots = &self.definitions.schema_definition;
        match operation {
            OperationKind::Query => roots.query.as_ref(),
            OperationKind::Mutation => roots.mutation.as_ref(),
        }
        .map(|name| name.as_str())
    }

    pub(crate) fn definitions(&self) -> &Valid<Definitions> {
        &self.definitions
    }

    pub(crate) fn index(&self, name: &str) -> Option<TypeIndex> {
        self.definitions.types.get_index_of(name)
    }

    pub(crate) fn type_name(&self, index: TypeIndex) -> &str {
        self.definitions
            .types
            .get_index(index)
            .map_or("", |(name, _)| name.as_str())
    }

    /// Whether `concrete` is `declared`, implements it or is a member of it.
    pub(crate) fn applies(&self, declared: TypeIndex, concrete: TypeIndex) -> bool {
        declared == concrete
            || self
                .possible
                .get(&declared)
                .is_some_and(|members| members[concrete])
    }

    pub(crate) fn is_abstract_index(&self, index: TypeIndex) -> bool {
        self.possible.contains_key(&index)
    }
}

fn problem(error: &Error) -> String {
    match error.locations.first() {
        Some((line, column)) => format!("{line}:{column}: {}", error.message),
        None => error.message.clone(),
    }
}
