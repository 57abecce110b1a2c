//! How every field of the knowledge types gets its value: one rule per field, made from the registry when the process starts.

use std::collections::HashMap;
use std::sync::OnceLock;

use ferrocti_model::EntityType;
use ferrocti_model::registry::Kind;
use serde_json::Value;

use crate::computed::{Computed, Neighbours, computed, neighbours};
use crate::sdl;

/// What a field makes of the objects behind it; follows from its GraphQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The first one or null.
    One,
    /// A list.
    List,
    /// A page.
    Connection,
    /// Whether there is one.
    Exists,
}

impl Shape {
    fn of(output: &str) -> Self {
        match output.trim_end_matches('!') {
            "Boolean" => Self::Exists,
            output if output.ends_with("Connection") => Self::Connection,
            output if output.starts_with('[') => Self::List,
            _ => Self::One,
        }
    }
}

/// How a stored value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// A dictionary as a list of `{key_name, value_name}` objects.
    Pairs(&'static str, &'static str),
    /// Objects with fixed fields.
    Objects,
    /// A text that holds JSON.
    Json,
}

/// How a field gets its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    /// The same for every object.
    Constant(Value),
    /// Internal id.
    Id,
    /// Standard id.
    StandardId,
    /// Name of the type.
    EntityType,
    /// Ancestors of the type.
    ParentTypes,
    /// Time of creation in the store.
    CreatedAt,
    /// Time of the last change in the store.
    UpdatedAt,
    /// Confidence.
    Confidence,
    /// Main representative, as an object.
    Representative,
    /// Main representative, as text.
    Name,
    /// Value of an observable.
    ObservableValue,
    /// Users that created or delivered it.
    Creators,
    /// STIX 2.1 as JSON text.
    Stix,
    /// Properties outside of the data model.
    CustomFields,
    /// Number of relationships and containers.
    ConnectedElements,
    /// A page without anything on it.
    EmptyConnection,
    /// A list without anything in it.
    EmptyList,
    /// Definition of a vocabulary entry's category.
    Category,
    /// Values in an indicator's pattern.
    PatternValues,
    /// The relationships at an object.
    Relationships,
    /// Source (false) or target (true) of a relationship.
    End(bool),
    /// Id of the source or target.
    EndId(bool),
    /// Type of the source or target.
    EndType(bool),
    /// Role of the source or target.
    Role(bool),
    /// A stored attribute, with what stands for it when it is missing.
    Attribute {
        name: String,
        form: Form,
        missing: Option<Value>,
    },
    /// Objects that a reference points to.
    Reference { code: u16, shape: Shape },
    /// Objects found through the graph.
    Neighbours {
        neighbours: Neighbours,
        shape: Shape,
    },
}

/// The rules of all object types of the registry.
#[derive(Debug)]
pub(crate) struct Rules(HashMap<&'static str, HashMap<String, Rule>>);

impl Rules {
    /// The rules; made once.
    pub(crate) fn get() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| {
            let types = sdl::knowledge_types();
            Self(
                types
                    .into_iter()
                    .map(|(kind, fields)| {
                        let rules = fields.into_iter().map(|(name, output)| {
                            let rule = rule(kind, &name, &output);
                            (name, rule)
                        });
                        (kind.graphql.as_str(), rules.collect())
                    })
                    .collect(),
            )
        })
    }

    /// The rule of a field.
    pub(crate) fn rule(&'static self, graphql: &str, field: &str) -> Option<&'static Rule> {
        self.0.get(graphql)?.get(field)
    }
}

fn rule(kind: &'static EntityType, field: &str, output: &str) -> Rule {
    if let Some(rule) = common(field) {
        return rule;
    }
    if kind.is_relationship()
        && let Some(rule) = of_relationship(field)
    {
        return rule;
    }
    match (kind.name.as_str(), field) {
        ("Vocabulary", "category") => return Rule::Category,
        (_, "observable_value") => return Rule::ObservableValue,
        _ => {}
    }
    if let Some(neighbours) = neighbours(kind, field) {
        return Rule::Neighbours {
            neighbours,
            shape: Shape::of(output),
        };
    }
    if let Some(reference) = kind.reference(field) {
        return Rule::Reference {
            code: reference.code,
            shape: Shape::of(output),
        };
    }
    if kind
        .attributes
        .iter()
        .all(|attribute| attribute.field != field)
    {
        match computed(kind, field, output) {
            Some(Computed::Name) => return Rule::Name,
            Some(Computed::PatternValues) => return Rule::PatternValues,
            _ => {}
        }
    }
    attribute(kind, field, output)
}

fn common(field: &str) -> Option<Rule> {
    Some(match field {
        "id" => Rule::Id,
        "standard_id" => Rule::StandardId,
        "entity_type" => Rule::EntityType,
        "parent_types" => Rule::ParentTypes,
        "created_at" => Rule::CreatedAt,
        "updated_at" => Rule::UpdatedAt,
        "confidence" => Rule::Confidence,
        "representative" => Rule::Representative,
        "creators" => Rule::Creators,
        "toStix" => Rule::Stix,
        "customFieldValues" => Rule::CustomFields,
        "numberOfConnectedElement" => Rule::ConnectedElements,
        "stixCoreRelationships" => Rule::Relationships,
        "importFiles" | "pendingFiles" | "exportFiles" => Rule::EmptyConnection,
        "objectAssignee" | "objectParticipant" => Rule::EmptyList,
        "is_inferred" | "workflowEnabled" => Rule::Constant(Value::Bool(false)),
        "spec_version" => Rule::Constant(Value::from("2.1")),
        "metrics" | "status" => Rule::Constant(Value::Null),
        _ => return None,
    })
}

fn of_relationship(field: &str) -> Option<Rule> {
    Some(match field {
        "from" => Rule::End(false),
        "to" => Rule::End(true),
        "fromId" => Rule::EndId(false),
        "toId" => Rule::EndId(true),
        "fromType" => Rule::EndType(false),
        "toType" => Rule::EndType(true),
        "relationship_type" => Rule::EntityType,
        "fromRole" => Rule::Role(false),
        "toRole" => Rule::Role(true),
        _ => return None,
    })
}

fn attribute(kind: &'static EntityType, field: &str, output: &str) -> Rule {
    let attribute = kind
        .attributes
        .iter()
        .find(|attribute| attribute.field == field);
    let named = output.trim_matches(['[', ']', '!']);
    let form = match (named, attribute.map(|attribute| attribute.kind)) {
        ("Hash", _) => Form::Pairs("algorithm", "hash"),
        ("Dictionary", _) => Form::Pairs("key", "value"),
        ("String", Some(Kind::Json | Kind::Dict | Kind::Object)) => Form::Json,
        (_, Some(Kind::Object | Kind::Nested)) => Form::Objects,
        _ => Form::Plain,
    };
    let missing = output.ends_with('!').then(|| match named {
        "Boolean" => Value::Bool(false),
        "Int" | "Float" => Value::from(0),
        _ => Value::from(""),
    });
    let name = attribute
        .map_or(field, |attribute| attribute.name.as_str())
        .to_owned();
    Rule::Attribute {
        name,
        form,
        missing,
    }
}
