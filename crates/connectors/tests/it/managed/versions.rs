//! Upgrades, the way back, and the way back by itself.

use ferrocti_catalog::{contract_hash, launch::Runtime};
use ferrocti_connectors::{
    ConnectorError,
    managed::{
        Change, Configuration, ConnectorReport, Deploy, RequestedStatus, State, UserChoice,
        pending_upgrade,
    },
};
use ferrocti_model::clock::format_date;
use serde_json::json;

use super::{contract, contract_with, deploy, given, running};
use crate::support::Fixture;

fn rejected(id: &str, hash: &str, rejected: &str) -> ConnectorReport {
    ConnectorReport {
        state: State::Degraded,
        reason: "it ended three times: exit code 1".to_owned(),
        rejected: Some(rejected.to_owned()),
        ..running(id, hash)
    }
}

#[test]
fn the_hash_is_upstreams_where_upstream_can_say_the_same() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let managed = fixture.managed(&connector.id);
    let entries = managed.environment(&connector, &Default::default());
    let since = format_date(connector.state_at);
    assert_eq!(
        fixture.hash(&connector.id),
        contract_hash("example/feed:1.0.0", &entries, Some(&since))
    );
}

#[test]
fn the_hash_changes_with_everything_that_needs_another_instance() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let (admin, id) = (&fixture.admin, connector.id.as_str());
    let mut seen = vec![fixture.hash(id)];
    let mut differs = |what: &str| {
        fixture.clock.advance(1000);
        let hash = fixture.hash(id);
        assert!(!seen.contains(&hash), "{what}");
        seen.push(hash);
    };
    let configure = |change: Change| fixture.connectors.configure(admin, id, change).unwrap();
    configure(Change {
        name: Some("other".to_owned()),
        ..Change::default()
    });
    differs("name");
    configure(Change {
        runtime: Some(serde_json::from_value(json!({"memory": "64m"})).unwrap()),
        ..Change::default()
    });
    differs("runtime");
    fixture.connectors.restart(admin, id).unwrap();
    differs("restart");
    fixture.connectors.reset_state(admin, id).unwrap();
    differs("reset of the state");
    fixture
        .connectors
        .upgrade(admin, id, "test", &contract("1.0.1"))
        .unwrap();
    differs("version");
    let same = fixture.hash(id);
    configure(Change {
        title: Some("Only for people".to_owned()),
        pinned: Some(false),
        ..Change::default()
    });
    assert_eq!(fixture.hash(id), same);
}

#[test]
fn an_upgrade_that_does_not_fit_the_configuration_changes_nothing() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let before = (
        fixture.hash(&connector.id),
        fixture.managed(&connector.id),
        fixture.audit(),
    );
    let stricter = contract_with(
        "2.0.0",
        &json!({"FEED_LIMIT": {"type": "integer", "minimum": 50}, "FEED_REGION": {"type": "string"}}),
        &["FEED_REGION"],
    );
    let error = fixture
        .connectors
        .upgrade(&fixture.admin, &connector.id, "test", &stricter)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("FEED_REGION") && text.contains("FEED_LIMIT"),
        "{text}"
    );
    let after = (
        fixture.hash(&connector.id),
        fixture.managed(&connector.id),
        fixture.audit(),
    );
    assert_eq!(after, before);
    // with the values that are missing it fits
    let change = Change {
        contract: Some(("test".to_owned(), stricter)),
        configuration: Some(Configuration {
            given: given(&[("FEED_REGION", "eu"), ("FEED_LIMIT", "60")]),
            replace: false,
            extra: Default::default(),
        }),
        ..Change::default()
    };
    fixture
        .connectors
        .configure(&fixture.admin, &connector.id, change)
        .unwrap();
    let managed = fixture.managed(&connector.id);
    assert_eq!((managed.definition.version(), managed.number), ("2.0.0", 2));
}

#[test]
fn an_upgrade_leaves_out_only_keys_that_the_contract_gave_up() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let older = contract_with(
        "1.0.0",
        &json!({"FEED_OLD": {"type": "string", "default": "x"}}),
        &[],
    );
    let connector = fixture
        .deploy(Deploy {
            contract: older,
            given: given(&[("FEED_API_KEY", "hunter2"), ("TZ", "UTC")]),
            extra: ferrocti_catalog::Extra::Keep,
            ..deploy("Feed")
        })
        .connector;
    let newer = contract_with(
        "1.1.0",
        &json!({"FEED_NEW": {"type": "string", "default": "y"}}),
        &[],
    );
    fixture
        .connectors
        .upgrade(&fixture.admin, &connector.id, "test", &newer)
        .unwrap();
    let value = |key: &str| fixture.opened_value(&connector.id, key);
    assert_eq!(value("FEED_OLD"), None);
    assert_eq!(value("FEED_NEW").as_deref(), Some("y"));
    assert_eq!(value("TZ").as_deref(), Some("UTC"));
    assert_eq!(value("FEED_API_KEY").as_deref(), Some("hunter2"));
}

#[test]
fn a_contract_of_another_connector_is_no_upgrade() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let mut other = contract("2.0.0");
    other.slug = "another".to_owned();
    let refused = fixture
        .connectors
        .upgrade(&fixture.admin, &connector.id, "test", &other);
    assert!(matches!(refused, Err(ConnectorError::Refused(text)) if text.contains("another")));
}

#[test]
fn going_back_restores_exactly_what_was() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let before = (fixture.hash(id), fixture.managed(id).definition);
    fixture.clock.advance(1000);
    let connectors = &fixture.connectors;
    connectors
        .upgrade(&fixture.admin, id, "test", &contract("2.0.0"))
        .unwrap();
    assert_eq!(
        fixture.stored(id).unwrap().version.as_deref(),
        Some("2.0.0")
    );
    assert_ne!(fixture.hash(id), before.0);
    connectors.roll_back(&fixture.admin, id, None).unwrap();
    assert_eq!((fixture.hash(id), fixture.managed(id).definition), before);
    assert_eq!(
        fixture.stored(id).unwrap().version.as_deref(),
        Some("1.0.0")
    );
    let versions = fixture
        .store
        .read(|snapshot| connectors.definitions(snapshot, id))
        .unwrap();
    let told: Vec<(i64, bool, &str, &str)> = versions
        .iter()
        .map(|version| {
            (
                version.number,
                version.current,
                version.definition.version(),
                version.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, true, "1.0.0", "went back to definition 1"),
            (2, false, "2.0.0", "put on version 2.0.0"),
            (1, false, "1.0.0", "deployed"),
        ]
    );
    connectors.roll_back(&fixture.admin, id, Some(2)).unwrap();
    assert_eq!(fixture.managed(id).definition.version(), "2.0.0");
    for number in [Some(99), Some(4)] {
        let refused = connectors.roll_back(&fixture.admin, id, number);
        assert!(matches!(
            refused,
            Err(ConnectorError::NoSuchDefinition { .. })
        ));
    }
}

#[test]
fn the_last_twenty_definitions_are_kept() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    for limit in 100..130 {
        let limit = limit.to_string();
        let change = Change {
            configuration: Some(Configuration {
                given: given(&[("FEED_LIMIT", limit.as_str())]),
                replace: false,
                extra: Default::default(),
            }),
            ..Change::default()
        };
        fixture
            .connectors
            .configure(&fixture.admin, &connector.id, change)
            .unwrap();
    }
    let versions = fixture
        .store
        .read(|snapshot| fixture.connectors.definitions(snapshot, &connector.id))
        .unwrap();
    let numbers: Vec<i64> = versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, (12..=31).rev().collect::<Vec<_>>());
}

#[test]
fn a_version_that_the_composer_gave_up_is_given_up_here() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let good = fixture.hash(id);
    fixture.report(&composer, "site-a", running(id, &good));
    fixture.clock.advance(1000);
    fixture
        .connectors
        .upgrade(&fixture.admin, id, "test", &contract("2.0.0"))
        .unwrap();
    let bad = fixture.hash(id);
    let version = fixture.connectors.version();
    fixture.report(&composer, "site-a", rejected(id, &bad, &bad));
    assert_eq!(fixture.hash(id), good, "what the old instance runs with");
    assert!(
        fixture.connectors.version() > version,
        "the composer has to know"
    );
    let managed = fixture.managed(id);
    let back = managed.rolled_back.unwrap();
    assert_eq!((back.number, back.hash.as_str()), (2, bad.as_str()));
    assert!(back.reason.contains("three times"));
    assert!(fixture.audit().contains("rolls back connector"));
    let work = fixture.connectors.work_for(&composer, "site-a").unwrap();
    assert_eq!(
        work.connectors[0].retired_hash.as_deref(),
        Some(bad.as_str())
    );
    fixture.report(&composer, "site-a", running(id, &good));
    let (state, reason) = fixture.state(id);
    assert_eq!(state, State::Running);
    assert!(reason.contains("three times"), "{reason}");
}

#[test]
fn the_way_back_leads_to_what_ran_well_and_not_to_the_same_fault() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let put = |version: &str| {
        fixture
            .connectors
            .upgrade(&fixture.admin, id, "test", &contract(version))
            .unwrap();
        fixture.hash(id)
    };
    // 1 never ran, 2 did, 3 never ran, and 4 is what 1 was
    let good = put("2.0.0");
    fixture.report(&composer, "site-a", running(id, &good));
    put("3.0.0");
    let bad = put("1.0.0");
    fixture.report(&composer, "site-a", rejected(id, &bad, &bad));
    assert_eq!(fixture.hash(id), good);
}

#[test]
fn where_nothing_ran_well_another_definition_than_the_rejected_one_is_tried() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let configure = |limit: &str| {
        let change = Change {
            configuration: Some(Configuration {
                given: given(&[("FEED_LIMIT", limit)]),
                replace: false,
                extra: Default::default(),
            }),
            ..Change::default()
        };
        fixture
            .connectors
            .configure(&fixture.admin, id, change)
            .unwrap();
    };
    configure("20");
    let other = fixture.hash(id);
    configure("10");
    let bad = fixture.hash(id);
    fixture.report(&composer, "site-a", rejected(id, &bad, &bad));
    assert_eq!(fixture.hash(id), other, "definition 1 is the same as 3");
}

#[test]
fn going_back_by_itself_happens_once() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let upgrade = |version: &str| {
        fixture
            .connectors
            .upgrade(&fixture.admin, id, "test", &contract(version))
            .unwrap();
        fixture.hash(id)
    };
    upgrade("2.0.0");
    let third = upgrade("3.0.0");
    fixture.report(&composer, "site-a", rejected(id, &third, &third));
    assert_eq!(
        fixture.managed(id).definition.version(),
        "2.0.0",
        "the one before"
    );
    // an old message about the definition that was given up says nothing of the present one
    fixture.report(&composer, "site-a", rejected(id, &third, &third));
    assert_eq!(fixture.managed(id).number, 4);
    let second = fixture.hash(id);
    fixture.report(&composer, "site-a", rejected(id, &second, &second));
    assert_eq!(fixture.managed(id).number, 4, "no wandering into the past");
}

#[test]
fn what_ran_well_once_is_not_given_up_for_a_restart() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    fixture
        .connectors
        .upgrade(&fixture.admin, id, "test", &contract("2.0.0"))
        .unwrap();
    fixture.report(&composer, "site-a", running(id, &fixture.hash(id)));
    assert_eq!(fixture.managed(id).verified, Some(2));
    fixture.clock.advance(1000);
    fixture.connectors.restart(&fixture.admin, id).unwrap();
    let hash = fixture.hash(id);
    fixture.report(&composer, "site-a", rejected(id, &hash, &hash));
    assert_eq!(fixture.managed(id).number, 2);
}

#[test]
fn a_first_definition_has_nothing_to_go_back_to() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let hash = fixture.hash(&connector.id);
    fixture.report(&composer, "site-a", rejected(&connector.id, &hash, &hash));
    let managed = fixture.managed(&connector.id);
    assert_eq!((managed.number, managed.rolled_back), (1, None));
    assert_eq!(fixture.state(&connector.id).0, State::Degraded);
}

#[test]
fn newer_contracts_are_told_from_older_ones() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let definition = fixture.managed(&connector.id).definition;
    let mut reworded = contract("1.0.0");
    reworded.description = "other".to_owned();
    for (contract, newer) in [
        (contract("1.0.0"), false),
        (contract("0.9.0"), false),
        (contract("1.0.1"), true),
        (reworded, true),
    ] {
        assert_eq!(
            pending_upgrade(&definition, &contract),
            newer,
            "{}",
            contract.version
        );
    }
}

#[test]
fn only_who_may_do_everything_changes_what_acts_as_somebody_who_may() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let manager = fixture.user_with("manager", &["MODULES_MODMANAGE"]);
    let as_admin = Deploy {
        user: UserChoice::Existing(fixture.admin.user_id.to_string()),
        ..deploy("Feed")
    };
    let admins = fixture.deploy(as_admin).connector.id;
    let own = fixture.deployed("Own");
    let connectors = &fixture.connectors;
    let through_a_proxy = Change {
        runtime: Some(Runtime {
            environment: [("SSL_CERT_FILE".to_owned(), "/tmp/mine".to_owned())].into(),
            ..Runtime::default()
        }),
        ..Change::default()
    };
    connectors
        .configure(&manager, &own.id, through_a_proxy.clone())
        .unwrap();
    let refused = connectors.configure(&manager, &admins, through_a_proxy.clone());
    assert_eq!(refused.unwrap_err().code(), "FORBIDDEN_ACCESS");
    let refused = connectors.roll_back(&manager, &admins, None);
    assert_eq!(refused.unwrap_err().code(), "FORBIDDEN_ACCESS");
    connectors
        .request(&manager, &admins, RequestedStatus::Stopping)
        .expect("who may manage connectors stops every one");
    connectors
        .configure(&fixture.admin, &admins, through_a_proxy)
        .unwrap();
}
