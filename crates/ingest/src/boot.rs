//! What every platform has from the beginning: the markings of TLP and PAP, and the entries of the vocabularies.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_model::{Element, Registry, ids};
use ferrocti_store::{Store, Tx};
use serde_json::{Value, json};

use crate::{
    IngestError,
    apply::{self, engine::Stop},
};

/// Type, definition, colour and order of the markings. Their standard ids follow from these; those of TLP are fixed.
const MARKINGS: [(&str, &str, &str, i64); 9] = [
    ("TLP", "TLP:CLEAR", "#ffffff", 1),
    ("TLP", "TLP:GREEN", "#2e7d32", 2),
    ("TLP", "TLP:AMBER", "#d84315", 3),
    ("TLP", "TLP:AMBER+STRICT", "#d84315", 4),
    ("TLP", "TLP:RED", "#c62828", 5),
    ("PAP", "PAP:CLEAR", "#ffffff", 1),
    ("PAP", "PAP:GREEN", "#2e7d32", 2),
    ("PAP", "PAP:AMBER", "#d84315", 3),
    ("PAP", "PAP:RED", "#c62828", 4),
];

/// Creates what is missing of the standard markings and of the vocabularies' default entries. What is there stays as it is, also
/// when somebody has changed it. Answers how many objects were created.
///
/// # Errors
/// When the store fails.
pub fn boot(tx: &mut Tx<'_>, system: &Arc<Actor>) -> Result<usize, IngestError> {
    let mut missing = Vec::new();
    for element in standard_markings().into_iter().chain(vocabulary_entries()) {
        let id = ids::standard_id(element.kind, &element.attributes, &|_| Vec::new())
            .map_err(apply::RefusedReason::from)?;
        let known = match id {
            Some(id) => tx.resolve_one(&id.key())?.is_some(),
            None => false,
        };
        if !known {
            missing.push(element);
        }
    }
    let created = missing.len();
    apply::direct(tx, system, missing).map_err(|stop| match stop {
        Stop::Store(error) => IngestError::Store(error),
        other => other.into(),
    })?;
    Ok(created)
}

fn standard_markings() -> Vec<Element> {
    MARKINGS
        .iter()
        .filter_map(|(kind, definition, colour, order)| {
            element(
                "Marking-Definition",
                json!({
                    "definition_type": kind,
                    "definition": definition,
                    "x_opencti_color": colour,
                    "x_opencti_order": order,
                }),
            )
        })
        .collect()
}

fn vocabulary_entries() -> Vec<Element> {
    let mut entries = Vec::new();
    for vocabulary in Registry::get().vocabularies() {
        for entry in &vocabulary.entries {
            let mut attributes = json!({"name": entry.name, "category": vocabulary.category, "builtIn": vocabulary.builtin});
            if !entry.aliases.is_empty() {
                attributes["aliases"] = json!(entry.aliases);
            }
            if let Some(order) = entry.order {
                attributes["order"] = order.into();
            }
            entries.extend(element("Vocabulary", attributes));
        }
    }
    entries
}

fn element(kind: &str, attributes: Value) -> Option<Element> {
    let mut element = Element::new(Registry::get().by_name(kind)?);
    if let Value::Object(attributes) = attributes {
        element.attributes = attributes;
    }
    Some(element)
}

/// Runs [`boot`] in a transaction of its own.
///
/// # Errors
/// When the store fails.
pub fn run(store: &Store, system: &Arc<Actor>) -> Result<usize, IngestError> {
    store.write(|tx| boot(tx, system))
}
