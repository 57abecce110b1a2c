//! Properties that hold for every order and every repetition.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::platform::*;

/// A bundle in which everything refers to something: authors, a marking of its own, cycles, relationships to relationships.
fn bundle() -> Vec<Value> {
    let marking = json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", 1), "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": "Copyright Acme"}});
    let author = organization(1, "Acme");
    let alpha = with(
        malware(1, "Foo"),
        json!({"created_by_ref": id_of(&author), "object_marking_refs": [id_of(&marking), TLP_GREEN], "labels": ["one", "two"],
        "external_references": [{"source_name": "acme", "url": "https://acme.example/1"}]}),
    );
    let beta = with(
        malware(2, "Bar"),
        json!({"created_by_ref": id_of(&author), "labels": ["two"]}),
    );
    let technique = with(
        named("attack-pattern", 1, "Technique"),
        json!({"object_marking_refs": [id_of(&marking)]}),
    );
    let uses = relationship(1, "uses", &alpha, &technique);
    let related = relationship(2, "related-to", &alpha, &beta);
    let indicator = with(
        named("indicator", 1, "Indicator"),
        json!({"pattern": "[ipv4-addr:value = '192.0.2.1']", "pattern_type": "stix",
        "valid_from": "2020-01-01T00:00:00Z", "created_by_ref": id_of(&author)}),
    );
    let indicates = relationship(3, "indicates", &indicator, &alpha);
    let address = json!({"type": "ipv4-addr", "spec_version": "2.1", "id": id("ipv4-addr", 1), "value": "192.0.2.1"});
    let based = relationship(4, "based-on", &indicator, &address);
    let report = |number: u32, name: &str, refs: Value| {
        with(
            named("report", number, name),
            json!({"published": "2020-01-01T00:00:00Z", "object_refs": refs, "created_by_ref": id_of(&author)}),
        )
    };
    let one = report(
        1,
        "One",
        json!([id("report", 2), id_of(&alpha), id_of(&uses)]),
    );
    let two = report(
        2,
        "Two",
        json!([id("report", 1), id_of(&beta), id_of(&related)]),
    );
    let observed = json!({"type": "observed-data", "spec_version": "2.1", "id": id("observed-data", 1), "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z", "first_observed": "2020-01-01T00:00:00Z", "last_observed": "2020-01-02T00:00:00Z", "number_observed": 2,
        "object_refs": [id_of(&address)]});
    let sighting = json!({"type": "sighting", "spec_version": "2.1", "id": id("sighting", 1), "created": "2020-01-01T00:00:00Z", "modified": "2020-01-01T00:00:00Z",
        "sighting_of_ref": id_of(&indicator), "where_sighted_refs": [id_of(&author)], "count": 3});
    let note = json!({"type": "note", "spec_version": "2.1", "id": id("note", 1), "created": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z",
        "content": "a note", "object_refs": [id_of(&related), id_of(&one)]});
    vec![
        marking, author, alpha, beta, technique, uses, related, indicator, indicates, address,
        based, one, two, observed, sighting, note,
    ]
}

/// Everything that is known, without what depends on when it was learnt.
fn knowledge(platform: &Platform) -> Vec<Value> {
    let mut all = Vec::new();
    platform
        .store
        .read(|snapshot| -> Result<(), ferrocti_store::StoreError> {
            let mut seen = 0;
            loop {
                let events = snapshot.history_since(seen, 1000)?;
                let Some(last) = events.last() else { return Ok(()) };
                seen = last.seq;
                for event in events.iter().filter(|event| event.operation == ferrocti_store::Operation::Create) {
                    let Some(stored) = snapshot.load_one(event.iid)? else { continue };
                    if stored.kind.name == "Vocabulary" {
                        continue;
                    }
                    let mut attributes = stored.attributes.clone();
                    let has_own_date = attributes.get("created") == Some(&json!("2020-01-01T00:00:00.000Z"));
                    for volatile in ["modified", if has_own_date { "" } else { "created" }] {
                        attributes.remove(volatile);
                    }
                    let mut references: Vec<(String, String)> = Vec::new();
                    for edge in snapshot.refs_of(&[stored.iid])? {
                        let name = &ferrocti_model::Registry::get().reference_by_code(edge.reference).unwrap().name;
                        references.push((name.clone(), snapshot.head(edge.target)?.unwrap().1.to_string()));
                    }
                    references.sort();
                    let mut ends = Vec::new();
                    for end in stored.ends.iter().flat_map(|(from, to)| [*from, *to]) {
                        ends.push(snapshot.head(end)?.unwrap().1.to_string());
                    }
                    let mut markings: Vec<String> = Vec::new();
                    for member in snapshot.marking_members(stored.marking_set)? {
                        markings.push(snapshot.head(member)?.unwrap().1.to_string());
                    }
                    markings.sort();
                    all.push(json!({"id": stored.standard.to_string(), "kind": stored.kind.name, "attributes": sorted(&attributes), "references": references,
                        "ends": ends, "visible": markings, "confidence": stored.confidence}));
                }
            }
        })
        .unwrap();
    all.sort_by_key(|value| value["id"].to_string());
    all
}

fn sorted(attributes: &serde_json::Map<String, Value>) -> Value {
    let mut pairs: Vec<_> = attributes.iter().collect();
    pairs.sort_by_key(|(name, _)| name.as_str());
    Value::Object(
        pairs
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn expected() -> &'static [Value] {
    static EXPECTED: std::sync::OnceLock<Vec<Value>> = std::sync::OnceLock::new();
    EXPECTED.get_or_init(|| {
        let platform = Platform::new();
        platform.import(&bundle());
        assert_eq!(platform.parked(), (0, 0));
        knowledge(&platform)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_split_give_the_same_knowledge(
        objects in Just(bundle()).prop_shuffle(),
        cuts in proptest::collection::vec(any::<bool>(), bundle().len()),
        together in any::<bool>(),
    ) {
        let platform = Platform::new();
        let mut message = Vec::new();
        for (object, cut) in objects.into_iter().zip(cuts) {
            message.push(object);
            if cut {
                platform.send_with(CONNECTOR, &std::mem::take(&mut message), json!({}));
                if !together {
                    platform.work_off();
                }
            }
        }
        if !message.is_empty() {
            platform.send_with(CONNECTOR, &message, json!({}));
        }
        platform.work_off();
        prop_assert_eq!(platform.parked(), (0, 0));
        let found = knowledge(&platform);
        prop_assert_eq!(found.len(), expected().len());
        for (one, other) in found.iter().zip(expected()) {
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn what_is_sent_again_changes_nothing(objects in Just(bundle()).prop_shuffle(), single in any::<bool>()) {
        let platform = Platform::new();
        platform.import(&bundle());
        let end = platform.history_end();
        platform.clock.advance(1000);
        if single {
            for object in &objects {
                platform.send_with(CONNECTOR, std::slice::from_ref(object), json!({}));
            }
            platform.work_off();
        } else {
            platform.import(&objects);
        }
        prop_assert_eq!(platform.history_end(), end);
        prop_assert_eq!(platform.ingest.metrics().objects.unchanged, objects.len() as u64);
    }
}
