//! Elements that other objects bring along: labels, kill chain phases, external references, vocabulary entries.
//!
//! Each gets its deterministic id, under which the object refers to it.

use std::{cell::RefCell, collections::HashMap};

use serde_json::{Map, Value};

use crate::{Element, EntityType, Ident, Registry, StixId, ids, registry::Reference};

/// A label of that text; labels are kept in lower case.
#[must_use]
pub fn label(text: &str, color: Option<&str>) -> Option<Element> {
    let value = text.trim().to_lowercase();
    if value.is_empty() {
        return None;
    }
    let mut attributes = Map::new();
    attributes.insert("value".to_owned(), Value::String(value));
    if let Some(color) = color.filter(|color| !color.trim().is_empty()) {
        attributes.insert("color".to_owned(), Value::String(color.trim().to_owned()));
    }
    identified("Label", attributes)
}

/// An entry of a vocabulary.
#[must_use]
pub fn vocabulary(category: &str, name: &str) -> Option<Element> {
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    let attributes = Map::from_iter([
        ("name".to_owned(), Value::String(name.to_owned())),
        ("category".to_owned(), Value::String(category.to_owned())),
    ]);
    identified("Vocabulary", attributes)
}

/// A phase of a kill chain, from `{kill_chain_name, phase_name, x_opencti_order?}`.
#[must_use]
pub fn kill_chain_phase(mut given: Map<String, Value>) -> Option<Element> {
    let chain = take_text(&mut given, "kill_chain_name")?;
    let phase = take_text(&mut given, "phase_name")?;
    let mut attributes = Map::from_iter([
        ("kill_chain_name".to_owned(), Value::String(chain)),
        ("phase_name".to_owned(), Value::String(phase)),
    ]);
    let order = given
        .remove("x_opencti_order")
        .or_else(|| super::special::octi(&given, "order").cloned());
    if let Some(order) = order.as_ref().and_then(Value::as_i64) {
        attributes.insert("x_opencti_order".to_owned(), order.into());
    }
    identified("Kill-Chain-Phase", attributes)
}

/// An external reference, from STIX's object; `None` without a URL or a source with an external id.
#[must_use]
pub fn external_reference(mut given: Map<String, Value>) -> Option<Element> {
    let url = take_text(&mut given, "url");
    let source = take_text(&mut given, "source_name");
    let external_id = match given.remove("external_id") {
        Some(Value::String(id)) if !id.trim().is_empty() => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    if url.is_none() && (source.is_none() || external_id.is_none()) {
        return None;
    }
    let source = source.or_else(|| url.as_deref().map(|url| host(url).to_owned()))?;
    let mut attributes = Map::new();
    attributes.insert("source_name".to_owned(), Value::String(source));
    if let Some(description) = take_text(&mut given, "description") {
        attributes.insert(
            "description".to_owned(),
            Value::String(super::fill::markdown(description)),
        );
    }
    if let Some(url) = url {
        attributes.insert("url".to_owned(), Value::String(url));
    }
    if let Some(id) = external_id {
        attributes.insert("external_id".to_owned(), Value::String(id));
    }
    identified("External-Reference", attributes)
}

/// What a URL without a source name is called.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if end == 0 { url } else { &rest[..end] }
}

fn take_text(given: &mut Map<String, Value>, key: &str) -> Option<String> {
    match given.remove(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    }
}

fn identified(kind: &str, attributes: Map<String, Value>) -> Option<Element> {
    let kind = Registry::get().by_name(kind)?;
    let id = standard_id(kind, &attributes)?;
    let mut element = Element::new(kind);
    element.attributes = attributes;
    element.stix_ids.push(id);
    Some(element)
}

/// The deterministic id of an element without references in its rule. Feeds repeat the same few labels, phases and entries in every
/// object, so that a small memory saves most of the hashing.
fn standard_id(kind: &'static EntityType, attributes: &Map<String, Value>) -> Option<StixId> {
    const REMEMBERED: usize = 4096;
    thread_local! {
        static MEMORY: RefCell<HashMap<Vec<u8>, StixId>> = RefCell::new(HashMap::new());
    }
    let mut key = kind.code.to_be_bytes().to_vec();
    for way in &kind.id_rule.ways {
        for contribution in way {
            if let Some(Value::String(text)) = attributes.get(&contribution.property) {
                key.extend_from_slice(contribution.property.as_bytes());
                key.push(0);
                key.extend_from_slice(text.as_bytes());
                key.push(0);
            }
        }
    }
    if let Some(id) = MEMORY.with_borrow(|memory| memory.get(&key).copied()) {
        return Some(id);
    }
    let id = ids::standard_id(kind, attributes, &|_| Vec::new())
        .ok()
        .flatten()?;
    MEMORY.with_borrow_mut(|memory| {
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
        memory.insert(key, id);
    });
    Some(id)
}

/// The id of an observable that is written within its owner. What it refers to goes in as it is given: the object need not be known yet.
pub fn embedded_id(element: &Element) -> Option<StixId> {
    let targets = |name: &str| -> Vec<StixId> {
        element
            .refs
            .iter()
            .filter(|(reference, _)| reference.name == name)
            .flat_map(|(reference, idents)| idents.iter().map(|ident| given(reference, *ident)))
            .collect()
    };
    ids::standard_id(element.kind, &element.attributes, &targets)
        .ok()
        .flatten()
}

/// An identifier as a STIX id; the platform's own stands under the first type that the reference allows.
fn given(reference: &Reference, ident: Ident) -> StixId {
    match ident {
        Ident::Stix(id) => id,
        Ident::Internal(uuid) => StixId {
            type_code: reference
                .targets
                .first()
                .and_then(|target| Registry::get().by_name(target))
                .map_or(0, |kind| kind.stix_code),
            uuid,
        },
    }
}
