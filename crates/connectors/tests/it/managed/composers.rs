//! Composers: who may be one, and what happens to its key.

use ferrocti_connectors::{
    ConnectorError, Registration,
    managed::{NewComposer, composer_is_active},
};
use ferrocti_model::clock::Clock;

use super::{OTHER_PUBLIC, composer, contract_with, deploy, given};
use crate::support::Fixture;

#[test]
fn a_composer_registers_again_without_a_trace_but_its_sign_of_life() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let lines = fixture.audit();
    let version = fixture.connectors.version();
    fixture.clock.advance(60_000);
    let again = fixture
        .connectors
        .register_composer(&actor, composer("site-a"))
        .unwrap();
    assert_eq!(again.last_seen - again.created_at, 60_000);
    assert_eq!(fixture.audit(), lines);
    assert_eq!(fixture.connectors.version(), version);
}

#[test]
fn a_user_is_one_composer() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let error = fixture
        .connectors
        .register_composer(&actor, composer("site-b"))
        .unwrap_err();
    assert!(matches!(&error, ConnectorError::Refused(text) if text.contains("site-a")));
    assert_eq!(error.code(), "FUNCTIONAL_ERROR");
}

#[test]
fn the_key_of_a_composer_is_changed_by_its_own_user_only() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let other = fixture.user_with("other", &["CONNECTORAPI"]);
    let renewed = NewComposer {
        public_key: OTHER_PUBLIC.to_owned(),
        ..composer("site-a")
    };
    let refused = fixture
        .connectors
        .register_composer(&other, renewed.clone());
    assert!(matches!(refused, Err(ConnectorError::Refused(_))));
    let before = fixture.connectors.version();
    let now = fixture
        .connectors
        .register_composer(&actor, renewed)
        .unwrap();
    assert_ne!(
        now.key_id,
        ferrocti_catalog::PublicKey::from_pem(super::PUBLIC)
            .unwrap()
            .id()
    );
    assert!(fixture.audit().contains("changes the key of composer"));
    assert!(fixture.connectors.version() > before);
}

#[test]
fn the_user_of_a_connector_is_no_composer() {
    let fixture = Fixture::open();
    let service = fixture.service("Feed");
    let registration = Registration {
        id: "c".to_owned(),
        name: "Feed".to_owned(),
        connector_type: "STREAM".to_owned(),
        ..Registration::default()
    };
    fixture.connectors.register(&service, registration).unwrap();
    let refused = fixture
        .connectors
        .register_composer(&service, composer("rogue"));
    assert!(matches!(refused, Err(ConnectorError::Refused(text)) if text.contains("`Feed`")));
}

#[test]
fn whoever_has_the_token_of_a_connector_that_never_registered_is_no_composer_either() {
    let fixture = Fixture::open();
    let service = fixture.service("Feed");
    let refused = fixture
        .connectors
        .register_composer(&service, composer("rogue"));
    assert!(matches!(refused, Err(ConnectorError::Refused(text)) if text.contains("composer add")));
    // as upstream's composers do
    let both = fixture.user_with(
        "both",
        &["CONNECTORAPI", "KNOWLEDGE", "SETTINGS_SETACCESSES"],
    );
    let registered = fixture
        .connectors
        .register_composer(&both, composer("site-a"));
    assert_eq!(registered.unwrap().id, "site-a");
}

#[test]
fn what_is_deployed_without_naming_a_composer_goes_to_the_first_one_even_while_it_is_away() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    fixture.clock.advance(60 * 60 * 1000);
    fixture.composer("site-b");
    let connector = fixture.deployed("Feed");
    assert_eq!(fixture.view(&connector.id).managed.composer, "site-a");
}

#[test]
fn a_copy_of_a_composer_is_refused_while_the_original_is_there() {
    let fixture = Fixture::open();
    let actor = fixture.user_with("composer", &["CONNECTORAPI"]);
    let of = |place: &str| NewComposer {
        about: Some(serde_json::json!({ "host": "north", "place": place })),
        ..composer("site-a")
    };
    let register = |place: &str| fixture.connectors.register_composer(&actor, of(place));
    register("one").unwrap();
    fixture.clock.advance(30_000);
    register("one").expect("it was started again");
    let refused = register("two").unwrap_err().to_string();
    assert!(
        refused.contains("on north") && refused.contains("2 minutes"),
        "{refused}"
    );
    fixture.clock.advance(119_000);
    assert!(register("two").is_err(), "the refusal is no sign of life");
    fixture.clock.advance(2_000);
    register("two").expect("the other has been silent");
    register("one").expect_err("now that is the copy");
}

#[test]
fn registrations_that_do_not_fit_are_refused() {
    let fixture = Fixture::open();
    let short = include_str!("../../../../catalog/tests/vectors/test-public-2048.pem");
    for (wrong, code) in [
        (
            NewComposer {
                public_key: short.to_owned(),
                ..composer("site-a")
            },
            "FUNCTIONAL_ERROR",
        ),
        (
            NewComposer {
                public_key: "no key".to_owned(),
                ..composer("site-a")
            },
            "FUNCTIONAL_ERROR",
        ),
        (
            NewComposer {
                about: Some("x".repeat(9000).into()),
                ..composer("site-a")
            },
            "VALIDATION_ERROR",
        ),
        (composer(" "), "VALIDATION_ERROR"),
        (composer("a\nb"), "VALIDATION_ERROR"),
        (
            NewComposer {
                name: "x".to_owned(),
                ..composer("site-a")
            },
            "VALIDATION_ERROR",
        ),
    ] {
        let error = fixture
            .connectors
            .register_composer(&fixture.admin, wrong)
            .unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    let nobody = fixture.user_with("nobody", &["KNOWLEDGE"]);
    let error = fixture
        .connectors
        .register_composer(&nobody, composer("site-a"))
        .unwrap_err();
    assert_eq!(error.code(), "FORBIDDEN_ACCESS");
}

#[test]
fn only_the_composer_itself_says_that_it_is_alive() {
    let fixture = Fixture::open();
    let (a, b) = (fixture.composer("site-a"), fixture.composer("site-b"));
    fixture.clock.advance(200_000);
    let connectors = &fixture.connectors;
    assert!(connectors.composer_alive(&b, "site-a").is_err());
    assert!(matches!(
        connectors.composer_alive(&a, "site-c"),
        Err(ConnectorError::UnknownComposer(_))
    ));
    let stored = fixture.store.read(|snapshot| snapshot.composers()).unwrap();
    assert!(!composer_is_active(&stored[0], fixture.clock.now()));
    let alive = connectors.composer_alive(&a, "site-a").unwrap();
    assert!(composer_is_active(&alive, fixture.clock.now()));
}

#[test]
fn a_composer_that_has_connectors_stays() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let connectors = &fixture.connectors;
    let refused = connectors.remove_composer(&fixture.admin, "site-a");
    assert!(matches!(refused, Err(ConnectorError::Refused(text)) if text.contains("`feed`")));
    connectors.delete(&fixture.admin, &connector.id).unwrap();
    let actor = fixture.user_with("other", &["CONNECTORAPI"]);
    assert_eq!(
        connectors
            .remove_composer(&actor, "site-a")
            .unwrap_err()
            .code(),
        "FORBIDDEN_ACCESS"
    );
    connectors
        .remove_composer(&fixture.admin, "site-a")
        .unwrap();
    assert!(
        fixture
            .store
            .read(|snapshot| snapshot.tombstones("site-a"))
            .unwrap()
            .is_empty(),
        "nobody is left who could do it"
    );
}

#[test]
fn after_a_change_of_key_secrets_must_be_set_again_and_nothing_is_emptied() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let with = fixture.deployed("With secret");
    let plain = contract_with("1.0.0", &serde_json::json!({}), &[]).document();
    let mut plain = plain;
    plain["config_schema"]["required"] = serde_json::json!([]);
    let without = fixture
        .deploy(ferrocti_connectors::managed::Deploy {
            contract: ferrocti_catalog::Contract::read(&plain).unwrap(),
            given: Vec::new(),
            ..deploy("Without secret")
        })
        .connector;
    let (hash_with, hash_without) = (fixture.hash(&with.id), fixture.hash(&without.id));
    let renewed = NewComposer {
        public_key: OTHER_PUBLIC.to_owned(),
        ..composer("site-a")
    };
    let key_id = fixture
        .connectors
        .register_composer(&actor, renewed)
        .unwrap()
        .key_id;
    fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(
        fixture.hash(&with.id),
        hash_with,
        "the instance that runs goes on running with the token that it has"
    );
    assert_ne!(
        fixture.hash(&without.id),
        hash_without,
        "a token that can be opened"
    );
    assert_eq!(fixture.managed(&without.id).token.unwrap().key_id, key_id);
    let view = fixture.view(&with.id);
    assert_eq!(view.unreadable, ["FEED_API_KEY"]);
    let (_, reason) = fixture.state(&with.id);
    assert!(reason.contains("FEED_API_KEY"), "{reason}");

    let set = |pairs: &[(&str, &str)]| {
        fixture.connectors.configure(
            &fixture.admin,
            &with.id,
            ferrocti_connectors::managed::Change {
                configuration: Some(ferrocti_connectors::managed::Configuration {
                    given: given(pairs),
                    replace: false,
                    extra: ferrocti_catalog::Extra::Ignore,
                }),
                ..Default::default()
            },
        )
    };
    let refused = set(&[("FEED_LIMIT", "3")]).unwrap_err();
    assert!(refused.to_string().contains("FEED_API_KEY"), "{refused}");
    assert_eq!(fixture.hash(&with.id), hash_with);
    set(&[("FEED_API_KEY", "hunter2")]).unwrap();
    assert!(fixture.view(&with.id).unreadable.is_empty());
    let managed = fixture.managed(&with.id);
    assert_eq!(managed.definition.key_id, key_id);
    assert_eq!(managed.token.unwrap().key_id, key_id);
}
