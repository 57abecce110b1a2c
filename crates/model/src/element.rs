//! An element: one object on its way in, in the platform's own attribute names, before its identifiers are resolved.

use serde_json::{Map, Value};

use crate::{
    id::{Ident, StixId},
    registry::{EntityType, Reference},
};

/// One object as a bundle or a GraphQL input describes it, converted but not yet resolved against the store.
///
/// Values are in stored form: dates as RFC 3339 UTC with milliseconds and `Z`, hashes as an object `{"MD5": "…"}`,
/// multiple attributes as arrays, numbers as JSON numbers. Attributes that were not given are absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// What it is; for a core relationship the relationship type (`uses`, …).
    pub kind: &'static EntityType,
    /// Attributes under their registry names, plus unknown custom `x_*` properties verbatim.
    pub attributes: Map<String, Value>,
    /// References by input name (`createdBy`, `objectMarking`, …) to what they name, in the order given.
    pub refs: Vec<(&'static Reference, Vec<Ident>)>,
    /// Source and target of a relationship or sighting.
    pub ends: Option<(Ident, Ident)>,
    /// The STIX ids it was given under.
    pub stix_ids: Vec<StixId>,
    /// Whether what follows from it is asked for too ([`crate::derive`]): an indicator's observables, an observable's indicator.
    pub derive: bool,
    /// Observables that an indicator is to be based on.
    pub based_on: Vec<Ident>,
}

impl Element {
    /// An empty element of a kind.
    #[must_use]
    pub fn new(kind: &'static EntityType) -> Self {
        Self {
            kind,
            attributes: Map::new(),
            refs: Vec::new(),
            ends: None,
            stix_ids: Vec::new(),
            derive: false,
            based_on: Vec::new(),
        }
    }

    /// A text attribute, if it is there and is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    /// The identifiers of one reference; empty when it is absent.
    #[must_use]
    pub fn refs_of(&self, name: &str) -> &[Ident] {
        self.refs
            .iter()
            .find(|(reference, _)| reference.name == name)
            .map_or(&[], |(_, targets)| targets.as_slice())
    }

    /// Every identifier this element points to: references, then ends.
    pub fn targets(&self) -> impl Iterator<Item = Ident> + '_ {
        self.refs
            .iter()
            .flat_map(|(_, targets)| targets.iter().copied())
            .chain(
                self.ends
                    .iter()
                    .flat_map(|(source, target)| [*source, *target]),
            )
    }
}
