//! Reads the registry files and resolves inheritance: an attribute or reference that several types share is stated once, in the
//! most general ancestor (`traits.json`), and a type or a more special ancestor states only what differs.

use std::{collections::HashMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::{
    Attribute, Category, Contribution, EntityType, IdRule, Interface, Kind, Normalise, PairClass,
    Preset, Reference, ReferenceType, RootFields, Vocabulary, VocabularyEntry, VocabularyField,
};

/// What is wrong with the registry files.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is not JSON of the expected form.
    #[error("registry file {file}: {source}")]
    File {
        /// File name.
        file: &'static str,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// A name is used that is stated nowhere.
    #[error("registry: {user} names the {what} \"{name}\", which is stated nowhere")]
    Unknown {
        /// Who uses it.
        user: String,
        /// What kind of thing is missing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An attribute has no kind anywhere in its line of ancestors.
    #[error("registry: attribute {attribute} of {user} has no kind")]
    NoKind {
        /// Who states it.
        user: String,
        /// The attribute.
        attribute: String,
    },
}

/// A JSON object as a list, so that the order of the file is kept.
#[derive(Debug, Clone)]
pub(super) struct Pairs<T>(pub Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// One statement about an attribute; absent members are inherited, empty ones withdraw what is inherited.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AttributeEntry {
    kind: Option<Kind>,
    multiple: Option<bool>,
    mandatory: Option<bool>,
    customizable: Option<bool>,
    upsert: Option<bool>,
    replace: Option<bool>,
    internal: Option<bool>,
    editable: Option<bool>,
    vocabulary: Option<String>,
    values: Option<Vec<String>>,
    stix: Option<Vec<String>>,
    field: Option<String>,
    output: Option<String>,
    input: Option<String>,
    fields: Option<Pairs<AttributeEntry>>,
    default: Option<Value>,
    default_now: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReferenceEntry {
    code: Option<u16>,
    relationship: Option<String>,
    stix: Option<String>,
    paths: Option<Vec<String>>,
    multiple: Option<bool>,
    mandatory: Option<bool>,
    datable: Option<bool>,
    targets: Option<Vec<String>>,
    output: Option<String>,
    input: Option<String>,
}

/// Takes over what the more special statement says.
macro_rules! overlay {
    ($base:expr, $special:expr, $($field:ident),+) => {
        $(if $special.$field.is_some() { $base.$field = $special.$field.clone(); })+
    };
}

impl AttributeEntry {
    fn overlay(&mut self, special: &Self) {
        overlay!(
            self,
            special,
            kind,
            multiple,
            mandatory,
            customizable,
            upsert,
            replace,
            internal,
            editable,
            vocabulary,
            values,
            stix,
            field,
            output,
            input,
            fields,
            default,
            default_now
        );
    }

    fn resolve(self, user: &str, name: &str) -> Result<Attribute, LoadError> {
        let kind = self.kind.ok_or_else(|| LoadError::NoKind {
            user: user.to_owned(),
            attribute: name.to_owned(),
        })?;
        let preset = match (self.default_now, self.default) {
            (Some(true), _) => Some(Preset::Now),
            (_, value) => value.map(Preset::Value),
        };
        Ok(Attribute {
            name: name.to_owned(),
            kind,
            multiple: self.multiple.unwrap_or_default(),
            mandatory: self.mandatory.unwrap_or_default(),
            customizable: self.customizable.unwrap_or_default(),
            upsert: self.upsert.unwrap_or_default(),
            replace: self.replace.unwrap_or_default(),
            internal: self.internal.unwrap_or_default(),
            editable: self.editable.unwrap_or(true) && !self.internal.unwrap_or_default(),
            vocabulary: given(self.vocabulary),
            values: self.values.unwrap_or_default(),
            stix: self.stix.unwrap_or_default(),
            field: given(self.field).unwrap_or_else(|| name.to_owned()),
            output: given(self.output),
            input: given(self.input),
            fields: self
                .fields
                .unwrap_or_default()
                .0
                .into_iter()
                .map(|(field, entry)| entry.resolve(user, &field))
                .collect::<Result<_, _>>()?,
            preset,
        })
    }
}

impl ReferenceEntry {
    fn overlay(&mut self, special: &Self) {
        overlay!(
            self, special, stix, paths, multiple, mandatory, datable, targets, output, input
        );
    }

    fn resolve(self, name: &str) -> Reference {
        Reference {
            code: self.code.unwrap_or_default(),
            name: name.to_owned(),
            relationship: self.relationship.unwrap_or_default(),
            stix: self.stix.unwrap_or_default(),
            paths: self.paths.unwrap_or_default(),
            multiple: self.multiple.unwrap_or_default(),
            mandatory: self.mandatory.unwrap_or_default(),
            datable: self.datable.unwrap_or_default(),
            targets: self.targets.unwrap_or_default(),
            output: given(self.output),
            input: given(self.input),
        }
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContributionEntry {
    property: String,
    key: Option<String>,
    #[serde(default)]
    normalise: Normalise,
    #[serde(default)]
    requires: Vec<String>,
    constant: Option<String>,
}

fn id_rule(ways: &[Vec<ContributionEntry>], type_name: &str) -> IdRule {
    let contribution = |entry: &ContributionEntry| Contribution {
        property: entry.property.clone(),
        key: entry.key.clone().unwrap_or_else(|| entry.property.clone()),
        normalise: entry.normalise,
        requires: entry.requires.clone(),
        constant: entry
            .constant
            .as_ref()
            .map(|text| text.replace("$type", type_name)),
    };
    let way = |entries: &Vec<ContributionEntry>| {
        let mut way: Vec<_> = entries.iter().map(contribution).collect();
        way.sort_by(|a, b| a.key.cmp(&b.key));
        way
    };
    IdRule {
        ways: ways.iter().map(way).collect(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraitEntry {
    extends: Option<String>,
    #[serde(default = "yes")]
    listed: bool,
    interface: Option<String>,
    #[serde(default)]
    fields: Pairs<String>,
    #[serde(default)]
    input: Pairs<String>,
    #[serde(default)]
    attributes: Pairs<AttributeEntry>,
    #[serde(default)]
    references: Pairs<ReferenceEntry>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeEntry {
    #[serde(default)]
    code: u16,
    extends: String,
    stix: String,
    graphql: String,
    aliases: Option<String>,
    id: Vec<Vec<ContributionEntry>>,
    legacy_id: Option<Vec<Vec<ContributionEntry>>>,
    #[serde(default)]
    root: RootFields,
    #[serde(default)]
    attributes: Pairs<AttributeEntry>,
    #[serde(default)]
    references: Pairs<ReferenceEntry>,
    #[serde(default)]
    computed: Pairs<String>,
    #[serde(default)]
    input: Pairs<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationshipFile {
    core: TypeEntry,
    sighting: TypeEntry,
    types: Pairs<u16>,
    any_to_any: Pairs<PairClass>,
    pairs: PairsByClass,
}

type PairTable = Pairs<Pairs<Vec<String>>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairsByClass {
    builtin: PairTable,
    extended: PairTable,
    new: PairTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFileEntry {
    types: Vec<String>,
    fields: Vec<VocabularyField>,
    #[serde(default)]
    builtin: bool,
    values: Vec<VocabularyValue>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum VocabularyValue {
    Name(String),
    Full {
        name: String,
        #[serde(default)]
        aliases: Vec<String>,
        order: Option<i64>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalEntry {
    stix: String,
    id: Vec<Vec<ContributionEntry>>,
}

/// An allowed pair as the files state it: relationship, source, target, class; ends may be abstract types.
pub(super) struct StatedPair {
    pub relationship: String,
    pub source: String,
    pub target: String,
    pub class: PairClass,
}

/// What the files say, with inheritance resolved.
pub(super) struct Loaded {
    pub types: Vec<EntityType>,
    pub references: Vec<ReferenceType>,
    pub interfaces: Vec<Interface>,
    pub vocabularies: Vec<Vocabulary>,
    pub stix_types: Vec<(String, u8)>,
    pub any_to_any: Vec<(String, PairClass)>,
    pub pairs: Vec<StatedPair>,
    pub internal_ids: HashMap<String, (String, IdRule)>,
}

fn parse<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    text: &'static str,
) -> Result<T, LoadError> {
    serde_json::from_str(text).map_err(|source| LoadError::File { file, source })
}

macro_rules! file {
    ($name:literal) => {
        parse(
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/registry/", $name)),
        )
    };
}

pub(super) fn load() -> Result<Loaded, LoadError> {
    let context = Context {
        traits: file!("traits.json")?,
        references: file!("references.json")?,
        stix_types: file!("stix_types.json")?,
    };
    let mut types = Vec::new();
    let families: [(Category, Pairs<TypeEntry>); 3] = [
        (Category::Domain, file!("domain.json")?),
        (Category::Observable, file!("observables.json")?),
        (Category::Meta, file!("meta.json")?),
    ];
    for (category, entries) in &families {
        for (name, entry) in &entries.0 {
            types.push(context.entity_type(name, *category, entry)?);
        }
    }
    let relationships: RelationshipFile = file!("relationships.json")?;
    types.push(context.entity_type(
        "stix-sighting-relationship",
        Category::Sighting,
        &relationships.sighting,
    )?);
    let core = context.entity_type(
        "stix-core-relationship",
        Category::Relationship,
        &relationships.core,
    )?;
    for (name, code) in &relationships.types.0 {
        types.push(EntityType {
            code: *code,
            name: name.clone(),
            id_rule: id_rule(&relationships.core.id, name),
            ..core.clone()
        });
    }
    let vocabularies: Pairs<VocabularyFileEntry> = file!("vocabularies.json")?;
    let internal: Pairs<InternalEntry> = file!("internal.json")?;
    Ok(Loaded {
        types,
        references: context.reference_types(),
        interfaces: context.interfaces()?,
        vocabularies: vocabularies.0.into_iter().map(vocabulary).collect(),
        any_to_any: relationships.any_to_any.0,
        pairs: stated_pairs(relationships.pairs),
        internal_ids: internal
            .0
            .into_iter()
            .map(|(name, entry)| {
                let rule = id_rule(&entry.id, &name);
                (name, (entry.stix, rule))
            })
            .collect(),
        stix_types: context.stix_types.0,
    })
}

fn vocabulary((category, entry): (String, VocabularyFileEntry)) -> Vocabulary {
    let value = |value| match value {
        VocabularyValue::Name(name) => VocabularyEntry {
            name,
            aliases: Vec::new(),
            order: None,
        },
        VocabularyValue::Full {
            name,
            aliases,
            order,
        } => VocabularyEntry {
            name,
            aliases,
            order,
        },
    };
    Vocabulary {
        category,
        types: entry.types,
        fields: entry.fields,
        builtin: entry.builtin,
        entries: entry.values.into_iter().map(value).collect(),
    }
}

fn stated_pairs(pairs: PairsByClass) -> Vec<StatedPair> {
    let mut stated = Vec::new();
    let classes = [
        (PairClass::Builtin, pairs.builtin),
        (PairClass::Extended, pairs.extended),
        (PairClass::New, pairs.new),
    ];
    for (class, table) in classes {
        for (source, relationships) in table.0 {
            for (relationship, targets) in relationships.0 {
                stated.extend(targets.into_iter().map(|target| StatedPair {
                    relationship: relationship.clone(),
                    source: source.clone(),
                    target,
                    class,
                }));
            }
        }
    }
    stated
}

/// The files that the entity types lean on.
struct Context {
    traits: Pairs<TraitEntry>,
    references: Pairs<ReferenceEntry>,
    stix_types: Pairs<u8>,
}

impl Context {
    /// A trait and its ancestors, from general to special.
    fn chain(&self, user: &str, name: &str) -> Result<Vec<(&str, &TraitEntry)>, LoadError> {
        let mut chain = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let (name, entry) = self
                .traits
                .0
                .iter()
                .find(|(trait_name, _)| trait_name == name)
                .ok_or_else(|| LoadError::Unknown {
                    user: user.to_owned(),
                    what: "ancestor",
                    name: name.to_owned(),
                })?;
            chain.insert(0, (name.as_str(), entry));
            next = entry.extends.as_deref();
        }
        Ok(chain)
    }

    fn entity_type(
        &self,
        name: &str,
        category: Category,
        entry: &TypeEntry,
    ) -> Result<EntityType, LoadError> {
        let chain = self.chain(name, &entry.extends)?;
        let stix_code = find(&self.stix_types, &entry.stix)
            .copied()
            .ok_or_else(|| LoadError::Unknown {
                user: name.to_owned(),
                what: "STIX type",
                name: entry.stix.clone(),
            })?;

        let mut attributes = Pairs::<AttributeEntry>::default();
        for statements in chain
            .iter()
            .map(|(_, ancestor)| &ancestor.attributes)
            .chain([&entry.attributes])
        {
            for (attribute, statement) in &statements.0 {
                match find_mut(&mut attributes, attribute) {
                    Some(general) => general.overlay(statement),
                    None => attributes.0.push((attribute.clone(), statement.clone())),
                }
            }
        }
        let mut references = Pairs::<ReferenceEntry>::default();
        for statements in chain
            .iter()
            .map(|(_, ancestor)| &ancestor.references)
            .chain([&entry.references])
        {
            for (reference, statement) in &statements.0 {
                if find_mut(&mut references, reference).is_none() {
                    let general =
                        find(&self.references, reference).ok_or_else(|| LoadError::Unknown {
                            user: name.to_owned(),
                            what: "reference",
                            name: reference.clone(),
                        })?;
                    references.0.push((reference.clone(), general.clone()));
                }
                if let Some(general) = find_mut(&mut references, reference) {
                    general.overlay(statement);
                }
            }
        }
        let attributes = attributes
            .0
            .into_iter()
            .map(|(attribute, statement)| statement.resolve(name, &attribute))
            .collect::<Result<Vec<_>, _>>()?;
        let refs: Vec<_> = references
            .0
            .into_iter()
            .map(|(reference, statement)| statement.resolve(&reference))
            .collect();

        let mut computed = Vec::new();
        for (field, output) in chain
            .iter()
            .flat_map(|(_, ancestor)| &ancestor.fields.0)
            .chain(&entry.computed.0)
        {
            let stored = attributes
                .iter()
                .any(|a| a.output.is_some() && a.field == *field)
                || refs.iter().any(|r| r.output.is_some() && r.name == *field);
            if !stored {
                computed.push((field.clone(), output.clone()));
            }
        }
        let extra_input = chain
            .iter()
            .flat_map(|(_, ancestor)| &ancestor.input.0)
            .chain(&entry.input.0)
            .filter(|(field, _)| {
                !attributes
                    .iter()
                    .any(|a| a.input.is_some() && a.name == *field)
            })
            .cloned()
            .collect();
        Ok(EntityType {
            code: entry.code,
            name: name.to_owned(),
            category,
            stix_type: entry.stix.clone(),
            stix_code,
            graphql: entry.graphql.clone(),
            parents: chain
                .iter()
                .filter(|(_, a)| a.listed)
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            traits: chain.iter().map(|(name, _)| (*name).to_owned()).collect(),
            interfaces: chain
                .iter()
                .filter_map(|(_, ancestor)| ancestor.interface.clone())
                .collect(),
            alias_attribute: entry.aliases.clone(),
            id_rule: id_rule(&entry.id, name),
            legacy_id_rule: entry.legacy_id.as_ref().map(|ways| id_rule(ways, name)),
            attributes,
            refs,
            root: entry.root.clone(),
            computed,
            extra_input,
        })
    }

    fn reference_types(&self) -> Vec<ReferenceType> {
        let mut types: Vec<ReferenceType> = Vec::new();
        for (name, entry) in &self.references.0 {
            let definition = entry.clone().resolve(name);
            match types.iter_mut().find(|kind| kind.code == definition.code) {
                Some(kind) => kind.definitions.push(definition),
                None => types.push(ReferenceType {
                    code: definition.code,
                    name: definition.relationship.clone(),
                    definitions: vec![definition],
                }),
            }
        }
        types
    }

    fn interfaces(&self) -> Result<Vec<Interface>, LoadError> {
        let mut interfaces = Vec::new();
        for (name, entry) in &self.traits.0 {
            if let Some(interface) = &entry.interface {
                let chain = self.chain(name, name)?;
                let fields = chain
                    .iter()
                    .flat_map(|(_, ancestor)| ancestor.fields.0.iter().cloned())
                    .collect();
                interfaces.push(Interface {
                    name: interface.clone(),
                    of: name.clone(),
                    fields,
                });
            }
        }
        Ok(interfaces)
    }
}

fn find<'a, T>(pairs: &'a Pairs<T>, name: &str) -> Option<&'a T> {
    pairs
        .0
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn find_mut<'a, T>(pairs: &'a mut Pairs<T>, name: &str) -> Option<&'a mut T> {
    pairs
        .0
        .iter_mut()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}
