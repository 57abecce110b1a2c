//! The checker finds what must not be, and nothing else.

use ferrocti_connectors::lease::{Holder, check_history};
use ferrocti_ingest::works::{self, NewWork};
use ferrocti_store::{StoreError, Tx, WorkStatus};

use super::{ID, Moved, STATE};

fn broken(moved: &Moved) -> Vec<String> {
    let found = check_history(&moved.fixture.store, &moved.fixture.queues).unwrap();
    found.into_iter().map(|broken| broken.invariant).collect()
}

/// Does something as if the lease had another epoch.
fn in_epoch(moved: &Moved, epoch: i64, body: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError>) {
    moved
        .fixture
        .store
        .write(|tx| {
            let lease = tx.lease(ID)?;
            tx.put_lease(&ferrocti_store::Lease {
                epoch,
                ..lease.clone()
            })?;
            body(tx)?;
            tx.put_lease(&lease)
        })
        .unwrap();
}

#[test]
fn a_migration_and_its_way_back_leave_a_history_in_order() {
    let moved = Moved::after();
    moved.register(moved.new).unwrap();
    moved.ping(moved.new, Some(r#"{"last_run": 150}"#)).unwrap();
    moved.fence(1, &Holder::Former).unwrap();
    moved.register(moved.old).unwrap();
    moved.ping(moved.old, Some(r#"{"last_run": 160}"#)).unwrap();
    moved
        .fixture
        .connectors
        .reset_state(&moved.fixture.admin, ID)
        .unwrap();
    assert_eq!(broken(&moved), Vec::<String>::new());
}

#[test]
fn a_state_of_an_epoch_that_has_ended_is_found() {
    let moved = Moved::after();
    in_epoch(&moved, 0, |tx| {
        tx.add_state_version(ID, Some(r#"{"last_run": 300}"#), "ping", None, 50)
            .map(|_| ())
    });
    assert_eq!(
        broken(&moved),
        ["no state is written by an epoch that has ended"]
    );
}

#[test]
fn a_work_of_an_epoch_that_has_ended_is_found() {
    let moved = Moved::after();
    in_epoch(&moved, 0, |tx| {
        let new = NewWork {
            connector: ID,
            connector_type: "EXTERNAL_IMPORT",
            name: "run",
            multipart: false,
            event_source: None,
            status: WorkStatus::Progress,
        };
        works::add(tx, &moved.user, &new).map(|_| ())
    });
    assert_eq!(
        broken(&moved),
        ["no work is begun by an epoch that has ended"]
    );
}

#[test]
fn a_state_that_went_back_is_found() {
    let moved = Moved::after();
    for (state, why) in [(Some(r#"{"last_run": 1}"#), 1), (None, 2)] {
        moved
            .fixture
            .store
            .write(|tx| {
                tx.add_state_version(ID, Some(STATE), "restore", None, 50)?;
                tx.add_state_version(ID, state, "ping", None, 50)
            })
            .unwrap();
        assert_eq!(
            broken(&moved),
            vec!["a state never goes back by itself"; why]
        );
    }
}

#[test]
fn a_message_that_is_gone_is_found() {
    let moved = Moved::after();
    let queues = &moved.fixture.queues;
    let publish = ferrocti_broker::Publish::default();
    let seq = queues.publish("push_feed", publish).wait().unwrap();
    assert_eq!(broken(&moved), Vec::<String>::new());
    queues.ack("push_feed", &[seq]).unwrap();
    queues.flush().wait().unwrap();
    assert_eq!(
        broken(&moved),
        ["every message that was confirmed is dealt with or waits"]
    );
}
