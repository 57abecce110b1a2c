//! Storing an element that is new.

use std::collections::HashSet;

use ferrocti_accounts::Scope;
use ferrocti_model::{
    Key, StixId, merge,
    registry::EntityType,
    representative::{representative, search_text},
};
use ferrocti_store::{Event, Iid, Inputs, NewObject, Operation};
use serde_json::{Map, Value};

use super::{
    audit,
    engine::{Attempt, Engine, Head, Links, Stop},
    facts,
    input::Input,
};

impl Engine<'_, '_> {
    /// Stores a new object with its references, identifiers and event.
    pub fn create(
        &mut self,
        input: Input,
        standard: StixId,
        links: &Links,
        attempt: &Attempt<'_>,
    ) -> Result<Iid, Stop> {
        let source = attempt.source;
        let kind = input.kind();
        let facts = facts::of(kind);
        let mut attributes = input.element.attributes;
        let fresh = input.fresh;
        if fresh.is_none() {
            merge::defaults(kind, &mut attributes, self.now);
        }

        // identifiers that belong to others stay with them
        let mut keys: Vec<Key> = Vec::with_capacity(input.keys.len());
        for key in input.keys {
            if key != standard.key() && self.resolve(key)?.is_none() {
                keys.push(key);
            }
        }
        let own: HashSet<Key> = keys.iter().copied().collect();
        let others: Vec<Value> = input
            .element
            .stix_ids
            .iter()
            .filter(|id| **id != standard && own.contains(&id.key()))
            .map(|id| Value::String(id.to_string()))
            .collect();
        if !others.is_empty() {
            attributes.insert("x_opencti_stix_ids".to_owned(), Value::Array(others));
        }
        if facts.creators && source.actor.is_creator() {
            attributes.insert(
                "creator_id".to_owned(),
                Value::Array(vec![source.actor.user_id.to_string().into()]),
            );
        }
        let edges: Vec<(u16, Iid)> = links
            .refs
            .iter()
            .flat_map(|(reference, targets)| targets.iter().map(|target| (reference.code, *target)))
            .collect();
        let confidence = confidence(&attributes);
        let (name, body) = fresh
            .and_then(|fresh| fresh.texts)
            .unwrap_or_else(|| texts(kind, &attributes));
        let inputs = attempt
            .to_remember()
            .map(|digest| Inputs::one(source.delivery(), digest));
        let iid = self.tx.insert(&NewObject {
            kind,
            internal: None,
            standard,
            keys: &keys,
            attributes: &attributes,
            confidence,
            ends: links.ends,
            edges: &edges,
            name: &name,
            text: &body,
            inputs: inputs.as_ref(),
        })?;
        self.tx.history(&Event {
            operation: Operation::Create,
            iid,
            type_code: kind.code,
            actor: Some(source.actor.user_row),
            origin: source.origin.as_deref(),
            data: None,
        })?;
        if audit::is_audited(kind, &source.actor)
            && let Some(stored) = self.tx.load_one(iid)?
        {
            let from = audit::From::default();
            audit::tell(self.tx, source, from, Scope::Create, &stored, &Map::new())?;
        }
        self.remember_head(iid, Head { kind, standard });
        keys.push(standard.key());
        self.remember(iid, keys.iter().copied());
        self.changed(kind);
        self.wake(&keys)?;
        Ok(iid)
    }

    /// Forgets look-ups that a change of an object of this kind makes stale.
    pub fn changed(&mut self, kind: &EntityType) {
        match kind.name.as_str() {
            "Vocabulary" => self.forget_vocabulary(),
            "Marking-Definition" => self.forget_rights(),
            _ => {}
        }
    }
}

/// What an object is found by: its names, and its other text. The names of an object that has none of its own begin with what stands for it, by
/// which it is sorted.
pub fn texts(kind: &EntityType, attributes: &Map<String, Value>) -> (String, String) {
    let (names, other) = search_text(kind, attributes);
    if attributes.contains_key("name") || attributes.contains_key("value") {
        return (names, other);
    }
    let shown = representative(kind, attributes);
    (
        if names.is_empty() {
            shown
        } else {
            format!("{shown}\n{names}")
        },
        other,
    )
}

/// The confidence among the attributes.
pub fn confidence(attributes: &Map<String, Value>) -> Option<u8> {
    attributes
        .get("confidence")
        .and_then(Value::as_u64)
        .and_then(|confidence| u8::try_from(confidence).ok())
}
