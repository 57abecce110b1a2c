//! The loaded registry and its lookups, each one probe of a map.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    Category, EntityType, IdRule, Interface, LoadError, PairClass, Reference, ReferenceType,
    Vocabulary,
    load::{Loaded, load},
};

/// The registry: every type, reference type, vocabulary and relationship rule of the data model.
#[derive(Debug)]
pub struct Registry {
    types: &'static [EntityType],
    by_name: HashMap<String, &'static EntityType>,
    by_code: HashMap<u16, &'static EntityType>,
    by_graphql: HashMap<String, &'static EntityType>,
    by_stix: Vec<Vec<&'static EntityType>>,
    stix_codes: HashMap<String, u8>,
    stix_names: Vec<String>,
    descendants: HashMap<String, Vec<&'static EntityType>>,
    references: Vec<ReferenceType>,
    reference_by_code: HashMap<u16, usize>,
    reference_by_name: HashMap<String, usize>,
    interfaces: Vec<Interface>,
    vocabularies: Vec<Vocabulary>,
    vocabulary_by_category: HashMap<String, usize>,
    any_to_any: HashMap<u16, PairClass>,
    pairs: HashMap<(u16, u16, u16), PairClass>,
    internal_ids: HashMap<String, (String, IdRule)>,
}

impl Registry {
    /// The registry of this build.
    #[must_use]
    pub fn get() -> &'static Self {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
            #[expect(
                clippy::expect_used,
                reason = "the files are part of the binary and tested; a fault in them is a fault of the program"
            )]
            Registry::load().expect("the embedded registry is sound")
        });
        &REGISTRY
    }

    /// Builds the registry from the embedded files.
    fn load() -> Result<Self, LoadError> {
        let Loaded {
            types,
            references,
            interfaces,
            vocabularies,
            stix_types,
            any_to_any,
            pairs,
            internal_ids,
        } = load()?;
        let types: &'static [EntityType] = types.leak();

        let mut by_name = HashMap::new();
        let mut by_graphql = HashMap::new();
        let mut descendants: HashMap<String, Vec<&'static EntityType>> = HashMap::new();
        let slots = usize::from(stix_types.iter().map(|(_, code)| *code).max().unwrap_or(0)) + 1;
        let mut by_stix = vec![Vec::new(); slots];
        for kind in types {
            by_name.insert(kind.name.clone(), kind);
            if kind.category != Category::Relationship {
                by_graphql.insert(kind.graphql.clone(), kind);
            }
            if let Some(slot) = by_stix.get_mut(usize::from(kind.stix_code)) {
                slot.push(kind);
            }
            for ancestor in kind.traits.iter().chain([&kind.name]) {
                descendants
                    .entry(ancestor.to_lowercase())
                    .or_default()
                    .push(kind);
            }
        }
        let mut stix_names = vec![String::new(); slots];
        for (name, code) in &stix_types {
            if let Some(slot) = stix_names.get_mut(usize::from(*code)) {
                slot.clone_from(name);
            }
        }

        let unknown = |name: &str| LoadError::Unknown {
            user: "relationships.json".to_owned(),
            what: "type",
            name: name.to_owned(),
        };
        let code_of = |name: &str| {
            by_name
                .get(name)
                .map(|kind: &&EntityType| kind.code)
                .ok_or_else(|| unknown(name))
        };
        let any_to_any = any_to_any
            .iter()
            .map(|(name, class)| Ok((code_of(name)?, *class)))
            .collect::<Result<_, LoadError>>()?;
        let mut allowed = HashMap::new();
        for pair in &pairs {
            let relationship = code_of(&pair.relationship)?;
            let ends = |name: &str| {
                descendants
                    .get(&name.to_lowercase())
                    .ok_or_else(|| unknown(name))
            };
            for source in ends(&pair.source)? {
                for target in ends(&pair.target)? {
                    allowed
                        .entry((relationship, source.code, target.code))
                        .or_insert(pair.class);
                }
            }
        }
        let index = |name: fn(&ReferenceType) -> Vec<String>| -> HashMap<String, usize> {
            references
                .iter()
                .enumerate()
                .flat_map(|(i, kind)| name(kind).into_iter().map(move |name| (name, i)))
                .collect()
        };
        Ok(Self {
            by_code: types.iter().map(|kind| (kind.code, kind)).collect(),
            types,
            by_name,
            by_graphql,
            by_stix,
            stix_codes: stix_types.into_iter().collect(),
            stix_names,
            descendants,
            reference_by_code: references
                .iter()
                .enumerate()
                .map(|(i, kind)| (kind.code, i))
                .collect(),
            reference_by_name: index(|kind| {
                kind.definitions
                    .iter()
                    .map(|d| d.name.clone())
                    .chain([kind.name.clone()])
                    .collect()
            }),
            references,
            interfaces,
            vocabulary_by_category: vocabularies
                .iter()
                .enumerate()
                .map(|(i, v)| (v.category.clone(), i))
                .collect(),
            vocabularies,
            any_to_any,
            pairs: allowed,
            internal_ids,
        })
    }

    /// All types: domain objects, observables, meta objects, the sighting, core relationships.
    #[must_use]
    pub fn types(&self) -> &'static [EntityType] {
        self.types
    }

    /// The type of exactly that name: `Malware`, `StixFile`, `uses`, …
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&'static EntityType> {
        self.by_name.get(name).copied()
    }

    /// The type with that stored number.
    #[must_use]
    pub fn by_code(&self, code: u16) -> Option<&'static EntityType> {
        self.by_code.get(&code).copied()
    }

    /// The type of that GraphQL name; core relationships share one name and are not found by it.
    #[must_use]
    pub fn by_graphql(&self, name: &str) -> Option<&'static EntityType> {
        self.by_graphql.get(name).copied()
    }

    /// The types that a STIX type stands for: one mostly, several for `identity`, `location`, `threat-actor`, `relationship`.
    /// A prefix `x-mitre-` or `x-opencti-` is ignored.
    #[must_use]
    pub fn by_stix(&self, stix_type: &str) -> &[&'static EntityType] {
        self.stix_type_code(stix_type)
            .and_then(|code| self.by_stix.get(usize::from(code)))
            .map_or(&[], Vec::as_slice)
    }

    /// The stored number of a STIX type; a prefix `x-mitre-` or `x-opencti-` is ignored.
    #[must_use]
    pub fn stix_type_code(&self, stix_type: &str) -> Option<u8> {
        self.stix_codes.get(stix_type).copied().or_else(|| {
            let bare = stix_type
                .strip_prefix("x-opencti-")
                .or_else(|| stix_type.strip_prefix("x-mitre-"))?;
            self.stix_codes.get(bare).copied()
        })
    }

    /// The STIX type with that stored number; empty for a number that was never given out.
    #[must_use]
    pub fn stix_type_name(&self, code: u8) -> &str {
        self.stix_names
            .get(usize::from(code))
            .map_or("", String::as_str)
    }

    /// All STIX types that can name an element, with their numbers.
    pub fn stix_types(&self) -> impl Iterator<Item = (&str, u8)> {
        self.stix_codes
            .iter()
            .map(|(name, code)| (name.as_str(), *code))
    }

    /// All concrete types under an abstract type, or the concrete type itself; any letter case. Empty for an unknown name.
    #[must_use]
    pub fn descendants(&self, name: &str) -> &[&'static EntityType] {
        self.descendants
            .get(&name.to_lowercase())
            .map_or(&[], Vec::as_slice)
    }

    /// Whether the name (any letter case) is a type or an abstract type.
    #[must_use]
    pub fn is_type(&self, name: &str) -> bool {
        self.descendants.contains_key(&name.to_lowercase())
    }

    /// All types of reference relationships.
    #[must_use]
    pub fn reference_types(&self) -> &[ReferenceType] {
        &self.references
    }

    /// The type of reference relationship with that stored number.
    #[must_use]
    pub fn reference_by_code(&self, code: u16) -> Option<&ReferenceType> {
        self.reference_by_code
            .get(&code)
            .and_then(|index| self.references.get(*index))
    }

    /// The type of reference relationship by relationship name (`created-by`) or input name (`createdBy`).
    #[must_use]
    pub fn reference_type(&self, name: &str) -> Option<&ReferenceType> {
        self.reference_by_name
            .get(name)
            .and_then(|index| self.references.get(*index))
    }

    /// The general definition of a reference by its input name; a type may differ in detail.
    #[must_use]
    pub fn reference(&self, name: &str) -> Option<&Reference> {
        self.reference_type(name)?
            .definitions
            .iter()
            .find(|definition| definition.name == name)
    }

    /// All GraphQL interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// All vocabularies.
    #[must_use]
    pub fn vocabularies(&self) -> &[Vocabulary] {
        &self.vocabularies
    }

    /// The vocabulary of a category.
    #[must_use]
    pub fn vocabulary(&self, category: &str) -> Option<&Vocabulary> {
        self.vocabulary_by_category
            .get(category)
            .and_then(|index| self.vocabularies.get(*index))
    }

    /// How STIX sees a relationship between two types; `None`: not allowed. Sightings take any ends.
    #[must_use]
    pub fn pair_class(
        &self,
        relationship: &EntityType,
        source: &EntityType,
        target: &EntityType,
    ) -> Option<PairClass> {
        let code = relationship.code;
        if let Some(class) = self.pairs.get(&(code, source.code, target.code)) {
            return Some(*class);
        }
        let class = match relationship.category {
            Category::Sighting => Some(PairClass::Builtin),
            _ => self.any_to_any.get(&code).copied(),
        };
        class.filter(|_| source.category != Category::Meta && target.category != Category::Meta)
    }

    /// Whether a relationship may link two types.
    #[must_use]
    pub fn relationship_allowed(
        &self,
        relationship: &EntityType,
        source: &EntityType,
        target: &EntityType,
    ) -> bool {
        self.pair_class(relationship, source, target).is_some()
    }

    /// STIX prefix and id rule of an object that is not part of the knowledge (`User`, `Group`, …).
    #[must_use]
    pub fn internal_id_rule(&self, name: &str) -> Option<(&str, &IdRule)> {
        self.internal_ids
            .get(name)
            .map(|(stix, rule)| (stix.as_str(), rule))
    }
}
