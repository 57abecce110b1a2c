//! The fields that edit knowledge, as data: which objects each is about and what it asks for. The schema is printed from these tables, the
//! guard reads its needs from them, and the resolvers look into them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ferrocti_access::names;
use ferrocti_model::registry::Category;
use ferrocti_model::{EntityType, Registry};

use crate::guard::Need;

const UPDATE: Need = Need::Any(&[names::KNOWLEDGE_UPDATE]);
const DELETE: Need = Need::Any(&[names::KNOWLEDGE_DELETE]);
const MERGE: Need = Need::Any(&[names::KNOWLEDGE_MERGE]);
const SHARE: Need = Need::Any(&[names::ORGANIZATION_RESTRICT]);
const UPLOAD: Need = Need::Any(&[names::KNOWLEDGE_UPLOAD]);
const ENRICH: Need = Need::Any(&["KNOWLEDGE_KNENRICHMENT"]);
const CONNECTOR: Need = Need::Any(&[names::CONNECTOR_API]);
const LABELS: Need = Need::Any(&[names::SET_LABELS]);
const MARKINGS: Need = Need::Any(&[names::SET_MARKINGS]);
const PHASES: Need = Need::Any(&[names::SET_KILL_CHAIN_PHASES]);
const VOCABULARIES: Need = Need::Any(&[names::SET_VOCABULARIES]);
/// What objects of any type may ask for; the type decides when it is known.
const ANYTHING: Need = Need::Any(&[
    names::KNOWLEDGE_UPDATE,
    names::SET_LABELS,
    names::SET_MARKINGS,
    names::SET_KILL_CHAIN_PHASES,
    names::SET_VOCABULARIES,
]);

/// Objects that are edited through the same fields.
#[derive(Debug)]
pub(crate) struct Family {
    /// The type that they have, or an ancestor of it; empty: any.
    pub(crate) of: &'static str,
    /// GraphQL type as which they are answered.
    pub(crate) output: &'static str,
    /// GraphQL type that holds the fields.
    pub(crate) fields: String,
    /// What changing them asks for.
    update: Need,
    /// What deleting them asks for.
    delete: Need,
}

/// A field of the mutation type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edit {
    /// `…Edit(id)`, below which the edits are fields.
    Fields(&'static Family),
    /// One edit as a field of its own: `…FieldPatch(id, …)`.
    Verb(&'static Family, &'static str),
}

/// Edits of most families: name, arguments (after the id, where the edit is a field of its own), what is answered (`$`: the object).
const VERBS: &[(&str, &str, &str)] = &[
    (
        "fieldPatch",
        "input: [EditInput]!, commitMessage: String, references: [String]",
        "$",
    ),
    ("contextPatch", "input: EditContext", "$"),
    ("contextClean", "", "$"),
    (
        "relationAdd",
        "input: StixRefRelationshipAddInput!",
        "StixRefRelationship",
    ),
    (
        "relationsAdd",
        "input: StixRefRelationshipsAddInput!, commitMessage: String, references: [String]",
        "$",
    ),
    (
        "relationDelete",
        "toId: StixRef, fromId: StixRef, relationship_type: String!, commitMessage: String, references: [String]",
        "$",
    ),
    ("delete", "", "ID"),
];

const IMPORT: &str = "file: Upload!, version: DateTime, fileMarkings: [String], noTriggerImport: Boolean, embedded: Boolean";
const ORGANIZATIONS: &str = "organizationId: [ID!]!, directContainerSharing: Boolean";

/// Further edits of single families: ancestor of the objects, name, arguments, answer, need.
const FURTHER: &[(&str, &str, &str, &str, Need)] = &[
    (
        "Stix-Core-Object",
        "merge",
        "stixCoreObjectsIds: [String]!",
        "$",
        MERGE,
    ),
    (
        "Stix-Core-Object",
        "restrictionOrganizationAdd",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    (
        "Stix-Core-Object",
        "restrictionOrganizationDelete",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    ("Stix-Core-Object", "clearAccessRestriction", "", "$", SHARE),
    ("Stix-Core-Object", "removeFromDraft", "", "ID", UPDATE),
    (
        "Stix-Core-Object",
        "askEnrichment",
        "connectorId: ID!",
        "Work",
        ENRICH,
    ),
    (
        "Stix-Core-Object",
        "askEnrichments",
        "connectorIds: [ID!]!",
        "[Work!]",
        ENRICH,
    ),
    (
        "Stix-Core-Object",
        "analysisPush",
        "file: Upload!, contentSource: String!, contentType: AnalysisContentType!, analysisType: String!",
        "File",
        CONNECTOR,
    ),
    ("Stix-Domain-Object", "importPush", IMPORT, "File", UPLOAD),
    (
        "Stix-Domain-Object",
        "exportPush",
        "file: Upload!, file_markings: [String]!",
        "Boolean",
        CONNECTOR,
    ),
    (
        "Stix-Cyber-Observable",
        "importPush",
        IMPORT,
        "File",
        UPLOAD,
    ),
    (
        "Stix-Cyber-Observable",
        "exportPush",
        "file: Upload!, file_markings: [String]!",
        "Boolean",
        CONNECTOR,
    ),
    ("Stix-Cyber-Observable", "promote", "", "$", UPDATE),
    (
        "Stix-Cyber-Observable",
        "promoteToIndicator",
        "",
        "Indicator",
        UPDATE,
    ),
    ("External-Reference", "importPush", IMPORT, "File", UPLOAD),
    (
        "stix-core-relationship",
        "restrictionOrganizationAdd",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    (
        "stix-core-relationship",
        "restrictionOrganizationDelete",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    (
        "stix-core-relationship",
        "removeFromDraft",
        "",
        "ID",
        UPDATE,
    ),
    (
        "stix-sighting-relationship",
        "restrictionOrganizationAdd",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    (
        "stix-sighting-relationship",
        "restrictionOrganizationDelete",
        ORGANIZATIONS,
        "$",
        SHARE,
    ),
    (
        "stix-sighting-relationship",
        "removeFromDraft",
        "",
        "ID",
        UPDATE,
    ),
];

/// Fields over abstract types: field, ancestor, GraphQL type of the object, GraphQL type of the fields.
const ABSTRACT: &[(&str, &str, &str)] = &[
    ("stixCoreObjectEdit", "Stix-Core-Object", "StixCoreObject"),
    (
        "stixDomainObjectEdit",
        "Stix-Domain-Object",
        "StixDomainObject",
    ),
    (
        "stixCyberObservableEdit",
        "Stix-Cyber-Observable",
        "StixCyberObservable",
    ),
    ("identityEdit", "Identity", "Identity"),
    ("locationEdit", "Location", "Location"),
    ("containerEdit", "Container", "Container"),
    (
        "stixCoreRelationshipEdit",
        "stix-core-relationship",
        "StixCoreRelationship",
    ),
    (
        "stixSightingRelationshipEdit",
        "stix-sighting-relationship",
        "StixSightingRelationship",
    ),
];

/// The tables by field of the mutation type.
#[derive(Debug)]
pub(crate) struct Edits {
    /// Fields that edit.
    pub(crate) roots: BTreeMap<String, Edit>,
    families: Vec<&'static Family>,
}

/// One field as it is written into the schema.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Name.
    pub(crate) name: &'static str,
    /// Arguments without parentheses.
    pub(crate) arguments: &'static str,
    /// Type.
    pub(crate) output: &'static str,
    /// What it asks for.
    pub(crate) need: Need,
}

impl Family {
    fn of_type(kind: &'static EntityType) -> Self {
        let need = match kind.name.as_str() {
            "Label" => LABELS,
            "Marking-Definition" => MARKINGS,
            "Kill-Chain-Phase" => PHASES,
            "Vocabulary" => VOCABULARIES,
            _ => UPDATE,
        };
        Self {
            of: &kind.name,
            output: &kind.graphql,
            fields: format!("{}EditMutations", kind.graphql),
            update: need,
            delete: if need == UPDATE { DELETE } else { need },
        }
    }

    /// The edits of this family.
    pub(crate) fn signatures(&self) -> impl Iterator<Item = Signature> + '_ {
        let common = VERBS.iter().map(|(name, arguments, output)| {
            // a sighting is answered itself when something is added to it
            let own =
                *output == "$" || (*name == "relationAdd" && self.output.contains("Sighting"));
            Signature {
                name,
                arguments,
                output: if own { self.output } else { output },
                need: if *name == "delete" {
                    self.delete
                } else {
                    self.update
                },
            }
        });
        let further = FURTHER.iter().filter(|(of, ..)| *of == self.of);
        common.chain(further.map(|(_, name, arguments, output, need)| Signature {
            name,
            arguments,
            output: if *output == "$" { self.output } else { output },
            need: *need,
        }))
    }
}

impl Edits {
    /// The tables; made once.
    pub(crate) fn get() -> &'static Self {
        static EDITS: OnceLock<Edits> = OnceLock::new();
        EDITS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut edits = Self {
            roots: BTreeMap::new(),
            families: Vec::new(),
        };
        for kind in Registry::get().types() {
            let Some(one) = kind.root.one.as_deref() else {
                continue;
            };
            if !matches!(kind.category, Category::Domain | Category::Meta) {
                continue;
            }
            let family: &'static Family = Box::leak(Box::new(Family::of_type(kind)));
            match &kind.root.edit {
                Some(edit) => edits.fields(edit, family),
                None => {
                    for (verb, ..) in VERBS {
                        edits.verb(one, family, verb);
                    }
                }
            }
            edits.verb(one, family, "delete");
        }
        for (field, of, output) in ABSTRACT {
            let family = Family {
                of,
                output,
                fields: format!("{output}EditMutations"),
                update: UPDATE,
                delete: DELETE,
            };
            edits.fields(field, Box::leak(Box::new(family)));
        }
        edits
    }

    fn fields(&mut self, field: &str, family: &'static Family) {
        self.families.push(family);
        self.roots.insert(field.to_owned(), Edit::Fields(family));
    }

    fn verb(&mut self, one: &str, family: &'static Family, verb: &'static str) {
        let (first, rest) = verb.split_at(1);
        let field = format!("{one}{}{rest}", first.to_uppercase());
        self.roots.insert(field, Edit::Verb(family, verb));
    }

    /// The families with fields of their own.
    pub(crate) fn families(&self) -> impl Iterator<Item = &'static Family> {
        self.families.iter().copied()
    }

    /// What every field of these tables asks for, as the guard wants it: type, field, need.
    pub(crate) fn needs(&'static self) -> impl Iterator<Item = (&'static str, &'static str, Need)> {
        let roots = self.roots.iter().map(|(field, edit)| {
            let need = match edit {
                Edit::Fields(family) => family.update,
                Edit::Verb(family, "delete") => family.delete,
                Edit::Verb(family, _) => family.update,
            };
            ("Mutation", field.as_str(), need)
        });
        let fields = self.families().flat_map(|family| {
            family
                .signatures()
                .map(|signature| (family.fields.as_str(), signature.name, signature.need))
        });
        roots.chain(fields).chain(HAND_WRITTEN.iter().copied())
    }
}

/// Needs of the fields that are written by hand in `schema/edit.graphql`.
const HAND_WRITTEN: &[(&str, &str, Need)] = &[
    ("Mutation", "stixEdit", ANYTHING),
    ("Mutation", "stixRelationshipEdit", UPDATE),
    ("Mutation", "stixRefRelationshipEdit", UPDATE),
    ("Mutation", "stixCoreRelationshipDelete", DELETE),
    ("Mutation", "stixDomainObjectsDelete", DELETE),
    ("StixEditMutations", "delete", ANYTHING),
    ("StixEditMutations", "merge", MERGE),
    ("StixRelationshipEditMutations", "delete", DELETE),
    ("StixRefRelationshipEditMutations", "delete", UPDATE),
    ("StixRefRelationshipEditMutations", "fieldPatch", UPDATE),
    ("StixRefRelationshipEditMutations", "contextPatch", UPDATE),
    ("StixRefRelationshipEditMutations", "contextClean", UPDATE),
];
