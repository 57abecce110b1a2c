//! Messages of a connector that has changed hands.

use ferrocti_broker::{Publish, queue::push_queue};
use ferrocti_ingest::PushError;
use ferrocti_store::Lease;
use serde_json::json;
use uuid::Uuid;

use crate::platform::*;

/// Publishes an object as an epoch of the connector would over AMQP.
fn publish(platform: &Platform, epoch: i64, number: u32, name: &str) -> u64 {
    let publish = Publish {
        body: message(&[malware(number, name)], json!({})).into(),
        epoch: Some(epoch),
        ..Publish::default()
    };
    platform
        .queues
        .publish(&push_queue(CONNECTOR), publish)
        .wait()
        .unwrap()
}

/// Gives the connector's lease to a token, as if messages counted up to a number.
fn change_hands(platform: &Platform, push_seq: u64) {
    platform
        .store
        .write(|tx| {
            let lease = Lease {
                connector: CONNECTOR.to_owned(),
                epoch: 1,
                token: Some(Uuid::from_u128(7)),
                ..Lease::default()
            };
            tx.put_lease(&lease)?;
            tx.add_lease_event(CONNECTOR, "granted", 1, &json!({ "push_seq": push_seq }))
        })
        .unwrap();
}

/// The epochs in the origins of what was written.
fn epochs(platform: &Platform) -> Vec<i64> {
    let events = platform
        .store
        .read(|snapshot| snapshot.history_since(0, 1000))
        .unwrap();
    events
        .iter()
        .filter_map(|event| event.origin.as_ref()?.get("epoch")?.as_i64())
        .collect()
}

#[test]
fn what_was_published_before_is_applied_under_its_own_epoch() {
    let platform = Platform::new();
    let seq = publish(&platform, 0, 1, "before");
    change_hands(&platform, seq + 1);
    publish(&platform, 1, 2, "of the new one");
    platform.work_off();
    assert_eq!(platform.dead_letters(), Vec::<String>::new());
    assert_eq!(epochs(&platform), [0, 1]);
}

#[test]
fn what_was_published_afterwards_by_the_former_one_becomes_a_dead_letter() {
    let platform = Platform::new();
    change_hands(&platform, 0);
    publish(&platform, 0, 1, "too late 1");
    publish(&platform, 0, 2, "too late 2");
    publish(&platform, 1, 3, "of the new one");
    platform.work_off();
    let dead = platform.dead_letters();
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead[0].contains("does not act as connector"), "{dead:?}");
    assert_eq!(epochs(&platform), [1]);
    // whoever replays it wants it to count
    let letters = platform.queues.dead_letters(&Default::default()).unwrap();
    platform.queues.replay(letters[0].id).wait().unwrap();
    platform.work_off();
    assert_eq!(epochs(&platform), [1, 1]);
}

#[test]
fn a_bundle_is_pushed_by_the_holder_only() {
    let platform = Platform::new();
    change_hands(&platform, 1);
    let bundle = json!({"type": "bundle", "objects": [malware(1, "Foo")]}).to_string();
    let acting = ferrocti_accounts::Acting::of(&platform.admin);
    let push = |acting| {
        platform
            .ingest
            .push_bundle(acting, CONNECTOR, &bundle, None)
    };
    assert!(matches!(push(acting), Err(PushError::Fenced(_))));
    push(acting.with_token(Uuid::from_u128(7))).unwrap();
    platform.work_off();
    assert_eq!(epochs(&platform), [1]);
    let marks = platform
        .store
        .read(|snapshot| snapshot.queue_count(&push_queue(CONNECTOR)));
    assert_eq!(marks.unwrap(), 1);
}
