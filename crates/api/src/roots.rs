//! The root fields of knowledge, as data: what each reads or adds. The schema is printed from this table and the resolvers look into it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ferrocti_model::registry::Category;
use ferrocti_model::{EntityType, Registry};

/// What a root field of the query type reads.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    /// One object by any of its ids.
    One(Scope),
    /// A page of objects.
    List(Scope),
    /// Whether a container (of this type) contains an object.
    Contains(&'static EntityType),
}

/// Which objects a root field is about, and as what it shows them.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Types of the data model; abstract names stand for their descendants.
    pub(crate) types: Vec<&'static EntityType>,
    /// GraphQL type of one object: an object type, an interface or a union.
    pub(crate) output: String,
    /// Enum of sort keys; `None`: the list cannot be ordered.
    pub(crate) ordering: Option<String>,
    /// Whether the list takes `types`.
    pub(crate) narrow: bool,
    /// Whether the list takes the arguments about ends.
    pub(crate) ends: Ends,
}

/// Which arguments about ends a list takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// None: its objects have no ends.
    None,
    /// Those of core relationships.
    Core,
    /// Those of sightings.
    Sighting,
}

/// What a root field of the mutation type adds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Add {
    /// An object of this type, from `input`.
    Type(&'static EntityType),
    /// An observable, from the argument named after its type.
    Observable,
    /// A core relationship of the type named in `input.relationship_type`.
    Relationship,
    /// A reference between two objects.
    Reference,
    /// An identity of the type named in `input.type`.
    Identity,
    /// A location of the type named in `input.type`.
    Location,
}

/// The tables of knowledge root fields by name.
#[derive(Debug)]
pub(crate) struct Roots {
    /// Of the query type.
    pub(crate) reads: BTreeMap<String, Read>,
    /// Of the mutation type.
    pub(crate) adds: BTreeMap<String, Add>,
}

/// One, list, GraphQL type, types, sort keys.
type AbstractRow = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
);

/// Fields over abstract types.
const ABSTRACT: &[AbstractRow] = &[
    (
        "stixCoreObject",
        "stixCoreObjects",
        "StixCoreObject",
        &["Stix-Core-Object"],
        Some("StixCoreObjectsOrdering"),
    ),
    (
        "stixDomainObject",
        "stixDomainObjects",
        "StixDomainObject",
        &["Stix-Domain-Object"],
        Some("StixDomainObjectsOrdering"),
    ),
    (
        "stixCyberObservable",
        "stixCyberObservables",
        "StixCyberObservable",
        &["Stix-Cyber-Observable"],
        Some("StixCyberObservablesOrdering"),
    ),
    (
        "identity",
        "identities",
        "Identity",
        &["Identity"],
        Some("IdentitiesOrdering"),
    ),
    (
        "location",
        "locations",
        "Location",
        &["Location"],
        Some("LocationsOrdering"),
    ),
    (
        "threatActor",
        "threatActors",
        "ThreatActor",
        &["Threat-Actor"],
        Some("ThreatActorsOrdering"),
    ),
    (
        "container",
        "containers",
        "Container",
        &["Container"],
        Some("ContainersOrdering"),
    ),
    ("case", "cases", "Case", &["Case"], Some("CasesOrdering")),
    (
        "stixObjectOrStixRelationship",
        "stixObjectOrStixRelationships",
        "StixObjectOrStixRelationship",
        &[
            "Stix-Object",
            "stix-core-relationship",
            "stix-sighting-relationship",
        ],
        None,
    ),
];

impl Roots {
    /// The tables; made once.
    pub(crate) fn get() -> &'static Self {
        static ROOTS: OnceLock<Roots> = OnceLock::new();
        ROOTS.get_or_init(|| Self::from_registry(Registry::get()))
    }

    fn from_registry(registry: &'static Registry) -> Self {
        let mut roots = Self {
            reads: BTreeMap::new(),
            adds: BTreeMap::new(),
        };
        for kind in registry.types() {
            roots.add_type(kind);
        }
        for (one, list, output, names, ordering) in ABSTRACT {
            let scope = Scope {
                types: names
                    .iter()
                    .flat_map(|name| registry.descendants(name))
                    .copied()
                    .collect(),
                output: (*output).to_owned(),
                ordering: ordering.map(str::to_owned),
                narrow: true,
                ends: Ends::None,
            };
            roots
                .reads
                .insert((*one).to_owned(), Read::One(scope.clone()));
            roots.reads.insert((*list).to_owned(), Read::List(scope));
        }
        for (name, add) in [
            ("stixCyberObservableAdd", Add::Observable),
            ("stixCoreRelationshipAdd", Add::Relationship),
            ("stixRefRelationshipAdd", Add::Reference),
            ("identityAdd", Add::Identity),
            ("locationAdd", Add::Location),
        ] {
            roots.adds.insert(name.to_owned(), add);
        }
        roots
    }

    fn add_type(&mut self, kind: &'static EntityType) {
        let ends = match kind.category {
            Category::Relationship => Ends::Core,
            Category::Sighting => Ends::Sighting,
            _ => Ends::None,
        };
        let scope = || Scope {
            types: vec![kind],
            output: kind.graphql.clone(),
            ordering: kind.root.ordering.clone(),
            narrow: false,
            ends,
        };
        for (field, list) in [(&kind.root.one, false), (&kind.root.list, true)] {
            let Some(field) = field else { continue };
            match self.reads.entry(field.clone()).or_insert_with(|| {
                if list {
                    Read::List(scope())
                } else {
                    Read::One(scope())
                }
            }) {
                // The core relationship types share their fields.
                Read::One(scope) | Read::List(scope) if !scope.types.contains(&kind) => {
                    scope.types.push(kind);
                }
                _ => {}
            }
        }
        if let Some(one) = kind.root.one.as_ref().filter(|_| kind.is_a("Container")) {
            self.reads.insert(
                format!("{one}ContainsStixObjectOrStixRelationship"),
                Read::Contains(kind),
            );
        }
        if let Some(add) = kind
            .root
            .add
            .as_ref()
            .filter(|_| kind.category != Category::Relationship)
        {
            self.adds.insert(add.clone(), Add::Type(kind));
        }
    }
}
