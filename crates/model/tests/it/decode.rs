//! Decoding STIX objects: which type an object is, where its properties go, what is refused and why.

use ferrocti_model::{
    Element, Ident, StixId, bundle,
    stix::{self, Decoded, Refusal},
};
use serde_json::{Map, Value, json};

pub const CREATED: &str = "2024-01-01T00:00:00.000Z";

/// Decodes an object of that type with an id of its own.
pub fn decode(stix_type: &str, properties: Value) -> Result<Decoded, Refusal> {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(stix_type));
    object.insert("spec_version".to_owned(), json!("2.1"));
    object.insert("id".to_owned(), json!(id(stix_type, 1)));
    if let Value::Object(properties) = properties {
        object.extend(properties);
    }
    stix::decode(object)
}

pub fn id(stix_type: &str, number: u32) -> String {
    format!("{stix_type}--00000000-0000-4000-8000-{number:012}")
}

fn ident(stix_type: &str, number: u32) -> Ident {
    Ident::parse(&id(stix_type, number)).expect("an id")
}

#[track_caller]
fn element(stix_type: &str, properties: Value) -> Element {
    let decoded = decode(stix_type, properties).expect("it decodes");
    assert_eq!(decoded.elements.len(), 1);
    decoded.elements.into_iter().next().expect("one")
}

pub fn octi(members: Value) -> Value {
    json!({"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba": members})
}

#[test]
fn content_tells_types_apart() {
    let cases = [
        ("identity", json!({"name": "a"}), "Organization"),
        (
            "identity",
            json!({"name": "a", "identity_class": "individual"}),
            "Individual",
        ),
        (
            "identity",
            json!({"name": "a", "identity_class": "class"}),
            "Sector",
        ),
        (
            "identity",
            json!({"name": "a", "identity_class": "system"}),
            "System",
        ),
        (
            "identity",
            json!({"name": "a", "identity_class": "securityplatform"}),
            "SecurityPlatform",
        ),
        (
            "identity",
            json!({"name": "a", "identity_class": "group"}),
            "Organization",
        ),
        (
            "location",
            json!({"name": "a", "x_opencti_location_type": "City", "country": "b"}),
            "City",
        ),
        (
            "location",
            json!({"name": "a", "extensions": octi(json!({"type": "Administrative-Area"}))}),
            "Administrative-Area",
        ),
        (
            "location",
            json!({"name": "a", "country": "FR", "region": "x"}),
            "Country",
        ),
        ("location", json!({"region": "northern-europe"}), "Region"),
        (
            "location",
            json!({"name": "a", "latitude": 1.5}),
            "Position",
        ),
        ("threat-actor", json!({"name": "a"}), "Threat-Actor-Group"),
        (
            "threat-actor",
            json!({"name": "a", "resource_level": "individual"}),
            "Threat-Actor-Individual",
        ),
        (
            "threat-actor",
            json!({"name": "a", "x_opencti_type": "Threat-Actor-Individual"}),
            "Threat-Actor-Individual",
        ),
        (
            "threat-actor",
            json!({"name": "a", "resource_level": "individual", "extensions": octi(json!({"type": "Threat-Actor-Group"}))}),
            "Threat-Actor-Group",
        ),
        (
            "x-opencti-case-incident",
            json!({"name": "a", "created": CREATED}),
            "Case-Incident",
        ),
        (
            "case-rft",
            json!({"name": "a", "created": CREATED}),
            "Case-Rft",
        ),
        ("x-mitre-data-source", json!({"name": "a"}), "Data-Source"),
        ("x-opencti-hostname", json!({"value": "a"}), "Hostname"),
        ("file", json!({"name": "a"}), "StixFile"),
        ("ssh-key", json!({"fingerprint_sha256": "a"}), "SSH-Key"),
    ];
    for (stix_type, properties, expected) in cases {
        assert_eq!(
            element(stix_type, properties.clone()).kind.name,
            expected,
            "{stix_type} {properties}"
        );
    }
}

#[test]
fn properties_come_from_the_top_level_and_the_extensions() {
    let cases = [
        (
            "indicator",
            json!({"pattern": "[a:b='c']", "x_opencti_score": 10, "extensions": octi(json!({"score": 20, "detection": true}))}),
            json!({"x_opencti_score": 10, "x_opencti_detection": true, "pattern": "[a:b = 'c']", "name": "[a:b='c']", "pattern_type": "stix"}),
        ),
        (
            "attack-pattern",
            json!({"name": "a", "extensions": {"extension-definition--322b8f77-262a-4cb8-a915-1e441e00329b": {"id": "T1", "platforms": ["Windows"]}}}),
            json!({"x_mitre_id": "T1", "x_mitre_platforms": ["Windows"]}),
        ),
        (
            "attack-pattern",
            json!({"name": "a", "external_references": [
            {"source_name": "x", "external_id": "1"}, {"source_name": "mitre-attack", "external_id": "T2"}]}),
            json!({"x_mitre_id": "T2"}),
        ),
        (
            "ipv4-addr",
            json!({"value": "192.0.2.1", "description": "d", "score": 7}),
            json!({"x_opencti_description": "d", "x_opencti_score": 7}),
        ),
        (
            "ipv4-addr",
            json!({"value": "192.0.2.1", "extensions": {"extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82": {"description": "d", "score": 7}}}),
            json!({"x_opencti_description": "d", "x_opencti_score": 7}),
        ),
        (
            "domain-name",
            json!({"value": "Example.ORG"}),
            json!({"value": "example.org"}),
        ),
        (
            "windows-registry-key",
            json!({"key": "HKLM\\x"}),
            json!({"attribute_key": "HKLM\\x"}),
        ),
        (
            "email-message",
            json!({"date": CREATED, "subject": "s", "is_multipart": false}),
            json!({"attribute_date": CREATED}),
        ),
        (
            "note",
            json!({"abstract": "a", "content": "<code>x</code>"}),
            json!({"attribute_abstract": "a", "content": "`x`"}),
        ),
        (
            "malware",
            json!({"name": "a", "aliases": ["b"], "x_mitre_aliases": ["A", " c ", "C"]}),
            json!({"aliases": ["c"]}),
        ),
        (
            "malware",
            json!({"name": "a", "x_anything": {"kept": true}, "x_mitre_contributors": ["p"]}),
            json!({"x_anything": {"kept": true}, "x_mitre_contributors": ["p"]}),
        ),
        (
            "x509-certificate",
            json!({"subject": "s", "x509_v3_extensions": {"key_usage": "u"}}),
            json!({"key_usage": "u"}),
        ),
        (
            "process",
            json!({"pid": 1, "environment_variables": {"A": "b"}, "extensions": {"windows-process-ext": {"aslr_enabled": true}, "other-ext": {"a": 1}}}),
            json!({"aslr_enabled": true, "environment_variables": ["A=b"], "x_extensions": {"other-ext": {"a": 1}}}),
        ),
        (
            "security-coverage",
            json!({"name": "a", "covered_ref": id("report", 2), "coverage": [{"name": "n", "score": 3}], "last_result": CREATED}),
            json!({"coverage_information": [{"coverage_name": "n", "coverage_score": 3}], "coverage_last_result": CREATED}),
        ),
        (
            "x-mitre-data-source",
            json!({"name": "a", "x_mitre_collection_layers": ["Host"], "x_mitre_platforms": ["Linux"]}),
            json!({"collection_layers": ["Host"], "x_mitre_platforms": ["Linux"]}),
        ),
        (
            "kill-chain-phase",
            json!({"kill_chain_name": "k", "phase_name": "p", "order": 3}),
            json!({"x_opencti_order": 3}),
        ),
        (
            "malware-analysis",
            json!({"product": "p"}),
            json!({"result_name": "p"}),
        ),
    ];
    for (stix_type, properties, expected) in cases {
        let found = element(stix_type, properties).attributes;
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(
                found.get(name),
                Some(value),
                "{stix_type}.{name} in {found:?}"
            );
        }
    }
}

#[test]
fn markings_come_in_many_forms() {
    let tlp_2 = json!({"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {"extension_type": "property-extension", "tlp_2_0": "amber+strict"}});
    let cases = [
        (
            json!({"definition_type": "tlp", "definition": {"tlp": "red"}}),
            "TLP",
            "TLP:RED",
        ),
        (
            json!({"definition_type": "tlp", "definition": {"tlp": "white"}, "name": "TLP:WHITE"}),
            "TLP",
            "TLP:CLEAR",
        ),
        (
            json!({"definition_type": "TLP", "name": "TLP:AMBER"}),
            "TLP",
            "TLP:AMBER",
        ),
        (
            json!({"definition_type": "statement", "definition": {"statement": "Copyright"}}),
            "statement",
            "Copyright",
        ),
        (
            json!({"name": "TLP:AMBER+STRICT", "extensions": tlp_2}),
            "TLP",
            "TLP:AMBER+STRICT",
        ),
        (json!({"extensions": tlp_2}), "TLP", "TLP:AMBER+STRICT"),
        (
            json!({"x_opencti_definition_type": "PAP", "x_opencti_definition": "PAP:RED", "definition_type": "statement"}),
            "PAP",
            "PAP:RED",
        ),
        (
            json!({"name": "internal only"}),
            "statement",
            "internal only",
        ),
    ];
    for (properties, definition_type, definition) in cases {
        let element = element("marking-definition", properties.clone());
        assert_eq!(
            (element.text("definition_type"), element.text("definition")),
            (Some(definition_type), Some(definition)),
            "{properties}"
        );
    }
}

#[test]
fn what_an_object_brings_along_becomes_elements_of_their_own() {
    let decoded = decode(
        "malware",
        json!({
            "name": "a", "labels": ["Phishing ", "phishing", "x"], "malware_types": ["backdoor"],
            "kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "p", "x_opencti_order": 2}, {"kill_chain_name": "k"}],
            "external_references": [
                {"source_name": "s", "url": "https://example.org/a", "description": "d"}, {"source_name": "s"},
                {"source_name": "s", "external_id": "1"}, {"source_name": "s", "external_id": "1"}, {"url": "https://example.org/b"}
            ]
        }),
    )
    .expect("it decodes");
    let implied: Vec<_> = decoded
        .implied
        .iter()
        .map(|element| {
            (
                element.kind.name.as_str(),
                Value::Object(element.attributes.clone()),
            )
        })
        .collect();
    let expected = [
        ("Label", json!({"value": "phishing"})),
        ("Label", json!({"value": "x"})),
        (
            "Vocabulary",
            json!({"name": "backdoor", "category": "malware_type_ov"}),
        ),
        (
            "Kill-Chain-Phase",
            json!({"kill_chain_name": "k", "phase_name": "p", "x_opencti_order": 2}),
        ),
        (
            "External-Reference",
            json!({"source_name": "s", "description": "d", "url": "https://example.org/a"}),
        ),
        (
            "External-Reference",
            json!({"source_name": "s", "external_id": "1"}),
        ),
        (
            "External-Reference",
            json!({"source_name": "example.org", "url": "https://example.org/b"}),
        ),
    ];
    assert_eq!(implied, expected);
    let own = &decoded.elements[0];
    for (reference, count) in [
        ("objectLabel", 2),
        ("killChainPhases", 1),
        ("externalReferences", 3),
    ] {
        let targets = own.refs_of(reference);
        assert_eq!(targets.len(), count, "{reference}");
        for target in targets {
            assert!(
                decoded.implied.iter().any(|element| element
                    .stix_ids
                    .iter()
                    .any(|id| Ident::Stix(*id) == *target)),
                "{reference}"
            );
        }
    }
}

#[test]
fn registry_values_and_mime_parts_become_observables() {
    let decoded = decode("windows-registry-key", json!({"key": "k", "values": [{"name": "n", "data": "1", "data_type": "REG_DWORD"}, {"name": "m"}]})).expect("it decodes");
    assert_eq!(decoded.elements[0].refs_of("winRegValues").len(), 2);
    assert_eq!(
        decoded
            .implied
            .iter()
            .map(|element| element.kind.name.as_str())
            .collect::<Vec<_>>(),
        ["Windows-Registry-Value-Type"; 2]
    );

    let parts =
        json!([{"body": "b", "content_type": "text/plain", "body_raw_ref": id("artifact", 3)}]);
    let decoded = decode(
        "email-message",
        json!({"is_multipart": true, "subject": "s", "body_multipart": parts}),
    )
    .expect("it decodes");
    assert_eq!(
        decoded.implied[0].refs_of("bodyRaw"),
        [ident("artifact", 3)]
    );
    assert_eq!(decoded.elements[0].refs_of("bodyMultipart").len(), 1);
}

#[test]
fn mail_parts_that_differ_only_in_their_raw_body_are_two() {
    let of = |parts: Value| {
        let mail = json!({"is_multipart": true, "subject": "s", "body_multipart": parts});
        decode("email-message", mail).expect("it decodes").elements[0]
            .refs_of("bodyMultipart")
            .to_vec()
    };
    let part = |raw: &str| json!({"content_type": "application/pdf", "body_raw_ref": raw});
    let (one, other) = (id("artifact", 1), id("artifact", 2));
    assert_eq!(of(json!([part(&one), part(&other), part(&one)])).len(), 2);
    assert_eq!(of(json!([part(&one)])), of(json!([part(&one)])));
    let bare = of(json!([{"content_type": "application/pdf"}]));
    assert!(!of(json!([part(&one)])).contains(&bare[0]));
    let internal = |last: u32| part(&format!("00000000-0000-4000-8000-{last:012}"));
    assert_eq!(of(json!([internal(1), internal(2)])).len(), 2);
}

#[test]
fn references_are_kept_without_what_cannot_exist() {
    let decoded = decode(
        "report",
        json!({
            "name": "a", "published": CREATED, "created_by_ref": id("identity", 2), "object_marking_refs": [id("marking-definition", 3)],
            "object_refs": [id("malware", 4), id("x-mitre-tactic", 5), id("malware", 4), id("relationship", 6), "", null],
            "extensions": octi(json!({"granted_refs": [id("identity", 7)], "assignee_ids": ["0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d"]}))
        }),
    )
    .expect("it decodes");
    let report = &decoded.elements[0];
    assert_eq!(report.refs_of("createdBy"), [ident("identity", 2)]);
    assert_eq!(
        report.refs_of("objects"),
        [ident("malware", 4), ident("relationship", 6)]
    );
    assert_eq!(report.refs_of("objectOrganization"), [ident("identity", 7)]);
    assert_eq!(report.refs_of("objectAssignee").len(), 1);
    let dropped: Vec<String> = decoded.dropped.iter().map(ToString::to_string).collect();
    assert_eq!(
        dropped,
        [format!(
            "\"object_refs\" leaves out {}: its type is not supported",
            id("x-mitre-tactic", 5)
        )]
    );
}

#[test]
fn ids_are_kept_with_the_others_the_object_is_known_by() {
    let element = element(
        "malware",
        json!({"name": "a", "x_opencti_stix_ids": [id("malware", 2), "nonsense"], "extensions": octi(json!({"stix_ids": [id("malware", 3)]}))}),
    );
    let expected: Vec<StixId> = (1..=3)
        .map(|number| StixId::parse(&id("malware", number)).expect("an id"))
        .collect();
    assert_eq!(element.stix_ids, expected);
}

#[test]
fn a_sighting_becomes_one_element_for_each_pair() {
    let decoded = decode(
        "sighting",
        json!({
            "sighting_of_ref": id("malware", 2), "where_sighted_refs": [id("identity", 3), id("location", 4)], "observed_data_refs": [id("observed-data", 5)],
            "first_seen": CREATED, "count": 7, "extensions": octi(json!({"negative": true}))
        }),
    )
    .expect("it decodes");
    let pairs: Vec<_> = decoded
        .elements
        .iter()
        .map(|element| (element.ends, element.stix_ids.len()))
        .collect();
    let (malware, observed) = (ident("malware", 2), ident("observed-data", 5));
    let (identity, location) = (ident("identity", 3), ident("location", 4));
    let expected = [
        (malware, identity, 1),
        (malware, location, 0),
        (observed, identity, 0),
        (observed, location, 0),
    ];
    assert_eq!(
        pairs,
        expected.map(|(from, to, ids)| (Some((from, to)), ids))
    );
    assert_eq!(decoded.elements[0].attributes["attribute_count"], 7);
    assert_eq!(decoded.elements[3].attributes["x_opencti_negative"], true);
    assert_eq!(
        element(
            "sighting",
            json!({"sighting_of_ref": id("malware", 2), "where_sighted_refs": [id("identity", 3)]})
        )
        .attributes["attribute_count"],
        1
    );
}

#[test]
fn an_extension_that_declares_top_level_properties_opens_the_object() {
    let extensions = json!({"extension-definition--d83fce45-ef58-4c6c-a3f4-1fbc32e98c6e": {"extension_type": "toplevel-property-extension"}});
    let element = element(
        "malware",
        json!({"name": "a", "colour": "red", "extensions": extensions}),
    );
    assert_eq!(element.attributes["colour"], "red");
}

#[test]
fn a_bundle_is_ordered_by_what_refers_to_what() {
    let text = json!({"type": "bundle", "id": "bundle--1", "objects": [
        {"type": "relationship", "id": id("relationship", 1), "relationship_type": "uses", "source_ref": id("malware", 2), "target_ref": id("tool", 3)},
        {"type": "report", "id": id("report", 4), "name": "r", "published": CREATED, "object_refs": [id("relationship", 1)]},
        {"type": "malware", "id": id("malware", 2), "name": "m", "created_by_ref": id("identity", 5)},
        {"type": "tool", "id": id("tool", 3), "name": "t"},
        {"type": "identity", "id": id("identity", 5), "name": "i"}
    ]})
    .to_string();
    let bundle = bundle::parse(text.as_bytes(), bundle::Limits::default()).expect("a bundle");
    let elements: Vec<Element> = bundle
        .objects
        .iter()
        .flat_map(|object| stix::decode_json(object.json).expect("it decodes").elements)
        .collect();
    let order = bundle::order(&elements.iter().collect::<Vec<_>>());
    let names: Vec<&str> = order
        .iter()
        .map(|at| elements[*at].kind.name.as_str())
        .collect();
    assert_eq!(names, ["Organization", "Malware", "Tool", "uses", "Report"]);
}

#[test]
fn an_object_does_not_refer_to_itself() {
    let decoded = decode(
        "report",
        json!({"name": "a", "published": CREATED, "object_refs": [id("report", 1), id("tool", 2)]}),
    )
    .unwrap();
    assert_eq!(
        decoded.elements[0].refs_of("objects"),
        [ident("tool", 2)],
        "the others stay"
    );
    assert_eq!(
        decoded.dropped[0].to_string(),
        "\"object_refs\" leaves out the object itself"
    );
    let process = element(
        "process",
        json!({"command_line": "a", "parent_ref": id("process", 1)}),
    );
    assert!(process.refs.is_empty());
}

#[test]
fn blanks_around_a_name_count_only_where_they_make_a_difference() {
    assert_eq!(
        element("malware", json!({"name": "  a b "})).attributes["name"],
        "a b"
    );
    assert_eq!(
        element("file", json!({"name": "a.pdf "})).attributes["name"],
        "a.pdf "
    );
}

#[test]
fn a_hidden_process_is_not_a_hidden_vocabulary_entry() {
    let process = element("process", json!({"command_line": "a", "is_hidden": true}));
    assert_eq!(process.attributes["is_hidden"], true);
    let entry = element(
        "vocabulary",
        json!({"name": "a", "category": "malware_type_ov", "extensions": octi(json!({"is_hidden": true}))}),
    );
    assert!(!entry.attributes.contains_key("is_hidden"));
}

#[test]
fn long_lists_are_decoded_in_a_time_that_grows_with_their_length() {
    let many = 100_000;
    let texts = |prefix: &str| -> Vec<String> {
        (0..many)
            .map(|number| format!("{prefix}{number}"))
            .collect()
    };
    let decoded = decode(
        "malware",
        json!({"name": "a", "aliases": texts("alias "), "labels": texts("label "), "malware_types": texts("type ")}),
    )
    .unwrap();
    assert_eq!(decoded.implied.len(), 2 * many);
    assert_eq!(
        decoded.elements[0].attributes["aliases"]
            .as_array()
            .unwrap()
            .len(),
        many
    );
}

#[test]
fn what_clients_write_beside_the_model_is_no_custom_property() {
    let cases = [
        ("Data-Source", "x_mitre_collection_layers"),
        ("Indicator", "x_opencti_observable_values"),
        ("Tool", "x_opencti_id"),
        ("Tool", "x_opencti_type"),
    ];
    for (name, property) in cases {
        let kind = ferrocti_model::Registry::get().by_name(name).unwrap();
        assert!(!stix::is_custom(kind, property), "{name} {property}");
        assert!(stix::is_custom(kind, "x_own"));
    }
    let layers = element(
        "data-source",
        json!({"name": "a", "x_mitre_collection_layers": ["host"]}),
    );
    assert_eq!(layers.attributes["collection_layers"], json!(["host"]));
}

#[test]
fn a_custom_property_cannot_pass_for_the_extensions() {
    let spoofed = json!({"name": "a", "x_extensions": octi(json!({"id": "b"})), "x_own": 1});
    let malware = element("malware", spoofed);
    assert!(!malware.attributes.contains_key("x_extensions"));
    assert_eq!(malware.attributes["x_own"], 1);
}
