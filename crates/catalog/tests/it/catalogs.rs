//! Manifests of every form, with contracts that cannot be used among those that can.

use ferrocti_catalog::{
    Catalog, Compatibility, ConnectorType, Contract, ContractFault, Entry, Extra, FieldFault,
    Filter, Lookup, ManifestError, Remark, Request, SchemaFault, Secret, catalog::Format,
    configure, search,
};
use proptest::prelude::*;
use serde_json::{Value, json};

pub const V0: &str = include_str!("../fixtures/manifest_v0.json");
const V1: &str = include_str!("../fixtures/manifest_v1.json");
/// A platform version between those of the fixtures.
pub const PLATFORM: &str = "7.260901.0";

pub fn v0() -> Catalog {
    Catalog::read(V0.as_bytes(), "").unwrap()
}

fn slugs<'a>(contracts: impl IntoIterator<Item = &'a Contract>) -> Vec<&'a str> {
    contracts
        .into_iter()
        .map(|contract| contract.slug.as_str())
        .collect()
}

#[test]
fn a_broken_contract_hides_no_other() {
    let catalog = v0();
    assert_eq!(
        (catalog.id.as_str(), catalog.version.as_str()),
        ("example-catalog", "rolling")
    );
    assert_eq!(
        slugs(&catalog.contracts),
        [
            "every-shape",
            "no-schema",
            "supported-without-schema",
            "newer-only",
            "unreadable-range",
            "no-range"
        ]
    );
    let faults: Vec<(Option<&str>, String)> = catalog
        .broken
        .iter()
        .map(|broken| (broken.name.as_deref(), broken.fault.to_string()))
        .collect();
    for (index, (name, part)) in [
        (None, "must be an object, it is a text"),
        (Some("no-title"), "`title` is missing"),
        (
            Some("verified-text"),
            "`verified` must be true or false, it is a text",
        ),
        (
            Some("bad-type"),
            "`EXTERNAL`; it must be one of EXTERNAL_IMPORT",
        ),
        (Some("bad-image"), "without tag"),
        (
            Some("bad-confidence"),
            "`max_confidence_level` must be a whole number from 0 to 100",
        ),
        (
            Some("bad-properties"),
            "`config_schema.properties` must be an object, it is a list",
        ),
        (
            Some("bad-required"),
            "`config_schema.required` must be a list of texts",
        ),
        (
            Some("bad-property-type"),
            "`type` of property `A` is \"strnig\"",
        ),
        (
            Some("bad-enum"),
            "`enum` of property `A` must be a list with at least one value",
        ),
        (
            Some("bad-pattern"),
            "`pattern` of property `A` is no regular expression",
        ),
        (
            Some("bad-length"),
            "`minLength` of property `A` must be a whole number",
        ),
        (
            Some("bad-key"),
            "`A=B` cannot be the name of an environment variable",
        ),
        (Some("bad-use-cases"), "`use_cases` must be a list of texts"),
        (Some("every-shape"), "in version `rolling` already"),
        (Some("thief"), "belongs to `no-schema` already"),
    ]
    .into_iter()
    .enumerate()
    {
        let (found, text) = &faults[index];
        assert_eq!(*found, name);
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(faults.len(), 16);
    assert_eq!(catalog.broken[0].place, "6");
}

#[test]
fn faults_can_be_told_apart_by_programs() {
    let fault = |value: Value| Contract::read(&value).unwrap_err();
    assert_eq!(
        fault(json!([])),
        ContractFault::NotAnObject { found: "a list" }
    );
    assert_eq!(
        fault(json!({"title": " "})),
        ContractFault::Field(FieldFault::Missing { key: "title" })
    );
    let catalog = v0();
    let of = |name: &str| {
        let broken = catalog
            .broken
            .iter()
            .find(|broken| broken.name.as_deref() == Some(name));
        broken.unwrap().fault.clone()
    };
    assert_eq!(
        of("bad-key"),
        ContractFault::Schema(SchemaFault::Name {
            key: "A=B".to_owned()
        })
    );
    assert!(matches!(of("thief"), ContractFault::ImageTaken { owner, .. } if owner == "no-schema"));
}

#[test]
fn contracts_of_the_newer_format_have_versions() {
    let catalog = Catalog::read(V1.as_bytes(), "").unwrap();
    assert_eq!(catalog.format, Format::V1);
    assert_eq!(catalog.contracts.len(), 5);
    assert_eq!(catalog.broken[0].name.as_deref(), Some("broken"));
    let contract = &catalog.contracts[0];
    assert_eq!(contract.id, "versioned-7.260601.0");
    assert_eq!(contract.connector_type, ConnectorType::InternalEnrichment);
    assert_eq!(
        (contract.playbook_supported, contract.max_confidence_level),
        (true, Some(80))
    );
    assert_eq!(
        contract.image_reference(),
        "example/connector-versioned:7.260601.0"
    );
    let latest = |slug: &str| match catalog.latest(slug, PLATFORM) {
        Lookup::Found(contract) => Some(contract.version.as_str()),
        Lookup::Incompatible(_) | Lookup::Unknown => None,
    };
    assert_eq!(latest("versioned"), Some("7.260817.0-lts.1"));
    assert_eq!(latest("ended"), None);
    assert!(matches!(
        catalog.latest("ended", PLATFORM),
        Lookup::Incompatible(_)
    ));
    assert_eq!(catalog.latest("never", PLATFORM), Lookup::Unknown);
    assert!(matches!(
        catalog.by_image("example/connector-versioned", "7.261101.0"),
        Lookup::Found(contract) if contract.version == "7.261001.0"
    ));
    assert_eq!(
        catalog.version("versioned", "7.260817.0").unwrap().version,
        "7.260817.0"
    );
    let offered = catalog.offered(PLATFORM);
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0].version, "7.260817.0-lts.1");
}

#[test]
fn what_fits_the_platform_is_offered() {
    let catalog = v0();
    assert_eq!(
        slugs(catalog.offered(PLATFORM)),
        [
            "every-shape",
            "no-schema",
            "supported-without-schema",
            "no-range"
        ]
    );
    let unreadable = catalog.version("unreadable-range", "rolling").unwrap();
    assert_eq!(
        unreadable.compatibility(PLATFORM),
        Compatibility::Unreadable
    );
    assert!(
        unreadable
            .remarks()
            .contains(&Remark::UnreadableRange("six or so".to_owned()))
    );
    let without = catalog
        .version("supported-without-schema", "rolling")
        .unwrap();
    assert_eq!(without.remarks(), [Remark::NoSchema]);
}

#[test]
fn keywords_that_are_not_checked_are_told() {
    let catalog = v0();
    let unchecked: Vec<String> = catalog.contracts[0]
        .remarks()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        unchecked,
        [
            "`not` of `SHAPE_ODD` is not checked",
            "`format: hostname` of `SHAPE_ODD` is not checked"
        ]
    );
}

#[test]
fn contracts_are_searched_and_filtered() {
    let catalog = v0();
    let found = |filter: Filter| slugs(search(&catalog.contracts, &filter)).join(" ");
    assert_eq!(
        found(Filter {
            types: vec![ConnectorType::Stream],
            ..Filter::default()
        }),
        "no-schema"
    );
    assert_eq!(
        found(Filter {
            use_cases: vec!["OTHER".to_owned()],
            ..Filter::default()
        }),
        "every-shape no-schema"
    );
    assert_eq!(
        found(Filter {
            supported: Some(false),
            ..Filter::default()
        }),
        "no-schema"
    );
    assert_eq!(
        found(Filter {
            verified: Some(true),
            supported: Some(true),
            ..Filter::default()
        }),
        "every-shape"
    );
    // a word in the name goes before a word in the description
    assert_eq!(
        found(Filter {
            text: "shape".to_owned(),
            ..Filter::default()
        }),
        "every-shape no-schema"
    );
    assert_eq!(
        found(Filter {
            text: "SHAPE every".to_owned(),
            ..Filter::default()
        }),
        "every-shape"
    );
    assert_eq!(
        found(Filter {
            text: "nothing of it".to_owned(),
            ..Filter::default()
        }),
        ""
    );
    assert_eq!(search(&catalog.contracts, &Filter::default()).len(), 6);
}

#[test]
fn a_manifest_that_cannot_be_used_says_why() {
    for (text, part) in [
        ("", "not JSON"),
        ("[]", "must be an object, it is a list"),
        (r#"{"id": "x", "version": "1"}"#, "`contracts` is missing"),
        (r#"{"version": "1", "contracts": []}"#, "`id` is missing"),
        (r#"{"id": "x", "contracts": []}"#, "`version` is missing"),
        (
            r#"{"id": "x", "version": "1", "contracts": {}}"#,
            "`contracts` must be a list",
        ),
        (
            r#"{"id": "x", "manifest_schema_version": "2", "contracts": []}"#,
            "format `2`",
        ),
    ] {
        let error = Catalog::read(text.as_bytes(), "").unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let newer = Catalog::read(
        br#"{"id": "x", "manifest_schema_version": 2, "contracts": []}"#,
        "",
    );
    assert_eq!(
        newer.unwrap_err(),
        ManifestError::UnknownFormat("2".to_owned())
    );
}

#[test]
fn a_directory_of_fragments_is_a_catalog() {
    let manifest: Value = serde_json::from_str(V1).unwrap();
    let one = manifest["contracts"][0].to_string();
    let other = json!({"contracts": [manifest["contracts"][4]]}).to_string();
    let catalog = Catalog::of_files(
        "dir",
        [
            ("one.json", one.as_bytes()),
            ("half.json", b"{\"title\": "),
            ("again.json", one.as_bytes()),
            ("several.json", other.as_bytes()),
        ],
    );
    assert_eq!(slugs(&catalog.contracts), ["versioned", "ended"]);
    let places: Vec<&str> = catalog
        .broken
        .iter()
        .map(|broken| broken.place.as_str())
        .collect();
    assert_eq!(places, ["half.json", "again.json"]);
    // a single fragment in place of a manifest
    let single = Catalog::read(one.as_bytes(), "single").unwrap();
    assert_eq!((single.id.as_str(), single.contracts.len()), ("single", 1));
}

#[test]
fn a_contract_survives_being_stored() {
    for text in [V0, V1] {
        for contract in Catalog::read(text.as_bytes(), "").unwrap().contracts {
            let again = Contract::read(&contract.document()).unwrap();
            assert_eq!(again, contract);
            assert_eq!(again.content_hash(), contract.content_hash());
        }
    }
}

#[test]
fn people_are_not_asked_for_what_the_platform_gives() {
    let catalog = v0();
    let contract = &catalog.contracts[0];
    let asked = contract.asked();
    let properties = asked["config_schema"]["properties"].as_object().unwrap();
    for key in [
        "OPENCTI_URL",
        "OPENCTI_TOKEN",
        "CONNECTOR_TYPE",
        "CONNECTOR_RUN_AND_TERMINATE",
    ] {
        assert!(!properties.contains_key(key), "{key}");
        assert!(contract.schema.as_ref().unwrap().property(key).is_none());
    }
    assert!(properties.contains_key("SHAPE_URL"));
    assert_eq!(
        asked["config_schema"]["required"],
        json!(["SHAPE_URL", "SHAPE_API_KEY"])
    );
    assert_eq!(asked["container_image"], "example/connector-every-shape");
}

#[test]
fn a_content_hash_follows_the_content() {
    let catalog = v0();
    let contract = &catalog.contracts[0];
    let mut other = contract.clone();
    assert_eq!(contract.content_hash().len(), 64);
    other.description.push('.');
    assert_ne!(other.content_hash(), contract.content_hash());
}

/// Any JSON, with the names that contracts have as keys now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("title".to_owned()),
        Just("config_schema".to_owned()),
        Just("properties".to_owned()),
        Just("required".to_owned()),
        Just("type".to_owned()),
        Just("enum".to_owned()),
        Just("items".to_owned()),
        Just("anyOf".to_owned()),
        Just("default".to_owned()),
        Just("additional_properties".to_owned()),
        Just("launch".to_owned()),
        "[A-Z_]{1,6}",
        "\\PC{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        Just(json!("string")),
        Just(json!("integer")),
        Just(json!("array")),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_is_too_strange_for_a_catalog(
        value in any_json(),
        field in prop::sample::select(vec![
            "title", "slug", "logo", "use_cases", "verified", "max_confidence_level", "support_version", "min_version",
            "container_version", "container_image", "container_type", "additional_properties", "launch", "config_schema",
        ]),
    ) {
        let _ = Catalog::read(value.to_string().as_bytes(), "x");
        // one field of a right contract replaced: it is broken or usable, and never lost
        let mut manifest: Value = serde_json::from_str(V0).unwrap();
        manifest["contracts"][0][field] = value;
        let catalog = Catalog::read(manifest.to_string().as_bytes(), "x").unwrap();
        prop_assert_eq!(catalog.contracts.len() + catalog.broken.len(), 22);
        for contract in &catalog.contracts {
            let _ = (contract.asked(), contract.remarks(), contract.content_hash());
        }
    }

    #[test]
    fn no_schema_is_too_strange_to_be_asked(rules in any_json(), text in "\\PC{0,8}") {
        let document = json!({"properties": {"A_KEY": rules}, "required": ["A_KEY"]});
        if let Ok(schema) = ferrocti_catalog::Schema::read(&document) {
            let given = [ferrocti_catalog::Given::new("A_KEY", text.as_str())];
            let request = Request { title: "x", schema: Some(&schema), given: &given, stored: &[], extra: Extra::Keep };
            match configure(&request, &|_: &Secret| Ok("AgAB".to_owned())) {
                Ok(configured) => prop_assert!(configured.entries.iter().all(|entry: &Entry| entry.key == "A_KEY")),
                Err(invalid) => prop_assert!(invalid.problems.iter().all(|problem| problem.key == "A_KEY")),
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_catalog(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Catalog::read(&bytes, "x");
        let _ = Catalog::of_files("x", [("a", bytes.as_slice())]);
    }
}
