//! Adding knowledge: from the input of a mutation to an element, and from what became of it to the answer.

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_ingest::{Comment, IngestError, PushError, RefusedReason, Subject};
use ferrocti_model::input::{self, InputError};
use ferrocti_model::registry::Category;
use ferrocti_model::{Element, EntityType, Ident, Registry, stix};
use serde_json::{Map, Value};

use super::edit::from_edit;
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};
use crate::roots::Add;

impl Resolution<'_> {
    pub(super) fn add(&self, add: Add, call: &FieldCall<'_>) -> Answer<'static> {
        let empty = Map::new();
        let input = call
            .argument("input")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let operations = |given: &Map<String, Value>| {
            given
                .get("upsertOperations")
                .is_some_and(|operations| !stix::value::is_empty(operations))
        };
        if (operations(input) || operations(call.arguments)) && !self.actor()?.bypass() {
            return Err(Fault::functional(
                "User has insufficient rights to use upsertOperations. They are for users with the capability BYPASS.",
            ));
        }
        let kind = match add {
            Add::Reference => return self.add_reference(input),
            Add::Observable => {
                return self.upsert(
                    input::observable(call.arguments).map_err(|error| from_input(&error))?,
                    call.arguments,
                );
            }
            Add::Type(kind) => kind,
            Add::Relationship => named(input, "relationship_type", |kind| {
                kind.category == Category::Relationship
            })?,
            Add::Identity => named(input, "type", |kind| kind.is_a("Identity"))?,
            Add::Location => named(input, "type", |kind| kind.is_a("Location"))?,
        };
        self.upsert(
            input::decode(kind, input).map_err(|error| from_input(&error))?,
            input,
        )
    }

    /// Adds an element, with what its input asks for besides, and answers it.
    fn upsert(&self, mut element: Element, input: &Map<String, Value>) -> Answer<'static> {
        keep_custom_fields(&mut element, input);
        let actor = self.actor()?;
        let ingest = &self.state.services().ingest;
        let upserted = ingest
            .upsert(actor, element)
            .map_err(|error| from_ingest(&error))?;
        self.forget()?;
        let stored = self.object(upserted.iid)?.ok_or_else(|| {
            Fault::new(
                code::UNSUPPORTED,
                "The object was stored, but its markings hide it from you.",
            )
            .with("doc_code", "RESTRICTED_ELEMENT")
        })?;
        Ok(Resolved::Node(Node::Object(stored)))
    }

    /// Adds a reference to an object.
    fn add_reference(&self, input: &Map<String, Value>) -> Answer<'static> {
        let end = |field: &str| {
            let id = input.get(field).and_then(Value::as_str).unwrap_or_default();
            self.find_one(id)?
                .map(|stored| Ident::Internal(stored.internal))
                .ok_or_else(|| {
                    Fault::functional(format!("MISSING_ELEMENTS: there is no object {id:?}."))
                        .with("doc_code", "ELEMENT_NOT_FOUND")
                })
        };
        let (source, target) = (end("fromId")?, end("toId")?);
        let name = input.get("relationship_type").and_then(Value::as_str);
        let linked = self
            .state
            .services()
            .ingest
            .link(
                self.by()?,
                &Subject::any(source),
                name.unwrap_or_default(),
                &[target],
                &Comment::default(),
            )
            .map_err(|error| from_edit(&error))?;
        self.linked(&linked)
    }
}

/// The type that an input names, if it is of the right family.
fn named(
    input: &Map<String, Value>,
    field: &str,
    fits: impl Fn(&EntityType) -> bool,
) -> Result<&'static EntityType, Fault> {
    let name = input.get(field).and_then(Value::as_str).unwrap_or_default();
    Registry::get()
        .descendants(name)
        .iter()
        .copied()
        .find(|kind| fits(kind) && kind.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            Fault::functional(format!(
                "\"{name}\" is not a type that can be given as \"{field}\" here."
            ))
        })
}

/// Keeps the properties outside of the data model that newer clients send as custom fields.
fn keep_custom_fields(element: &mut Element, input: &Map<String, Value>) {
    const TYPED: [&str; 7] = [
        "value",
        "int_value",
        "string_value",
        "boolean_value",
        "date_value",
        "select_value",
        "select_values",
    ];
    for field in input
        .get("customFieldValues")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(name) = field.get("field_name").and_then(Value::as_str) else {
            continue;
        };
        let value = TYPED
            .iter()
            .find_map(|member| field.get(*member).filter(|value| !value.is_null()));
        // clients send every property so, also those that say what something is on the platform it came from
        let (true, Some(value)) = (stix::is_custom(element.kind, name), value) else {
            continue;
        };
        element
            .attributes
            .entry(name)
            .or_insert_with(|| value.clone());
    }
}

fn from_input(error: &InputError) -> Fault {
    let fault = Fault::functional(error.to_string());
    match error.doc_code() {
        Some(doc_code) => fault.with("doc_code", doc_code),
        None => fault,
    }
}

pub(super) fn from_ingest(error: &IngestError) -> Fault {
    let reason = match error {
        IngestError::Store(error) => return error.clone().into(),
        IngestError::Refused(reason) => reason,
    };
    match reason {
        RefusedReason::Content(reason) => {
            let fault = Fault::functional(reason.to_string());
            reason
                .doc_code()
                .into_iter()
                .fold(fault, |fault, doc_code| fault.with("doc_code", doc_code))
        }
        RefusedReason::Forbidden(denial) | RefusedReason::BringsAlong { denial, .. } => {
            Fault::denied(denial)
        }
        RefusedReason::MissingReference(id) | RefusedReason::HiddenReference(id) => {
            missing_reference(id, &reason.to_string())
        }
        RefusedReason::Restricted { relation } => Fault::unsupported(if *relation {
            "Restricted relation already exists"
        } else {
            "Restricted entity already exists"
        })
        .with("doc_code", "RESTRICTED_ELEMENT"),
        RefusedReason::SelfReference(_) => {
            Fault::unsupported(reason.to_string()).with("doc_code", "SELF_REFERENCING_RELATION")
        }
        _ => Fault::functional(reason.to_string()),
    }
}

fn missing_reference(id: &str, reason: &str) -> Fault {
    Fault::new(code::MISSING_REFERENCE, "Element(s) not found")
        .with("doc_code", "ELEMENT_NOT_FOUND")
        .with("unresolvedIds", vec![id.to_owned()])
        .with("reason", reason)
}

/// Why a pushed bundle is not taken.
pub(super) fn from_push(error: &PushError) -> Fault {
    match error {
        PushError::Store(error) => error.clone().into(),
        PushError::WorkNotAlive(_) => Fault::new(code::WORK_NOT_ALIVE, error.to_string()),
        PushError::Bundle(_) | PushError::UnknownConnector(_) => {
            Fault::unsupported(error.to_string())
        }
        PushError::Fenced(_) | PushError::TooManyObjects(_) => Fault::functional(error.to_string()),
        PushError::Queue(_) | PushError::Thread(_) => Fault::new(code::DATABASE, error.to_string()),
    }
}
