//! What the rules of ingestion need to know about a type, computed once from the registry.

use std::sync::LazyLock;

use ferrocti_model::{
    Element, Key, Registry, ids,
    registry::{Attribute, EntityType, Kind},
};

/// What the rules need to know about a type.
#[derive(Debug, Default)]
pub struct Facts {
    /// Whether it has a confidence.
    pub confidence: bool,
    /// Whether it keeps its creators.
    pub creators: bool,
    /// Whether objects that share a hash are the same object.
    pub hashed: bool,
    /// Whether references or ends go into its standard id.
    pub needs_targets: bool,
    /// Names of the references that go into its standard id.
    pub identifying: Vec<&'static str>,
    /// Attributes out of a vocabulary, with its category.
    pub vocabularies: Vec<(&'static Attribute, &'static str)>,
}

/// The facts about a type.
#[must_use]
pub fn of(kind: &EntityType) -> &'static Facts {
    static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
        let types = Registry::get().types();
        let last = types.iter().map(|kind| kind.code).max().unwrap_or(0);
        let mut facts: Vec<Facts> = (0..=last).map(|_| Facts::default()).collect();
        for kind in types {
            if let Some(slot) = facts.get_mut(usize::from(kind.code)) {
                *slot = build(kind);
            }
        }
        facts
    });
    static NONE: LazyLock<Facts> = LazyLock::new(Facts::default);
    FACTS.get(usize::from(kind.code)).unwrap_or_else(|| &NONE)
}

fn build(kind: &'static EntityType) -> Facts {
    let needs_targets = super::input::needs_targets(kind);
    let contributions = || kind.id_rule.ways.iter().flatten();
    Facts {
        confidence: kind.attribute("confidence").is_some(),
        creators: kind.attribute("creator_id").is_some(),
        hashed: kind.is_a("Hashed-Observable"),
        needs_targets,
        identifying: kind
            .refs
            .iter()
            .map(|reference| reference.name.as_str())
            .filter(|name| {
                needs_targets && contributions().any(|contribution| contribution.property == **name)
            })
            .collect(),
        vocabularies: kind
            .attributes
            .iter()
            .filter(|attribute| attribute.kind == Kind::Vocabulary)
            .filter_map(|attribute| Some((attribute, attribute.vocabulary.as_deref()?)))
            .collect(),
    }
}

/// Code of the reference from an object to its markings.
#[must_use]
pub fn marking_code() -> u16 {
    static CODE: LazyLock<u16> = LazyLock::new(|| {
        Registry::get()
            .reference_type("object-marking")
            .map_or(0, |reference| reference.code)
    });
    *CODE
}

/// Whether the entries of a vocabulary are the platform's alone.
#[must_use]
pub fn is_closed(category: &str) -> bool {
    Registry::get()
        .vocabulary(category)
        .is_none_or(|vocabulary| vocabulary.builtin)
}

/// The key under which an entry of a vocabulary is known by a value.
#[must_use]
pub fn vocabulary_key(category: &str, value: &str) -> Option<Key> {
    let kind = Registry::get().by_name("Vocabulary")?;
    let mut entry = Element::new(kind);
    entry
        .attributes
        .insert("category".to_owned(), category.into());
    entry.attributes.insert("name".to_owned(), value.into());
    ids::standard_id(kind, &entry.attributes, &|_| Vec::new())
        .ok()
        .flatten()
        .map(|id| id.key())
}
