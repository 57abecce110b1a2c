//! The registry of entity types: data, loaded once from the files under `crates/model/registry/`, that drives validation,
//! identifiers, conversion, the GraphQL schema and the filters. The format of the files: `docs/development/registry.md`.

mod load;
mod lookup;

pub use load::LoadError;
pub use lookup::Registry;

use serde_json::Value;

/// Coarse family of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// STIX domain object (malware, report, …).
    Domain,
    /// STIX cyber observable (ipv4-addr, file, …).
    Observable,
    /// Meta object (label, external reference, kill chain phase, marking definition, vocabulary entry).
    Meta,
    /// Core relationship of one type.
    Relationship,
    /// Sighting.
    Sighting,
}

/// Form of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Short text, compared without case and accents, sortable.
    String,
    /// Long text.
    Text,
    /// Identifier of an element or user.
    Id,
    /// Text out of a fixed list.
    Enum,
    /// Name of a vocabulary entry.
    Vocabulary,
    /// Any JSON, kept as given.
    Json,
    /// Whole number of 32 bits.
    Int,
    /// Whole number of 64 bits.
    Long,
    /// Number.
    Float,
    /// Truth value.
    Bool,
    /// RFC 3339 date, stored with milliseconds and `Z`.
    Date,
    /// Object with free keys.
    Dict,
    /// Object or list of objects with fixed fields.
    Object,
    /// List of objects that are filtered one by one.
    Nested,
}

/// What an attribute gets on creation when the input says nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Preset {
    /// The time of creation.
    Now,
    /// This value.
    Value(Value),
}

/// One attribute of a type.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Registry and storage name; also the name in GraphQL inputs, filters and sort keys.
    pub name: String,
    /// Form of the value.
    pub kind: Kind,
    /// Whether it holds a list.
    pub multiple: bool,
    /// Whether the caller must give it on creation.
    pub mandatory: bool,
    /// Whether an administrator may make it mandatory.
    pub customizable: bool,
    /// Whether an integration may change it on an existing element.
    pub upsert: bool,
    /// Whether an upsert replaces a list instead of merging it.
    pub replace: bool,
    /// Whether the platform sets it; never taken from input.
    pub internal: bool,
    /// Whether a field edit may change it.
    pub editable: bool,
    /// Vocabulary category, for `Kind::Vocabulary`.
    pub vocabulary: Option<String>,
    /// Allowed values, for `Kind::Enum`.
    pub values: Vec<String>,
    /// STIX paths it is exported under, e.g. `name`, `ext.octi.score`, `hashes.MD5`, `goals[]`; empty: not exported.
    pub stix: Vec<String>,
    /// Name of the GraphQL output field; nearly always the attribute's own.
    pub field: String,
    /// GraphQL output type, e.g. `[String!]`; `None`: not in the schema.
    pub output: Option<String>,
    /// GraphQL type in the add input, if it may be given there.
    pub input: Option<String>,
    /// Fields of `Kind::Object` and `Kind::Nested`.
    pub fields: Vec<Attribute>,
    /// Value on creation when none is given.
    pub preset: Option<Preset>,
}

/// One reference relationship that a type may carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Fixed number stored in edges; shared by the input names of one relationship type.
    pub code: u16,
    /// Input and GraphQL name: `createdBy`, `objectMarking`, …
    pub name: String,
    /// Relationship type name: `created-by`, `object-marking`, …
    pub relationship: String,
    /// STIX property: `created_by_ref`, `object_marking_refs`, …
    pub stix: String,
    /// STIX paths it is exported under; empty: not exported.
    pub paths: Vec<String>,
    /// Whether it may hold several targets.
    pub multiple: bool,
    /// Whether the caller must give it on creation.
    pub mandatory: bool,
    /// Whether it may carry a start and an end in time when it is created as a relationship of its own.
    pub datable: bool,
    /// Names of the types (or abstract types) it may point to; `User` stands for the platform's users.
    pub targets: Vec<String>,
    /// GraphQL output type; `None`: not a field of the type.
    pub output: Option<String>,
    /// GraphQL type in the add input.
    pub input: Option<String>,
}

/// A type of reference relationship with every definition that shares its number.
#[derive(Debug, Clone)]
pub struct ReferenceType {
    /// Fixed number stored in edges.
    pub code: u16,
    /// Relationship type name: `created-by`, …
    pub name: String,
    /// Its definitions, one per input name: `sample` has `samples` (of malware) and `analysisSample` (of an analysis).
    pub definitions: Vec<Reference>,
}

/// How one contributing property enters the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// As stored.
    #[default]
    AsIs,
    /// Trimmed.
    Trim,
    /// Lower case, then trimmed.
    LowerTrim,
    /// Upper case.
    Upper,
    /// RFC 3339 UTC with milliseconds.
    Date,
    /// A number as its text.
    NumberText,
    /// The first hash in order of preference, as `{ALGORITHM: value}`.
    FirstHash,
    /// The standard id of the referenced element.
    Target,
    /// The standard id of the referenced element in a list of one.
    TargetList,
    /// The standard ids of the referenced elements, sorted.
    Targets,
}

/// One property that contributes to an identifier.
#[derive(Debug, Clone)]
pub struct Contribution {
    /// Attribute or reference name, or `from` / `to` for ends.
    pub property: String,
    /// Key in the hashed JSON.
    pub key: String,
    /// How the value is normalised.
    pub normalise: Normalise,
    /// Properties that must have content when this one has, or the whole way yields nothing.
    pub requires: Vec<String>,
    /// The value, where it is the same for every element of the type.
    pub constant: Option<String>,
}

/// The ways to make a deterministic id: the first way that has content wins.
#[derive(Debug, Clone, Default)]
pub struct IdRule {
    /// Ways in order of preference, each with its contributions sorted by key; empty: the standard id is random.
    pub ways: Vec<Vec<Contribution>>,
}

/// GraphQL root fields of a type.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RootFields {
    /// Query of one, e.g. `malware`.
    pub one: Option<String>,
    /// Query of a list, e.g. `malwares`.
    pub list: Option<String>,
    /// Add mutation, e.g. `malwareAdd`; `None` for observables, which share `stixCyberObservableAdd`.
    pub add: Option<String>,
    /// Edit mutation, e.g. `malwareEdit`, where the type has one.
    pub edit: Option<String>,
    /// Input type of the add mutation, or of the type's argument of `stixCyberObservableAdd`.
    pub add_input: Option<String>,
    /// Enum of sort keys.
    pub ordering: Option<String>,
}

/// A GraphQL interface.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Name: `StixDomainObject`, …
    pub name: String,
    /// The abstract type it stands for: `Stix-Domain-Object`, …
    pub of: String,
    /// All its fields, inherited ones first: name → type.
    pub fields: Vec<(String, String)>,
}

/// A vocabulary: the allowed values of some attributes, which users may extend.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Category: `malware_type_ov`, …
    pub category: String,
    /// Types that use it.
    pub types: Vec<String>,
    /// Attributes it serves.
    pub fields: Vec<VocabularyField>,
    /// Whether entries can be neither added nor removed.
    pub builtin: bool,
    /// Entries of a new platform.
    pub entries: Vec<VocabularyEntry>,
}

/// An attribute that a vocabulary serves.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyField {
    /// Attribute name.
    pub key: String,
    /// Whether the attribute must be given.
    pub required: bool,
    /// Whether the attribute holds a list.
    pub multiple: bool,
    /// The field inside the attribute, where the attribute is an object.
    pub composite: Option<String>,
}

/// An entry that every new platform has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabularyEntry {
    /// The value.
    pub name: String,
    /// Other values that mean the same.
    pub aliases: Vec<String>,
    /// Position in lists, for ordered vocabularies.
    pub order: Option<i64>,
}

/// How STIX sees a pair of relationship ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairClass {
    /// STIX 2.1 has this relationship between these types.
    Builtin,
    /// A relationship type of STIX 2.1 on a pair that STIX does not list.
    Extended,
    /// A relationship type that STIX does not have.
    New,
}

/// One type of the data model.
#[derive(Debug, Clone)]
pub struct EntityType {
    /// Fixed number stored in object rows.
    pub code: u16,
    /// OpenCTI name: `Attack-Pattern`, `StixFile`, `uses`, `stix-sighting-relationship`.
    pub name: String,
    /// Family.
    pub category: Category,
    /// STIX type: `attack-pattern`, `file`, `relationship`, `sighting`.
    pub stix_type: String,
    /// Number of the STIX type.
    pub stix_code: u8,
    /// GraphQL type name.
    pub graphql: String,
    /// Ancestors as clients see them in `parent_types`, from general to special, own name not included.
    pub parents: Vec<String>,
    /// Ancestors including those that clients do not see (`Hashed-Observable`, `Custom-Observable`).
    pub traits: Vec<String>,
    /// GraphQL interfaces it implements.
    pub interfaces: Vec<String>,
    /// `aliases` or `x_opencti_aliases` where the type has aliases.
    pub alias_attribute: Option<String>,
    /// How its standard id is made.
    pub id_rule: IdRule,
    /// How releases 6.x made it, where that differs.
    pub legacy_id_rule: Option<IdRule>,
    /// All attributes, inherited ones first.
    pub attributes: Vec<Attribute>,
    /// All references, inherited ones first.
    pub refs: Vec<Reference>,
    /// GraphQL root fields.
    pub root: RootFields,
    /// Further GraphQL fields that are computed, those of the interfaces included: name → type.
    pub computed: Vec<(String, String)>,
    /// Further fields of the add input: name → type.
    pub extra_input: Vec<(String, String)>,
}

impl PartialEq for EntityType {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Eq for EntityType {}

impl EntityType {
    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    /// The reference of that input name.
    #[must_use]
    pub fn reference(&self, name: &str) -> Option<&Reference> {
        self.refs.iter().find(|reference| reference.name == name)
    }

    /// The reference that a STIX property such as `created_by_ref` stands for.
    #[must_use]
    pub fn reference_by_stix(&self, property: &str) -> Option<&Reference> {
        self.refs.iter().find(|reference| {
            reference.stix == property
                || reference
                    .paths
                    .iter()
                    .any(|path| path.strip_suffix("[]").unwrap_or(path) == property)
        })
    }

    /// Whether this is the named type or a descendant of it.
    #[must_use]
    pub fn is_a(&self, name: &str) -> bool {
        self.name == name || self.traits.iter().any(|ancestor| ancestor == name)
    }

    /// Whether elements of this type have two ends.
    #[must_use]
    pub fn is_relationship(&self) -> bool {
        matches!(self.category, Category::Relationship | Category::Sighting)
    }

    /// Attributes that get a value on creation when none is given.
    pub fn presets(&self) -> impl Iterator<Item = (&Attribute, &Preset)> {
        self.attributes
            .iter()
            .filter_map(|attribute| attribute.preset.as_ref().map(|preset| (attribute, preset)))
    }
}
