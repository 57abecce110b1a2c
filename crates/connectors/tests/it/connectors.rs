//! Registration, ping, state, queues, deletion.

use ferrocti_accounts::{Acting, UserPatch};
use ferrocti_broker::Publish;
use ferrocti_connectors::{ConnectorError, Registration, is_active};
use ferrocti_ingest::works::{self, NewWork};
use ferrocti_model::clock::Clock;
use ferrocti_store::{StoreError, UserStatus, WorkStatus};
use serde_json::json;

use crate::support::{Fixture, logs_in, password_of};

fn registration(id: &str) -> Registration {
    Registration {
        id: id.to_owned(),
        name: "Feed".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        scope: vec!["a".to_owned(), " b".to_owned()],
        ..Registration::default()
    }
}

#[test]
fn registering_again_keeps_the_state_and_changes_the_rest() {
    let fixture = Fixture::open();
    let service = fixture.service("Feed");
    fixture
        .connectors
        .register(&service, registration("c"))
        .unwrap();
    fixture
        .connectors
        .ping(&service, "c", Some(r#"{"at": 1.0}"#), None)
        .unwrap();
    let again = fixture
        .connectors
        .register(
            &service,
            Registration {
                name: "Renamed".to_owned(),
                ..registration("c")
            },
        )
        .unwrap();
    assert_eq!(again.state.as_deref(), Some(r#"{"at": 1.0}"#), "verbatim");
    assert_eq!(
        (again.name.as_str(), again.scope),
        ("Renamed", vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(again.user, Some(service.user_row));
}

#[test]
fn registrations_that_do_not_fit_are_refused() {
    let fixture = Fixture::open();
    let long = "x".repeat(201);
    for wrong in [
        registration(""),
        registration(&long),
        registration("a\nb"),
        Registration {
            name: "x".to_owned(),
            ..registration("c")
        },
        Registration {
            connector_type: "OTHER".to_owned(),
            ..registration("c")
        },
    ] {
        let error = fixture
            .connectors
            .register(&fixture.admin, wrong)
            .unwrap_err();
        assert_eq!(error.code(), "VALIDATION_ERROR");
    }
}

#[test]
fn a_connector_of_somebody_else_is_out_of_reach() {
    let fixture = Fixture::open();
    let (owner, other) = (fixture.service("One"), fixture.service("Two"));
    fixture
        .connectors
        .register(&owner, registration("c"))
        .unwrap();
    for outcome in [
        fixture
            .connectors
            .register(&other, registration("c"))
            .map(|_| ()),
        fixture
            .connectors
            .ping(&other, "c", Some("{\"x\":1}"), None)
            .map(|_| ()),
        fixture.connectors.reset_state(&other, "c").map(|_| ()),
        fixture.connectors.delete(&other, "c"),
    ] {
        assert!(matches!(outcome, Err(ConnectorError::Denied(_))));
    }
    let taken = fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    assert_eq!(
        taken.user,
        Some(fixture.admin.user_row),
        "an administrator may take it over"
    );
}

#[test]
fn a_reset_during_a_run_is_not_lost() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    let ping = |state| {
        fixture
            .connectors
            .ping(&fixture.admin, "c", Some(state), None)
            .unwrap()
            .state
    };
    assert_eq!(ping(r#"{"n":1}"#).as_deref(), Some(r#"{"n":1}"#));
    fixture.connectors.reset_state(&fixture.admin, "c").unwrap();
    // a client that forces its state pings twice with the same
    assert_eq!(ping(r#"{"n":2}"#).as_deref(), Some(""));
    assert_eq!(ping(r#"{"n":2}"#).as_deref(), Some(""));
    assert_eq!(ping("null").as_deref(), Some(""), "it has taken notice");
    assert_eq!(ping(r#"{"n":3}"#).as_deref(), Some(r#"{"n":3}"#));
}

#[test]
fn nothing_does_not_replace_a_state_and_is_answered_with_nothing() {
    let fixture = Fixture::open();
    let connectors = &fixture.connectors;
    connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    connectors
        .ping(&fixture.admin, "c", Some(r#"{"n":1}"#), None)
        .unwrap();
    let pinged = connectors
        .ping(&fixture.admin, "c", Some("null"), None)
        .unwrap();
    // a client that sees another state than it sent throws away what it has set meanwhile
    assert_eq!(pinged.state.as_deref(), Some("null"));
    let stored = fixture.store.read(|s| s.connector("c")).unwrap().unwrap();
    assert_eq!(stored.state.as_deref(), Some(r#"{"n":1}"#));
}

#[test]
fn a_restored_state_is_held_until_the_connector_registers() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    for n in 1..=3 {
        fixture
            .connectors
            .ping(&fixture.admin, "c", Some(&format!(r#"{{"n":{n}}}"#)), None)
            .unwrap();
        fixture.clock.advance(40_000);
    }
    let history = fixture
        .store
        .read(|s| fixture.connectors.state_history(s, &fixture.admin, "c"))
        .unwrap();
    assert_eq!(
        history.iter().map(|v| v.version).collect::<Vec<_>>(),
        [3, 2, 1]
    );
    fixture
        .connectors
        .restore_state(&fixture.admin, "c", 1)
        .unwrap();
    let pinged = fixture
        .connectors
        .ping(&fixture.admin, "c", Some(r#"{"n":3}"#), None)
        .unwrap();
    assert_eq!(pinged.state.as_deref(), Some(r#"{"n":1}"#));
    let registered = fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    assert_eq!(registered.state.as_deref(), Some(r#"{"n":1}"#));
    let pinged = fixture
        .connectors
        .ping(&fixture.admin, "c", Some(r#"{"n":4}"#), None)
        .unwrap();
    assert_eq!(pinged.state.as_deref(), Some(r#"{"n":4}"#));
    assert!(matches!(
        fixture.connectors.restore_state(&fixture.admin, "c", 99),
        Err(ConnectorError::NoSuchVersion { .. })
    ));
}

#[test]
fn only_changes_of_a_state_make_versions() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    for _ in 0..5 {
        fixture
            .connectors
            .ping(&fixture.admin, "c", Some(r#"{"n":1}"#), None)
            .unwrap();
    }
    let versions = fixture
        .store
        .read(|s| Ok::<_, StoreError>(s.state_versions("c")?.len()))
        .unwrap();
    assert_eq!(versions, 1);
}

#[test]
fn a_connector_is_active_for_five_minutes_after_a_ping() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    fixture.clock.advance(299_000);
    let connector = fixture
        .connectors
        .ping(
            &fixture.admin,
            "c",
            None,
            Some(json!({ "buffering": true })),
        )
        .unwrap();
    assert_eq!(connector.info, Some(json!({ "buffering": true })));
    fixture.clock.advance(299_000);
    assert!(is_active(&connector, fixture.clock.now()));
    fixture.clock.advance(2_000);
    assert!(!is_active(&connector, fixture.clock.now()));
}

#[test]
fn depth_counts_what_waits_and_a_reset_empties_it() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    for queue in ["push_c", "listen_c"] {
        fixture
            .queues
            .publish(
                queue,
                Publish {
                    body: "12345".into(),
                    ..Publish::default()
                },
            )
            .wait()
            .unwrap();
    }
    let depth = fixture.connectors.depth("c");
    assert_eq!((depth.messages, depth.bytes), (2, 10));
    fixture.connectors.reset_state(&fixture.admin, "c").unwrap();
    assert_eq!(fixture.connectors.depth("c").messages, 0);
}

#[test]
fn a_reset_completes_the_works_whose_messages_it_discards() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    let new = NewWork {
        connector: "c",
        connector_type: "EXTERNAL_IMPORT",
        name: "run",
        multipart: false,
        event_source: None,
        status: WorkStatus::Progress,
    };
    let work = fixture
        .store
        .write(|tx| {
            let work = works::add(tx, &fixture.admin, &new)?;
            works::expect(tx, &work.id, 5).unwrap();
            Ok::<_, StoreError>(work)
        })
        .unwrap();
    fixture.connectors.reset_state(&fixture.admin, "c").unwrap();
    let closed = fixture.store.read(|s| s.work(&work.id)).unwrap().unwrap();
    assert_eq!(
        (closed.status, closed.expected, closed.processed),
        (WorkStatus::Complete, 0, 0)
    );
}

#[test]
fn a_connector_that_deletes_itself_only_signs_off() {
    let fixture = Fixture::open();
    let service = fixture.service("Feed");
    fixture
        .connectors
        .register(&service, registration("c"))
        .unwrap();
    fixture
        .connectors
        .ping(&service, "c", Some(r#"{"n":1}"#), None)
        .unwrap();
    fixture.connectors.delete(&service, "c").unwrap();
    fixture.connectors.delete(&service, "c").unwrap();
    let kept = fixture.store.read(|s| s.connector("c")).unwrap().unwrap();
    assert!(!is_active(&kept, fixture.clock.now()));
    assert_eq!(
        fixture
            .connectors
            .register(&service, registration("c"))
            .unwrap()
            .state
            .as_deref(),
        Some(r#"{"n":1}"#)
    );
    fixture.connectors.delete(&fixture.admin, "c").unwrap();
    assert!(fixture.store.read(|s| s.connector("c")).unwrap().is_none());
    assert!(fixture.queues.depth("push_c").is_none());
}

#[test]
fn the_administrators_own_connector_signs_off_first_and_is_deleted_then() {
    let fixture = Fixture::open();
    fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    fixture.connectors.delete(&fixture.admin, "c").unwrap();
    assert!(
        fixture.store.read(|s| s.connector("c")).unwrap().is_some(),
        "a stop with the administrator's token must not lose the state"
    );
    fixture.connectors.delete(&fixture.admin, "c").unwrap();
    assert!(fixture.store.read(|s| s.connector("c")).unwrap().is_none());
}

#[test]
fn the_broker_lets_in_registered_connectors_with_their_own_password() {
    let fixture = Fixture::open();
    let mut connector = fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    let password = password_of(&fixture, &connector);
    assert!(logs_in(&fixture, "c", &password));
    assert!(!logs_in(&fixture, "c", "wrong"));
    connector.id = "d".to_owned();
    let unregistered = password_of(&fixture, &connector);
    assert!(!logs_in(&fixture, "d", &unregistered));
}

#[test]
fn the_broker_lets_in_nobody_whose_account_is_locked() {
    let fixture = Fixture::open();
    let feed = fixture.service("Feed");
    let connector = fixture
        .connectors
        .register(&feed, registration("c"))
        .unwrap();
    let password = password_of(&fixture, &connector);
    assert!(logs_in(&fixture, "c", &password));
    let patch = UserPatch {
        status: Some(UserStatus::Locked),
        ..UserPatch::default()
    };
    let acting = Acting::of(&fixture.admin);
    fixture
        .accounts
        .edit_user(&acting, &feed.user_id.to_string(), patch)
        .unwrap();
    assert!(!logs_in(&fixture, "c", &password));
}

#[test]
fn who_lost_a_connector_neither_logs_in_for_it_nor_leaves_anything_in_its_queue() {
    let fixture = Fixture::open();
    let former = fixture.service("Feed");
    let (told, heard) = std::sync::mpsc::channel();
    fixture
        .connectors
        .on_change_of_hands(move |id| told.send(id.to_owned()).unwrap());
    let connector = fixture
        .connectors
        .register(&former, registration("c"))
        .unwrap();
    let password = password_of(&fixture, &connector);
    assert!(logs_in(&fixture, "c", &password));
    let message = Publish {
        body: "{}".into(),
        ..Publish::default()
    };
    fixture.queues.publish("push_c", message).wait().unwrap();
    fixture
        .connectors
        .register(&former, registration("c"))
        .unwrap();
    assert_eq!(fixture.connectors.depth("c").messages, 1);
    assert!(heard.try_recv().is_err(), "nothing has changed hands");

    let taken = fixture
        .connectors
        .register(&fixture.admin, registration("c"))
        .unwrap();
    assert_eq!(heard.try_recv().unwrap(), "c");
    assert_eq!(fixture.connectors.depth("c").messages, 0);
    assert!(!logs_in(&fixture, "c", &password));
    let password = password_of(&fixture, &taken);
    assert!(logs_in(&fixture, "c", &password));
}
