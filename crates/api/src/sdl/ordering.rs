//! Enums of sort keys: every sortable attribute of the types that a list is about, and the further keys that clients know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ferrocti_model::EntityType;
use ferrocti_model::registry::Kind;

use crate::roots::{Read, Roots};

/// Keys that every list takes. `_score` is the relevance of a search.
const COMMON: [&str; 11] = [
    "_score",
    "created_at",
    "updated_at",
    "refreshed_at",
    "entity_type",
    "created",
    "modified",
    "createdBy",
    "creator",
    "objectMarking",
    "objectLabel",
];

/// Keys that clients know of single enums and that are no attribute: they leave the order of creation.
const FURTHER: &[(&str, &[&str])] = &[
    ("CampaignsOrdering", &["role_played"]),
    ("CaseIncidentsOrdering", &["context", "objectAssignee"]),
    ("CaseRfisOrdering", &["objectAssignee"]),
    ("CaseRftsOrdering", &["context", "objectAssignee"]),
    ("FeedbacksOrdering", &["context"]),
    ("IncidentsOrdering", &["objectAssignee"]),
    ("MalwareAnalysesOrdering", &["operatingSystem"]),
    (
        "StixCoreObjectsOrdering",
        &[
            "indicator_pattern",
            "observable_value",
            "opinions_metrics_mean",
            "opinions_metrics_min",
            "opinions_metrics_max",
            "opinions_metrics_total",
        ],
    ),
    (
        "StixCoreRelationshipsOrdering",
        &[
            "relationship_type",
            "killChainPhase",
            "toName",
            "toValidFrom",
            "toValidUntil",
            "toObservableValue",
            "toPatternType",
        ],
    ),
    ("StixCyberObservablesOrdering", &["observable_value"]),
    (
        "StixDomainObjectsOrdering",
        &[
            "indicator_pattern",
            "attribute_count",
            "x_opencti_negative",
            "x_opencti_base_severity",
            "operatingSystem",
            "pir_score",
            "last_pir_score_date",
        ],
    ),
    (
        "StixSightingRelationshipsOrdering",
        &[
            "toName",
            "toValidFrom",
            "toValidUntil",
            "toPatternType",
            "toCreatedAt",
        ],
    ),
    (
        "TasksOrdering",
        &["description", "context", "objectAssignee"],
    ),
];

/// Whether lists can be ordered by an attribute of this form.
pub(crate) fn sortable(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::String
            | Kind::Enum
            | Kind::Vocabulary
            | Kind::Int
            | Kind::Long
            | Kind::Float
            | Kind::Bool
            | Kind::Date
    )
}

fn keys(kind: &EntityType) -> impl Iterator<Item = &str> {
    kind.attributes
        .iter()
        .filter(|attribute| {
            sortable(attribute.kind)
                && !attribute.internal
                && (attribute.output.is_some() || attribute.input.is_some())
        })
        .map(|attribute| attribute.name.as_str())
}

/// Appends the enums.
pub(super) fn write(out: &mut String, roots: &Roots) {
    let mut enums: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for read in roots.reads.values() {
        let Read::List(scope) = read else { continue };
        let Some(name) = &scope.ordering else {
            continue;
        };
        let values = enums.entry(name).or_insert_with(|| COMMON.into());
        values.extend(scope.types.iter().flat_map(|kind| keys(kind)));
    }
    for (name, further) in FURTHER {
        if let Some(values) = enums.get_mut(name) {
            values.extend(further.iter());
        }
    }
    for (name, values) in enums {
        let values: Vec<&str> = values.into_iter().collect();
        let _ = writeln!(out, "enum {name} {{\n  {}\n}}\n", values.join("\n  "));
    }
}
