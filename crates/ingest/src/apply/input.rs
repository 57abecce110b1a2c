//! An element with everything about its identity that can be computed without the store.

use ferrocti_model::{
    Element, Key, StixId,
    ids::{self, IdRuleError},
    list,
    registry::{EntityType, Normalise},
};
use xxhash_rust::xxh3::xxh3_64;

use super::fresh::Fresh;

/// An element ready to be looked for.
#[derive(Debug, Clone)]
pub struct Input {
    /// The element.
    pub element: Element,
    /// Its standard id, or why it has none; `None`: it depends on what the element points to.
    pub standard: Option<Result<Option<StixId>, IdRuleError>>,
    /// Keys it may be known under, the standard id left out: ids it was given under, ids of its aliases, hashes.
    pub keys: Vec<Key>,
    /// Digest of its attributes, for elements that are implied over and over.
    pub fingerprint: u64,
    /// What was done ahead to its attributes in case that it is new.
    pub fresh: Option<Fresh>,
    /// The confidence as it was given, once it has been limited.
    pub given_confidence: Option<Option<u8>>,
}

impl Input {
    /// Computes what can be computed.
    #[must_use]
    pub fn new(element: Element) -> Self {
        let kind = element.kind;
        let standard = (!needs_targets(kind))
            .then(|| ids::standard_id(kind, &element.attributes, &|_| Vec::new()));
        let mut keys: Vec<Key> = element.stix_ids.iter().map(StixId::key).collect();
        keys.extend(ids::legacy_id(kind, &element.attributes, &|_| Vec::new()).map(|id| id.key()));
        keys.extend(
            ids::alias_ids(kind, &element.attributes)
                .iter()
                .map(StixId::key),
        );
        keys.extend(ids::hash_keys(kind, &element.attributes));
        let keys = list::unique(&keys);
        let fingerprint =
            serde_json::to_vec(&element.attributes).map_or(0, |bytes| xxh3_64(&bytes));
        Self {
            element,
            standard,
            keys,
            fingerprint,
            fresh: None,
            given_confidence: None,
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &'static EntityType {
        self.element.kind
    }
}

/// Whether the standard ids of references or ends go into the standard id of a type.
#[must_use]
pub fn needs_targets(kind: &EntityType) -> bool {
    kind.id_rule.ways.iter().flatten().any(|contribution| {
        matches!(
            contribution.normalise,
            Normalise::Target | Normalise::TargetList | Normalise::Targets
        )
    })
}
