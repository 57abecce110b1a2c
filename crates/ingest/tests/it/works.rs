//! How works count.

use ferrocti_ingest::works;
use ferrocti_store::{
    StoreError,
    WorkStatus::{Complete, Progress},
};
use serde_json::json;

use crate::platform::*;

fn step<E: From<StoreError> + std::fmt::Debug>(
    platform: &Platform,
    body: impl FnOnce(&mut ferrocti_store::Tx<'_>) -> Result<bool, E>,
) {
    assert!(platform.store.write(body).unwrap(), "the work is alive");
}

#[test]
fn a_split_bundle_completes_with_its_last_object() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| works::expect(tx, &work, 2));
    step(&platform, |tx| {
        works::to_processed(tx, &work, "done", false)
    });
    assert_eq!(platform.progress(&work), (Progress, 2, 0, 0));
    platform.send_with(CONNECTOR, &[malware(1, "Foo")], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.progress(&work), (Progress, 2, 1, 0));
    platform.send_with(
        CONNECTOR,
        &[json!({"type": "gift", "id": "gift--00000000-0000-4000-8000-000000000001"})],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 2, 2, 1));
}

#[test]
fn a_work_takes_a_bounded_number_of_expectations() {
    let platform = Platform::new();
    let work = platform.work(false);
    let most = works::MAX_EXPECTED;
    step(&platform, |tx| works::expect(tx, &work, most - 1));
    for too_many in [2, i64::from(i32::MAX), i64::MAX] {
        let refused = platform
            .store
            .write(|tx| works::expect(tx, &work, too_many))
            .unwrap_err();
        assert!(
            matches!(refused, works::ExpectError::TooMany { expected, added } if expected == most - 1 && added == too_many),
            "{refused:?}"
        );
    }
    step(&platform, |tx| works::expect(tx, &work, 1));
    assert_eq!(platform.progress(&work), (Progress, most, 0, 0));
}

#[test]
fn a_message_with_several_objects_announces_them_itself() {
    let platform = Platform::new();
    let work = platform.work(false);
    platform.send_with(
        CONNECTOR,
        &[malware(1, "Foo"), malware(2, "Bar"), malware(3, "Baz")],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 3, 3, 0));
}

#[test]
fn a_bundle_that_is_not_to_be_split_counts_once() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| works::expect(tx, &work, 1));
    platform.send_with(
        CONNECTOR,
        &[malware(1, "Foo"), malware(2, "Bar")],
        json!({"work_id": work, "no_split": true}),
    );
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 1, 1, 0));
}

#[test]
fn a_multipart_work_waits_for_its_connector() {
    let platform = Platform::new();
    let work = platform.work(true);
    step(&platform, |tx| works::expect(tx, &work, 1));
    platform.send_with(CONNECTOR, &[malware(1, "Foo")], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.progress(&work), (Progress, 1, 1, 0));
    step(&platform, |tx| works::expect(tx, &work, 1));
    step(&platform, |tx| {
        works::to_processed(tx, &work, "done", false)
    });
    assert_eq!(platform.progress(&work), (Progress, 2, 1, 0));
    platform.send_with(CONNECTOR, &[malware(2, "Bar")], json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 2, 2, 0));
}

#[test]
fn a_work_without_objects_completes_when_its_connector_is_done() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| {
        works::to_processed(tx, &work, "nothing to do", false)
    });
    assert_eq!(platform.progress(&work), (Complete, 0, 0, 0));
    assert_eq!(completed_number(&platform, &work), Some(1));
}

#[test]
fn objects_that_come_after_their_connector_was_done_are_counted_exactly() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| {
        works::to_processed(tx, &work, "done", false)
    });
    platform.send_with(
        CONNECTOR,
        &[malware(1, "Foo"), malware(2, "Bar"), malware(3, "Baz")],
        json!({"work_id": work}),
    );
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 3, 3, 0));
    assert_eq!(completed_number(&platform, &work), Some(3));
}

fn completed_number(platform: &Platform, work: &str) -> Option<i64> {
    let stored = platform.store.read(|snapshot| snapshot.work(work));
    stored.unwrap().unwrap().completed_number
}

#[test]
fn a_complete_work_takes_late_objects() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| works::expect(tx, &work, 1));
    step(&platform, |tx| works::report(tx, &work, 1, &[]));
    step(&platform, |tx| works::expect(tx, &work, 1));
    assert_eq!(platform.progress(&work), (Complete, 2, 1, 0));
    step(&platform, |tx| works::report(tx, &work, 1, &[]));
    assert_eq!(platform.progress(&work), (Complete, 2, 2, 0));
}

#[test]
fn an_error_of_the_connector_is_kept() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| works::to_received(tx, &work, "started"));
    step(&platform, |tx| {
        works::to_processed(tx, &work, "the source is down", true)
    });
    assert_eq!(platform.errors(&work), ["the source is down"]);
    assert_eq!(platform.progress(&work).3, 1);
}

#[test]
fn a_hundred_errors_are_kept_and_all_are_counted() {
    let platform = Platform::new();
    let work = platform.work(false);
    let bad: Vec<_> = (0..150)
        .map(|n| json!({"type": "gift", "id": id("gift", n)}))
        .collect();
    platform.send_with(CONNECTOR, &bad, json!({"work_id": work}));
    platform.work_off();
    assert_eq!(platform.progress(&work), (Complete, 150, 150, 150));
    assert_eq!(platform.errors(&work).len(), 100);
}

#[test]
fn messages_of_a_deleted_work_are_dropped() {
    let platform = Platform::new();
    let work = platform.work(false);
    platform.send_with(CONNECTOR, &[malware(1, "Foo")], json!({"work_id": work}));
    step(&platform, |tx| works::delete(tx, &work));
    platform.work_off();
    assert_eq!(
        (platform.count("Malware"), platform.depth(CONNECTOR)),
        (0, 0)
    );
    assert_eq!(platform.ingest.metrics().dropped, 1);
    assert!(platform.dead_letters().is_empty());
}

#[test]
fn works_of_the_same_millisecond_have_different_ids() {
    let platform = Platform::new();
    assert_ne!(platform.work(false), platform.work(false));
}

#[test]
fn housekeeping_completes_overtaken_works_and_deletes_old_ones() {
    let platform = Platform::new();
    let stale = platform.work(false);
    step(&platform, |tx| works::expect(tx, &stale, 5));
    platform.clock.advance(1000);
    let newer = platform.work(false);
    platform.clock.advance(1000);
    let newest = platform.work(false);
    step(&platform, |tx| works::expect(tx, &newer, 2));
    step(&platform, |tx| works::report(tx, &newer, 1, &[]));
    let done = platform
        .store
        .write(|tx| works::housekeeping(tx, tx.now()))
        .unwrap();
    assert_eq!((done.completed, done.deleted), (1, 0));
    assert_eq!(platform.progress(&stale).0, Complete);
    assert_eq!(
        (platform.progress(&newer).0, platform.progress(&newest).0),
        (Progress, Progress)
    );
    platform.clock.advance(works::KEPT_FOR + 1);
    let done = platform
        .store
        .write(|tx| works::housekeeping(tx, tx.now()))
        .unwrap();
    assert_eq!((done.completed, done.deleted), (0, 1));
    assert!(
        platform
            .store
            .read(|snapshot| snapshot.work(&stale))
            .unwrap()
            .is_none()
    );
    assert!(
        platform
            .store
            .read(|snapshot| snapshot.work(&newer))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_connector_cannot_count_in_the_work_of_another() {
    let platform = Platform::new();
    let work = platform.work(false);
    step(&platform, |tx| works::expect(tx, &work, 2));
    let capabilities = ferrocti_access::Capabilities::connector();
    let other = user(
        "other",
        &capabilities.iter().collect::<Vec<_>>(),
        uuid::Uuid::from_u128(3),
    );
    let actor = platform.add_connector("c2", other);
    platform.send_with("c2", &[malware(1, "Foo")], json!({"work_id": work}));
    platform.publish("c2", json!({"work_id": work}).to_string().into_bytes());
    platform.work_off();
    assert_eq!(platform.count("Malware"), 1, "the data itself is kept");
    let bundle = json!({"type": "bundle", "objects": [malware(2, "Bar")]}).to_string();
    let refused = platform
        .ingest
        .push_bundle(&*actor, "c2", &bundle, Some(&work));
    assert!(matches!(
        refused,
        Err(ferrocti_ingest::PushError::WorkNotAlive(_))
    ));
    assert_eq!(platform.progress(&work), (Progress, 2, 0, 0));
}
