//! The feed of the ingestion benchmark in the platform's form, so that the store is measured without a decoder.

use std::collections::HashMap;

use ferrocti_model::{Element, EntityType, Ident, Key, StixId, ids, stix};
use serde_json::{Map, Value};

use crate::feed::Feed;

/// One object of the feed; references are places of other objects, those that come later included.
pub struct Item {
    pub kind: &'static EntityType,
    pub standard: StixId,
    pub keys: Vec<Key>,
    pub attributes: Map<String, Value>,
    pub refs: Vec<(u16, usize)>,
    pub ends: Option<(usize, usize)>,
}

/// The first `count` objects of a feed: its own ones and what they imply (labels, kill chain phases, external references).
pub fn items(seed: u64, count: usize) -> Vec<Item> {
    let mut elements: Vec<(StixId, Element)> = Vec::new();
    let mut places: HashMap<StixId, usize> = HashMap::new();
    for (bundle, _) in Feed::new(seed, count, 0).bundles(1000) {
        let bundle: Value = serde_json::from_slice(&bundle).unwrap();
        for object in bundle["objects"].as_array().unwrap() {
            let decoded = stix::decode(object.as_object().unwrap().clone()).unwrap();
            for element in decoded.implied.into_iter().chain(decoded.elements) {
                let id = element.stix_ids[0];
                if elements.len() < count && !places.contains_key(&id) {
                    places.insert(id, elements.len());
                    elements.push((id, element));
                }
            }
        }
    }
    elements
        .into_iter()
        .map(|(standard, element)| item(standard, element, &places))
        .collect()
}

fn item(standard: StixId, element: Element, places: &HashMap<StixId, usize>) -> Item {
    let place = |ident: &Ident| match ident {
        Ident::Stix(id) => places.get(id).copied(),
        Ident::Internal(_) => None,
    };
    let (kind, attributes) = (element.kind, element.attributes);
    let mut keys: Vec<Key> = ids::alias_ids(kind, &attributes)
        .iter()
        .map(StixId::key)
        .collect();
    keys.extend(ids::hash_keys(kind, &attributes));
    keys.sort_unstable();
    keys.dedup();
    let mut refs: Vec<(u16, usize)> = element
        .refs
        .iter()
        .flat_map(|(reference, targets)| {
            let code = reference.code;
            targets
                .iter()
                .filter_map(move |target| Some((code, place(target)?)))
        })
        .collect();
    refs.sort_unstable();
    refs.dedup();
    Item {
        kind,
        standard,
        keys,
        attributes,
        refs,
        ends: element
            .ends
            .and_then(|(source, target)| place(&source).zip(place(&target))),
    }
}
