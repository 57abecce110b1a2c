//! Bundles pushed through the API, and elements added directly.

use ferrocti_ingest::{IngestError, PushError, RefusedReason};
use ferrocti_model::{Element, Ident, Registry};
use ferrocti_store::WorkStatus;
use serde_json::json;

use crate::platform::*;

#[test]
fn a_push_announces_its_objects_before_it_returns() {
    let platform = Platform::new();
    let bundle =
        json!({"type": "bundle", "objects": [malware(1, "Foo"), malware(2, "Bar")]}).to_string();
    let pushed = platform
        .ingest
        .push_bundle(&*platform.admin, CONNECTOR, &bundle, None)
        .unwrap();
    assert_eq!(pushed.objects, 2);
    assert_eq!(
        platform.progress(&pushed.work),
        (WorkStatus::Progress, 2, 0, 0)
    );
    platform.work_off();
    assert_eq!(
        platform.progress(&pushed.work),
        (WorkStatus::Complete, 2, 2, 0)
    );
    assert!(
        platform
            .store
            .read(|snapshot| snapshot.pushes())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_push_into_a_given_work_counts_there() {
    let platform = Platform::new();
    let work = platform.work(false);
    let bundle = json!({"type": "bundle", "objects": [malware(1, "Foo")]}).to_string();
    let pushed = platform
        .ingest
        .push_bundle(&*platform.admin, CONNECTOR, &bundle, Some(&work))
        .unwrap();
    assert_eq!(pushed.work, work);
    platform.work_off();
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 1, 1, 0));
}

#[test]
fn what_cannot_be_pushed_is_refused_at_once() {
    let platform = Platform::new();
    let bundle = json!({"type": "bundle", "objects": [malware(1, "Foo")]}).to_string();
    let push = |connector: &str, bundle: &str, work: Option<&str>| {
        platform
            .ingest
            .push_bundle(&*platform.admin, connector, bundle, work)
            .unwrap_err()
    };
    assert!(matches!(push(CONNECTOR, "{}", None), PushError::Bundle(_)));
    assert!(matches!(push(CONNECTOR, "", None), PushError::Bundle(_)));
    assert!(matches!(
        push("nobody", &bundle, None),
        PushError::UnknownConnector(_)
    ));
    assert!(matches!(
        push(CONNECTOR, &bundle, Some("work_gone")),
        PushError::WorkNotAlive(_)
    ));
    assert!(
        platform
            .store
            .read(|snapshot| snapshot.pushes())
            .unwrap()
            .is_empty()
    );
}

fn element(kind: &str, name: &str) -> Element {
    let mut element = Element::new(Registry::get().by_name(kind).unwrap());
    element.attributes.insert("name".to_owned(), name.into());
    element
}

#[test]
fn an_element_added_directly_is_created_then_unchanged_then_merged() {
    let platform = Platform::new();
    let first = platform
        .ingest
        .upsert(&platform.admin, element("Malware", "Foo"))
        .unwrap();
    assert!(first.created && first.changed);
    let again = platform
        .ingest
        .upsert(&platform.admin, element("Malware", "foo"))
        .unwrap();
    assert_eq!((again.iid, again.created), (first.iid, false));
    let mut described = element("Malware", "Foo");
    described
        .attributes
        .insert("description".to_owned(), "x".into());
    let merged = platform.ingest.upsert(&platform.admin, described).unwrap();
    assert_eq!(
        (merged.iid, merged.created, merged.changed),
        (first.iid, false, true)
    );
}

#[test]
fn a_direct_relationship_to_nothing_is_refused() {
    let platform = Platform::new();
    let mut relationship = Element::new(Registry::get().by_name("related-to").unwrap());
    relationship.ends = Some((
        Ident::Stix(stix(TLP_GREEN)),
        Ident::Stix(stix(&id("malware", 1))),
    ));
    let refused = platform
        .ingest
        .upsert(&platform.admin, relationship)
        .unwrap_err();
    assert!(
        matches!(refused, IngestError::Refused(RefusedReason::MissingReference(ref missing)) if *missing == id("malware", 1)),
        "{refused}"
    );
    assert_eq!(platform.parked(), (0, 0));
}

#[test]
fn what_a_platform_has_from_the_beginning_is_created_once() {
    let platform = Platform::new();
    assert_eq!(platform.count("Marking-Definition"), 9);
    assert!(platform.count("Vocabulary") > 300);
    assert_eq!(platform.get(TLP_RED).attributes["x_opencti_order"], 5);
    assert_eq!(
        platform
            .get("marking-definition--a6f20d4d-0360-59b6-ba22-3b48707828b1")
            .attributes["definition"],
        "PAP:AMBER"
    );
    let end = platform.history_end();
    assert_eq!(
        ferrocti_ingest::boot::run(&platform.store, &platform.admin).unwrap(),
        0
    );
    assert_eq!(platform.history_end(), end);
}

#[test]
fn a_pushed_bundle_has_the_rights_of_who_pushed_it() {
    let platform = Platform::new();
    let analyst = platform.add_limited("analyst", |account| account.max_confidence = Some(20));
    let bundle = json!({"type": "bundle", "objects": [malware(1, "Foo")]}).to_string();
    platform.add_connector(
        "mighty",
        user("mighty", &["BYPASS"], uuid::Uuid::from_u128(77)),
    );
    platform
        .ingest
        .push_bundle(&*analyst, "mighty", &bundle, None)
        .unwrap();
    platform.work_off();
    let found = platform.get(&id("malware", 1));
    assert_eq!(
        (found.confidence, &found.attributes["creator_id"]),
        (Some(20), &json!([analyst.user_id.to_string()]))
    );
}
