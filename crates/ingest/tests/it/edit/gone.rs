//! Deleting and merging, by name and by orders in bundles.

use super::*;
use crate::platform::{CONNECTOR, user};

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

#[test]
fn case_133_a_bundle_does_not_delete_what_outweighs_its_sender() {
    let platform = Platform::new();
    let id = platform.known(1, "one", 90);
    let mut light = user(
        "light",
        &Capabilities::connector().iter().collect::<Vec<_>>(),
        Uuid::from_u128(50),
    );
    light.max_confidence = Some(50);
    platform.add_connector("light", light);
    let work = platform.work_of("light", false);
    platform.send_with(
        "light",
        &[with(
            malware(1, "one"),
            json!({"opencti_operation": "delete"}),
        )],
        json!({"work_id": work}),
    );
    platform.work_off();
    let errors = platform.errors(&work);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0]
            .contains("User effective max confidence level is insufficient to update this element"),
        "{errors:?}"
    );
    assert!(platform.find(&id).is_some());
}
