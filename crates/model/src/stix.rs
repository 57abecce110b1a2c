//! STIX 2.1 objects to elements and back.
//!
//! `decode` follows what upstream's clients make of a STIX object: the same properties feed the same attributes, the OpenCTI and MITRE
//! extensions are read, labels, kill chain phases, external references and vocabulary entries become elements of their own.
//! What a property feeds is data (`plan`); only types that are told apart by content have code (`special`).

mod check;
pub mod date;
mod encode;
mod fill;
mod format;
mod implied;
mod order;
mod plan;
mod refusal;
mod special;
pub mod value;

use serde_json::{Map, Value};

use crate::{Element, EntityType, Ident, StixId, list, registry::Category};

pub use self::{
    check::{finish, required},
    encode::{RefTarget, StixView, encode, is_written_within},
    fill::convert,
    implied::{external_reference, kill_chain_phase, label, vocabulary},
    order::Order,
    plan::{EXTENSION_MITRE, EXTENSION_OCTI, EXTENSION_SCO, is_custom, is_input},
    refusal::{Refusal, RefusalReason},
};

/// What one STIX object says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The object itself; several for a sighting that was seen at several places or in several observed data.
    pub elements: Vec<Element>,
    /// What must exist before it: labels, kill chain phases, external references, vocabulary entries, embedded observables.
    /// Each has its standard id in `stix_ids`.
    pub implied: Vec<Element>,
    /// What was left out of the object, and why.
    pub dropped: Vec<Dropped>,
}

/// Something of an object that is not taken, while the rest of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// A reference to an object of a type that is not supported.
    #[error("\"{property}\" leaves out {id}: its type is not supported")]
    UnsupportedReference {
        /// The property.
        property: String,
        /// What it names.
        id: String,
    },
    /// A reference of an object to itself.
    #[error("\"{0}\" leaves out the object itself")]
    SelfReference(String),
    /// A file within the object.
    #[error("file \"{0}\" is left out: files are not available in this release")]
    File(String),
}

/// Decodes one object of a bundle.
pub fn decode(object: Map<String, Value>) -> Result<Decoded, Refusal> {
    let id = text(&object, "id").map(shorten);
    let name = ["name", "value", "relationship_type"]
        .iter()
        .find_map(|key| text(&object, key))
        .map(shorten);
    decode_object(object).map_err(|reason| Refusal { id, name, reason })
}

/// Decodes one object that is still JSON text.
pub fn decode_json(json: &str) -> Result<Decoded, Refusal> {
    match serde_json::from_str::<Map<String, Value>>(json) {
        Ok(object) => decode(object),
        Err(error) => Err(Refusal {
            id: None,
            name: None,
            reason: RefusalReason::NotAnObject(error.to_string()),
        }),
    }
}

fn decode_object(mut object: Map<String, Value>) -> Result<Decoded, RefusalReason> {
    let id = text(&object, "id").ok_or(RefusalReason::MissingId)?;
    let stix_type = text(&object, "type")
        .ok_or(RefusalReason::MissingType)?
        .to_owned();
    refuse_operations(&object)?;
    let supported = special::is_supported(&stix_type);
    if !supported {
        return Err(RefusalReason::UnsupportedType(shorten(&stix_type)));
    }
    let id = StixId::parse(id).map_err(RefusalReason::BadId)?;
    let kind = special::dispatch(&stix_type, &mut object)?;
    if !special::is_own_id(&stix_type, kind, id) {
        return Err(RefusalReason::IdOfOtherType {
            id: id.to_string(),
            stix_type: shorten(&stix_type),
        });
    }
    match kind.category {
        Category::Relationship => relationship(kind, id, object),
        Category::Sighting => sighting(kind, id, object),
        Category::Domain | Category::Observable | Category::Meta => {
            let mut filled = fill::fill(kind, object)?;
            filled.leave_out(id);
            filled.element.stix_ids.insert(0, id);
            filled.finish()
        }
    }
}

/// What one sighting object may amount to: things sighted times places.
const MAX_SIGHTINGS: usize = 10_000;

/// Objects that are orders rather than knowledge, and what another platform derived.
fn refuse_operations(object: &Map<String, Value>) -> Result<(), RefusalReason> {
    if special::octi(object, "is_inferred").and_then(Value::as_bool) == Some(true) {
        return Err(RefusalReason::Inferred);
    }
    match special::octi(object, "opencti_operation") {
        None | Some(Value::Null) => {}
        Some(Value::String(operation))
            if operation == "create" || operation == "upsert" || operation.is_empty() => {}
        Some(Value::String(operation)) => return Err(RefusalReason::Operation(shorten(operation))),
        Some(_) => return Err(RefusalReason::Operation("?".to_owned())),
    }
    match special::octi(object, "opencti_upsert_operations") {
        Some(Value::Array(operations)) if !operations.is_empty() => Err(RefusalReason::Operation(
            "opencti_upsert_operations".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn relationship(
    kind: &'static EntityType,
    id: StixId,
    mut object: Map<String, Value>,
) -> Result<Decoded, RefusalReason> {
    let source = end(&mut object, &["source_ref"], kind)?;
    let target = end(&mut object, &["target_ref"], kind)?;
    if source == target {
        return Err(RefusalReason::SelfRelation(source.to_string()));
    }
    let mut filled = fill::fill(kind, object)?;
    filled.element.ends = Some((source, target));
    filled.element.stix_ids.insert(0, id);
    filled.finish()
}

/// One element for each pair of what was sighted and where. The id belongs to the first; the others get their deterministic ones.
fn sighting(
    kind: &'static EntityType,
    id: StixId,
    mut object: Map<String, Value>,
) -> Result<Decoded, RefusalReason> {
    let mut sources = vec![end(
        &mut object,
        &["x_opencti_sighting_of_ref", "sighting_of_ref"],
        kind,
    )?];
    let mut places = ends(&mut object, "where_sighted_refs")?;
    let overriding = ends(&mut object, "x_opencti_where_sighted_refs")?;
    if !overriding.is_empty() {
        places = overriding;
    }
    sources.extend(ends(&mut object, "observed_data_refs")?);
    if places.is_empty() {
        return Err(missing("where_sighted_refs", kind));
    }
    if sources.len().saturating_mul(places.len()) > MAX_SIGHTINGS {
        return Err(RefusalReason::TooManySightings(MAX_SIGHTINGS));
    }
    let mut filled = fill::fill(kind, object)?;
    filled
        .element
        .attributes
        .entry("attribute_count")
        .or_insert_with(|| 1.into());
    let mut decoded = filled.finish()?;
    let Some(pattern) = decoded.elements.pop() else {
        return Ok(decoded);
    };
    for source in sources {
        for place in &places {
            if source == *place {
                return Err(RefusalReason::SelfRelation(source.to_string()));
            }
            let mut element = pattern.clone();
            element.ends = Some((source, *place));
            if decoded.elements.is_empty() {
                element.stix_ids.insert(0, id);
            } else {
                element.stix_ids.clear();
            }
            decoded.elements.push(element);
        }
    }
    Ok(decoded)
}

/// Takes the first of several properties that holds an end.
fn end(
    object: &mut Map<String, Value>,
    properties: &[&str],
    kind: &EntityType,
) -> Result<Ident, RefusalReason> {
    let mut found = None;
    for property in properties {
        match object.shift_remove(*property) {
            None | Some(Value::Null) => {}
            Some(value) if found.is_none() => {
                let Value::String(text) = value else {
                    return Err(RefusalReason::BadValue {
                        property: (*property).to_owned(),
                        error: value::ValueError::Text,
                    });
                };
                found = Some(ident(property, &text)?);
            }
            Some(_) => {}
        }
    }
    found.ok_or_else(|| missing(properties.last().copied().unwrap_or_default(), kind))
}

fn ends(object: &mut Map<String, Value>, property: &str) -> Result<Vec<Ident>, RefusalReason> {
    let items = match object.shift_remove(property) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(single) => vec![single],
    };
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        let Value::String(text) = item else {
            return Err(RefusalReason::BadValue {
                property: property.to_owned(),
                error: value::ValueError::Text,
            });
        };
        found.push(ident(property, &text)?);
    }
    Ok(list::unique(&found))
}

fn ident(property: &str, text: &str) -> Result<Ident, RefusalReason> {
    Ident::parse(text.trim()).map_err(|error| RefusalReason::BadReference {
        property: property.to_owned(),
        error,
    })
}

fn missing(property: &str, kind: &EntityType) -> RefusalReason {
    RefusalReason::MissingProperty {
        property: property.to_owned(),
        kind: kind.name.clone(),
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// What came from outside is cut before it goes into a message.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 200;
    match text.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
