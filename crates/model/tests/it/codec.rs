//! STIX conversion over every type of the registry: what is encoded decodes to the same element.

use ferrocti_model::{
    Element, EntityType, Ident, Registry, StixId, ids,
    registry::{Attribute, Category, Kind, Reference},
    stix::{self, RefTarget, StixView},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const STAMP: &str = "2024-05-06T07:08:09.123Z";
const LATER: &str = "2024-06-07T08:09:10.456Z";

fn id_of(kind: &EntityType, seed: u128) -> StixId {
    StixId {
        type_code: kind.stix_code,
        uuid: uuid::Builder::from_random_bytes(seed.to_be_bytes()).into_uuid(),
    }
}

/// A value that an attribute of this type can have.
fn sample(kind: &EntityType, attribute: &Attribute) -> Value {
    let one = match (kind.name.as_str(), attribute.name.as_str()) {
        ("IPv4-Addr", "value") => json!("192.0.2.7"),
        ("IPv6-Addr", "value") => json!("2001:db8::7"),
        ("Mac-Addr", "value") => json!("00:00:5e:00:53:af"),
        ("Domain-Name" | "Hostname", "value") => json!("www.example.org"),
        ("Email-Addr", "value") => json!("somebody@example.org"),
        ("Label", "value") => json!("phishing"),
        ("Indicator", "pattern") => json!("[ipv4-addr:value = '192.0.2.7']"),
        ("Indicator", "pattern_type") => json!("stix"),
        ("Indicator", "x_opencti_main_observable_type") => json!("IPv4-Addr"),
        ("Marking-Definition", "definition_type") => json!("PAP"),
        ("Marking-Definition", "definition") => json!("PAP:AMBER"),
        ("Opinion", "opinion") => json!("agree"),
        ("Artifact", "payload_bin") => json!("aGVsbG8="),
        ("StixFile", "magic_number_hex") => json!("ffd8"),
        ("Network-Traffic", "is_active") | ("Email-Message", "is_multipart") => json!(false),
        (_, "hashes") => json!({"MD5": "d41d8cd98f00b204e9800998ecf8427e", "SSDEEP": "3::"}),
        (_, "coverage_information") => {
            return json!([{"coverage_name": "prevention", "coverage_score": 40}]);
        }
        _ => match attribute.kind {
            Kind::Int | Kind::Long => json!(42),
            Kind::Float => json!(4.25),
            Kind::Bool => json!(true),
            Kind::Date
                if matches!(
                    attribute.name.as_str(),
                    "stop_time"
                        | "valid_until"
                        | "last_seen"
                        | "last_observed"
                        | "end"
                        | "modified"
                ) =>
            {
                json!(LATER)
            }
            Kind::Date => json!(STAMP),
            Kind::Dict | Kind::Object | Kind::Nested | Kind::Json => {
                json!({"measure": 180, "date_seen": STAMP})
            }
            Kind::Enum => json!(attribute.values.first().map_or("a", String::as_str)),
            Kind::String | Kind::Text | Kind::Id | Kind::Vocabulary => {
                json!(format!("some {}", attribute.name))
            }
        },
    };
    if attribute.multiple {
        json!([one])
    } else {
        one
    }
}

/// Attributes with a value for everything that may be given.
fn attributes(kind: &'static EntityType) -> Map<String, Value> {
    let mut attributes: Map<String, Value> = kind
        .attributes
        .iter()
        .filter(|attribute| {
            stix::is_input(attribute)
                && !matches!(
                    attribute.name.as_str(),
                    "x_opencti_stix_ids" | "x_opencti_files"
                )
        })
        .map(|attribute| (attribute.name.clone(), sample(kind, attribute)))
        .collect();
    attributes.insert("x_custom_thing".to_owned(), json!({"kept": ["as", 1, "t"]}));
    stix::finish(kind, &mut attributes).expect("samples are correct");
    attributes
}

/// A target of a reference with the attributes that are written out with it.
fn target(
    reference: &Reference,
    seed: u128,
) -> (
    Option<&'static EntityType>,
    Option<StixId>,
    Map<String, Value>,
) {
    let implied = match reference.name.as_str() {
        "objectLabel" => stix::label(&format!("label {seed}"), None),
        "externalReferences" => stix::external_reference(
            json!({"source_name": "somebody", "url": format!("https://example.org/{seed}"), "external_id": "X-1", "description": "d"})
                .as_object()
                .cloned()
                .unwrap_or_default(),
        ),
        "killChainPhases" => stix::kill_chain_phase(
            json!({"kill_chain_name": "chain", "phase_name": format!("phase {seed}"), "x_opencti_order": 3}).as_object().cloned().unwrap_or_default(),
        ),
        _ => None,
    };
    if let Some(element) = implied {
        return (
            Some(element.kind),
            element.stix_ids.first().copied(),
            element.attributes,
        );
    }
    let registry = Registry::get();
    let Some(kind) = reference
        .targets
        .iter()
        .find_map(|name| registry.descendants(name).first().copied())
    else {
        return (None, None, Map::new());
    };
    let attributes = match reference.name.as_str() {
        "winRegValues" => Map::from_iter([
            ("name".to_owned(), json!(format!("value {seed}"))),
            ("data".to_owned(), json!("1")),
        ]),
        "bodyMultipart" => Map::from_iter([
            ("body".to_owned(), json!(format!("part {seed}"))),
            ("content_type".to_owned(), json!("text/plain")),
        ]),
        _ => return (Some(kind), Some(id_of(kind, seed)), Map::new()),
    };
    let id = ids::standard_id(kind, &attributes, &|_| Vec::new()).expect("it has content");
    (Some(kind), id, attributes)
}

/// The encoded object of a full element of this type, and the element that it must decode to.
fn full(kind: &'static EntityType) -> (Value, Element) {
    let attributes = attributes(kind);
    let mut element = Element::new(kind);
    element.attributes = attributes.clone();
    let own = id_of(kind, 1);
    let other = id_of(kind, 2);
    element.stix_ids = vec![own, other];
    let mut targets = Vec::new();
    for (index, reference) in kind.refs.iter().enumerate() {
        let count = if reference.multiple { 2 } else { 1 };
        let found: Vec<_> = (0..count)
            .map(|n| target(reference, 100 + (index as u128) * 10 + n))
            .collect();
        targets.push((reference, found));
    }
    let internal = |seed: usize| Uuid::from_u128(0xabc0_0000 + seed as u128);
    for (at, (reference, found)) in targets.iter().enumerate() {
        let idents = found
            .iter()
            .enumerate()
            .map(|(n, (_, id, _))| id.map_or(Ident::Internal(internal(at * 10 + n)), Ident::Stix))
            .collect();
        element.refs.push((*reference, idents));
    }
    let end_kind = Registry::get().by_name("Malware").expect("it is there");
    let empty = Map::new();
    let end = |seed| RefTarget {
        kind: Some(end_kind),
        standard: Some(id_of(end_kind, seed)),
        internal: Uuid::from_u128(seed),
        attributes: &empty,
        refs: Vec::new(),
    };
    if kind.is_relationship() {
        element.ends = Some((
            Ident::Stix(id_of(end_kind, 5)),
            Ident::Stix(id_of(end_kind, 6)),
        ));
    }
    let view = StixView {
        kind,
        standard: own,
        internal: Uuid::from_u128(1),
        created_at: STAMP,
        updated_at: STAMP,
        attributes: &attributes,
        stix_ids: &[other],
        refs: targets
            .iter()
            .enumerate()
            .map(|(at, (reference, found))| {
                let found = found
                    .iter()
                    .enumerate()
                    .map(|(n, (kind, id, attributes))| RefTarget {
                        kind: *kind,
                        standard: *id,
                        internal: internal(at * 10 + n),
                        attributes,
                        refs: Vec::new(),
                    })
                    .collect();
                (*reference, found)
            })
            .collect(),
        ends: kind.is_relationship().then(|| (end(5), end(6))),
    };
    (stix::encode(&view), element)
}

#[test]
fn every_type_survives_encoding_and_decoding() {
    let mut faults = Vec::new();
    for kind in Registry::get().types() {
        let (object, expected) = full(kind);
        let decoded = match stix::decode(object.as_object().cloned().unwrap_or_default()) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                faults.push(format!("{}: refused: {refusal}", kind.name));
                continue;
            }
        };
        let [element] = decoded.elements.as_slice() else {
            faults.push(format!(
                "{}: {} elements",
                kind.name,
                decoded.elements.len()
            ));
            continue;
        };
        if element.kind != kind {
            faults.push(format!("{}: became {}", kind.name, element.kind.name));
        }
        for (name, value) in &expected.attributes {
            if element.attributes.get(name) != Some(value) {
                faults.push(format!(
                    "{}.{name}: {value} became {:?}",
                    kind.name,
                    element.attributes.get(name)
                ));
            }
        }
        for name in element
            .attributes
            .keys()
            .filter(|name| !expected.attributes.contains_key(*name))
        {
            faults.push(format!("{}.{name}: appeared", kind.name));
        }
        for (reference, targets) in &expected.refs {
            if element.refs_of(&reference.name) != targets.as_slice() {
                faults.push(format!(
                    "{}.{}: {targets:?} became {:?}",
                    kind.name,
                    reference.name,
                    element.refs_of(&reference.name)
                ));
            }
        }
        if element.ends != expected.ends || element.stix_ids != expected.stix_ids {
            faults.push(format!(
                "{}: ends or ids differ: {:?} {:?}",
                kind.name, element.ends, element.stix_ids
            ));
        }
        if !decoded.dropped.is_empty() {
            faults.push(format!("{}: dropped {:?}", kind.name, decoded.dropped));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unknown_dates_are_not_exported() {
    let kind = Registry::get().by_name("uses").expect("it is there");
    let attributes = json!({"start_time": "1970-01-01T00:00:00.000Z", "stop_time": "5138-11-16T09:46:40.000Z", "description": ""});
    let attributes = attributes.as_object().expect("an object");
    let view = StixView {
        kind,
        standard: id_of(kind, 1),
        internal: Uuid::nil(),
        created_at: STAMP,
        updated_at: STAMP,
        attributes,
        stix_ids: &[],
        refs: Vec::new(),
        ends: None,
    };
    let object = stix::encode(&view);
    for absent in ["start_time", "stop_time", "description"] {
        assert_eq!(object.get(absent), None, "{absent}");
    }
    assert_eq!(object["type"], "relationship");
    assert_eq!(object["extensions"][stix::EXTENSION_OCTI]["type"], "uses");
}

#[test]
fn the_raw_body_of_a_mail_part_survives_encoding_and_decoding() {
    let registry = Registry::get();
    let (mail, part) = (
        registry.by_name("Email-Message").expect("it is there"),
        registry
            .by_name("Email-Mime-Part-Type")
            .expect("it is there"),
    );
    let artifact = id_of(registry.by_name("Artifact").expect("it is there"), 3);
    let of_part = json!({"content_type": "application/pdf"});
    let of_part = of_part.as_object().expect("an object");
    let attributes = Map::new();
    let view = StixView {
        kind: mail,
        standard: id_of(mail, 1),
        internal: Uuid::nil(),
        created_at: STAMP,
        updated_at: STAMP,
        attributes: &attributes,
        stix_ids: &[],
        refs: vec![(
            mail.reference("bodyMultipart").expect("it is there"),
            vec![RefTarget {
                kind: Some(part),
                standard: Some(id_of(part, 2)),
                internal: Uuid::nil(),
                attributes: of_part,
                refs: vec![(part.reference("bodyRaw").expect("it is there"), artifact)],
            }],
        )],
        ends: None,
    };
    let mut object = stix::encode(&view);
    assert_eq!(
        object["body_multipart"],
        json!([{"content_type": "application/pdf", "body_raw_ref": artifact.to_string()}])
    );
    object["is_multipart"] = json!(true);
    let decoded =
        stix::decode(object.as_object().cloned().expect("an object")).expect("it decodes");
    assert_eq!(
        decoded.implied[0].refs_of("bodyRaw"),
        [Ident::Stix(artifact)]
    );
}

#[test]
fn every_category_is_covered() {
    for category in [
        Category::Domain,
        Category::Observable,
        Category::Meta,
        Category::Relationship,
        Category::Sighting,
    ] {
        assert!(
            Registry::get()
                .types()
                .iter()
                .any(|kind| kind.category == category),
            "{category:?}"
        );
    }
}
