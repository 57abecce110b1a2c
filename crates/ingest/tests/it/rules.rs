//! The rules of one object: identity, references, markings, relationships, confidence, parking.

use ferrocti_access::Capabilities;
use ferrocti_store::{NoteKind, Operation};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::*;

#[test]
fn an_object_is_stored_with_its_author_markings_labels_phases_and_references() {
    let platform = Platform::new();
    let author = organization(1, "Acme");
    let object = with(
        malware(1, "Foo"),
        json!({
        "created_by_ref": id_of(&author), "object_marking_refs": [TLP_GREEN], "labels": ["Bad", "worse"], "malware_types": ["backdoor"],
        "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "execution"}],
        "external_references": [{"source_name": "acme", "url": "https://acme.example/1"}], "confidence": 60}),
    );
    platform.import(&[object.clone(), author]);

    let stored = platform.get(id_of(&object));
    assert_eq!(stored.attributes["name"], "Foo");
    assert_eq!(stored.attributes["malware_types"], json!(["backdoor"]));
    assert_eq!(stored.confidence, Some(60));
    assert_eq!(
        platform.targets(id_of(&object), "createdBy"),
        [platform.get(&id("identity", 1)).standard.to_string()]
    );
    assert_eq!(
        platform.targets(id_of(&object), "objectMarking"),
        [TLP_GREEN]
    );
    assert_eq!(platform.targets(id_of(&object), "objectLabel").len(), 2);
    assert_eq!(platform.targets(id_of(&object), "killChainPhases").len(), 1);
    assert_eq!(
        platform.targets(id_of(&object), "externalReferences").len(),
        1
    );
    assert_eq!(platform.count("Label"), 2);
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn the_id_in_the_bundle_and_the_standard_id_both_find_the_object() {
    let platform = Platform::new();
    let object = malware(1, "Foo");
    platform.import(std::slice::from_ref(&object));
    let stored = platform.get(id_of(&object));
    assert_ne!(stored.standard.to_string(), id_of(&object));
    assert_eq!(platform.get(&stored.standard.to_string()).iid, stored.iid);
    assert_eq!(platform.get(&stored.internal.to_string()).iid, stored.iid);
    assert_eq!(
        stored.attributes["x_opencti_stix_ids"],
        json!([id_of(&object)])
    );
}

#[test]
fn the_same_name_under_another_id_is_the_same_object() {
    let platform = Platform::new();
    platform.import(&[malware(1, "Foo"), malware(2, "  foo ")]);
    assert_eq!(platform.count("Malware"), 1);
    let stored = platform.get(&id("malware", 2));
    assert_eq!(stored.iid, platform.get(&id("malware", 1)).iid);
    assert_eq!(
        stored.attributes["x_opencti_stix_ids"],
        json!([id("malware", 1), id("malware", 2)])
    );
}

#[test]
fn an_alias_finds_the_object() {
    let platform = Platform::new();
    platform.import(&[with(malware(1, "Foo"), json!({"aliases": ["Bar"]}))]);
    platform.import(&[with(malware(2, "Bar"), json!({"description": "seen"}))]);
    assert_eq!(platform.count("Malware"), 1);
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["description"],
        "seen"
    );
}

#[test]
fn a_renamed_object_is_found_under_its_old_and_new_name() {
    let platform = Platform::new();
    platform.import(&[malware(1, "Foo")]);
    let old = platform.get(&id("malware", 1)).standard;
    platform.import(&[malware(1, "Bar")]);
    let stored = platform.get(&id("malware", 1));
    assert_eq!(stored.attributes["name"], "Bar");
    assert_eq!(stored.attributes["aliases"], json!(["Foo"]));
    assert_ne!(stored.standard, old);
    assert_eq!(platform.get(&old.to_string()).iid, stored.iid);
    assert_eq!(platform.count("Malware"), 1);
}

#[test]
fn several_matches_update_the_one_with_the_standard_id() {
    let platform = Platform::new();
    platform.import(&[malware(1, "Foo"), malware(2, "Bar")]);
    platform.import(&[with(
        malware(3, "Foo"),
        json!({"aliases": ["Bar", "Baz"], "description": "both"}),
    )]);
    assert_eq!(platform.count("Malware"), 2);
    let foo = platform.get(&id("malware", 1));
    assert_eq!(foo.attributes["description"], "both");
    assert_eq!(
        foo.attributes["aliases"],
        json!(["Baz"]),
        "an alias that is another object's name stays with it"
    );
    assert_eq!(
        platform
            .get(&id("malware", 2))
            .attributes
            .get("description"),
        None
    );
}

#[test]
fn an_update_records_what_was_there_before() {
    let platform = Platform::new();
    platform.import(&[with(malware(1, "Foo"), json!({"description": "one"}))]);
    let before = platform.history_end();
    platform.clock.advance(1000);
    platform.import(&[with(
        malware(1, "Foo"),
        json!({"description": "two", "labels": ["new"]}),
    )]);
    let events = platform
        .store
        .read(|snapshot| snapshot.history_since(before, 10))
        .unwrap();
    let update = events.last().unwrap();
    assert_eq!(update.operation, Operation::Update);
    assert_eq!(update.iid, platform.get(&id("malware", 1)).iid);
    let data = update.data.as_ref().unwrap();
    assert_eq!(data["attributes"]["description"], "one");
    let label = platform.targets(&id("malware", 1), "objectLabel");
    assert_eq!(
        data["references"]["objectLabel"]["added"],
        json!([platform.get(&label[0]).iid])
    );
    assert_eq!(update.origin.as_ref().unwrap()["connector"], CONNECTOR);
    assert_eq!(platform.get(&id("malware", 1)).updated_at, START + 1000);
}

#[test]
fn confidence_is_capped_by_the_user_and_decides_what_an_update_may_change() {
    let platform = Platform::new();
    let capabilities = Capabilities::connector();
    let mut weak = user(
        "weak",
        &capabilities.iter().collect::<Vec<_>>(),
        Uuid::from_u128(9),
    );
    weak.max_confidence = Some(30);
    platform.add_connector("weak", weak);
    let send = |connector: &str, object: Value| {
        platform.send_with(connector, &[object], json!({}));
        platform.work_off();
    };
    send("weak", with(malware(1, "Foo"), json!({"confidence": 90})));
    assert_eq!(platform.get(&id("malware", 1)).confidence, Some(30));
    send(
        CONNECTOR,
        with(
            malware(1, "Foo"),
            json!({"confidence": 80, "description": "strong"}),
        ),
    );
    assert_eq!(platform.get(&id("malware", 1)).confidence, Some(80));
    send(
        "weak",
        with(
            malware(1, "Foo"),
            json!({"description": "weak", "labels": ["from weak"], "first_seen": "2019-01-01T00:00:00Z"}),
        ),
    );
    let stored = platform.get(&id("malware", 1));
    assert_eq!(stored.attributes["description"], "strong");
    assert_eq!(
        stored.attributes["first_seen"], "2019-01-01T00:00:00.000Z",
        "gaps are filled"
    );
    assert_eq!(
        platform.targets(&id("malware", 1), "objectLabel").len(),
        1,
        "labels are always added"
    );
    assert_eq!(stored.confidence, Some(80));
}

#[test]
fn only_the_strictest_marking_of_a_kind_stays() {
    let platform = Platform::new();
    let marked =
        |markings: Value| with(malware(1, "Foo"), json!({"object_marking_refs": markings}));
    platform.import(&[marked(json!([TLP_GREEN, TLP_AMBER]))]);
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking"),
        [TLP_AMBER]
    );
    platform.import(&[marked(json!([TLP_RED]))]);
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking"),
        [TLP_RED]
    );
    platform.import(&[marked(json!([TLP_GREEN]))]);
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking"),
        [TLP_RED]
    );
}

#[test]
fn a_lower_confidence_marks_only_an_object_without_markings() {
    const PAP_AMBER: &str = "marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1";
    for (before, then, after) in [
        (json!([TLP_GREEN]), json!([TLP_RED]), vec![TLP_GREEN]),
        (json!([TLP_AMBER]), json!([TLP_GREEN]), vec![TLP_AMBER]),
        (json!([TLP_GREEN]), json!([PAP_AMBER]), vec![TLP_GREEN]),
        (json!([]), json!([TLP_RED]), vec![TLP_RED]),
    ] {
        let platform = Platform::new();
        let marked = |confidence: u8, markings: &Value| {
            with(
                malware(1, "Foo"),
                json!({"confidence": confidence, "object_marking_refs": markings}),
            )
        };
        platform.import(&[marked(80, &before)]);
        platform.import(&[marked(79, &then)]);
        assert_eq!(
            platform.targets(&id("malware", 1), "objectMarking"),
            after,
            "{before} then {then}"
        );
    }
}

#[test]
fn an_equal_confidence_marks_more_strictly() {
    let platform = Platform::new();
    let marked = |marking: &str| {
        with(
            malware(1, "Foo"),
            json!({"confidence": 80, "object_marking_refs": [marking]}),
        )
    };
    platform.import(&[marked(TLP_GREEN)]);
    platform.import(&[marked(TLP_RED)]);
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking"),
        [TLP_RED]
    );
}

#[test]
fn a_marking_that_the_user_may_not_use_refuses_the_object() {
    let platform = Platform::new();
    let green = platform.get(TLP_GREEN).internal;
    let capabilities = Capabilities::connector();
    let mut limited = user(
        "limited",
        &capabilities.iter().collect::<Vec<_>>(),
        Uuid::from_u128(9),
    );
    limited.markings = Some(vec![green]);
    platform.add_connector("limited", limited);
    let work = platform.work_of("limited", false);
    let red = with(malware(1, "Foo"), json!({"object_marking_refs": [TLP_RED]}));
    let fine = with(
        malware(2, "Bar"),
        json!({"object_marking_refs": [TLP_GREEN]}),
    );
    platform.send_with("limited", &[red, fine], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.count("Malware"), 1);
    let errors = platform.errors(&work);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains(&id("malware", 1))
            && errors[0].contains("User trying to create the data has missing markings"),
        "{errors:?}"
    );
}

#[test]
fn what_the_user_cannot_see_is_not_changed() {
    let platform = Platform::new();
    platform.import(&[with(
        malware(1, "Foo"),
        json!({"object_marking_refs": [TLP_RED]}),
    )]);
    let green = platform.get(TLP_GREEN).internal;
    let capabilities = Capabilities::connector();
    let mut limited = user(
        "limited",
        &capabilities.iter().collect::<Vec<_>>(),
        Uuid::from_u128(9),
    );
    limited.markings = Some(vec![green]);
    platform.add_connector("limited", limited);
    let work = platform.work_of("limited", false);
    platform.send_with(
        "limited",
        &[with(malware(2, "Foo"), json!({"description": "x"}))],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert!(
        platform.errors(&work)[0].contains("hide it from the user"),
        "{:?}",
        platform.errors(&work)
    );
    assert_eq!(
        platform
            .get(&id("malware", 1))
            .attributes
            .get("description"),
        None
    );
}

#[test]
fn files_that_share_a_hash_become_one_with_their_relationships() {
    let platform = Platform::new();
    let file = |number, hashes: Value| json!({"type": "file", "spec_version": "2.1", "id": id("file", number), "hashes": hashes});
    let (md5, sha) = (
        "d41d8cd98f00b204e9800998ecf8427e",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    let one = file(1, json!({"MD5": md5}));
    let other = file(2, json!({"SHA-256": sha}));
    let target = malware(1, "Foo");
    platform.import(&[
        one.clone(),
        other.clone(),
        target.clone(),
        relationship(1, "related-to", &one, &target),
        relationship(2, "related-to", &other, &target),
        relationship(3, "related-to", &one, &other),
    ]);
    assert_eq!(
        (platform.count("StixFile"), platform.count("related-to")),
        (2, 3)
    );
    platform.import(&[file(3, json!({"MD5": md5, "SHA-256": sha}))]);
    assert_eq!(
        (platform.count("StixFile"), platform.count("related-to")),
        (1, 1)
    );
    let merged = platform.get(&id("file", 1));
    assert_eq!(platform.get(&id("file", 2)).iid, merged.iid);
    assert_eq!(platform.get(&id("file", 3)).iid, merged.iid);
    assert_eq!(
        merged.attributes["hashes"],
        json!({"MD5": md5, "SHA-256": sha})
    );
    assert_eq!(
        platform.get(&id("relationship", 1)).iid,
        platform.get(&id("relationship", 2)).iid
    );
}

#[test]
fn relationships_are_checked() {
    let platform = Platform::new();
    let (one, other) = (malware(1, "Foo"), malware(2, "Bar"));
    let technique = with(named("attack-pattern", 1, "T"), json!({}));
    platform.import(&[one.clone(), other.clone(), technique.clone()]);
    let work = platform.work(false);
    let mut alias = other;
    alias["id"] = platform.get(id_of(&one)).standard.to_string().into();
    platform.send_with(
        CONNECTOR,
        &[
            relationship(1, "uses", &one, &technique),
            relationship(2, "mitigates", &technique, &one),
            relationship(3, "related-to", &one, &alias),
        ],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(
        (platform.count("uses"), platform.count("related-to")),
        (1, 0)
    );
    let errors = platform.errors(&work).join("\n");
    assert!(
        errors.contains("not allowed from Attack-Pattern to Malware")
            && errors.contains("to itself"),
        "{errors}"
    );
}

#[test]
fn a_relationship_is_the_same_within_thirty_days() {
    let platform = Platform::new();
    let (one, other) = (malware(1, "Foo"), malware(2, "Bar"));
    platform.import(&[one.clone(), other.clone()]);
    let dated = |number, start: &str| {
        with(
            relationship(number, "related-to", &one, &other),
            json!({"start_time": start}),
        )
    };
    platform.import(&[dated(1, "2020-01-10T00:00:00Z")]);
    platform.import(&[dated(2, "2020-02-05T00:00:00Z")]);
    assert_eq!(platform.count("related-to"), 1, "26 days apart");
    assert_eq!(
        platform.get(&id("relationship", 2)).attributes["start_time"],
        "2020-01-10T00:00:00.000Z",
        "widened"
    );
    platform.import(&[dated(3, "2020-03-10T00:00:00Z")]);
    assert_eq!(platform.count("related-to"), 2, "two months apart");
    platform.import(&[relationship(4, "related-to", &one, &other)]);
    assert_eq!(platform.count("related-to"), 2, "no dates: any");
}

#[test]
fn an_unknown_reference_is_parked_and_linked_when_it_arrives() {
    let platform = Platform::new();
    let author = organization(1, "Acme");
    let work = platform.work(false);
    platform.send_with(
        CONNECTOR,
        &[with(
            malware(1, "Foo"),
            json!({"created_by_ref": id_of(&author)}),
        )],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(
        platform.targets(&id("malware", 1), "createdBy"),
        Vec::<String>::new()
    );
    assert_eq!(platform.parked(), (1, 0));
    let messages = platform.notes(&work, NoteKind::Message);
    assert!(
        messages
            .iter()
            .any(|message| message.contains("waits for") && message.contains(id_of(&author))),
        "{messages:?}"
    );
    platform.import(std::slice::from_ref(&author));
    assert_eq!(
        platform.targets(&id("malware", 1), "createdBy"),
        [platform.get(id_of(&author)).standard.to_string()]
    );
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn a_relationship_to_nothing_is_parked_whole_and_applied_as_who_sent_it() {
    let platform = Platform::new();
    let capabilities = Capabilities::connector();
    let sender = platform.add_connector(
        "other",
        user(
            "other",
            &capabilities.iter().collect::<Vec<_>>(),
            Uuid::from_u128(9),
        ),
    );
    let (one, other) = (malware(1, "Foo"), malware(2, "Bar"));
    platform.send_with(
        "other",
        &[relationship(1, "related-to", &one, &other)],
        json!({}),
    );
    platform.work_off();
    assert_eq!(
        (platform.count("related-to"), platform.parked()),
        (0, (0, 1))
    );
    platform.import(&[one]);
    assert_eq!(
        (platform.count("related-to"), platform.parked()),
        (0, (0, 1)),
        "one end is still missing"
    );
    platform.import(&[other]);
    assert_eq!(
        (platform.count("related-to"), platform.parked()),
        (1, (0, 0))
    );
    let stored = platform.get(&id("relationship", 1));
    assert_eq!(
        stored.attributes["creator_id"],
        json!([sender.user_id.to_string()])
    );
}

#[test]
fn an_object_with_an_unknown_marking_is_not_shown_before_the_marking_is_there() {
    let platform = Platform::new();
    let marking = json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", 1), "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": "Copyright Acme"}});
    platform.import(&[with(
        malware(1, "Foo"),
        json!({"object_marking_refs": [id_of(&marking)]}),
    )]);
    assert_eq!((platform.count("Malware"), platform.parked()), (0, (0, 1)));
    platform.import(std::slice::from_ref(&marking));
    assert_eq!((platform.count("Malware"), platform.parked()), (1, (0, 0)));
    assert_eq!(
        platform.targets(&id("malware", 1), "objectMarking"),
        [platform.get(id_of(&marking)).standard.to_string()]
    );
}

#[test]
fn a_cyclic_bundle_is_stored_with_both_edges() {
    let platform = Platform::new();
    let report = |number: u32, name: &str, refs: Value| {
        with(
            named("report", number, name),
            json!({"published": "2020-01-01T00:00:00Z", "object_refs": refs}),
        )
    };
    let (one, other) = (id("report", 1), id("report", 2));
    platform.import(&[
        report(1, "One", json!([other])),
        report(2, "Two", json!([one])),
    ]);
    assert_eq!(
        platform.targets(&one, "objects"),
        [platform.get(&other).standard.to_string()]
    );
    assert_eq!(
        platform.targets(&other, "objects"),
        [platform.get(&one).standard.to_string()]
    );
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn a_reference_to_the_wrong_kind_is_left_out_with_a_message() {
    let platform = Platform::new();
    let work = platform.work(false);
    let (one, other) = (malware(1, "Foo"), malware(2, "Bar"));
    platform.send_with(
        CONNECTOR,
        &[
            one.clone(),
            with(other, json!({"created_by_ref": id_of(&one)})),
        ],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.count("Malware"), 2);
    assert_eq!(
        platform.targets(&id("malware", 2), "createdBy"),
        Vec::<String>::new()
    );
    let messages = platform.notes(&work, NoteKind::Message).join("\n");
    assert!(
        messages.contains("must not point to an object of type Malware"),
        "{messages}"
    );
}

#[test]
fn a_marking_that_is_none_refuses_the_object() {
    let platform = Platform::new();
    let work = platform.work(false);
    let (one, other) = (malware(1, "Foo"), malware(2, "Bar"));
    let marked = with(other, json!({"object_marking_refs": [id_of(&one)]}));
    platform.send_with(CONNECTOR, &[one, marked], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.count("Malware"), 1);
    let errors = platform.errors(&work).join("\n");
    assert!(errors.contains(&id("malware", 2)), "{errors}");
}

#[test]
fn vocabulary_values_are_created_and_take_the_form_of_their_entry() {
    let platform = Platform::new();
    let before = platform.count("Vocabulary");
    platform.import(&[with(
        malware(1, "Foo"),
        json!({"malware_types": ["BackDoor", "brand-new"]}),
    )]);
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["malware_types"],
        json!(["backdoor", "brand-new"])
    );
    assert_eq!(platform.count("Vocabulary"), before + 1);
}

#[test]
fn a_sighting_at_several_places_is_several_sightings() {
    let platform = Platform::new();
    let (sighted, here, there) = (
        malware(1, "Foo"),
        organization(1, "Here"),
        organization(2, "There"),
    );
    let sighting = json!({"type": "sighting", "spec_version": "2.1", "id": id("sighting", 1), "created": "2020-01-01T00:00:00Z", "modified": "2020-01-01T00:00:00Z",
        "sighting_of_ref": id_of(&sighted), "where_sighted_refs": [id_of(&here), id_of(&there)], "count": 3});
    platform.import(&[sighting.clone(), sighted, here, there]);
    assert_eq!(platform.count("stix-sighting-relationship"), 2);
    let end = platform.history_end();
    platform.import(&[sighting]);
    assert_eq!(
        (
            platform.count("stix-sighting-relationship"),
            platform.history_end()
        ),
        (2, end)
    );
}

#[test]
fn only_a_user_with_bypass_may_run_as_somebody_else() {
    let platform = Platform::new();
    let capabilities = Capabilities::connector();
    let own = platform.add_connector(
        "plain",
        user(
            "plain",
            &capabilities.iter().collect::<Vec<_>>(),
            Uuid::from_u128(9),
        ),
    );
    let powerful = platform.add_connector("power", user("power", &["BYPASS"], Uuid::from_u128(10)));
    assert_ne!(powerful.user_id, platform.admin.user_id);
    let envelope = json!({"applicant_id": platform.admin.user_id});
    platform.send_with("plain", &[malware(1, "Foo")], envelope.clone());
    platform.send_with("power", &[malware(2, "Bar")], envelope);
    platform.work_off();
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["creator_id"],
        json!([own.user_id.to_string()])
    );
    assert_eq!(
        platform.get(&id("malware", 2)).attributes["creator_id"],
        json!([platform.admin.user_id.to_string()])
    );
}

#[test]
fn without_the_capability_nothing_is_written() {
    let platform = Platform::new();
    platform.add_connector(
        "reader",
        user("reader", &["KNOWLEDGE", "CONNECTORAPI"], Uuid::from_u128(9)),
    );
    let work = platform.work_of("reader", false);
    platform.send_with("reader", &[malware(1, "Foo")], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.count("Malware"), 0);
    assert!(
        platform.errors(&work)[0].contains("KNOWLEDGE_KNUPDATE"),
        "{:?}",
        platform.errors(&work)
    );
}
