//! The registry of entity types: data, loaded once from the files under `crates/model/registry/`, that drives validation,
//! identifiers, conversion, the GraphQL schema and the filters.

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
    /// Object with free keys (hashes).
    Dict,
    /// Object or list of objects with fixed fields.
    Object,
    /// List of objects that are filtered one by one.
    Nested,
}

/// One attribute of a type.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Registry, storage and GraphQL name.
    pub name: String,
    /// Form of the value.
    pub kind: Kind,
    /// Whether it holds a list.
    pub multiple: bool,
    /// Whether the caller must give it on creation.
    pub mandatory: bool,
    /// Whether an integration may change it on an existing element.
    pub upsert: bool,
    /// Whether an upsert replaces a list instead of merging it.
    pub replace: bool,
    /// Whether the platform sets it; never taken from input.
    pub internal: bool,
    /// Vocabulary category, for `Kind::Vocabulary`.
    pub vocabulary: Option<String>,
    /// Allowed values, for `Kind::Enum`.
    pub values: Vec<String>,
    /// STIX paths it is exported under, e.g. `name`, `ext.octi.score`, `hashes.MD5`, `goals[]`; empty: not exported.
    pub stix: Vec<String>,
    /// GraphQL output type, e.g. `[String!]`; `None`: not in the schema.
    pub output: Option<String>,
    /// GraphQL type in the add input, if it may be given there.
    pub input: Option<String>,
}

/// One reference relationship that a type may carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Fixed number stored in edges.
    pub code: u16,
    /// Input and GraphQL name: `createdBy`, `objectMarking`, …
    pub name: String,
    /// Relationship type name: `created-by`, `object-marking`, …
    pub relationship: String,
    /// STIX property: `created_by_ref`, `object_marking_refs`, …
    pub stix: String,
    /// Whether it may hold several targets.
    pub multiple: bool,
    /// Whether the caller must give it on creation.
    pub mandatory: bool,
    /// Names of the types (or abstract types) it may point to.
    pub targets: Vec<String>,
    /// GraphQL output type.
    pub output: Option<String>,
    /// GraphQL type in the add input.
    pub input: Option<String>,
}

/// How one contributing property enters the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// As stored.
    AsIs,
    /// Trimmed.
    Trim,
    /// Lower case, then trimmed.
    LowerTrim,
    /// Upper case.
    Upper,
    /// RFC 3339 UTC with milliseconds.
    Date,
    /// The first hash in order of preference, as `{ALGORITHM: value}`.
    FirstHash,
    /// The standard id of the referenced element.
    Target,
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
    /// Properties that must be present, or the whole way yields nothing.
    pub requires: Vec<String>,
}

/// Namespace of deterministic ids, and the ways to make them: the first way that has content wins.
#[derive(Debug, Clone, Default)]
pub struct IdRule {
    /// Ways in order of preference; empty: the standard id is random.
    pub ways: Vec<Vec<Contribution>>,
}

/// GraphQL root fields of a type.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct RootFields {
    /// Query of one, e.g. `malware`.
    pub one: Option<String>,
    /// Query of a list, e.g. `malwares`.
    pub list: Option<String>,
    /// Add mutation, e.g. `malwareAdd`.
    pub add: Option<String>,
    /// Input type of the add mutation.
    pub add_input: Option<String>,
    /// Enum of sort keys.
    pub ordering: Option<String>,
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
    /// Ancestors from general to special, own name not included.
    pub parents: Vec<String>,
    /// GraphQL interfaces it implements.
    pub interfaces: Vec<String>,
    /// `aliases` or `x_opencti_aliases` where the type has aliases.
    pub alias_attribute: Option<String>,
    /// How its standard id is made.
    pub id_rule: IdRule,
    /// All attributes, inherited ones first.
    pub attributes: Vec<Attribute>,
    /// All references.
    pub refs: Vec<Reference>,
    /// GraphQL root fields.
    pub root: RootFields,
    /// Further GraphQL fields that are computed: name → type.
    pub computed: Vec<(String, String)>,
    /// Further fields of the add input: name → type.
    pub extra_input: Vec<(String, String)>,
}

impl PartialEq for EntityType {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl EntityType {
    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The reference of that input name.
    #[must_use]
    pub fn reference(&self, name: &str) -> Option<&Reference> {
        self.refs.iter().find(|reference| reference.name == name)
    }

    /// Whether this is the named type or a descendant of it.
    #[must_use]
    pub fn is_a(&self, name: &str) -> bool {
        self.name == name || self.parents.iter().any(|parent| parent == name)
    }
}
