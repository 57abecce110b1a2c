//! The running pipeline: order, fairness, and what goes wrong in it.

use ferrocti_store::WorkStatus;
use serde_json::json;

use crate::platform::*;

#[test]
fn messages_of_several_queues_are_applied_in_order() {
    let platform = Platform::new();
    platform.add_connector(
        "other",
        user("other", &["BYPASS"], uuid::Uuid::from_u128(9)),
    );
    let running = platform.ingest.start().unwrap();
    let (work, other) = (platform.work(false), platform.work_of("other", false));
    for version in 0..50 {
        for (connector, work) in [(CONNECTOR, &work), ("other", &other)] {
            let number = u32::from(connector == "other");
            let object = with(
                malware(number, &format!("Foo {number}")),
                json!({"description": format!("version {version}")}),
            );
            platform.send_with(connector, &[object], json!({"work_id": work}));
        }
    }
    wait_until(|| platform.progress(&work).2 == 50 && platform.progress(&other).2 == 50);
    running.stop();
    assert_eq!(
        platform.get(&id("malware", 0)).attributes["description"],
        "version 49"
    );
    assert_eq!(
        platform.get(&id("malware", 1)).attributes["description"],
        "version 49"
    );
    assert_eq!(platform.progress(&work).0, WorkStatus::Complete);
    let metrics = platform.ingest.metrics();
    assert_eq!(
        (
            metrics.objects.created,
            metrics.objects.updated,
            metrics.messages
        ),
        (2, 98, 100)
    );
    assert_eq!(metrics.bytes_in_flight, 0);
}

#[test]
fn a_connector_that_was_deleted_leaves_dead_letters_not_a_blocked_queue() {
    let platform = Platform::new();
    platform.add_connector("gone", user("gone", &["BYPASS"], uuid::Uuid::from_u128(9)));
    platform.send_with("gone", &[malware(1, "Foo")], json!({}));
    platform.send_with(CONNECTOR, &[malware(2, "Bar")], json!({}));
    platform
        .store
        .write(|tx| tx.delete_connector("gone"))
        .unwrap();
    platform.work_off();
    assert_eq!(
        (
            platform.count("Malware"),
            platform.depth("gone"),
            platform.depth(CONNECTOR)
        ),
        (1, 0, 0)
    );
    assert!(
        platform.dead_letters()[0].contains("not registered"),
        "{:?}",
        platform.dead_letters()
    );
}
