//! What is refused of an instance that does not act as the connector any more, and what it costs.

use std::time::{Duration, Instant};

use ferrocti_accounts::Acting;
use ferrocti_connectors::ConnectorError;
use ferrocti_connectors::lease::Call;
use ferrocti_model::clock::Clock;

use super::{ID, Moved, STATE, is_fenced};
use crate::support::{logs_in, password_of};

#[test]
fn the_former_instance_neither_registers_nor_pings() {
    let moved = Moved::after();
    let before = moved.stored();
    assert!(is_fenced(moved.register(moved.old)));
    assert!(is_fenced(
        moved.ping(moved.old, Some(r#"{"last_run": 900}"#))
    ));
    assert_eq!(moved.stored(), before, "nothing was written");
    // a request without any token is not the connector's either
    let anonymous = moved.fixture.connectors.ping(&moved.user, ID, None, None);
    assert!(is_fenced(anonymous));
}

#[test]
fn the_refusal_says_what_to_do() {
    let moved = Moved::after();
    let error = moved.register(moved.old).unwrap_err();
    assert_eq!(error.code(), "FUNCTIONAL_ERROR");
    let text = error.to_string();
    for part in ["`Feed`", "the composer `here`", "Stop it and remove it"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_new_instance_goes_on_where_the_old_one_was() {
    let moved = Moved::after();
    let registered = moved.register(moved.new).unwrap();
    assert_eq!(registered.state.as_deref(), Some(STATE));
    assert_eq!(registered.registered_token, Some(moved.new));
    let next = r#"{"last_run": 200}"#;
    moved.ping(moved.new, Some(next)).unwrap();
    assert_eq!(moved.stored().state.as_deref(), Some(next));
    let versions = moved
        .fixture
        .store
        .read(|snapshot| {
            let history = &moved.fixture.connectors;
            history.state_history(snapshot, &moved.fixture.admin, ID)
        })
        .unwrap();
    let epochs: Vec<(i64, &str)> = versions
        .iter()
        .map(|version| (version.epoch, version.reason.as_str()))
        .collect();
    assert_eq!(epochs, [(1, "ping"), (0, "fence"), (0, "ping")]);
}

#[test]
fn a_token_that_several_connectors_share_is_refused_for_the_one_that_moved_only() {
    let moved = Moved::after();
    let other = ferrocti_connectors::Registration {
        id: "other".to_owned(),
        name: "Other".to_owned(),
        ..super::registration()
    };
    let connectors = &moved.fixture.connectors;
    connectors.register(moved.by(moved.old), other).unwrap();
    connectors
        .ping(moved.by(moved.old), "other", Some(STATE), None)
        .unwrap();
    assert!(is_fenced(moved.ping(moved.old, Some(STATE))));
}

#[test]
fn an_administrator_s_token_is_refused_as_well_when_the_connector_ran_with_it() {
    let moved = Moved::before();
    let fixture = &moved.fixture;
    let shared = fixture.token(&fixture.admin, "shared");
    let by = || Acting::of(&fixture.admin).with_token(shared);
    fixture
        .connectors
        .register(by(), super::registration())
        .unwrap();
    moved.fence(0, &moved.to_new()).unwrap();
    assert!(is_fenced(
        fixture.connectors.register(by(), super::registration())
    ));
    // it may manage connectors, and would delete itself when it stops
    let deleted = fixture.connectors.delete(by(), ID);
    assert!(matches!(deleted, Err(ConnectorError::FormerToken(_))));
    let reset = fixture.connectors.reset_state(by(), ID);
    assert!(matches!(reset, Err(ConnectorError::FormerToken(_))));
    assert_eq!(moved.stored().state.as_deref(), Some(STATE));
    // whoever logs in as the same administrator is a person
    fixture.connectors.delete(&fixture.admin, ID).unwrap();
}

#[test]
fn the_token_that_acts_as_the_connector_only_signs_it_off() {
    let moved = Moved::before();
    let fixture = &moved.fixture;
    let own = fixture.token(&fixture.admin, "own");
    let to = ferrocti_connectors::lease::Holder::Token {
        token: own,
        name: "x".to_owned(),
    };
    moved.fence(0, &to).unwrap();
    let by = Acting::of(&fixture.admin).with_token(own);
    fixture
        .connectors
        .register(by, super::registration())
        .unwrap();
    fixture.clock.advance(24 * 3_600_000);
    fixture.connectors.delete(by, ID).unwrap();
    assert_eq!(moved.stored().last_ping, None);
}

#[test]
fn the_broker_password_of_the_former_instance_ends() {
    let moved = Moved::before();
    let old = password_of(&moved.fixture, &moved.stored());
    assert!(logs_in(&moved.fixture, ID, &old));
    moved.fence(0, &moved.to_new()).unwrap();
    assert!(!logs_in(&moved.fixture, ID, &old));
    let new = password_of(&moved.fixture, &moved.stored());
    assert!(logs_in(&moved.fixture, ID, &new));
    let knocks = fenced(&moved);
    assert_eq!(knocks, [("broker".to_owned(), 1)]);
}

#[test]
fn refusals_are_counted_and_kept() {
    let moved = Moved::after();
    for _ in 0..3 {
        assert!(is_fenced(moved.ping(moved.old, None)));
    }
    assert_eq!(fenced(&moved), [("ping".to_owned(), 3)]);
    moved.fixture.connectors.flush_fenced().unwrap();
    assert!(is_fenced(moved.register(moved.old)));
    assert_eq!(
        fenced(&moved),
        [("register".to_owned(), 4)],
        "with what was written down"
    );
    moved.fixture.connectors.flush_fenced().unwrap();
    assert_eq!(fenced(&moved), [("register".to_owned(), 4)]);
    let masked = moved
        .fixture
        .store
        .read(|snapshot| moved.fixture.connectors.fenced(snapshot, ID))
        .unwrap()
        .remove(0)
        .token;
    assert!(masked.contains('*'), "{masked}");
}

#[test]
fn a_refusal_takes_less_than_a_millisecond_and_writes_nothing() {
    const CALLS: u32 = 2000;
    let moved = Moved::after();
    let end = |moved: &Moved| {
        moved
            .fixture
            .store
            .read(|snapshot| snapshot.lease_marks(ID))
            .unwrap()
    };
    let (before, stored) = (end(&moved), moved.stored());
    // nobody can write meanwhile, and refusals do not wait for that
    let mean = moved
        .fixture
        .store
        .write(|_| {
            let started = Instant::now();
            for _ in 0..CALLS {
                assert!(is_fenced(moved.ping(moved.old, Some(STATE))));
            }
            Ok::<_, ferrocti_store::StoreError>(started.elapsed() / CALLS)
        })
        .unwrap();
    println!("a refused ping: {mean:?}");
    assert!(mean < Duration::from_millis(1), "{mean:?}");
    assert_eq!((end(&moved), moved.stored()), (before, stored));
}

#[test]
fn whoever_asks_for_the_lease_in_a_transaction_hears_the_same() {
    let moved = Moved::after();
    let connectors = &moved.fixture.connectors;
    let admitted = |token| {
        moved
            .fixture
            .store
            .write(|tx| connectors.admit(tx, &moved.by(token), ID, Call::Work))
    };
    assert_eq!(admitted(moved.new).unwrap().epoch, 1);
    assert!(is_fenced(admitted(moved.old)));
}

#[test]
fn two_live_instances_are_told_before_any_lease_is_bound() {
    let moved = Moved::before();
    let connectors = &moved.fixture.connectors;
    assert_eq!(connectors.second_instance(ID), None);
    for token in [moved.new, moved.old] {
        moved.fixture.clock.advance(20_000);
        moved.ping(token, Some(STATE)).unwrap();
    }
    let second = connectors.second_instance(ID).unwrap();
    assert!(second.different_tokens);
    assert_eq!(second.at, moved.fixture.clock.now());
    // both are shut out when it moves
    let third = moved.fixture.token(&moved.user, "third");
    let to = ferrocti_connectors::lease::Holder::Token {
        token: third,
        name: "x".to_owned(),
    };
    moved.fence(0, &to).unwrap();
    for token in [moved.old, moved.new] {
        let former = moved
            .fixture
            .store
            .read(|snapshot| snapshot.is_former(ID, token));
        assert!(former.unwrap());
    }
    assert_eq!(connectors.second_instance(ID), None);
}

fn fenced(moved: &Moved) -> Vec<(String, i64)> {
    let instances = moved
        .fixture
        .store
        .read(|snapshot| moved.fixture.connectors.fenced(snapshot, ID));
    let told = instances.unwrap().into_iter();
    told.map(|instance| (instance.what, instance.calls))
        .collect()
}
