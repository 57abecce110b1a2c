//! A lease changes hands: once, whole, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ferrocti_accounts::Acting;
use ferrocti_broker::Publish;
use ferrocti_connectors::ConnectorError;
use ferrocti_connectors::lease::Holder;
use ferrocti_store::StoreError;

use super::{ID, Moved, STATE, is_fenced};

#[test]
fn only_one_of_two_that_know_the_same_epoch_gets_the_lease() {
    let moved = Moved::after();
    let late = moved.fence(0, &Holder::Anybody).unwrap_err();
    assert!(matches!(
        late,
        ConnectorError::LeaseMoved {
            expected: 0,
            found: 1,
            ..
        }
    ));
    let lease = moved.lease();
    assert_eq!((lease.epoch, lease.token), (1, Some(moved.new)));
}

#[test]
fn a_transaction_that_fails_leaves_the_lease_and_the_broker_as_they_were() {
    let moved = Moved::before();
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    moved.fixture.connectors.on_change_of_hands(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let acting = Acting::of(&moved.fixture.admin);
    let failed = moved.fixture.store.write(|tx| {
        let fence = moved
            .fixture
            .connectors
            .fence(tx, &acting, ID, 0, &moved.to_new())?;
        assert_eq!(fence.epoch, 1);
        Err::<(), ConnectorError>(ConnectorError::Refused("no".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(moved.lease().epoch, 0);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    moved.ping(moved.old, Some(STATE)).unwrap();
    moved.fence(0, &moved.to_new()).unwrap();
    assert_eq!(
        ended.load(Ordering::SeqCst),
        1,
        "its connections end after the commit"
    );
}

#[test]
fn a_lease_goes_back_to_the_instance_that_had_it() {
    let moved = Moved::after();
    moved.register(moved.new).unwrap();
    moved.ping(moved.new, Some(r#"{"last_run": 150}"#)).unwrap();
    assert_eq!(moved.fence(1, &Holder::Former).unwrap(), 2);
    assert!(is_fenced(moved.register(moved.new)));
    let back = moved.register(moved.old).unwrap();
    assert_eq!(
        back.state.as_deref(),
        Some(r#"{"last_run": 150}"#),
        "from the newer position"
    );
    // and can move again
    assert_eq!(moved.fence(2, &moved.to_new()).unwrap(), 3);
    assert!(is_fenced(moved.register(moved.old)));
    moved.register(moved.new).unwrap();
}

#[test]
fn an_open_lease_is_everybody_s_who_may_speak_for_the_connector() {
    let moved = Moved::after();
    moved.fence(1, &Holder::Anybody).unwrap();
    moved.register(moved.old).unwrap();
    moved.register(moved.new).unwrap();
}

#[test]
fn a_token_that_does_not_exist_gets_no_lease() {
    let moved = Moved::before();
    let to = Holder::Token {
        token: uuid::Uuid::from_u128(1),
        name: "x".to_owned(),
    };
    assert!(matches!(
        moved.fence(0, &to),
        Err(ConnectorError::Refused(_))
    ));
    assert_eq!(moved.lease().epoch, 0);
}

#[test]
fn queues_and_state_stay_as_they_are() {
    let moved = Moved::before();
    let publish = Publish {
        body: Bytes::from_static(b"{}"),
        ..Publish::default()
    };
    let queues = &moved.fixture.queues;
    queues.publish("push_feed", publish.clone()).wait().unwrap();
    queues.publish("listen_feed", publish).wait().unwrap();
    moved.fence(0, &moved.to_new()).unwrap();
    moved.register(moved.new).unwrap();
    assert_eq!(moved.fixture.connectors.depth(ID).messages, 2);
    assert_eq!(moved.stored().state.as_deref(), Some(STATE));
}

#[test]
fn another_user_s_token_takes_nothing_from_the_queue_either() {
    let moved = Moved::before();
    let (other, token) = moved.fixture.instance("Other");
    let publish = Publish {
        body: Bytes::from_static(b"{}"),
        ..Publish::default()
    };
    let queues = &moved.fixture.queues;
    queues.publish("push_feed", publish).wait().unwrap();
    let to = Holder::Token {
        token,
        name: "x".to_owned(),
    };
    moved.fence(0, &to).unwrap();
    // the connector belongs to the former user until the new one registers, which is for whoever may manage connectors
    moved
        .fixture
        .store
        .write(|tx| {
            let mut connector = tx.connector(ID)?.unwrap();
            connector.user = Some(other.user_row);
            tx.put_connector(&connector)
        })
        .unwrap();
    moved
        .fixture
        .connectors
        .register(Acting::of(&other).with_token(token), super::registration())
        .unwrap();
    assert_eq!(moved.fixture.connectors.depth(ID).messages, 1);
}

#[test]
fn until_it_is_settled_the_state_neither_empties_nor_goes_back() {
    let moved = Moved::after();
    moved.register(moved.new).unwrap();
    for sent in [None, Some("null"), Some("{}"), Some(r#"{"last_run": 99}"#)] {
        moved.ping(moved.new, sent).unwrap();
        assert_eq!(moved.stored().state.as_deref(), Some(STATE), "{sent:?}");
    }
    let refused = || -> Vec<String> {
        let read = moved
            .fixture
            .store
            .read(|snapshot| moved.fixture.connectors.lease_events(snapshot, ID));
        let events = read.unwrap().into_iter();
        events
            .filter(|event| event.kind == "state-refused")
            .map(|event| event.detail["why"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(refused(), ["empty", "empty", "empty", "older"]);
    moved.ping(moved.new, Some("null")).unwrap();
    assert_eq!(refused().len(), 4, "told once");
    moved
        .fixture
        .store
        .write(|tx| moved.fixture.connectors.settle_lease(tx, ID))
        .unwrap();
    moved.ping(moved.new, Some(r#"{"last_run": 99}"#)).unwrap();
    assert_eq!(moved.stored().state.as_deref(), Some(r#"{"last_run": 99}"#));
}

#[test]
fn an_operator_may_reset_the_state_at_any_time() {
    let moved = Moved::after();
    moved.register(moved.new).unwrap();
    moved
        .fixture
        .connectors
        .reset_state(&moved.fixture.admin, ID)
        .unwrap();
    moved.ping(moved.new, None).unwrap();
    moved.ping(moved.new, Some(r#"{"last_run": 1}"#)).unwrap();
    assert_eq!(moved.stored().state.as_deref(), Some(r#"{"last_run": 1}"#));
}

#[test]
fn the_frozen_state_stays_however_many_follow() {
    let moved = Moved::after();
    moved.register(moved.new).unwrap();
    let frozen = moved.lease().frozen_state.unwrap();
    for run in 0..60 {
        let state = format!(r#"{{"last_run": {}}}"#, 200 + run);
        moved.ping(moved.new, Some(&state)).unwrap();
    }
    let kept = moved
        .fixture
        .store
        .read(|snapshot| snapshot.state_version(ID, frozen))
        .unwrap();
    assert_eq!(kept.unwrap().state.as_deref(), Some(STATE));
}

#[test]
fn nothing_is_handed_out_while_a_connector_comes_to_rest() {
    let moved = Moved::before();
    let connectors = &moved.fixture.connectors;
    connectors.pause_delivery(ID);
    assert!(moved.fixture.queues.is_paused("listen_feed"));
    connectors.resume_delivery(ID);
    assert!(!moved.fixture.queues.is_paused("listen_feed"));
}

#[test]
fn what_is_deleted_leaves_no_lease() {
    let moved = Moved::after();
    moved
        .fixture
        .connectors
        .delete(&moved.fixture.admin, ID)
        .unwrap();
    assert_eq!(moved.lease().epoch, 0);
    let problems = moved.fixture.store.check().unwrap();
    assert_eq!(problems, []);
    let read = moved
        .fixture
        .store
        .read(|snapshot| Ok::<_, StoreError>(snapshot.lease_events(ID)?.len()));
    assert_eq!(read.unwrap(), 0);
}
