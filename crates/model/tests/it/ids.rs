//! Deterministic ids: measured vectors, the rules behind them, and canonical JSON.

use ferrocti_model::{
    EntityType, StixId,
    ids::{self, IdRuleError},
    registry::Registry,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

#[derive(serde::Deserialize)]
struct Vectors {
    namespaces: std::collections::HashMap<String, Uuid>,
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    entity_type: String,
    applies_to: Vec<String>,
    namespace: String,
    canonical_json: Option<String>,
    expected_id: String,
    input: Option<Map<String, Value>>,
}

fn kind(name: &str) -> &'static EntityType {
    Registry::get().by_name(name).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else {
        panic!("an object is expected")
    };
    map
}

fn no_targets(_: &str) -> Vec<StixId> {
    Vec::new()
}

fn id_of(name: &str, attributes: Value) -> String {
    ids::standard_id(kind(name), &object(attributes), &no_targets)
        .unwrap()
        .unwrap()
        .to_string()
}

/// The ids behind each reference or end.
type Pointed = Vec<(String, Vec<StixId>)>;

/// Splits the input of a vector into attributes and the ids behind references and ends.
fn input(vector: &Vector) -> (Map<String, Value>, Pointed) {
    let mut attributes = Map::new();
    let mut targets = Vec::new();
    let element = |value: &Value| {
        value
            .get("standard_id")
            .and_then(Value::as_str)
            .map(|id| StixId::parse(id).unwrap())
    };
    for (name, value) in vector.input.iter().flatten() {
        if let Some(date) = value.get("$date") {
            attributes.insert(name.clone(), date.clone());
        } else if let Some(id) = element(value) {
            targets.push((name.clone(), vec![id]));
        } else if let Some(ids) = value
            .as_array()
            .map(|list| list.iter().filter_map(element).collect::<Vec<_>>())
            && !ids.is_empty()
        {
            targets.push((name.clone(), ids));
        } else {
            attributes.insert(name.clone(), value.clone());
        }
    }
    (attributes, targets)
}

#[test]
fn all_measured_vectors_hold() {
    let vectors: Vectors = serde_json::from_str(include_str!("../data/id_vectors.json")).unwrap();
    let (mut platform, mut internal, mut legacy, mut client) = (0, 0, 0, 0);
    for vector in &vectors.vectors {
        if let Some(json) = &vector.canonical_json {
            let namespace = vectors.namespaces[&vector.namespace];
            let (prefix, uuid) = vector.expected_id.split_once("--").unwrap();
            assert_eq!(
                Uuid::new_v5(&namespace, json.as_bytes()).to_string(),
                uuid,
                "{}",
                vector.name
            );
            assert!(!prefix.is_empty());
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(
                serde_json_canonicalizer::to_string(&value).unwrap(),
                *json,
                "{}",
                vector.name
            );
        }
        if vector.input.is_none() {
            client += 1;
            continue;
        }
        let (attributes, targets) = input(vector);
        let targets = |property: &str| {
            targets
                .iter()
                .find(|(name, _)| name == property)
                .map(|(_, ids)| ids.clone())
                .unwrap_or_default()
        };
        if vector.namespace == "OPENCTI" {
            let id = ids::internal_standard_id(&vector.entity_type, &attributes);
            assert_eq!(
                id.as_deref(),
                Some(vector.expected_id.as_str()),
                "{}",
                vector.name
            );
            internal += 1;
        } else if vector.applies_to.iter().any(|release| release == "7.x") {
            let id = ids::standard_id(kind(&vector.entity_type), &attributes, &targets)
                .unwrap()
                .unwrap();
            assert_eq!(id.to_string(), vector.expected_id, "{}", vector.name);
            platform += 1;
        } else {
            let id = ids::legacy_id(kind(&vector.entity_type), &attributes, &targets).unwrap();
            assert_eq!(id.to_string(), vector.expected_id, "{}", vector.name);
            legacy += 1;
        }
    }
    assert_eq!(
        (platform, internal, legacy, client),
        (99, 7, 3, 7),
        "none is skipped"
    );
    assert_eq!(vectors.vectors.len(), 116);
}

#[test]
fn a_blank_contribution_counts_as_absent() {
    let by_name = id_of("Attack-Pattern", json!({"name": "Phishing"}));
    assert_eq!(
        id_of(
            "Attack-Pattern",
            json!({"name": "phishing ", "x_mitre_id": "\u{feff} \u{a0}"})
        ),
        by_name
    );
    assert_eq!(
        id_of("StixFile", json!({"name": "a", "hashes": {"MD5": " "}})),
        id_of("StixFile", json!({"name": "a"}))
    );
    assert_eq!(
        id_of("StixFile", json!({"name": "a", "hashes": {"TLSH": "T1"}})),
        id_of("StixFile", json!({"name": "a"}))
    );
}

#[test]
fn what_identifies_nothing_is_an_error_that_tells_what_is_needed() {
    let error = |name: &str, attributes: Value| {
        ids::standard_id(kind(name), &object(attributes), &no_targets).unwrap_err()
    };
    let IdRuleError::Missing { needs, .. } = error("Position", json!({"name": ""}));
    assert_eq!(needs, "latitude and longitude, or name");
    error("Organization", json!({}));
    error("Process", json!({"pid": 4}));
    error("External-Reference", json!({"source_name": "mitre-attack"}));
    error("uses", json!({}));
    error("Threat-Actor-Individual", json!({"name": null}));
    error("Incident", json!({"created": "2024-01-02T03:04:05.000Z"}));
}

#[test]
fn a_relationship_with_one_unknown_end_has_no_id() {
    let end = StixId::parse("malware--11111111-1111-5111-8111-111111111111").unwrap();
    for known in ["from", "to"] {
        let targets = |property: &str| {
            if property == known {
                vec![end]
            } else {
                Vec::new()
            }
        };
        assert!(
            ids::standard_id(kind("uses"), &Map::new(), &targets).is_err(),
            "{known}"
        );
    }
}

#[test]
fn the_order_and_offset_of_dates_do_not_matter() {
    let id = |created: &str| id_of("Report", json!({"name": "R", "published": created}));
    assert_eq!(
        id("2024-01-02T03:04:05Z"),
        id("2024-01-02T05:04:05.000+02:00")
    );
}

#[test]
fn permissible_actions_markings_are_computed_and_tlp_is_fixed() {
    let id = |definition: &str| {
        id_of(
            "Marking-Definition",
            json!({"definition_type": "PAP", "definition": definition}),
        )
    };
    assert_ne!(id("PAP:RED"), id("PAP:CLEAR"));
    assert_eq!(id("pap:red"), id("PAP:RED"));
    let tlp = id_of(
        "Marking-Definition",
        json!({"definition_type": "tlp", "definition": "tlp:white"}),
    );
    assert_eq!(
        tlp,
        "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
    );
    let statement = id_of(
        "Marking-Definition",
        json!({"definition_type": "statement", "definition": "TLP:RED"}),
    );
    assert_ne!(
        statement, "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
        "only of type TLP"
    );
}

#[test]
fn an_alias_id_is_the_id_of_an_element_of_that_name() {
    let aliases = |name: &str, attributes: Value| {
        ids::alias_ids(kind(name), &object(attributes))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let found = aliases(
        "Malware",
        json!({"name": "A", "aliases": ["Emotet", " emotet", "", "Heodo"]}),
    );
    assert_eq!(
        found,
        [
            id_of("Malware", json!({"name": "emotet"})),
            id_of("Malware", json!({"name": "heodo"}))
        ]
    );
    let found = aliases(
        "Attack-Pattern",
        json!({"name": "A", "x_mitre_id": "T1", "aliases": ["B"]}),
    );
    assert_eq!(
        found,
        [id_of("Attack-Pattern", json!({"name": "B"}))],
        "the technique number names the element, not its alias"
    );
    let found = aliases(
        "Organization",
        json!({"name": "A", "x_opencti_aliases": ["B"]}),
    );
    assert_eq!(found, [id_of("Organization", json!({"name": "B"}))]);
    assert!(
        aliases("Report", json!({"name": "A", "aliases": ["B"]})).is_empty(),
        "reports have no aliases"
    );
}

#[test]
fn hashes_are_keys_of_hashed_observables_only() {
    let hashes = json!({"hashes": {"MD5": "AB", "SHA-256": "cd", "SSDEEP": "3:a:b", "SHA-1": ""}});
    let keys = ids::hash_keys(kind("StixFile"), &object(hashes.clone()));
    assert_eq!(keys.len(), 2, "fuzzy and empty ones do not count");
    assert_eq!(
        keys,
        ids::hash_keys(
            kind("StixFile"),
            &object(json!({"hashes": {"MD5": "ab", "SHA-256": "CD"}}))
        )
    );
    assert_ne!(
        keys,
        ids::hash_keys(kind("Artifact"), &object(hashes.clone())),
        "types do not share hashes"
    );
    assert!(ids::hash_keys(kind("Malware"), &object(hashes.clone())).is_empty());
    let alone = ids::hash_ids(kind("StixFile"), &object(hashes))
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(
        alone,
        [
            id_of("StixFile", json!({"hashes": {"MD5": "AB"}})),
            id_of("StixFile", json!({"hashes": {"SHA-256": "cd"}}))
        ]
    );
}

#[test]
fn names_are_normalised_as_javascript_does_it() {
    assert_eq!(
        ids::normalise_name("\u{feff}\u{a0}\u{3000}ÉMOTET \u{2028}"),
        "émotet"
    );
    assert_eq!(
        ids::normalise_name("\u{85}A\u{85}"),
        "\u{85}a\u{85}",
        "U+0085 is no blank there"
    );
    assert_eq!(ids::normalise_name("ΟΔΥΣΣΕΥΣ"), "οδυσσευς", "final sigma");
    assert_eq!(ids::normalise_name("İ"), "i\u{307}");
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

fn is_content(value: &Value) -> bool {
    value
        .as_str()
        .is_none_or(|text| !ids::trim(text).is_empty())
}

proptest! {
    /// `Software` hashes five properties as they are, so that any JSON can be brought in front of the writer.
    #[test]
    fn ids_are_hashed_from_canonical_json(
        cpe in scalar(),
        vendor in proptest::collection::vec(scalar(), 1..4).prop_map(Value::from),
        version in proptest::collection::hash_map(any::<String>(), scalar(), 1..4)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
    ) {
        let mut attributes = object(json!({"cpe": cpe, "vendor": vendor, "version": version}));
        let id = ids::standard_id(kind("Software"), &attributes, &no_targets).unwrap().unwrap();
        attributes.retain(|_, value| is_content(value));
        let canonical = serde_json_canonicalizer::to_vec(&attributes).unwrap();
        prop_assert_eq!(id.uuid, Uuid::new_v5(&ids::OASIS_NAMESPACE, &canonical));
    }

    #[test]
    fn no_attributes_make_the_rules_panic(name in any::<String>(), value in scalar(), index in 0usize..83) {
        let kind = &Registry::get().types()[index];
        let mut attributes = Map::new();
        for contribution in kind.id_rule.ways.iter().flatten() {
            attributes.insert(contribution.property.clone(), value.clone());
        }
        attributes.insert("name".to_owned(), name.into());
        let _ = ids::standard_id(kind, &attributes, &no_targets);
        let _ = ids::alias_ids(kind, &attributes);
        let _ = ids::hash_keys(kind, &attributes);
    }
}

#[test]
fn the_strongest_hash_that_both_have_comes_first_and_fuzzy_ones_do_not_count() {
    let one = object(
        json!({"hashes": {"IMPHASH": "x", "MD5": "aa", "SSDEEP": "3:a:b", "SHA-256": "11", "SHA-512": "22"}}),
    );
    let other = object(
        json!({"hashes": {"SSDEEP": "3:c:d", "MD5": "AA", "IMPHASH": "y", "SHA-1": "33", "SHA-256": "44"}}),
    );
    let found: Vec<(&str, bool)> = ids::common_hashes(kind("StixFile"), &one, &other)
        .iter()
        .map(|hash| (hash.algorithm, hash.agrees()))
        .collect();
    assert_eq!(
        found,
        [("SHA-256", false), ("MD5", true), ("IMPHASH", false)]
    );
    assert_eq!(ids::common_hashes(kind("Url"), &one, &other), []);
}
