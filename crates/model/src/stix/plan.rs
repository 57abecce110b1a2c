//! Plans: for every entity type, which STIX property feeds which attribute or reference. Built once from the registry.
//!
//! A property is looked up at the top level, in the OpenCTI extensions and in the MITRE extension. When several sources name the same
//! attribute the lowest rank wins: the plain property or its `x_opencti_` form, then the extensions, then older spellings.

use std::{collections::HashMap, sync::OnceLock};

use crate::registry::{Attribute, Category, EntityType, Kind, Reference, Registry};

/// Extension of OpenCTI's own objects and properties.
pub const EXTENSION_OCTI: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";
/// Extension of OpenCTI's properties on cyber observables.
pub const EXTENSION_SCO: &str = "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82";
/// Extension of MITRE ATT&CK's properties.
pub const EXTENSION_MITRE: &str = "extension-definition--322b8f77-262a-4cb8-a915-1e441e00329b";

/// What a STIX property feeds.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// An attribute, by the rules of its kind.
    Attribute(&'static Attribute),
    /// A reference by identifiers.
    Reference(&'static Reference),
    /// `objectLabel`: texts, or objects `{value, color}`.
    Labels(&'static Reference),
    /// `externalReferences`: objects.
    ExternalReferences(&'static Reference),
    /// `killChainPhases`: objects.
    KillChainPhases(&'static Reference),
    /// A list of observables written within their owner.
    Embedded(&'static Reference, &'static EntityType),
    /// Further STIX ids of the object.
    StixIds,
    /// Files that come with the object.
    Files,
    /// Whether what follows from the object is asked for too.
    Derive,
    /// A group of properties with a table of its own (`x509_v3_extensions`).
    Group,
    /// Kept as it is, under its own name.
    Verbatim,
    /// Known, and without meaning here.
    Ignore,
}

/// Where the properties of one entity type go.
#[derive(Debug, Default)]
pub struct Plan {
    /// Top-level properties with their rank.
    pub top: HashMap<&'static str, (Target, u8)>,
    /// Keys of the OpenCTI extension.
    pub octi: HashMap<&'static str, Target>,
    /// Keys of the OpenCTI extension for observables.
    pub sco: HashMap<&'static str, Target>,
    /// Keys of the MITRE extension.
    pub mitre: HashMap<&'static str, Target>,
    /// Keys of groups: `x509_v3_extensions` at the top level, `windows-process-ext` under `extensions`.
    pub groups: HashMap<&'static str, HashMap<&'static str, Target>>,
    /// Attributes that must have a value when the decoder is done.
    pub required: Vec<&'static Attribute>,
    /// References that must have a target when the decoder is done.
    pub required_refs: Vec<&'static Reference>,
}

/// Rank of what the extensions say.
pub const RANK_OCTI: u8 = 1;
/// Rank of the observables' extension.
pub const RANK_SCO: u8 = 2;
/// Rank of the MITRE extension and of groups.
pub const RANK_OTHER: u8 = 3;
const RANK_OLD: u8 = 4;
const RANK_FALLBACK: u8 = 9;

const CREATE_OBSERVABLES: &str = "x_opencti_create_observables";
const CREATE_INDICATOR: &str = "x_opencti_create_indicator";

/// Attributes that only the platform writes, whatever the registry lets through.
const PLATFORM: &[&str] = &[
    "id",
    "internal_id",
    "standard_id",
    "entity_type",
    "parent_types",
    "base_type",
    "relationship_type",
    "created_at",
    "updated_at",
    "refreshed_at",
    "creator_id",
    "draft_ids",
    "draft_change",
    "i_attributes",
    "i_aliases_ids",
    "i_inference_weight",
    "connections",
    "metrics",
    "opinions_metrics",
    "pir_information",
    "restricted_members",
    "authorized_members_activation_date",
    "x_opencti_graph_data",
    "caseTemplate",
    "default_dashboard",
    "default_hidden_types",
    "authorized_authorities",
    "grantable_groups",
    "decay_next_reaction_date",
    "decay_base_score",
    "decay_base_score_date",
    "decay_history",
    "decay_applied_rule",
    "decay_exclusion_applied_rule",
    "fileId",
    "builtIn",
];

/// Properties every object may carry and that say nothing the platform keeps.
const COMMON: &[&str] = &[
    "type",
    "id",
    "spec_version",
    "extensions",
    "nb_deps",
    "defanged",
    "created",
    "modified",
    "revoked",
    "confidence",
    "lang",
    "description",
    "created_by_ref",
    "object_marking_refs",
    "labels",
    "external_references",
    "aliases",
    "x_opencti_id",
    "x_opencti_type",
    "x_opencti_files",
    "x_opencti_inferences",
    "x_opencti_graph_data",
    "x_opencti_created_by_ref",
    "x_opencti_granted_refs",
    "x_opencti_labels",
    "x_opencti_tags",
    "x_opencti_external_references",
    "x_opencti_kill_chain_phases",
    CREATE_OBSERVABLES,
    CREATE_INDICATOR,
    "x_opencti_ignore_dates",
    "x_opencti_aliases",
    "x_opencti_stix_ids",
    "x_opencti_modified_at",
    "x_opencti_workflow_id",
    "x_opencti_order",
    "opencti_operation",
    "opencti_upsert_operations",
    "is_inferred",
    "x_opencti_location_type",
    "x_opencti_event_version",
    "x_opencti_observable_values",
    // the name under which extensions are kept
    super::fill::EXTENSIONS,
];

/// Properties of STIX 2.x that the data model does not have; they are kept.
const STANDARD: &[&str] = &[
    "granular_markings",
    "sectors",
    "action",
    "action_type",
    "action_bin",
    "action_reference",
    "os_execution_envs",
    "administrative_area",
    "city",
    "country",
    "region",
    "postal_code",
    "street_address",
    "precision",
    "av_result",
    "additional_header_fields",
    "ipfix",
    "arguments",
    "is_encrypted",
    "summary",
    "display_name",
];

/// The plan of a type.
pub fn of(kind: &'static EntityType) -> &'static Plan {
    static PLANS: OnceLock<HashMap<u16, Plan>> = OnceLock::new();
    static EMPTY: OnceLock<Plan> = OnceLock::new();
    PLANS
        .get_or_init(|| {
            Registry::get()
                .types()
                .iter()
                .map(|kind| (kind.code, build(kind)))
                .collect()
        })
        .get(&kind.code)
        .unwrap_or_else(|| EMPTY.get_or_init(Plan::default))
}

/// Whether a property of a STIX object of this type is a custom one: outside of the data model, and to be kept as it is.
#[must_use]
pub fn is_custom(kind: &'static EntityType, property: &str) -> bool {
    property.starts_with("x_") && !of(kind).top.contains_key(property)
}

/// Whether an attribute is taken from input at all.
pub fn is_input(attribute: &Attribute) -> bool {
    !attribute.internal && !PLATFORM.contains(&attribute.name.as_str())
}

fn build(kind: &'static EntityType) -> Plan {
    let mut plan = Plan::default();
    plan_references(kind, &mut plan);
    plan_attributes(kind, &mut plan);
    plan.top.insert("x_opencti_stix_ids", (Target::StixIds, 0));
    plan.octi.insert("stix_ids", Target::StixIds);
    plan.sco.insert("stix_ids", Target::StixIds);
    plan.top.insert("x_opencti_files", (Target::Files, 0));
    plan.octi.insert("files", Target::Files);
    if let Some(property) = asks(kind) {
        plan.top.insert(property, (Target::Derive, 0));
        plan.octi.insert(bare(property), Target::Derive);
        plan.sco.insert(bare(property), Target::Derive);
    }
    for name in COMMON {
        plan.top.entry(name).or_insert((Target::Ignore, 0));
    }
    for name in STANDARD {
        plan.top.entry(name).or_insert((Target::Verbatim, 0));
    }
    plan
}

/// The property by which a sender asks for what follows from an object.
fn asks(kind: &EntityType) -> Option<&'static str> {
    match kind.category {
        Category::Observable => Some(CREATE_INDICATOR),
        _ => (kind.name == "Indicator").then_some(CREATE_OBSERVABLES),
    }
}

fn plan_attributes(kind: &'static EntityType, plan: &mut Plan) {
    let given: Vec<&'static Attribute> = kind
        .attributes
        .iter()
        .filter(|attribute| {
            is_input(attribute)
                && attribute.name != "x_opencti_stix_ids"
                && attribute.name != "x_opencti_files"
        })
        .collect();
    // names first, so that a path measured under two attributes goes to the one that is called so
    for attribute in &given {
        let target = Target::Attribute(attribute);
        plan.top.insert(&attribute.name, (target, 0));
        for name in [attribute.name.as_str(), bare(&attribute.name)] {
            plan.octi.entry(name).or_insert(target);
            plan.sco.entry(name).or_insert(target);
        }
    }
    for attribute in &given {
        let target = Target::Attribute(attribute);
        for path in &attribute.stix {
            plan_path(path, target, plan);
        }
        match attribute.name.as_str() {
            "x_opencti_description" => set_fallback(plan, "description", target),
            "x_opencti_score" => set_fallback(plan, "score", target),
            "collection_layers" => {
                plan.top.insert("x_mitre_collection_layers", (target, 0));
            }
            _ => {}
        }
        if is_required(kind, attribute) {
            plan.required.push(attribute);
        }
    }
    if let Some(attribute) = kind
        .alias_attribute
        .as_deref()
        .and_then(|name| kind.attribute(name))
    {
        let target = Target::Attribute(attribute);
        for (rank, name) in [
            (0, "x_opencti_aliases"),
            (RANK_OLD, "x_mitre_aliases"),
            (RANK_OLD + 1, "x_amitt_aliases"),
            (RANK_OLD + 2, "aliases"),
        ] {
            plan.top.insert(name, (target, rank));
        }
        plan.octi.insert("aliases", target);
    }
}

fn plan_path(path: &'static str, target: Target, plan: &mut Plan) {
    let (place, key) = match path.strip_prefix("ext.") {
        Some(rest) => rest.split_once('.').unwrap_or((rest, "")),
        None => ("", path),
    };
    let (head, tail) = match key.find(['[', '.']) {
        Some(at) => (&key[..at], &key[at..]),
        None => (key, ""),
    };
    match place {
        "octi" => {
            plan.octi.insert(head, target);
            if head != "type" {
                plan.top.entry(head).or_insert((target, RANK_FALLBACK));
            }
        }
        "octi_sco" => {
            plan.sco.insert(head, target);
            plan.top.entry(head).or_insert((target, RANK_FALLBACK));
        }
        "mitre" => {
            plan.mitre.insert(head, target);
        }
        _ if head == "hashes" => {}
        _ => match tail.strip_prefix('.') {
            Some(member) => {
                let member = member.trim_end_matches("[]");
                plan.groups.entry(head).or_default().insert(member, target);
                plan.top.insert(head, (Target::Group, 0));
            }
            None => {
                plan.top.entry(head).or_insert((target, 0));
            }
        },
    }
}

fn set_fallback(plan: &mut Plan, name: &'static str, target: Target) {
    plan.top.entry(name).or_insert((target, RANK_FALLBACK));
    plan.octi.entry(name).or_insert(target);
    plan.sco.entry(name).or_insert(target);
}

fn plan_references(kind: &'static EntityType, plan: &mut Plan) {
    for reference in &kind.refs {
        let target = match reference.name.as_str() {
            "objectLabel" => {
                let target = Target::Labels(reference);
                plan.top.insert("x_opencti_labels", (target, RANK_OLD));
                plan.top.insert("x_opencti_tags", (target, RANK_OLD + 1));
                target
            }
            "externalReferences" => {
                let target = Target::ExternalReferences(reference);
                plan.top
                    .insert("x_opencti_external_references", (target, RANK_OLD));
                target
            }
            "killChainPhases" => {
                let target = Target::KillChainPhases(reference);
                plan.top
                    .insert("x_opencti_kill_chain_phases", (target, RANK_OLD));
                target
            }
            "winRegValues" => {
                embedded(plan, reference, "values", "Windows-Registry-Value-Type");
                Target::Reference(reference)
            }
            "bodyMultipart" => {
                embedded(plan, reference, "body_multipart", "Email-Mime-Part-Type");
                continue;
            }
            "objectAssignee" | "objectParticipant" => {
                let (top, octi) = if reference.name == "objectAssignee" {
                    ("x_opencti_assignee_ids", "assignee_ids")
                } else {
                    ("x_opencti_participant_ids", "participant_ids")
                };
                plan.top.insert(top, (Target::Reference(reference), 0));
                plan.octi.insert(octi, Target::Reference(reference));
                Target::Reference(reference)
            }
            "createdBy" => {
                plan.top.insert(
                    "x_opencti_created_by_ref",
                    (Target::Reference(reference), 0),
                );
                Target::Reference(reference)
            }
            "objectOrganization" => {
                plan.top
                    .insert("x_opencti_granted_refs", (Target::Reference(reference), 0));
                Target::Reference(reference)
            }
            "dataSource" => {
                plan.top
                    .insert("x_mitre_data_source_ref", (Target::Reference(reference), 0));
                Target::Reference(reference)
            }
            _ => Target::Reference(reference),
        };
        for name in spellings(&reference.stix) {
            plan.top.entry(name).or_insert((target, 0));
            plan.octi.insert(name, target);
            plan.sco.insert(name, target);
            if reference.name == "serviceDlls" {
                plan.groups
                    .entry("windows-service-ext")
                    .or_default()
                    .insert(name, target);
            }
        }
        if reference.mandatory
            && reference
                .input
                .as_deref()
                .is_none_or(|input| input.ends_with('!'))
        {
            plan.required_refs.push(reference);
        }
    }
}

fn embedded(plan: &mut Plan, reference: &'static Reference, property: &'static str, part: &str) {
    if let Some(part) = Registry::get().by_name(part) {
        plan.top
            .insert(property, (Target::Embedded(reference, part), 0));
    }
}

/// The property of a reference with the endings `_ref` and `_refs`, as practice writes both.
fn spellings(stix: &'static str) -> impl Iterator<Item = &'static str> {
    let other = match stix {
        "belongs_to_refs" => Some("belongs_to_ref"),
        "sample_ref" => Some("sample_refs"),
        _ => None,
    };
    std::iter::once(stix).chain(other)
}

fn bare(name: &str) -> &str {
    name.strip_prefix("x_opencti_").unwrap_or(name)
}

/// What must be there: what the add mutation demands, less what gets a value of its own when it is absent.
fn is_required(kind: &EntityType, attribute: &Attribute) -> bool {
    const DEFAULTED: &[&str] = &[
        "created",
        "is_family",
        "x_opencti_order",
        "color",
        "attribute_count",
        "x_opencti_main_observable_type",
        "auto_enrichment_disable",
        "rating",
    ];
    if DEFAULTED.contains(&attribute.name.as_str()) || attribute.kind == Kind::Bool {
        return false;
    }
    if kind.category == Category::Observable {
        return attribute.mandatory || attribute.name == "value";
    }
    attribute.mandatory
        && attribute
            .input
            .as_deref()
            .is_none_or(|input| input.ends_with('!'))
}
