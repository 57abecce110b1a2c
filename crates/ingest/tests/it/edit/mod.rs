//! Editing, deleting and merging objects by name. Numbers in the names of tests are those of the cases of the security model (`tests/security`).

mod gone;
mod sequences;
mod values;

use std::sync::Arc;

use ferrocti_access::{Actor, Capabilities, Confidence, Denial, Markings};
use ferrocti_ingest::{Comment, EditError, EditOperation, FieldEdit, RefusedReason, Subject};
use ferrocti_model::Ident;
use ferrocti_store::{AuditQuery, HistoryEntry, ObjectChange, Operation, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::{
    Platform, TLP_AMBER, TLP_GREEN, TLP_RED, id, id_of, malware, named, organization, relationship,
    stix, with,
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
fn case_95_what_had_no_confidence_gets_the_level_of_who_edits_it() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 50);
    let mut stored = platform.get(&id);
    stored.attributes.shift_remove("confidence");
    platform
        .store
        .write(|tx| {
            tx.update(
                stored.iid,
                &ObjectChange {
                    attributes: Some(&stored.attributes),
                    confidence: Some(None),
                    ..ObjectChange::default()
                },
            )
        })
        .unwrap();
    platform
        .patch(
            &actor(&platform, Some(40)),
            &id,
            &[edit("description", json!("new"))],
        )
        .unwrap();
    assert_eq!(platform.get(&id).confidence, Some(40));
    assert_eq!(platform.attribute(&id, "confidence"), json!(40));
}

#[test]
fn case_67_a_change_of_a_marking_is_audited() {
    let platform = Platform::new();
    let marking = json!({"type": "marking-definition", "spec_version": "2.1", "id": id("marking-definition", 1), "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement", "definition": {"statement": "Copyright Acme"}});
    platform.import(std::slice::from_ref(&marking));
    let told = || {
        let query = AuditQuery {
            limit: 10,
            ..AuditQuery::default()
        };
        let page = platform
            .store
            .read(|snapshot| snapshot.audits(&query))
            .unwrap();
        let line = page.into_iter().next().unwrap();
        (line.event_scope, line.message, line.entity_id, line.data)
    };
    let row = platform.get(id_of(&marking)).internal.to_string();
    let (scope, message, entity, _) = told();
    assert_eq!(
        (scope.as_str(), message.as_str(), entity.as_deref()),
        (
            "create",
            "creates Marking-Definition `Copyright Acme`",
            Some(row.as_str())
        )
    );
    platform
        .patch(
            &platform.admin,
            id_of(&marking),
            &[edit("x_opencti_order", json!(4))],
        )
        .unwrap();
    let (scope, message, _, data) = told();
    assert_eq!(scope, "update");
    assert!(
        message.contains("x_opencti_order")
            && message.ends_with("for Marking-Definition `Copyright Acme`"),
        "{message}"
    );
    let data = data.unwrap();
    assert_eq!(
        (
            &data["before"]["x_opencti_order"],
            &data["after"]["x_opencti_order"]
        ),
        (&json!(0), &json!(4))
    );
    platform.delete(&platform.admin, id_of(&marking)).unwrap();
    assert_eq!(told().1, "deletes Marking-Definition `Copyright Acme`");
}
