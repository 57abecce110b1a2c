//! Fields of knowledge objects, by their rules.

use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::Registry;
use ferrocti_model::clock::format_date;
use ferrocti_model::representative::{observable_value, representative};
use ferrocti_store::Stored;
use serde_json::{Value, json};

use super::graph::page;
use super::{Answer, Node, Resolution};
use crate::fault::Fault;
use crate::rules::{Form, Rule, Rules, Shape};

impl Resolution<'_> {
    /// A field of objects of one GraphQL type.
    pub(super) fn object_field<'p>(
        &'p self,
        call: &FieldCall<'_>,
        objects: &[&'p Arc<Stored>],
    ) -> Result<Vec<Answer<'p>>, Fault> {
        let Some(rule) = objects
            .first()
            .and_then(|first| Rules::get().rule(&first.kind.graphql, call.name))
        else {
            return Err(Fault::unsupported(format!("{} is not served.", call.name)));
        };
        Ok(match rule {
            Rule::Reference { code, shape } => {
                let iids: Vec<_> = objects.iter().map(|stored| stored.iid).collect();
                let targets = self.read(|snapshot| Ok(snapshot.targets(&iids, *code)?))?;
                self.shaped(call, *shape, targets, None)?
            }
            Rule::Neighbours { neighbours, shape } => {
                let found = self.neighbours(objects, *neighbours)?;
                self.shaped(call, *shape, found, Some(neighbours.kind))?
            }
            Rule::End(target) => self
                .ends(objects, *target)?
                .into_iter()
                .map(|end| Ok(Resolved::node(end.map(Node::Object))))
                .collect(),
            Rule::EndId(target) => self
                .ends(objects, *target)?
                .into_iter()
                .map(|end| {
                    end.map_or_else(
                        || Err(hidden_end()),
                        |end| Ok(Resolved::leaf(end.internal.to_string())),
                    )
                })
                .collect(),
            Rule::EndType(target) => self
                .ends(objects, *target)?
                .into_iter()
                .map(|end| {
                    end.map_or_else(
                        || Err(hidden_end()),
                        |end| Ok(Resolved::leaf(end.kind.name.as_str())),
                    )
                })
                .collect(),
            Rule::Relationships => objects
                .iter()
                .map(|stored| self.relationships(call, stored))
                .collect(),
            _ => objects
                .iter()
                .map(|stored| self.value(rule, call, stored))
                .collect(),
        })
    }

    fn value<'p>(
        &'p self,
        rule: &'static Rule,
        call: &FieldCall<'_>,
        stored: &'p Arc<Stored>,
    ) -> Answer<'p> {
        Ok(match rule {
            Rule::Constant(value) => Resolved::Ref(value),
            Rule::Id => Resolved::leaf(stored.internal.to_string()),
            Rule::StandardId => Resolved::leaf(stored.standard.to_string()),
            Rule::EntityType => Resolved::Text(&stored.kind.name),
            Rule::ParentTypes => Resolved::leaf(Value::from(stored.kind.parents.clone())),
            Rule::CreatedAt => Resolved::leaf(format_date(stored.created_at)),
            Rule::UpdatedAt => Resolved::leaf(format_date(stored.updated_at)),
            Rule::Confidence => stored.confidence.map_or(Resolved::Null, Resolved::leaf),
            Rule::Representative => {
                Resolved::Node(Node::Data("Representative", self.representative(stored)?))
            }
            Rule::Name => Resolved::leaf(representative(stored.kind, &stored.attributes)),
            Rule::ObservableValue => Resolved::leaf(
                observable_value(stored.kind, &stored.attributes)
                    .unwrap_or_else(|| representative(stored.kind, &stored.attributes)),
            ),
            Rule::Creators => self.creators(stored)?,
            Rule::Stix => Resolved::leaf(self.to_stix(stored)?),
            Rule::CustomFields => Resolved::nodes(
                custom_fields(stored).map(|value| Node::Data("CustomFieldValue", value)),
            ),
            Rule::ConnectedElements => Resolved::leaf(self.connected(stored)?),
            Rule::EmptyConnection => Resolved::Node(Node::Connection(Arc::default())),
            Rule::EmptyList => Resolved::List(Vec::new()),
            Rule::Category => Resolved::node(
                stored
                    .attributes
                    .get("category")
                    .and_then(Value::as_str)
                    .and_then(category),
            ),
            Rule::PatternValues => Resolved::nodes(pattern_values(stored)),
            Rule::Role(target) => Resolved::leaf(format!(
                "{}_{}",
                stored.kind.name,
                if *target { "to" } else { "from" }
            )),
            Rule::Attribute {
                name,
                form,
                missing,
            } => shown(
                stored
                    .attributes
                    .get(name.as_str())
                    .filter(|value| !value.is_null())
                    .or(missing.as_ref()),
                *form,
            ),
            // Answered for all objects together.
            Rule::Reference { .. }
            | Rule::Neighbours { .. }
            | Rule::End(_)
            | Rule::EndId(_)
            | Rule::EndType(_)
            | Rule::Relationships => {
                return Err(Fault::unsupported(format!("{} is not served.", call.name)));
            }
        })
    }

    /// What a field of the given shape makes of the objects behind each parent.
    fn shaped<'p>(
        &'p self,
        call: &FieldCall<'_>,
        shape: Shape,
        lists: Vec<Vec<ferrocti_store::Iid>>,
        of: Option<&str>,
    ) -> Result<Vec<Answer<'p>>, Fault> {
        let all: Vec<_> = lists.iter().flatten().copied().collect();
        let mut objects = self.objects(&all)?.into_iter();
        Ok(lists
            .into_iter()
            .map(|list| {
                let found = objects
                    .by_ref()
                    .take(list.len())
                    .flatten()
                    .filter(|stored| of.is_none_or(|of| stored.kind.is_a(of)));
                match shape {
                    Shape::One => {
                        // The rest of this parent's objects must be passed over as well.
                        let found: Vec<_> = found.collect();
                        Ok(Resolved::node(found.into_iter().next().map(Node::Object)))
                    }
                    Shape::List => Ok(Resolved::List(
                        found
                            .map(|stored| Resolved::Node(Node::Object(stored)))
                            .collect(),
                    )),
                    Shape::Exists => Ok(Resolved::leaf(found.count() > 0)),
                    Shape::Connection => page(call, found.collect()),
                }
            })
            .collect())
    }

    /// The text that represents an object, and what explains it further.
    pub(super) fn representative(&self, stored: &Arc<Stored>) -> Result<Value, Fault> {
        let main = match stored.ends {
            None => representative(stored.kind, &stored.attributes),
            Some((source, target)) => {
                let name = |end: Option<Arc<Stored>>| {
                    end.map_or_else(
                        || "Restricted".to_owned(),
                        |end| representative(end.kind, &end.attributes),
                    )
                };
                let mut ends = self.objects(&[source, target])?;
                let target = name(ends.pop().flatten());
                let source = name(ends.pop().flatten());
                format!("{source} {} {target}", stored.kind.name)
            }
        };
        let secondary = ["description", "x_opencti_description"]
            .iter()
            .find_map(|name| stored.attributes.get(*name)?.as_str());
        Ok(json!({ "main": main, "secondary": secondary }))
    }

    fn creators<'p>(&self, stored: &Stored) -> Answer<'p> {
        let ids = stored
            .attributes
            .get("creator_id")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let ids: Vec<_> = ids.filter_map(|id| id.as_str()?.parse().ok()).collect();
        let users = self.users(&ids)?;
        Ok(Resolved::nodes(users.into_iter().map(Node::User)))
    }
}

fn hidden_end() -> Fault {
    Fault::functional("An end of this relationship is not visible to you.")
}

/// A stored value as its field shows it.
fn shown(value: Option<&Value>, form: Form) -> Resolved<'_, Node> {
    let Some(value) = value else {
        return Resolved::Null;
    };
    match (form, value) {
        (Form::Pairs(key, content), Value::Object(members)) => Resolved::nodes(
            members
                .iter()
                .map(|(name, value)| Node::Data("", json!({ key: name, content: value }))),
        ),
        (Form::Json, Value::Object(_) | Value::Array(_)) => Resolved::leaf(value.to_string()),
        (Form::Pairs(..) | Form::Objects, _) => super::data(Some(value)),
        (Form::Plain | Form::Json, _) => Resolved::Ref(value),
    }
}

/// Properties that no attribute stands for, as clients of the newer generation read them.
fn custom_fields(stored: &Stored) -> impl Iterator<Item = Value> + '_ {
    stored
        .attributes
        .iter()
        .filter(|(name, _)| name.starts_with("x_") && stored.kind.attribute(name).is_none())
        .map(|(name, value)| {
            let mut field = json!({ "field_id": name, "field_name": name });
            let member = match value {
                Value::Bool(_) => "boolean_value",
                Value::Number(number)
                    if number
                        .as_i64()
                        .is_some_and(|number| i32::try_from(number).is_ok()) =>
                {
                    "int_value"
                }
                Value::Array(items) if items.iter().all(Value::is_string) => "select_values",
                _ => "string_value",
            };
            field[member] = match value {
                Value::Bool(_) | Value::String(_) => value.clone(),
                _ if member != "string_value" => value.clone(),
                other => Value::from(other.to_string()),
            };
            field
        })
}

/// The definitions of all vocabularies.
pub(super) fn categories() -> impl Iterator<Item = Node> {
    Registry::get()
        .vocabularies()
        .iter()
        .filter_map(|vocabulary| category(&vocabulary.category))
}

fn category(name: &str) -> Option<Node> {
    let vocabulary = Registry::get().vocabulary(name)?;
    let fields: Vec<Value> = vocabulary
        .fields
        .iter()
        .map(|field| json!({ "key": field.key, "required": field.required, "multiple": field.multiple }))
        .collect();
    Some(Node::Data(
        "VocabularyDefinition",
        json!({ "key": vocabulary.category, "entity_types": vocabulary.types, "fields": fields }),
    ))
}

/// Types and values of the observables that the pattern of an indicator compares for equality.
fn pattern_values(stored: &Stored) -> Vec<Node> {
    let pattern = stored
        .attributes
        .get("pattern")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_stix = stored
        .attributes
        .get("pattern_type")
        .and_then(Value::as_str)
        == Some("stix");
    if is_stix {
        crate::pattern::equalities(pattern)
            .map(|(path, value)| observable(path, value))
            .collect()
    } else {
        Vec::new()
    }
}

fn observable(path: &str, value: String) -> Node {
    let (stix_type, property) = path.split_once(':').unwrap_or((path, ""));
    let kind = Registry::get()
        .by_stix(stix_type)
        .first()
        .map_or(stix_type, |kind| kind.name.as_str());
    let data = match property.strip_prefix("hashes.") {
        Some(algorithm) => {
            json!({ "type": kind, "value": value, "hashes": [{ "algorithm": algorithm.trim_matches('\''), "hash": value }] })
        }
        None => json!({ "type": kind, "value": value }),
    };
    Node::Data("ObservablesValues", data)
}
