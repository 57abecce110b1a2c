//! What follows from objects: observables of indicators, indicators of observables, entries of vocabularies.

use ferrocti_model::{Ident, Registry, input};
use ferrocti_store::{NoteKind, RelationshipQuery, Side, Visibility, WorkStatus};
use serde_json::{Value, json};

use crate::platform::*;

const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn indicator(number: u32, pattern: &str, more: Value) -> Value {
    let object = with(
        named("indicator", number, &format!("Indicator {number}")),
        json!({"pattern": pattern, "pattern_type": "stix", "valid_from": "2023-11-01T00:00:00Z", "x_opencti_create_observables": true}),
    );
    with(object, more)
}

fn observable(stix_type: &str, number: u32, more: Value) -> Value {
    let object = json!({"type": stix_type, "spec_version": "2.1", "id": id(stix_type, number), "x_opencti_create_indicator": true});
    with(object, more)
}

/// What an object is tied to by `based-on` relationships from it (indicator) or to it (observable): type and attributes.
fn tied(platform: &Platform, id: &str) -> Vec<(String, Value)> {
    let object = platform.get(id);
    let kind = Registry::get().by_name("based-on").unwrap().code;
    let mut found: Vec<(String, Value)> = platform
        .store
        .read(|snapshot| -> Result<_, ferrocti_store::StoreError> {
            let relationships = snapshot.relationships_of(&RelationshipQuery {
                iid: object.iid,
                side: Side::Both,
                types: &[kind],
                visible: &Visibility::All,
                after: 0,
                limit: 100,
            })?;
            let mut found = Vec::new();
            for relationship in relationships {
                let (from, to) = snapshot.load_one(relationship)?.unwrap().ends.unwrap();
                assert_eq!(snapshot.load_one(from)?.unwrap().kind.name, "Indicator");
                let other = if from == object.iid { to } else { from };
                let other = snapshot.load_one(other)?.unwrap();
                found.push((other.kind.name.clone(), Value::Object(other.attributes)));
            }
            Ok(found)
        })
        .unwrap();
    found.sort_by_key(|(kind, attributes)| format!("{kind} {attributes}"));
    found
}

#[test]
fn an_indicator_brings_its_observables() {
    let platform = Platform::new();
    let author = organization(1, "Acme");
    let object = indicator(
        1,
        "[ipv4-addr:value = '192.0.2.1' OR file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
        json!({"created_by_ref": id_of(&author), "object_marking_refs": [TLP_GREEN], "labels": ["bad"], "x_opencti_score": 80,
            "external_references": [{"source_name": "acme", "url": "https://acme.example/1"}]}),
    );
    let work = platform.work(false);
    platform.send_with(
        CONNECTOR,
        &[author, object.clone()],
        json!({"work_id": work}),
    );
    platform.work_off();

    assert_eq!(
        platform.progress(&work),
        (WorkStatus::Complete, 2, 2, 0),
        "what follows is not counted"
    );
    let tied = tied(&platform, id_of(&object));
    let kinds: Vec<&str> = tied.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["IPv4-Addr", "StixFile"]);
    assert_eq!(tied[0].1["value"], "192.0.2.1");
    assert_eq!(tied[1].1["hashes"], json!({"MD5": MD5}));
    let address = Registry::get().by_name("IPv4-Addr").unwrap();
    let address = ferrocti_model::ids::standard_id(
        address,
        json!({"value": "192.0.2.1"}).as_object().unwrap(),
        &|_| Vec::new(),
    );
    let address = address.unwrap().unwrap().to_string();
    for (reference, count) in [
        ("createdBy", 1),
        ("objectMarking", 1),
        ("objectLabel", 1),
        ("externalReferences", 1),
    ] {
        assert_eq!(
            platform.targets(&address, reference).len(),
            count,
            "{reference}"
        );
    }
    for (_, attributes) in tied {
        assert_eq!(attributes["x_opencti_score"], 80);
        assert_eq!(
            attributes["x_opencti_description"],
            "Simple observable of indicator Indicator 1"
        );
    }
}

#[test]
fn what_follows_from_an_object_that_comes_again_is_not_made_again() {
    let platform = Platform::new();
    let objects = [
        indicator(
            1,
            "[url:value = 'http://a/'] AND [url:value = 'http://b/']",
            json!({}),
        ),
        observable("domain-name", 1, json!({"value": "example.org"})),
    ];
    platform.import(&objects);
    let before = platform.history_end();
    platform.import(&objects);
    // as other text, so that it is not recognised by its digest
    platform.import(&objects.map(|object| with(object, json!({"lang": "en"}))));
    assert_eq!(platform.history_end(), before);
    assert_eq!(
        (
            platform.count("Url"),
            platform.count("Indicator"),
            platform.count("based-on")
        ),
        (2, 2, 3)
    );
}

#[test]
fn an_observable_that_is_known_keeps_its_description() {
    let platform = Platform::new();
    let known = json!({"type": "url", "spec_version": "2.1", "id": id("url", 1), "value": "http://a/", "x_opencti_description": "mine"});
    platform.import(std::slice::from_ref(&known));
    platform.import(&[
        indicator(
            1,
            "[url:value = 'http://a/']",
            json!({"x_opencti_score": 90}),
        ),
        indicator(
            2,
            "[url:value = 'http://a/' AND url:value LIKE 'x']",
            json!({"x_opencti_score": 90}),
        ),
    ]);
    let url = platform.get(id_of(&known));
    assert_eq!(url.attributes["x_opencti_description"], "mine");
    assert_eq!(url.attributes["x_opencti_score"], 90);
    assert_eq!(tied(&platform, id_of(&known)).len(), 2);
    assert_eq!(platform.count("Url"), 1);
}

#[test]
fn nothing_follows_unless_it_is_asked_for() {
    let platform = Platform::new();
    platform.import(&[
        indicator(
            1,
            "[url:value = 'http://a/']",
            json!({"x_opencti_create_observables": false}),
        ),
        observable(
            "url",
            2,
            json!({"value": "http://b/", "x_opencti_create_indicator": false}),
        ),
    ]);
    assert_eq!(
        (
            platform.count("Url"),
            platform.count("Indicator"),
            platform.count("based-on")
        ),
        (1, 1, 0)
    );
}

#[test]
fn an_observable_brings_its_indicator() {
    let platform = Platform::new();
    let file = observable(
        "file",
        1,
        json!({"hashes": {"SHA-1": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "MD5": MD5}, "x_opencti_score": 65,
            "object_marking_refs": [TLP_AMBER]}),
    );
    platform.import(std::slice::from_ref(&file));
    let (kind, indicator) = tied(&platform, id_of(&file)).remove(0);
    assert_eq!(kind, "Indicator");
    assert_eq!(
        indicator["pattern"],
        format!(
            "[file:hashes.MD5 = '{MD5}' OR file:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']"
        )
    );
    assert_eq!(indicator["pattern_type"], "stix");
    assert_eq!(indicator["x_opencti_main_observable_type"], "StixFile");
    assert_eq!(indicator["x_opencti_score"], 65);
    assert!(indicator["valid_until"].is_string(), "{indicator}");
}

#[test]
fn an_indicator_that_is_known_keeps_its_name() {
    let platform = Platform::new();
    platform.import(&[indicator(
        1,
        "[url:value = 'http://a/']",
        json!({"x_opencti_create_observables": false, "description": "mine"}),
    )]);
    platform.import(&[observable("url", 1, json!({"value": "http://a/"}))]);
    let tied = tied(&platform, &id("indicator", 1));
    assert_eq!(tied.len(), 1);
    let indicator = platform.get(&id("indicator", 1));
    assert_eq!(indicator.attributes["name"], "Indicator 1");
    assert_eq!(indicator.attributes["description"], "mine");
}

#[test]
fn what_cannot_be_derived_leaves_the_object_alone() {
    let platform = Platform::new();
    let work = platform.work(false);
    let objects = [
        observable(
            "persona",
            1,
            json!({"persona_name": "p", "persona_type": "t"}),
        ),
        indicator(
            1,
            "[ipv4-addr:value = 'nonsense' OR process:pid = 5]",
            json!({}),
        ),
        indicator(
            2,
            "alert tcp any any",
            json!({"pattern_type": "tanium-signal"}),
        ),
    ];
    platform.send_with(CONNECTOR, &objects, json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 3, 3, 0));
    assert_eq!(
        (
            platform.count("Persona"),
            platform.count("Indicator"),
            platform.count("based-on")
        ),
        (1, 2, 0)
    );
}

#[test]
fn what_follows_from_an_object_that_waits_comes_with_it() {
    let platform = Platform::new();
    let marking = json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", 1),
        "created": "2020-01-01T00:00:00Z", "definition_type": "statement", "definition": {"statement": "mine"}});
    platform.import(&[indicator(
        1,
        "[url:value = 'http://a/']",
        json!({"object_marking_refs": [id_of(&marking)]}),
    )]);
    assert_eq!((platform.count("Url"), platform.parked()), (0, (0, 1)));
    let admin = platform.ingest.clone();
    let decoded = ferrocti_model::stix::decode(marking.as_object().unwrap().clone()).unwrap();
    admin.upsert_all(&platform.admin, decoded.elements).unwrap();
    assert_eq!(
        (
            platform.count("Url"),
            platform.count("based-on"),
            platform.parked()
        ),
        (1, 1, (0, 0))
    );
}

#[test]
fn a_relationship_may_name_an_observable_by_the_id_of_its_short_form() {
    let platform = Platform::new();
    let short = json!({"type": "simple-observable", "id": id("simple-observable", 1), "key": "Domain-Name.value", "value": "example.org",
        "x_opencti_create_indicator": true});
    let malware = malware(1, "Foo");
    let objects = [
        relationship(1, "related-to", &malware, &short),
        malware,
        short.clone(),
    ];
    platform.import(&objects);
    assert_eq!(platform.get(id_of(&short)).kind.name, "Domain-Name");
    assert_eq!(
        (
            platform.count("related-to"),
            platform.count("Indicator"),
            platform.parked()
        ),
        (1, 1, (0, 0))
    );
    let before = platform.history_end();
    platform.import(&objects);
    assert_eq!(platform.history_end(), before);
}

#[test]
fn an_indicator_is_based_on_what_its_input_names_or_is_refused() {
    let platform = Platform::new();
    platform.import(&[
        json!({"type": "url", "spec_version": "2.1", "id": id("url", 1), "value": "http://a/"}),
    ]);
    let add = |based_on: &str| {
        let kind = Registry::get().by_name("Indicator").unwrap();
        let input = json!({"name": "i", "pattern": "[url:value LIKE 'a']", "pattern_type": "stix", "basedOn": [based_on]});
        let element = input::decode(kind, input.as_object().unwrap()).unwrap();
        platform.ingest.upsert(&platform.admin, element)
    };
    let reason = add(&id("url", 7)).unwrap_err().to_string();
    assert!(reason.contains("does not exist"), "{reason}");
    let reason = add(TLP_GREEN).unwrap_err().to_string();
    assert!(reason.contains("not allowed"), "{reason}");
    assert_eq!(
        platform.count("Indicator"),
        0,
        "nothing is stored of what is refused"
    );
    assert!(add(&id("url", 1)).unwrap().created);
    assert!(
        !add(&platform.get(&id("url", 1)).internal.to_string())
            .unwrap()
            .changed
    );
    assert_eq!(tied(&platform, &id("url", 1)).len(), 1);
    assert_eq!(platform.count("based-on"), 1);
}

#[test]
fn an_input_makes_entries_of_open_vocabularies_and_none_of_closed_ones() {
    let platform = Platform::new();
    let add = |kind: &str, input: Value| {
        let kind = Registry::get().by_name(kind).unwrap();
        let element = input::decode(kind, input.as_object().unwrap()).unwrap();
        platform.ingest.upsert(&platform.admin, element)
    };
    let before = platform.count("Vocabulary");
    let added = add(
        "Malware",
        json!({"name": "Foo", "malware_types": ["backdoor", "own type"]}),
    )
    .unwrap();
    let stored = platform
        .store
        .read(|snapshot| snapshot.load_one(added.iid))
        .unwrap()
        .unwrap();
    assert_eq!(
        stored.attributes["malware_types"],
        json!(["backdoor", "own type"])
    );
    assert_eq!(platform.count("Vocabulary"), before + 1);
    let entry = ferrocti_model::stix::vocabulary("malware_type_ov", "own type").unwrap();
    let key = Ident::Stix(entry.stix_ids[0]).to_string();
    assert_eq!(platform.get(&key).attributes["name"], "own type");

    let reason = add(
        "Indicator",
        json!({"name": "i", "pattern": "x", "pattern_type": "own language"}),
    )
    .unwrap_err()
    .to_string();
    assert!(
        reason.contains("not an entry of the vocabulary pattern_type_ov"),
        "{reason}"
    );
    assert_eq!(platform.count("Vocabulary"), before + 1);
}

#[test]
fn the_work_hears_of_what_is_not_derived() {
    let platform = Platform::new();
    platform.import(&[json!({"type": "url", "spec_version": "2.1", "id": id("url", 1), "value": "http://a/", "object_marking_refs": [TLP_RED]})]);
    let capabilities = ferrocti_access::Capabilities::connector();
    let mut limited = user(
        "limited",
        &capabilities.iter().collect::<Vec<_>>(),
        uuid::Uuid::from_u128(9),
    );
    limited.markings = Some(vec![platform.get(TLP_GREEN).internal]);
    platform.add_connector("limited", limited);
    let work = platform.work_of("limited", false);
    platform.send_with(
        "limited",
        &[indicator(1, "[url:value = 'http://a/']", json!({}))],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.errors(&work), [""; 0]);
    assert_eq!(
        (platform.count("Indicator"), platform.count("based-on")),
        (1, 0)
    );
    let messages = platform.notes(&work, NoteKind::Message);
    assert!(
        messages
            .iter()
            .any(|message| message.contains("no Url is made for")),
        "{messages:?}"
    );
}
