//! Editing, deleting and merging objects by name. Numbers in the names of tests are those of the cases in `docs/guide/security.md`.

use std::sync::Arc;

use ferrocti_access::{Actor, Capabilities, Confidence, Denial, Markings};
use ferrocti_ingest::{Comment, EditError, EditOperation, FieldEdit, RefusedReason, Subject};
use ferrocti_model::Ident;
use ferrocti_store::{HistoryEntry, Operation, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::{
    CONNECTOR, Platform, TLP_AMBER, TLP_GREEN, TLP_RED, id_of, malware, named, organization,
    relationship, stix, with,
};

/// A user with a level who may change, delete and merge knowledge and its labels.
fn actor(platform: &Platform, level: Option<u8>) -> Arc<Actor> {
    let capabilities: Capabilities = [
        "KNOWLEDGE_KNUPDATE_KNDELETE",
        "KNOWLEDGE_KNUPDATE_KNMERGE",
        "SETTINGS_SETLABELS",
        "SETTINGS_SETVOCABULARIES",
    ]
    .into_iter()
    .collect();
    Arc::new(Actor {
        user_id: Uuid::from_u128(77),
        capabilities,
        confidence: level.map(Confidence::of),
        ..(*platform.admin).clone()
    })
}

fn edit(key: &str, value: Value) -> FieldEdit {
    FieldEdit {
        key: key.to_owned(),
        path: None,
        operation: EditOperation::Replace,
        values: match value {
            Value::Array(values) => values,
            single => vec![single],
        },
    }
}

fn add(key: &str, value: Value) -> FieldEdit {
    FieldEdit {
        operation: EditOperation::Add,
        ..edit(key, value)
    }
}

fn remove(key: &str, value: Value) -> FieldEdit {
    FieldEdit {
        operation: EditOperation::Remove,
        ..edit(key, value)
    }
}

fn ident(id: &str) -> Ident {
    Ident::parse(id).unwrap()
}

impl Platform {
    fn patch(&self, actor: &Arc<Actor>, id: &str, edits: &[FieldEdit]) -> Result<(), EditError> {
        let subject = Subject::any(ident(id));
        let patched = self
            .ingest
            .patch(actor, &subject, edits, &Comment::default());
        patched.map(drop)
    }

    fn link(&self, actor: &Arc<Actor>, id: &str, name: &str, to: &str) -> Result<(), EditError> {
        let subject = Subject::any(ident(id));
        let linked = self
            .ingest
            .link(actor, &subject, name, &[ident(to)], &Comment::default());
        linked.map(drop)
    }

    fn unlink(&self, actor: &Arc<Actor>, id: &str, name: &str, to: &str) -> Result<(), EditError> {
        let subject = Subject::any(ident(id));
        let unlinked = self
            .ingest
            .unlink(actor, &subject, name, &[ident(to)], &Comment::default());
        unlinked.map(drop)
    }

    fn delete(&self, actor: &Arc<Actor>, id: &str) -> Result<(), EditError> {
        self.ingest.delete(actor, &Subject::any(ident(id)))
    }

    fn merge(&self, actor: &Arc<Actor>, id: &str, sources: &[&str]) -> Result<(), EditError> {
        let sources: Vec<Ident> = sources.iter().map(|id| ident(id)).collect();
        let merged = self.ingest.merge(actor, &Subject::any(ident(id)), &sources);
        merged.map(drop)
    }

    fn attribute(&self, id: &str, name: &str) -> Value {
        let stored = self.get(id);
        stored.attributes.get(name).cloned().unwrap_or(Value::Null)
    }

    fn last_event(&self) -> HistoryEntry {
        let end = self.history_end();
        let read = |snapshot: &ferrocti_store::Snapshot<'_>| snapshot.history_since(end - 1, 10);
        let events: Result<_, StoreError> = self.store.read(read);
        events.unwrap().pop().unwrap()
    }

    /// A malware with a confidence, and its id.
    fn known(&self, number: u32, name: &str, confidence: u8) -> String {
        let object = with(malware(number, name), json!({"confidence": confidence}));
        self.import(std::slice::from_ref(&object));
        let id = id_of(&object).to_owned();
        assert_eq!(self.get(&id).confidence, Some(confidence));
        id
    }
}

fn outweighed(result: Result<(), EditError>) -> bool {
    matches!(result, Err(EditError::Denied(Denial::Confidence { .. })))
}

#[test]
fn case_90_what_outweighs_the_user_is_not_changed() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 50);
    let before = (platform.get(&id), platform.history_end());
    let denied = platform.patch(
        &actor(&platform, Some(30)),
        &id,
        &[edit("name", json!("two"))],
    );
    let text = denied.as_ref().unwrap_err().to_string();
    assert!(
        text.starts_with(
            "User effective max confidence level is insufficient to update this element"
        ),
        "{text}"
    );
    assert!(outweighed(denied));
    assert_eq!((platform.get(&id), platform.history_end()), before);
}

#[test]
fn cases_91_to_94_a_change_keeps_the_confidence_unless_another_is_given() {
    for (level, given, expected) in [
        (50, edit("description", json!("new")), 50),
        (80, edit("description", json!("new")), 50),
        (80, edit("confidence", json!(90)), 80),
        (80, edit("confidence", json!(10)), 10),
        (80, edit("confidence", json!("70")), 70),
        (80, edit("confidence", json!(900)), 80),
        (80, edit("confidence", json!([])), 50),
    ] {
        let platform = Platform::new();
        let id = platform.known(1, "one", 50);
        let described = given.key == "description";
        platform
            .patch(&actor(&platform, Some(level)), &id, &[given])
            .unwrap();
        let stored = platform.get(&id);
        assert_eq!(stored.confidence, Some(expected), "level {level}");
        assert_eq!(
            stored.attributes.get("confidence"),
            Some(&json!(expected)),
            "level {level}"
        );
        assert_eq!(
            stored.attributes.get("description") == Some(&json!("new")),
            described
        );
    }
}

#[test]
fn case_96_labels_and_external_references_are_everybodys() {
    let platform = Platform::new();
    let object = with(
        malware(1, "one"),
        json!({"confidence": 50, "labels": ["first"]}),
    );
    let other = with(
        malware(2, "two"),
        json!({"labels": ["second"], "external_references": [{"source_name": "a source", "url": "https://example.org/"}]}),
    );
    platform.import(&[object.clone(), other.clone()]);
    let (id, weak) = (id_of(&object), actor(&platform, Some(30)));
    let label = platform.targets(id_of(&other), "objectLabel").remove(0);
    let reference = platform
        .targets(id_of(&other), "externalReferences")
        .remove(0);
    platform.link(&weak, id, "object-label", &label).unwrap();
    platform
        .link(&weak, id, "external-reference", &reference)
        .unwrap();
    assert_eq!(platform.targets(id, "objectLabel").len(), 2);
    assert_eq!(platform.targets(id, "externalReferences"), [reference]);
    platform.unlink(&weak, id, "object-label", &label).unwrap();
    assert_eq!(platform.targets(id, "objectLabel").len(), 1);
    platform
        .patch(&weak, id, &[add("objectLabel", json!(label))])
        .unwrap();
    assert_eq!(platform.get(id).confidence, Some(50));
}

#[test]
fn case_97_other_references_ask_for_confidence() {
    let platform = Platform::new();
    let author = organization(5, "author");
    platform.import(std::slice::from_ref(&author));
    let id = platform.known(1, "one", 50);
    let report = with(
        named("report", 9, "a report"),
        json!({"confidence": 50, "published": "2020-01-01T00:00:00Z", "object_refs": [id_of(&author)]}),
    );
    platform.import(std::slice::from_ref(&report));
    let weak = actor(&platform, Some(30));
    assert!(outweighed(platform.link(
        &weak,
        &id,
        "object-marking",
        TLP_GREEN
    )));
    assert!(outweighed(platform.patch(
        &weak,
        &id,
        &[edit("createdBy", json!(id_of(&author)))]
    )));
    assert!(outweighed(platform.link(
        &weak,
        id_of(&report),
        "object",
        &id
    )));
    let strong = actor(&platform, Some(50));
    platform
        .link(&strong, id_of(&report), "object", &id)
        .unwrap();
    assert_eq!(platform.targets(id_of(&report), "objects").len(), 2);
}

#[test]
fn case_98_delete_and_merge_ask_for_confidence() {
    let platform = Platform::new();
    let strong = platform.known(1, "one", 50);
    let weak = platform.known(2, "two", 20);
    let user = actor(&platform, Some(30));
    assert!(outweighed(platform.delete(&user, &strong)));
    assert!(outweighed(platform.merge(&user, &weak, &[&strong])));
    assert!(outweighed(platform.merge(&user, &strong, &[&weak])));
    platform.delete(&user, &weak).unwrap();
    assert!(platform.find(&weak).is_none());
}

#[test]
fn case_100_an_observable_is_changed_by_every_level() {
    let platform = Platform::new();
    let address = json!({"type": "ipv4-addr", "spec_version": "2.1", "id": "ipv4-addr--00000000-0000-4000-8000-000000000001", "value": "192.0.2.1"});
    platform.import(std::slice::from_ref(&address));
    let id = id_of(&address);
    let text = [edit("x_opencti_description", json!("a host"))];
    platform
        .patch(&actor(&platform, Some(0)), id, &text)
        .unwrap();
    assert_eq!(
        platform.attribute(id, "x_opencti_description"),
        json!("a host")
    );
    let denied = platform.patch(&actor(&platform, None), id, &text);
    assert!(matches!(
        denied,
        Err(EditError::Denied(Denial::NoLevel { verb: "update" }))
    ));
}

#[test]
fn case_41_a_restricted_user_deletes_only_its_own() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let restricted = Arc::new(Actor {
        restrict_delete: true,
        ..(*actor(&platform, Some(80))).clone()
    });
    let denied = platform.delete(&restricted, &id).unwrap_err().to_string();
    assert!(
        denied.starts_with("Restricted to delete this element (not the technical creator)"),
        "{denied}"
    );
    let creator = platform.get(&id).attributes["creator_id"][0]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let owner = Arc::new(Actor {
        user_id: creator,
        ..(*restricted).clone()
    });
    platform.delete(&owner, &id).unwrap();
}

#[test]
fn case_47_an_object_of_another_type_is_not_found() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let subject = Subject {
        id: ident(&id),
        family: "Individual",
    };
    let denied = platform.ingest.delete(&platform.admin, &subject);
    assert!(matches!(denied, Err(EditError::NotFound { .. })));
    assert!(platform.find(&id).is_some());
    for family in ["Malware", "Stix-Domain-Object", "Stix-Core-Object", ""] {
        let subject = Subject {
            id: ident(&id),
            family,
        };
        let found = platform
            .ingest
            .patch(&platform.admin, &subject, &[], &Comment::default());
        assert!(found.is_ok(), "{family}");
    }
}

#[test]
fn case_62_a_marking_is_lowered_on_purpose() {
    let platform = Platform::new();
    let object = with(
        malware(1, "one"),
        json!({"object_marking_refs": [TLP_RED], "confidence": 50}),
    );
    platform.import(std::slice::from_ref(&object));
    let (id, user) = (id_of(&object), actor(&platform, Some(50)));
    // what is only added does not lower it
    platform
        .link(&user, id, "object-marking", TLP_GREEN)
        .unwrap();
    assert_eq!(platform.targets(id, "objectMarking"), [TLP_RED]);
    platform
        .patch(&user, id, &[edit("objectMarking", json!([TLP_GREEN]))])
        .unwrap();
    assert_eq!(platform.targets(id, "objectMarking"), [TLP_GREEN]);
    let event = platform.last_event();
    assert_eq!(event.operation, Operation::Update);
    let change = &event.data.unwrap()["references"]["objectMarking"];
    assert_eq!(change["added"].as_array().unwrap().len(), 1);
    assert_eq!(change["removed"].as_array().unwrap().len(), 1);
}

#[test]
fn only_markings_of_ones_own_are_set() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 10);
    let user = Arc::new(Actor {
        markings: Markings::Only(vec![stix(TLP_GREEN)]),
        ..(*actor(&platform, Some(80))).clone()
    });
    for denied in [
        platform.patch(&user, &id, &[edit("objectMarking", json!([TLP_AMBER]))]),
        platform.link(&user, &id, "object-marking", TLP_AMBER),
    ] {
        let text = denied.unwrap_err().to_string();
        assert!(
            text.starts_with("User trying to create the data has missing markings"),
            "{text}"
        );
    }
    assert!(platform.targets(&id, "objectMarking").is_empty());
}

#[test]
fn what_the_user_may_not_see_is_not_there() {
    let platform = Platform::new();
    let object = with(malware(1, "one"), json!({"object_marking_refs": [TLP_RED]}));
    let id = platform.known(2, "two", 10);
    platform.import(std::slice::from_ref(&object));
    let user = Arc::new(Actor {
        markings: Markings::Only(vec![stix(TLP_GREEN)]),
        ..(*actor(&platform, Some(100))).clone()
    });
    let hidden = id_of(&object);
    let not_found = |result| matches!(result, Err(EditError::NotFound { .. }));
    assert!(not_found(platform.patch(
        &user,
        hidden,
        &[edit("name", json!("x"))]
    )));
    assert!(not_found(platform.delete(&user, hidden)));
    assert!(not_found(platform.merge(&user, &id, &[hidden])));
    assert!(platform.find(hidden).is_some());
}

#[test]
fn capabilities_decide_by_the_type_of_the_object() {
    let platform = Platform::new();
    let object = with(malware(1, "one"), json!({"labels": ["a label"]}));
    platform.import(std::slice::from_ref(&object));
    let label = platform.targets(id_of(&object), "objectLabel").remove(0);
    let with_only = |capability: &str| {
        Arc::new(Actor {
            capabilities: [capability].into_iter().collect(),
            ..(*platform.admin).clone()
        })
    };
    let forbidden = |result: Result<(), EditError>| {
        matches!(result, Err(EditError::Denied(Denial::Capability { .. })))
    };
    let (update, labels) = (
        with_only("KNOWLEDGE_KNUPDATE"),
        with_only("SETTINGS_SETLABELS"),
    );
    assert!(forbidden(platform.delete(&update, id_of(&object))));
    assert!(forbidden(platform.delete(&update, &label)));
    assert!(forbidden(platform.patch(
        &update,
        &label,
        &[edit("color", json!("#ffffff"))]
    )));
    assert!(forbidden(platform.patch(
        &labels,
        id_of(&object),
        &[edit("name", json!("x"))]
    )));
    platform.delete(&labels, &label).unwrap();
    assert!(platform.targets(id_of(&object), "objectLabel").is_empty());
}

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
    let id = id_of(&file);
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
fn deleting_takes_relationships_along_and_containers_lose_the_object() {
    let platform = Platform::new();
    let (one, other) = (malware(1, "one"), malware(2, "other"));
    let tie = relationship(3, "related-to", &one, &other);
    let above = relationship(4, "related-to", &tie, &other);
    let report = with(
        named("report", 9, "a report"),
        json!({"published": "2020-01-01T00:00:00Z", "object_refs": [id_of(&one), id_of(&other)]}),
    );
    let all = [
        one.clone(),
        other.clone(),
        tie.clone(),
        above.clone(),
        report.clone(),
    ];
    platform.import(&all);
    assert!(platform.find(id_of(&above)).is_some());
    platform.delete(&platform.admin, id_of(&one)).unwrap();
    for gone in [&one, &tie, &above] {
        assert!(platform.find(id_of(gone)).is_none(), "{}", id_of(gone));
    }
    assert_eq!(platform.targets(id_of(&report), "objects").len(), 1);
    assert_eq!(platform.last_event().operation, Operation::Delete);
    // the same again is not passed over as known
    platform.import(&all);
    assert_eq!(platform.targets(id_of(&report), "objects").len(), 2);
    assert!(platform.find(id_of(&above)).is_some());
    let deleted = platform
        .ingest
        .delete_between(
            &platform.admin,
            ident(id_of(&one)),
            ident(id_of(&other)),
            "related-to",
        )
        .unwrap();
    assert!(deleted && platform.find(id_of(&tie)).is_none());
    assert!(platform.find(id_of(&one)).is_some());
}

#[test]
fn an_individual_that_is_a_user_stays() {
    let platform = Platform::new();
    let person = with(
        named("identity", 5, "somebody"),
        json!({"identity_class": "individual", "contact_information": platform.admin.email}),
    );
    platform.import(std::slice::from_ref(&person));
    let denied = platform.delete(&platform.admin, id_of(&person));
    let text = denied.unwrap_err().to_string();
    assert!(
        text.starts_with("Cannot delete an individual corresponding to a user"),
        "{text}"
    );
    assert!(platform.find(id_of(&person)).is_some());
}

#[test]
fn merging_unites_names_references_and_relationships() {
    let platform = Platform::new();
    let one = with(malware(1, "one"), json!({"labels": ["a"]}));
    let other = with(
        malware(2, "other"),
        json!({"labels": ["b"], "aliases": ["third"], "description": "known of the other only", "object_marking_refs": [TLP_AMBER]}),
    );
    let tool = named("tool", 3, "a tool");
    let ties = [
        relationship(4, "uses", &other, &tool),
        relationship(5, "related-to", &one, &other),
    ];
    platform.import(&[
        one.clone(),
        other.clone(),
        tool.clone(),
        ties[0].clone(),
        ties[1].clone(),
    ]);
    let before = platform.get(id_of(&other));
    platform
        .merge(&platform.admin, id_of(&one), &[id_of(&other)])
        .unwrap();
    let merged = platform.get(id_of(&one));
    assert_eq!(platform.count("Malware"), 1);
    for id in [before.standard.to_string(), id_of(&other).to_owned()] {
        assert_eq!(platform.get(&id).iid, merged.iid);
    }
    assert_eq!(
        merged.attributes["description"],
        json!("known of the other only")
    );
    let aliases = merged.attributes["aliases"].as_array().unwrap();
    assert!(
        aliases.contains(&json!("third")) && aliases.contains(&json!("other")),
        "{aliases:?}"
    );
    assert_eq!(platform.targets(id_of(&one), "objectLabel").len(), 2);
    assert_eq!(platform.targets(id_of(&one), "objectMarking"), [TLP_AMBER]);
    assert_eq!(
        platform.get(id_of(&ties[0])).ends,
        Some((merged.iid, platform.get(id_of(&tool)).iid))
    );
    assert!(
        platform.find(id_of(&ties[1])).is_none(),
        "a relationship to itself means nothing"
    );
}

#[test]
fn only_things_of_one_kind_are_merged() {
    let platform = Platform::new();
    let (one, tool) = (malware(1, "one"), named("tool", 3, "a tool"));
    platform.import(&[one.clone(), tool.clone()]);
    let fault = |sources: &[&str]| {
        let merged = platform.merge(&platform.admin, id_of(&one), sources);
        merged.unwrap_err().to_string()
    };
    assert!(fault(&[id_of(&tool)]).contains("different types"));
    assert!(fault(&[id_of(&one)]).contains("into itself"));
    assert!(fault(&[]).contains("nothing to merge"));
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
fn case_133_a_bundle_deletes_and_merges_with_the_rights_of_its_sender() {
    let platform = Platform::new();
    let (one, two, three) = (malware(1, "one"), malware(2, "two"), malware(3, "three"));
    platform.import(&[one.clone(), two.clone(), three.clone()]);
    let work = platform.work(false);
    let order = |object: &Value, more: Value| with(object.clone(), more);
    let extension = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";
    platform.send_with(
        CONNECTOR,
        &[
            order(&one, json!({"opencti_operation": "delete"})),
            order(
                &two,
                json!({"extensions": {extension: {"extension_type": "property-extension", "opencti_operation": "merge",
                    "merge_target_id": id_of(&two), "merge_source_ids": [id_of(&three)]}}}),
            ),
            order(&malware(4, "nobody"), json!({"opencti_operation": "delete_force"})),
            order(&malware(5, "mailed"), json!({"opencti_operation": "send_email"})),
        ],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert!(platform.find(id_of(&one)).is_none());
    let errors = platform.errors(&work);
    // connectors may delete, but not merge
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("KNMERGE")));
    assert!(
        errors
            .iter()
            .any(|error| error.contains("there is no element"))
    );
    assert!(errors.iter().any(|error| error.contains("send_email")));
    assert_eq!(platform.count("Malware"), 2);
}
