//! What becomes of values, names and identifiers.

use super::*;

#[test]
fn values_are_added_replaced_and_removed() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let admin = Arc::clone(&platform.admin);
    let patch = |edits: &[FieldEdit]| platform.patch(&admin, &id, edits).unwrap();
    patch(&[edit("aliases", json!(["a", "b"]))]);
    patch(&[add("aliases", json!(["b", "c"]))]);
    assert_eq!(platform.attribute(&id, "aliases"), json!(["a", "b", "c"]));
    patch(&[remove("aliases", json!(["a"]))]);
    assert_eq!(platform.attribute(&id, "aliases"), json!(["b", "c"]));
    patch(&[
        edit("description", json!("  text ")),
        edit("is_family", json!(false)),
        edit("first_seen", json!("2024-01-01T00:00:00Z")),
    ]);
    assert_eq!(platform.attribute(&id, "description"), json!("text"));
    assert_eq!(platform.attribute(&id, "is_family"), json!(false));
    patch(&[
        edit("description", json!([])),
        edit("first_seen", json!([null])),
    ]);
    assert_eq!(platform.attribute(&id, "description"), Value::Null);
    assert_eq!(
        platform.attribute(&id, "first_seen"),
        json!("1970-01-01T00:00:00.000Z")
    );
    let events = platform.history_end();
    patch(&[edit("is_family", json!(false))]);
    assert_eq!(platform.history_end(), events, "nothing has changed");
}

#[test]
fn a_path_leads_into_a_value() {
    let platform = Platform::new();
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let file = json!({"type": "file", "spec_version": "2.1", "id": "file--00000000-0000-4000-8000-000000000001", "name": "a.exe", "hashes": {"MD5": md5}});
    platform.import(std::slice::from_ref(&file));
    let id = &platform.get(id_of(&file)).internal.to_string();
    let at = |path: &str, operation, values| FieldEdit {
        key: "hashes".to_owned(),
        path: Some(path.to_owned()),
        operation,
        values,
    };
    let set = at("/hashes/SHA-1", EditOperation::Add, vec![json!(sha1)]);
    platform.patch(&platform.admin, id, &[set]).unwrap();
    assert_eq!(
        platform.attribute(id, "hashes"),
        json!({"MD5": md5, "SHA-1": sha1})
    );
    let gone = at("MD5", EditOperation::Remove, vec![]);
    platform.patch(&platform.admin, id, &[gone]).unwrap();
    assert_eq!(platform.attribute(id, "hashes"), json!({"SHA-1": sha1}));
    let lost = at("/a/b", EditOperation::Replace, vec![json!("x")]);
    assert!(matches!(
        platform.patch(&platform.admin, id, &[lost]),
        Err(EditError::NoSuchPath { .. })
    ));
}

#[test]
fn an_edit_is_checked_like_an_input() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let fault = |edits: &[FieldEdit]| {
        platform
            .patch(&platform.admin, &id, edits)
            .unwrap_err()
            .to_string()
    };
    let before = platform.get(&id);
    assert_eq!(
        fault(&[edit("name", json!(""))]),
        "Malware needs property \"name\""
    );
    assert_eq!(
        fault(&[edit("colour", json!("red"))]),
        "Malware has neither an attribute nor a reference \"colour\""
    );
    assert_eq!(
        fault(&[edit("entity_type", json!("Tool"))]),
        "\"entity_type\" is set by the platform and cannot be edited"
    );
    assert!(
        fault(&[
            edit("first_seen", json!("2024-01-01T00:00:00Z")),
            edit("last_seen", json!("2023-01-01T00:00:00Z"))
        ])
        .contains("lies before")
    );
    assert!(
        fault(&[
            edit("description", json!("kept back")),
            edit("createdBy", json!(id))
        ])
        .contains("cannot lead back to the object itself")
    );
    let other = platform.known(2, "two", 10);
    assert!(fault(&[edit("createdBy", json!(other))]).contains("must not point"));
    assert!(
        fault(&[edit(
            "createdBy",
            json!("identity--00000000-0000-4000-8000-000000000009")
        )])
        .contains("does not exist")
    );
    assert_eq!(platform.get(&id), before);
}

#[test]
fn a_new_name_keeps_the_former_id() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let before = platform.get(&id);
    platform
        .patch(
            &platform.admin,
            &id,
            &[edit("aliases", json!(["two", "three"]))],
        )
        .unwrap();
    platform
        .patch(&platform.admin, &id, &[edit("name", json!("two"))])
        .unwrap();
    let after = platform.get(&id);
    assert_ne!(after.standard, before.standard);
    assert_eq!(after.attributes["aliases"], json!(["three"]));
    assert!(
        after.attributes["x_opencti_stix_ids"]
            .as_array()
            .unwrap()
            .contains(&json!(before.standard.to_string()))
    );
    for known in [before.standard, after.standard] {
        assert_eq!(platform.get(&known.to_string()).iid, after.iid);
    }
    // the same name from a connector is the same object
    platform.import(&[malware(8, "two"), malware(9, "three")]);
    assert_eq!(platform.count("Malware"), 1);
}

#[test]
fn an_identity_of_another_is_not_taken() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    platform.known(2, "two", 10);
    for edits in [edit("name", json!("Two")), add("aliases", json!("two"))] {
        let denied = platform.patch(&platform.admin, &id, &[edits]);
        let text = denied.unwrap_err().to_string();
        assert!(
            text.starts_with("This update will produce a duplicate"),
            "{text}"
        );
    }
    // an alias that is given up is free for another
    platform
        .patch(&platform.admin, &id, &[edit("aliases", json!(["three"]))])
        .unwrap();
    platform
        .patch(&platform.admin, &id, &[edit("aliases", json!([]))])
        .unwrap();
    platform.known(3, "three", 10);
    assert_eq!(platform.count("Malware"), 3);
}

#[test]
fn a_single_reference_is_not_overwritten_by_another() {
    let platform = Platform::new();
    let (one, other) = (organization(5, "one"), organization(6, "other"));
    platform.import(&[one.clone(), other.clone()]);
    let id = platform.known(1, "malware", 10);
    let admin = &platform.admin;
    platform
        .link(admin, &id, "created-by", id_of(&one))
        .unwrap();
    platform
        .link(admin, &id, "created-by", id_of(&one))
        .unwrap();
    assert!(matches!(
        platform.link(admin, &id, "created-by", id_of(&other)),
        Err(EditError::Occupied(_))
    ));
    platform
        .unlink(admin, &id, "created-by", id_of(&one))
        .unwrap();
    platform
        .link(admin, &id, "created-by", id_of(&other))
        .unwrap();
    let author = platform.get(id_of(&other)).standard.to_string();
    assert_eq!(platform.targets(&id, "createdBy"), [author]);
}

#[test]
fn an_input_that_was_edited_away_counts_when_it_comes_again() {
    let platform = Platform::new();
    let object = with(
        malware(1, "one"),
        json!({"description": "from the feed", "confidence": 50}),
    );
    platform.import(std::slice::from_ref(&object));
    let id = id_of(&object);
    let user = actor(&platform, Some(50));
    platform
        .patch(&user, id, &[edit("description", json!("by hand"))])
        .unwrap();
    assert_eq!(platform.attribute(id, "description"), json!("by hand"));
    platform.import(std::slice::from_ref(&object));
    assert_eq!(
        platform.attribute(id, "description"),
        json!("from the feed")
    );
}

#[test]
fn a_renamed_vocabulary_entry_is_renamed_where_it_is_used() {
    let platform = Platform::new();
    let object = with(
        malware(1, "one"),
        json!({"malware_types": ["first-kind", "trojan"]}),
    );
    platform.import(std::slice::from_ref(&object));
    let entry = ferrocti_model::stix::vocabulary("malware_type_ov", "first-kind").unwrap();
    let entry = entry.stix_ids[0].to_string();
    let user = actor(&platform, Some(10));
    platform
        .patch(&user, &entry, &[edit("name", json!("better-kind"))])
        .unwrap();
    assert_eq!(
        platform.attribute(id_of(&object), "malware_types"),
        json!(["better-kind", "trojan"])
    );
    let denied = platform.patch(
        &actor(&platform, Some(100)),
        id_of(&object),
        &[edit("malware_types", json!([""]))],
    );
    assert!(denied.is_ok());
    assert_eq!(
        platform.attribute(id_of(&object), "malware_types"),
        Value::Null
    );
}

#[test]
fn a_value_outside_of_its_vocabulary_is_refused_without_the_right_to_add_it() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let kinds = [edit("malware_types", json!(["a-new-kind"]))];
    let user = Arc::new(Actor {
        capabilities: ["KNOWLEDGE_KNUPDATE"].into_iter().collect(),
        ..(*platform.admin).clone()
    });
    assert!(matches!(
        platform.patch(&user, &id, &kinds),
        Err(EditError::Refused(RefusedReason::NotInVocabulary { .. }))
    ));
    platform
        .patch(&actor(&platform, Some(100)), &id, &kinds)
        .unwrap();
    assert_eq!(
        platform.attribute(&id, "malware_types"),
        json!(["a-new-kind"])
    );
}

#[test]
fn an_indicator_that_has_ended_is_revoked() {
    let platform = Platform::new();
    let indicator = with(
        named("indicator", 1, "an address"),
        json!({"pattern": "[ipv4-addr:value = '192.0.2.1']", "pattern_type": "stix", "valid_from": "2020-01-01T00:00:00Z",
            "valid_until": "2090-01-01T00:00:00Z", "x_opencti_detection": true}),
    );
    platform.import(std::slice::from_ref(&indicator));
    let id = id_of(&indicator);
    assert_eq!(platform.attribute(id, "revoked"), json!(false));
    platform
        .patch(
            &platform.admin,
            id,
            &[edit("valid_until", json!("2021-01-01T00:00:00Z"))],
        )
        .unwrap();
    assert_eq!(platform.attribute(id, "revoked"), json!(true));
    assert_eq!(platform.attribute(id, "x_opencti_detection"), json!(false));
}

#[test]
fn a_reason_and_its_source_are_kept_with_the_change() {
    let platform = Platform::new();
    let source = with(
        malware(2, "two"),
        json!({"external_references": [{"source_name": "a source", "url": "https://example.org/"}]}),
    );
    platform.import(std::slice::from_ref(&source));
    let id = platform.known(1, "one", 10);
    let reference = platform
        .targets(id_of(&source), "externalReferences")
        .remove(0);
    let comment = Comment {
        message: Some("the vendor says so".to_owned()),
        references: vec![ident(&reference)],
    };
    let subject = Subject::any(ident(&id));
    platform
        .ingest
        .patch(
            &platform.admin,
            &subject,
            &[edit("description", json!("new"))],
            &comment,
        )
        .unwrap();
    assert_eq!(platform.targets(&id, "externalReferences"), [reference]);
    assert_eq!(
        platform.last_event().data.unwrap()["message"],
        json!("the vendor says so")
    );
}

#[test]
fn an_observable_with_another_value_is_another_thing() {
    let platform = Platform::new();
    let address = |number: u32, value: &str| json!({"type": "ipv4-addr", "spec_version": "2.1", "id": id("ipv4-addr", number), "value": value});
    platform.import(&[address(1, "192.0.2.1")]);
    let first = platform.get(&id("ipv4-addr", 1));
    let row = first.iid;
    platform
        .patch(
            &platform.admin,
            &first.standard.to_string(),
            &[edit("value", json!("192.0.2.2"))],
        )
        .unwrap();
    // what the old value was known by is free again, and means the old value when it comes again
    assert!(platform.find(&first.standard.to_string()).is_none());
    platform.import(&[address(1, "192.0.2.1"), address(2, "192.0.2.2")]);
    assert_ne!(platform.get(&first.standard.to_string()).iid, row);
    assert_eq!(platform.get(&id("ipv4-addr", 2)).iid, row);
    assert_eq!(platform.count("IPv4-Addr"), 2);
}

#[test]
fn an_observable_with_more_to_it_is_still_known_by_its_former_id() {
    let platform = Platform::new();
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let file = json!({"type": "file", "spec_version": "2.1", "id": id("file", 1), "name": "a.exe", "hashes": {"SHA-256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}});
    platform.import(std::slice::from_ref(&file));
    let before = platform.get(id_of(&file));
    let more = [add("hashes", json!([{"algorithm": "MD5", "hash": md5}]))];
    platform
        .patch(&platform.admin, id_of(&file), &more)
        .unwrap();
    let after = platform.get(id_of(&file));
    assert_ne!(
        before.standard, after.standard,
        "an MD5 goes before a SHA-256"
    );
    assert_eq!(platform.get(&before.standard.to_string()).iid, after.iid);
    assert_eq!(platform.get(id_of(&file)).iid, after.iid);
}

#[test]
fn what_is_hidden_is_neither_named_nor_lost() {
    let platform = Platform::new();
    let hidden = with(
        malware(1, "secret"),
        json!({"object_marking_refs": [TLP_RED]}),
    );
    let open = malware(2, "open");
    let report = with(
        named("report", 9, "a report"),
        json!({"published": "2020-01-01T00:00:00Z", "object_refs": [id_of(&hidden), id_of(&open)]}),
    );
    platform.import(&[hidden.clone(), open.clone(), report.clone()]);
    let user = Arc::new(Actor {
        markings: Markings::Only(vec![stix(TLP_GREEN)]),
        ..(*actor(&platform, Some(100))).clone()
    });
    // who sets the objects of the report does not know of the hidden one
    let none = [edit("objects", json!([]))];
    platform.patch(&user, id_of(&report), &none).unwrap();
    let kept = platform.get(id_of(&hidden)).standard.to_string();
    assert_eq!(
        platform.targets(id_of(&report), "objects"),
        std::slice::from_ref(&kept)
    );
    let author = with(
        organization(3, "a secret author"),
        json!({"object_marking_refs": [TLP_RED]}),
    );
    let written = with(
        malware(4, "written"),
        json!({"created_by_ref": id_of(&author)}),
    );
    platform.import(&[author.clone(), written.clone()]);
    let nobody = [edit("createdBy", json!([]))];
    platform.patch(&user, id_of(&written), &nobody).unwrap();
    let author = platform.get(id_of(&author)).standard.to_string();
    assert_eq!(platform.targets(id_of(&written), "createdBy"), [author]);
    let denied = platform.patch(&user, id_of(&open), &[edit("name", json!("secret"))]);
    let text = denied.unwrap_err().to_string();
    assert!(
        text.starts_with("Restricted entity already exists") && !text.contains(&kept),
        "{text}"
    );
}
