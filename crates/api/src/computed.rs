//! Fields that are not stored but follow from the graph: data, one line a field.

use ferrocti_model::EntityType;

/// How the objects behind a computed field are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Targets of the object's own relationships of one type.
    Targets(&'static str),
    /// Sources of the relationships of one type that point to the object.
    Sources(&'static str),
    /// Objects that refer to the object by a reference of this input name.
    Referring(&'static str),
    /// Objects that the object refers to by a reference of this input name.
    Referred(&'static str),
}

/// A field that lists neighbours of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Where they are found.
    pub(crate) via: Via,
    /// Type or abstract type that they must have.
    pub(crate) kind: &'static str,
}

/// How a computed field gets its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Computed {
    /// From neighbours; what is made of them (a connection, a list, one, whether there is one) follows from the field's type.
    Neighbours(Neighbours),
    /// The stored attribute of the same name.
    Stored,
    /// The text that represents the object.
    Name,
    /// Types and values of the observables that an indicator's pattern names.
    PatternValues,
}

/// Type of the object, field, way, type of the neighbours.
const NEIGHBOURS: &[(&str, &str, Via, &str)] = &[
    (
        "Attack-Pattern",
        "coursesOfAction",
        Via::Sources("mitigates"),
        "Course-Of-Action",
    ),
    (
        "Attack-Pattern",
        "parentAttackPatterns",
        Via::Targets("subtechnique-of"),
        "Attack-Pattern",
    ),
    (
        "Attack-Pattern",
        "subAttackPatterns",
        Via::Sources("subtechnique-of"),
        "Attack-Pattern",
    ),
    (
        "Attack-Pattern",
        "isSubAttackPattern",
        Via::Targets("subtechnique-of"),
        "Attack-Pattern",
    ),
    (
        "Attack-Pattern",
        "dataComponents",
        Via::Sources("detects"),
        "Data-Component",
    ),
    (
        "Data-Source",
        "dataComponents",
        Via::Referring("dataSource"),
        "Data-Component",
    ),
    (
        "Course-Of-Action",
        "attackPatterns",
        Via::Targets("mitigates"),
        "Attack-Pattern",
    ),
    (
        "Data-Component",
        "attackPatterns",
        Via::Targets("detects"),
        "Attack-Pattern",
    ),
    (
        "Individual",
        "organizations",
        Via::Targets("part-of"),
        "Organization",
    ),
    (
        "System",
        "organizations",
        Via::Targets("belongs-to"),
        "Organization",
    ),
    ("Organization", "sectors", Via::Targets("part-of"), "Sector"),
    (
        "Organization",
        "parentOrganizations",
        Via::Targets("part-of"),
        "Organization",
    ),
    (
        "Organization",
        "subOrganizations",
        Via::Sources("part-of"),
        "Organization",
    ),
    ("Sector", "parentSectors", Via::Targets("part-of"), "Sector"),
    ("Sector", "subSectors", Via::Sources("part-of"), "Sector"),
    ("Sector", "isSubSector", Via::Targets("part-of"), "Sector"),
    (
        "Intrusion-Set",
        "locations",
        Via::Targets("originates-from"),
        "Location",
    ),
    (
        "Threat-Actor",
        "locations",
        Via::Targets("located-at"),
        "Location",
    ),
    (
        "Threat-Actor",
        "countries",
        Via::Targets("located-at"),
        "Country",
    ),
    ("City", "country", Via::Targets("located-at"), "Country"),
    (
        "City",
        "administrativeArea",
        Via::Targets("located-at"),
        "Administrative-Area",
    ),
    (
        "Administrative-Area",
        "country",
        Via::Targets("located-at"),
        "Country",
    ),
    ("Country", "region", Via::Targets("located-at"), "Region"),
    ("Position", "city", Via::Targets("located-at"), "City"),
    (
        "Region",
        "parentRegions",
        Via::Targets("located-at"),
        "Region",
    ),
    ("Region", "subRegions", Via::Sources("located-at"), "Region"),
    ("Region", "countries", Via::Sources("located-at"), "Country"),
    (
        "IPv4-Addr",
        "countries",
        Via::Targets("located-at"),
        "Country",
    ),
    (
        "IPv6-Addr",
        "countries",
        Via::Targets("located-at"),
        "Country",
    ),
    (
        "Narrative",
        "parentNarratives",
        Via::Targets("subnarrative-of"),
        "Narrative",
    ),
    (
        "Narrative",
        "subNarratives",
        Via::Sources("subnarrative-of"),
        "Narrative",
    ),
    (
        "Narrative",
        "isSubNarrative",
        Via::Targets("subnarrative-of"),
        "Narrative",
    ),
    (
        "Vulnerability",
        "softwares",
        Via::Sources("has"),
        "Software",
    ),
    (
        "Software",
        "vulnerabilities",
        Via::Targets("has"),
        "Vulnerability",
    ),
    (
        "Indicator",
        "observables",
        Via::Targets("based-on"),
        "Stix-Cyber-Observable",
    ),
    (
        "Stix-Cyber-Observable",
        "indicators",
        Via::Sources("based-on"),
        "Indicator",
    ),
    (
        "Malware-Analysis",
        "sample",
        Via::Referred("analysisSample"),
        "Stix-Cyber-Observable",
    ),
    (
        "Stix-Domain-Object",
        "securityCoverage",
        Via::Referring("objectCovered"),
        "Security-Coverage",
    ),
    (
        "Security-Coverage",
        "results",
        Via::Referring("resultOf"),
        "Security-Coverage-Result",
    ),
    (
        "External-Reference",
        "references",
        Via::Referring("externalReferences"),
        "Stix-Core-Object",
    ),
    (
        "Stix-Core-Object",
        "containers",
        Via::Referring("objects"),
        "Container",
    ),
    (
        "Stix-Core-Object",
        "reports",
        Via::Referring("objects"),
        "Report",
    ),
    (
        "Stix-Core-Object",
        "notes",
        Via::Referring("objects"),
        "Note",
    ),
    (
        "Stix-Core-Object",
        "opinions",
        Via::Referring("objects"),
        "Opinion",
    ),
    (
        "Stix-Core-Object",
        "observedData",
        Via::Referring("objects"),
        "Observed-Data",
    ),
    (
        "Stix-Core-Object",
        "groupings",
        Via::Referring("objects"),
        "Grouping",
    ),
    (
        "Stix-Core-Object",
        "cases",
        Via::Referring("objects"),
        "Case",
    ),
    (
        "stix-relationship",
        "containers",
        Via::Referring("objects"),
        "Container",
    ),
    (
        "stix-relationship",
        "reports",
        Via::Referring("objects"),
        "Report",
    ),
    (
        "stix-relationship",
        "notes",
        Via::Referring("objects"),
        "Note",
    ),
    (
        "stix-relationship",
        "opinions",
        Via::Referring("objects"),
        "Opinion",
    ),
    (
        "stix-relationship",
        "groupings",
        Via::Referring("objects"),
        "Grouping",
    ),
    (
        "stix-relationship",
        "cases",
        Via::Referring("objects"),
        "Case",
    ),
    ("Case", "tasks", Via::Referring("objects"), "Task"),
];

/// The neighbours that a field of a type shows.
pub(crate) fn neighbours(kind: &EntityType, field: &str) -> Option<Neighbours> {
    NEIGHBOURS
        .iter()
        .find(|(owner, name, _, _)| *name == field && kind.is_a(owner))
        .map(|(_, _, via, kind)| Neighbours { via: *via, kind })
}

/// How `kind` computes `field` of the given GraphQL type; `None` when it is not served.
pub(crate) fn computed(kind: &EntityType, field: &str, output: &str) -> Option<Computed> {
    if let Some(neighbours) = neighbours(kind, field) {
        return Some(Computed::Neighbours(neighbours));
    }
    match (kind.name.as_str(), field) {
        ("Observed-Data", "name") => Some(Computed::Name),
        ("Indicator", "x_opencti_observable_values") => Some(Computed::PatternValues),
        // These are about users, rights, counts of uses or exports, which are not served yet, or belong to another type.
        (
            _,
            "isUser"
            | "currentUserAccessRight"
            | "restrict_access"
            | "usages"
            | "deleteWithElementsCount"
            | "toStixBundle",
        ) => None,
        ("Network-Traffic", "src_ref" | "dst_ref") => None,
        (
            "Security-Coverage",
            "identity_class"
            | "contact_information"
            | "roles"
            | "x_opencti_reliability"
            | "security_platform_type",
        ) => None,
        _ => matches!(
            output.trim_matches(['[', ']', '!']),
            "String" | "Int" | "Float" | "Boolean" | "Dictionary"
        )
        .then_some(Computed::Stored),
    }
}
