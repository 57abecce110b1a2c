//! The registry is complete, consistent, and its numbers never change.

use std::collections::{BTreeMap, HashSet};

use ferrocti_model::registry::{Attribute, Category, Kind, PairClass, Preset, Registry};

fn registry() -> &'static Registry {
    Registry::get()
}

fn count(category: Category) -> usize {
    registry()
        .types()
        .iter()
        .filter(|kind| kind.category == category)
        .count()
}

#[test]
fn every_type_of_the_data_model_is_there() {
    assert_eq!(
        [
            Category::Domain,
            Category::Observable,
            Category::Meta,
            Category::Relationship,
            Category::Sighting
        ]
        .map(count),
        [41, 37, 5, 58, 1]
    );
    assert_eq!(registry().reference_types().len(), 45);
    assert_eq!(registry().vocabularies().len(), 48);
    assert_eq!(
        registry()
            .vocabularies()
            .iter()
            .map(|v| v.entries.len())
            .sum::<usize>(),
        354
    );
}

#[test]
fn stored_numbers_are_the_ones_given_out_once() {
    let mut now = String::new();
    for kind in registry().types() {
        now += &format!("type {} {}\n", kind.code, kind.name);
    }
    for kind in registry().reference_types() {
        now += &format!("reference {} {}\n", kind.code, kind.name);
    }
    let stix: BTreeMap<_, _> = registry()
        .stix_types()
        .map(|(name, code)| (code, name))
        .collect();
    for (code, name) in stix {
        now += &format!("stix {code} {name}\n");
    }
    let given_out = include_str!("../data/codes.txt");
    assert_eq!(
        now, given_out,
        "a number is stored in every database; add lines to tests/data/codes.txt, never change one"
    );
}

#[test]
fn numbers_are_unique_and_fit() {
    let codes: HashSet<_> = registry().types().iter().map(|kind| kind.code).collect();
    assert_eq!(codes.len(), registry().types().len());
    assert!(!codes.contains(&0));
    let references: HashSet<_> = registry()
        .reference_types()
        .iter()
        .map(|kind| kind.code)
        .collect();
    assert_eq!(references.len(), registry().reference_types().len());
    let stix: HashSet<_> = registry().stix_types().map(|(_, code)| code).collect();
    assert_eq!(stix.len(), registry().stix_types().count());
    assert!(stix.iter().all(|code| (1..=250).contains(code)));
}

#[test]
fn every_name_that_a_type_uses_is_stated() {
    for kind in registry().types() {
        for reference in &kind.refs {
            assert!(
                registry().reference_by_code(reference.code).is_some(),
                "{} {}",
                kind.name,
                reference.name
            );
            assert!(
                !reference.targets.is_empty(),
                "{} {}",
                kind.name,
                reference.name
            );
            for target in &reference.targets {
                assert!(
                    target == "User" || registry().is_type(target),
                    "{} {} → {target}",
                    kind.name,
                    reference.name
                );
            }
        }
        for attribute in &kind.attributes {
            check_attribute(&kind.name, attribute);
        }
        for (property, way) in kind
            .id_rule
            .ways
            .iter()
            .flatten()
            .map(|c| (c.property.as_str(), c))
        {
            let stated = way.constant.is_some()
                || matches!(property, "from" | "to")
                || kind.attribute(property).is_some()
                || kind.reference(property).is_some();
            assert!(
                stated,
                "{} makes its id of the unknown {property}",
                kind.name
            );
        }
        if let Some(aliases) = &kind.alias_attribute {
            assert!(
                kind.attribute(aliases).is_some_and(|a| a.multiple),
                "{}",
                kind.name
            );
        }
        assert_eq!(
            registry().stix_type_code(&kind.stix_type),
            Some(kind.stix_code),
            "{}",
            kind.name
        );
        assert_eq!(registry().stix_type_name(kind.stix_code), kind.stix_type);
    }
    for vocabulary in registry().vocabularies() {
        for kind in &vocabulary.types {
            assert!(
                registry().is_type(kind),
                "{} serves the unknown {kind}",
                vocabulary.category
            );
        }
    }
}

fn check_attribute(kind: &str, attribute: &Attribute) {
    assert_eq!(
        attribute.kind == Kind::Vocabulary,
        attribute.vocabulary.is_some(),
        "{kind} {}",
        attribute.name
    );
    if let Some(category) = &attribute.vocabulary {
        assert!(
            registry().vocabulary(category).is_some(),
            "{kind} {} → {category}",
            attribute.name
        );
    }
    assert_eq!(
        attribute.kind == Kind::Enum,
        !attribute.values.is_empty(),
        "{kind} {}",
        attribute.name
    );
    for field in &attribute.fields {
        check_attribute(kind, field);
    }
}

#[test]
fn every_type_has_the_fields_of_its_interfaces() {
    for kind in registry().types() {
        for interface in registry()
            .interfaces()
            .iter()
            .filter(|i| kind.interfaces.contains(&i.name))
        {
            for (field, output) in &interface.fields {
                let own = kind
                    .attributes
                    .iter()
                    .filter_map(|a| a.output.as_ref().map(|output| (&a.field, output)))
                    .chain(
                        kind.refs
                            .iter()
                            .filter_map(|r| r.output.as_ref().map(|output| (&r.name, output))),
                    )
                    .chain(kind.computed.iter().map(|(name, output)| (name, output)))
                    .find(|(name, _)| *name == field);
                assert_eq!(
                    own.map(|(_, output)| output),
                    Some(output),
                    "{}.{field} of {}",
                    kind.name,
                    interface.name
                );
            }
        }
    }
}

#[test]
fn no_graphql_field_is_stated_twice() {
    for kind in registry().types() {
        let mut seen = HashSet::new();
        let stored = kind
            .attributes
            .iter()
            .filter(|a| a.output.is_some())
            .map(|a| &a.field);
        let refs = kind
            .refs
            .iter()
            .filter(|r| r.output.is_some())
            .map(|r| &r.name);
        for field in stored
            .chain(refs)
            .chain(kind.computed.iter().map(|(name, _)| name))
        {
            assert!(seen.insert(field), "{}.{field}", kind.name);
        }
        let mut seen = HashSet::new();
        let stored = kind
            .attributes
            .iter()
            .filter(|a| a.input.is_some())
            .map(|a| &a.name);
        let refs = kind
            .refs
            .iter()
            .filter(|r| r.input.is_some())
            .map(|r| &r.name);
        for field in stored
            .chain(refs)
            .chain(kind.extra_input.iter().map(|(name, _)| name))
        {
            assert!(seen.insert(field), "input {}.{field}", kind.name);
        }
    }
}

#[test]
fn a_type_states_only_what_differs_from_its_ancestors() {
    let paths = |name: &str, attribute: &str| {
        registry()
            .by_name(name)
            .unwrap()
            .attribute(attribute)
            .unwrap()
            .stix
            .clone()
    };
    assert_eq!(paths("City", "name"), ["name", "city"]);
    assert_eq!(paths("Position", "name"), ["name"]);
    assert_eq!(
        paths("IPv4-Addr", "x_opencti_score"),
        ["ext.octi_sco.score"]
    );
    assert_eq!(paths("Hostname", "x_opencti_score"), ["score"]);
    assert_eq!(paths("Malware", "x_opencti_score"), ["ext.octi.score"]);
    assert!(paths("Language", "created").is_empty());
    let name = registry()
        .by_name("City")
        .unwrap()
        .attribute("name")
        .unwrap();
    assert!(
        name.mandatory && name.upsert && name.kind == Kind::String,
        "the rest is inherited"
    );
}

#[test]
fn parent_types_are_those_that_clients_see() {
    let parents = |name: &str| registry().by_name(name).unwrap().parents.join(" ");
    assert_eq!(
        parents("Malware"),
        "Basic-Object Stix-Object Stix-Core-Object Stix-Domain-Object"
    );
    assert_eq!(
        parents("StixFile"),
        "Basic-Object Stix-Object Stix-Core-Object Stix-Cyber-Observable"
    );
    assert_eq!(
        parents("uses"),
        "basic-relationship stix-relationship stix-core-relationship"
    );
    assert!(
        registry()
            .by_name("StixFile")
            .unwrap()
            .is_a("Hashed-Observable")
    );
}

#[test]
fn descendants_are_found_in_any_letter_case() {
    let names = |name: &str| {
        registry()
            .descendants(name)
            .iter()
            .map(|kind| kind.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(registry().descendants("stix-DOMAIN-object").len(), 41);
    assert_eq!(registry().descendants("Stix-Cyber-Observable").len(), 37);
    assert_eq!(registry().descendants("stix-core-relationship").len(), 58);
    assert_eq!(
        names("Hashed-Observable"),
        ["Artifact", "StixFile", "X509-Certificate"]
    );
    assert_eq!(names("malware"), ["Malware"]);
    assert!(names("Malware2").is_empty());
}

#[test]
fn stix_types_are_found_with_and_without_an_extension_prefix() {
    let names = |stix: &str| {
        registry()
            .by_stix(stix)
            .iter()
            .map(|kind| kind.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("file"), ["StixFile"]);
    assert_eq!(names("x-mitre-data-source"), ["Data-Source"]);
    assert_eq!(names("x-opencti-case-rfi"), ["Case-Rfi"]);
    assert_eq!(names("identity").len(), 5);
    assert_eq!(names("location").len(), 5);
    assert_eq!(names("relationship").len(), 58);
    assert!(names("x-mitre-tactic").is_empty());
    assert!(names("").is_empty());
}

#[test]
fn relationships_are_allowed_between_the_stated_ends_only() {
    let class = |rel: &str, source: &str, target: &str| {
        let kind = |name: &str| registry().by_name(name).unwrap();
        registry().pair_class(kind(rel), kind(source), kind(target))
    };
    assert_eq!(
        class("uses", "Malware", "Attack-Pattern"),
        Some(PairClass::Builtin)
    );
    assert_eq!(class("uses", "Attack-Pattern", "Campaign"), None);
    assert_eq!(
        class("subtechnique-of", "Attack-Pattern", "Attack-Pattern"),
        Some(PairClass::New)
    );
    assert_eq!(
        class("attributed-to", "Campaign", "Threat-Actor-Individual"),
        Some(PairClass::Builtin),
        "by the abstract type"
    );
    assert!(
        class("based-on", "Indicator", "IMEI").is_some(),
        "any observable"
    );
    assert!(
        class("indicates", "Indicator", "uses").is_some(),
        "a relationship may be an end"
    );
    assert!(
        class("related-to", "IMEI", "targets").is_some(),
        "anything is related to anything"
    );
    assert_eq!(class("related-to", "Malware", "Label"), None);
    assert!(class("stix-sighting-relationship", "Indicator", "Organization").is_some());
}

#[test]
fn presets_fill_what_creation_leaves_out() {
    let preset = |name: &str, attribute: &str| {
        registry()
            .by_name(name)
            .unwrap()
            .attribute(attribute)
            .unwrap()
            .preset
            .clone()
    };
    assert_eq!(
        preset("Malware", "revoked"),
        Some(Preset::Value(false.into()))
    );
    assert_eq!(preset("Malware", "created"), Some(Preset::Now));
    assert_eq!(
        preset("uses", "stop_time"),
        Some(Preset::Value("5138-11-16T09:46:40.000Z".into()))
    );
    assert_eq!(
        preset("stix-sighting-relationship", "attribute_count"),
        Some(Preset::Value(1.into()))
    );
    assert_eq!(
        preset("Indicator", "x_opencti_score"),
        Some(Preset::Value(50.into()))
    );
    assert_eq!(preset("IPv4-Addr", "x_opencti_score"), None);
}

#[test]
fn references_are_found_by_input_name_relationship_name_and_stix_property() {
    let sample = registry().reference_type("sample").unwrap();
    assert_eq!(
        sample
            .definitions
            .iter()
            .map(|d| d.name.as_str())
            .collect::<Vec<_>>(),
        ["samples", "analysisSample"]
    );
    assert_eq!(
        registry().reference_type("createdBy").unwrap().name,
        "created-by"
    );
    let malware = registry().by_name("Malware").unwrap();
    assert_eq!(
        malware.reference_by_stix("sample_refs").unwrap().name,
        "samples"
    );
    assert_eq!(
        malware.reference_by_stix("created_by_ref").unwrap().name,
        "createdBy"
    );
    assert_eq!(
        registry()
            .by_name("IPv4-Addr")
            .unwrap()
            .reference_by_stix("resolves_to_refs")
            .unwrap()
            .name,
        "resolvesTo"
    );
}

#[test]
fn the_entries_of_vocabularies_have_no_blanks_around_them() {
    for vocabulary in Registry::get().vocabularies() {
        for entry in &vocabulary.entries {
            assert_eq!(entry.name.trim(), entry.name, "in {}", vocabulary.category);
        }
    }
}
