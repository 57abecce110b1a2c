//! Deploying and configuring: who may, what is refused, what is stored and what is told.

use ferrocti_access::token;
use ferrocti_accounts::{Acting, UserPatch};
use ferrocti_catalog::{Extra, Given, Notice, launch::Runtime};
use ferrocti_connectors::{
    ConnectorError, Registration, is_active,
    managed::{
        Change, Configuration, CurrentStatus, Deploy, RequestedStatus, State, UserChoice,
        is_managed,
    },
};
use ferrocti_model::clock::Clock;
use ferrocti_store::UserStatus;

use super::{contract_with, deploy, given};
use crate::support::Fixture;

fn settings(pairs: &[(&str, &str)]) -> Change {
    Change {
        configuration: Some(Configuration {
            given: given(pairs),
            replace: false,
            extra: Extra::Ignore,
        }),
        ..Change::default()
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, ConnectorError>) -> &'static str {
    outcome.unwrap_err().code()
}

#[test]
fn a_deployed_connector_has_everything_that_it_is_started_with() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let outcome = fixture.deploy(Deploy {
        given: given(&[("FEED_API_KEY", "hunter2"), ("NO_SUCH_KEY", "x")]),
        ..deploy("My Feed!")
    });
    let connector = outcome.connector;
    assert_eq!(
        (connector.name.as_str(), connector.title.as_deref()),
        ("my-feed", Some("My Feed!"))
    );
    assert!(matches!(&outcome.notices[..], [Notice::Ignored { key, .. }] if key == "NO_SUCH_KEY"));
    assert!(is_managed(&connector));
    let value = |key: &str| fixture.opened_value(&connector.id, key);
    assert_eq!(value("FEED_API_KEY").as_deref(), Some("hunter2"));
    assert_eq!(value("FEED_LIMIT").as_deref(), Some("10"));
    assert_eq!(
        value("CONNECTOR_ID").as_deref(),
        Some(connector.id.as_str())
    );
    assert_eq!(value("CONNECTOR_NAME").as_deref(), Some("my-feed"));
    assert_eq!(value("CONNECTOR_TYPE").as_deref(), Some("EXTERNAL_IMPORT"));
    let token = value("OPENCTI_TOKEN").unwrap();
    let caller = fixture.accounts.authenticate(&token).unwrap().unwrap();
    assert_eq!(connector.user, Some(caller.actor().user_row));
    let (user, tokens) = fixture
        .store
        .read(|snapshot| {
            let row = connector.user.unwrap();
            Ok::<_, ferrocti_store::StoreError>((
                snapshot.user(row)?.unwrap(),
                snapshot.tokens_of(row)?,
            ))
        })
        .unwrap();
    assert_eq!(user.name, "[C] My Feed!");
    assert_eq!(user.max_confidence, Some(70), "the contract's");
    assert!(user.service_account);
    assert_eq!(tokens.len(), 1, "its own and no other");
    assert_eq!(tokens[0].hash, token::hash(&token));
    assert_eq!(tokens[0].expires_at, None);
    assert_eq!(fixture.state(&connector.id).0, State::Requested);
}

#[test]
fn no_secret_is_in_the_audit_or_in_an_error() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let token = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    fixture
        .connectors
        .configure(
            &fixture.admin,
            &connector.id,
            settings(&[("FEED_API_KEY", "correct horse"), ("FEED_LIMIT", "77")]),
        )
        .unwrap();
    let strict = contract_with(
        "2.0.0",
        &serde_json::json!({"FEED_API_KEY": {"type": "string", "format": "password", "minLength": 99}}),
        &[],
    );
    let error = fixture
        .connectors
        .deploy(
            &fixture.admin,
            Deploy {
                contract: strict,
                given: given(&[("FEED_API_KEY", "battery staple")]),
                ..deploy("Other")
            },
        )
        .unwrap_err();
    assert!(error.to_string().contains("FEED_API_KEY"));
    let audit = fixture.audit();
    assert!(audit.contains("deploys connector") && audit.contains("configures connector"));
    assert!(audit.contains("77"), "settings are told");
    for secret in ["hunter2", "correct horse", token.as_str()] {
        assert!(!audit.contains(secret));
    }
    let told = format!("{error:?} {error} {:?}", fixture.view(&connector.id));
    for secret in ["battery staple", "hunter2", "correct horse", token.as_str()] {
        assert!(!told.contains(secret));
    }
}

#[test]
fn who_defines_what_runs_needs_the_right_to() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let own = fixture.actor(connector.user.unwrap());
    let connectors = &fixture.connectors;
    // the connector's own user, its composer's, and one who only uses the connector protocol
    for actor in [
        &own,
        &composer,
        &fixture.user_with("api", &["CONNECTORAPI"]),
    ] {
        let id = connector.id.as_str();
        for refused in [
            code(connectors.deploy(actor, deploy("Other"))),
            code(connectors.configure(actor, id, settings(&[("FEED_LIMIT", "3")]))),
            code(connectors.request(actor, id, RequestedStatus::Stopping)),
            code(connectors.restart(actor, id)),
            code(connectors.upgrade(actor, id, "test", &super::contract("2.0.0"))),
            code(connectors.roll_back(actor, id, None)),
            code(connectors.approve_removals(actor, "site-a", &[])),
        ] {
            assert_eq!(refused, "FORBIDDEN_ACCESS");
        }
    }
}

#[test]
fn nobody_lends_rights_that_he_may_not_give() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let manager = fixture.user_with("manager", &["MODULES_MODMANAGE", "CONNECTORAPI"]);
    let administrator = fixture.user_with(
        "half an administrator",
        &["MODULES_MODMANAGE", "SETTINGS_SETACCESSES"],
    );
    let as_user = |user: UserChoice| Deploy {
        user,
        ..deploy("Feed")
    };
    let automatic = || UserChoice::Automatic {
        name: None,
        confidence: None,
    };
    let admin = UserChoice::Existing(fixture.admin.user_id.to_string());
    let connectors = &fixture.connectors;
    assert_eq!(
        code(connectors.deploy(&manager, as_user(automatic()))),
        "FORBIDDEN_ACCESS",
        "an account is made by who may make accounts"
    );
    assert_eq!(
        code(connectors.deploy(&administrator, as_user(admin.clone()))),
        "FORBIDDEN_ACCESS",
        "only who may do everything lends the right to do everything"
    );
    let connector = connectors
        .deploy(&administrator, as_user(automatic()))
        .unwrap()
        .connector;
    let change = Change {
        user: Some(admin),
        ..Change::default()
    };
    assert_eq!(
        code(connectors.configure(&administrator, &connector.id, change)),
        "FORBIDDEN_ACCESS"
    );
    assert_eq!(fixture.stored(&connector.id).unwrap().user, connector.user);
}

#[test]
fn a_user_that_is_not_let_in_runs_nothing() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let service = fixture.service("Locked");
    let id = service.user_id.to_string();
    let lock = |status| {
        let patch = UserPatch {
            status: Some(status),
            ..UserPatch::default()
        };
        fixture
            .accounts
            .edit_user(&Acting::of(&fixture.admin), &id, patch)
            .unwrap();
    };
    lock(UserStatus::Inactive);
    let existing = || Deploy {
        user: UserChoice::Existing(id.clone()),
        ..deploy("Feed")
    };
    let refused = fixture.connectors.deploy(&fixture.admin, existing());
    assert!(matches!(refused, Err(ConnectorError::Account(_))));
    lock(UserStatus::Active);
    let connector = fixture.deploy(existing()).connector;
    assert_eq!(connector.user, Some(service.user_row));
    lock(UserStatus::Inactive);
    let (state, reason) = fixture.state(&connector.id);
    assert_eq!(state, State::Requested);
    assert!(reason.contains("let in"), "{reason}");
}

#[test]
fn a_failed_deployment_leaves_nothing() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let users = || {
        fixture
            .store
            .read(|snapshot| snapshot.users())
            .unwrap()
            .len()
    };
    let before = users();
    let wrong = [
        (given(&[]), "FEED_API_KEY"),
        (
            given(&[("FEED_API_KEY", "x"), ("FEED_LIMIT", "many")]),
            "FEED_LIMIT",
        ),
        (
            given(&[("FEED_API_KEY", "x"), ("FEED_LIMIT", "0")]),
            "FEED_LIMIT",
        ),
        (
            given(&[
                ("FEED_API_KEY", "x"),
                ("CONNECTOR_DURATION_PERIOD", "hourly"),
            ]),
            "CONNECTOR_DURATION_PERIOD",
        ),
    ];
    for (given, key) in wrong {
        let new = Deploy {
            given,
            ..deploy("Feed")
        };
        let error = fixture.connectors.deploy(&fixture.admin, new).unwrap_err();
        assert!(matches!(error, ConnectorError::Configuration(_)));
        assert_eq!(error.code(), "UNSUPPORTED_ERROR");
        assert!(error.to_string().contains(key), "{error}");
    }
    let confidence = Deploy {
        user: UserChoice::Automatic {
            name: None,
            confidence: Some(101),
        },
        ..deploy("Feed")
    };
    assert!(
        fixture
            .connectors
            .deploy(&fixture.admin, confidence)
            .is_err()
    );
    assert_eq!(
        users(),
        before,
        "no account of a connector that is not there"
    );
    assert!(
        fixture
            .store
            .read(|snapshot| snapshot.connectors())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn two_connectors_of_one_name_are_refused_in_add_and_in_edit() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    fixture.deployed("My Feed");
    let other = fixture.deployed("Other");
    let again = Deploy {
        user: UserChoice::Automatic {
            name: Some("another account".to_owned()),
            confidence: None,
        },
        ..deploy("my feed")
    };
    let renamed = Change {
        name: Some("My-Feed".to_owned()),
        ..Change::default()
    };
    for error in [
        fixture
            .connectors
            .deploy(&fixture.admin, again)
            .unwrap_err(),
        fixture
            .connectors
            .configure(&fixture.admin, &other.id, renamed)
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), "FUNCTIONAL_ERROR");
        assert!(error.to_string().contains("CONNECTOR_NAME_ALREADY_EXISTS"));
    }
}

#[test]
fn what_cannot_be_deployed_is_refused_with_words() {
    let fixture = Fixture::open();
    let connectors = &fixture.connectors;
    let refused = |new: Deploy| {
        connectors
            .deploy(&fixture.admin, new)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(deploy("Feed")).contains("no composer"));
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let unknown = Deploy {
        composer: Some("site-z".to_owned()),
        ..deploy("Other")
    };
    assert!(refused(unknown).contains("site-z"));
    assert!(refused(deploy("x")).contains("2 to"));
    let taken = Deploy {
        id: Some(connector.id),
        ..deploy("Other")
    };
    assert!(refused(taken).contains("already"));
    let in_clear = Deploy {
        runtime: Runtime {
            environment: [("MQ_PASSWORD".to_owned(), "x".to_owned())].into(),
            ..Runtime::default()
        },
        ..deploy("Other")
    };
    assert!(refused(in_clear).contains("MQ_PASSWORD"));
    let same_account = Deploy {
        user: UserChoice::Automatic {
            name: Some("[C] Feed".to_owned()),
            confidence: None,
        },
        ..deploy("Other")
    };
    assert!(refused(same_account).contains("already exists"));
}

#[test]
fn a_registration_keeps_what_the_platform_decided() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let own = fixture.actor(connector.user.unwrap());
    let before = (fixture.hash(&connector.id), fixture.managed(&connector.id));
    let registration = Registration {
        id: connector.id.clone(),
        name: "Its own idea of a name".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        scope: vec!["report".to_owned()],
        ..Registration::default()
    };
    // only its own token acts as it, not everything of its user
    let lease = fixture
        .store
        .read(|snapshot| fixture.connectors.lease(snapshot, &connector.id))
        .unwrap();
    let token = fixture.managed(&connector.id).token.unwrap().token;
    assert_eq!((lease.epoch, lease.token), (1, Some(token)));
    let stranger = fixture.connectors.register(&own, registration.clone());
    assert!(
        matches!(stranger, Err(ConnectorError::Fenced(_))),
        "{stranger:?}"
    );
    let version = fixture.connectors.version();
    let registered = fixture
        .connectors
        .register(Acting::of(&own).with_token(token), registration.clone())
        .unwrap();
    assert_eq!(registered.name, "feed");
    assert_eq!(registered.version.as_deref(), Some("1.0.0"));
    assert_eq!(registered.scope, ["report"]);
    assert_eq!(
        (fixture.hash(&connector.id), fixture.managed(&connector.id)),
        before
    );
    assert!(
        fixture.connectors.version() > version,
        "its composer waits for that"
    );
    let taken = fixture.connectors.register(&fixture.admin, registration);
    assert!(
        matches!(taken, Err(ConnectorError::Fenced(_))),
        "not even an administrator's token makes it another's"
    );
}

#[test]
fn a_managed_connector_is_active_only_while_it_shall_run() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let active = || is_active(&fixture.stored(id).unwrap(), fixture.clock.now());
    assert!(!active(), "never heard of");
    fixture.ping(id, None);
    assert!(active());
    let connectors = &fixture.connectors;
    connectors
        .set_current(&composer, id, CurrentStatus::Stopped)
        .unwrap();
    assert!(!active(), "its composer says that it does not run");
    connectors
        .set_current(&composer, id, CurrentStatus::Started)
        .unwrap();
    assert!(active());
    connectors
        .request(&fixture.admin, id, RequestedStatus::Stopping)
        .unwrap();
    assert!(!active());
}

#[test]
fn a_change_of_nothing_changes_nothing() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let before = (
        fixture.hash(&connector.id),
        fixture.audit(),
        fixture.connectors.version(),
    );
    for change in [
        Change::default(),
        settings(&[("FEED_LIMIT", "10")]),
        settings(&[("FEED_API_KEY", "hunter2")]),
        Change {
            name: Some("feed".to_owned()),
            title: Some("Feed".to_owned()),
            composer: Some("site-a".to_owned()),
            runtime: Some(Runtime::default()),
            pinned: Some(true),
            configuration: Some(Configuration {
                given: Vec::new(),
                replace: true,
                extra: Extra::Ignore,
            }),
            ..Change::default()
        },
    ] {
        fixture
            .connectors
            .configure(&fixture.admin, &connector.id, change)
            .unwrap();
    }
    let after = (
        fixture.hash(&connector.id),
        fixture.audit(),
        fixture.connectors.version(),
    );
    assert_eq!(after, before);
    assert_eq!(fixture.managed(&connector.id).number, 1);
}

#[test]
fn a_patch_keeps_what_it_does_not_name_and_a_replacement_does_not() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deploy(Deploy {
        given: given(&[
            ("FEED_API_KEY", "hunter2"),
            ("FEED_LIMIT", "20"),
            ("TZ", "UTC"),
            ("X_TOKEN", "t"),
        ]),
        extra: Extra::Keep,
        ..deploy("Feed")
    });
    let id = connector.connector.id;
    let value = |key: &str| fixture.opened_value(&id, key);
    let configure = |change| {
        fixture
            .connectors
            .configure(&fixture.admin, &id, change)
            .unwrap()
    };
    configure(settings(&[("CONNECTOR_SCOPE", "tool")]));
    assert_eq!(value("FEED_LIMIT").as_deref(), Some("20"));
    assert_eq!(value("TZ").as_deref(), Some("UTC"));
    assert_eq!(value("X_TOKEN").as_deref(), Some("t"));
    assert_eq!(value("CONNECTOR_SCOPE").as_deref(), Some("tool"));
    configure(Change {
        configuration: Some(Configuration {
            given: vec![Given {
                key: "TZ".to_owned(),
                value: None,
            }],
            replace: false,
            extra: Extra::Ignore,
        }),
        ..Change::default()
    });
    assert_eq!(value("TZ"), None);
    assert_eq!(value("X_TOKEN").as_deref(), Some("t"));
    configure(Change {
        configuration: Some(Configuration {
            given: given(&[("CONNECTOR_SCOPE", "malware")]),
            replace: true,
            extra: Extra::Keep,
        }),
        ..Change::default()
    });
    assert_eq!(value("FEED_LIMIT").as_deref(), Some("10"), "the default");
    assert_eq!(
        value("FEED_API_KEY").as_deref(),
        Some("hunter2"),
        "a secret stays"
    );
    assert_eq!(value("CONNECTOR_SCOPE").as_deref(), Some("malware"));
}

#[test]
fn edits_at_once_are_all_kept() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let keys = ["A_ONE", "A_TWO", "A_THREE", "A_FOUR", "A_FIVE", "A_SIX"];
    std::thread::scope(|scope| {
        for key in keys {
            let (connectors, admin, id) = (&fixture.connectors, &fixture.admin, &connector.id);
            scope.spawn(move || {
                let mut change = settings(&[(key, key)]);
                if let Some(configuration) = &mut change.configuration {
                    configuration.extra = Extra::Keep;
                }
                connectors.configure(admin, id, change).unwrap();
            });
        }
    });
    for key in keys {
        assert_eq!(
            fixture.opened_value(&connector.id, key).as_deref(),
            Some(key)
        );
    }
    assert_eq!(fixture.managed(&connector.id).number, 7);
}

#[test]
fn another_user_ends_the_token_of_the_former_one() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let token = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    let other = fixture.service("Other");
    let change = Change {
        user: Some(UserChoice::Existing(other.user_id.to_string())),
        ..Change::default()
    };
    let changed = fixture
        .connectors
        .configure(&fixture.admin, &connector.id, change)
        .unwrap()
        .connector;
    assert_eq!(changed.user, Some(other.user_row));
    assert!(!matches!(
        fixture.accounts.authenticate(&token),
        Ok(Some(_))
    ));
    let now = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    let caller = fixture.accounts.authenticate(&now).unwrap().unwrap();
    assert_eq!(caller.actor().user_row, other.user_row);
    let audit = fixture.audit();
    assert!(audit.contains("revoked API token") && audit.contains("generated a new API token"));
}

#[test]
fn a_deleted_connector_leaves_a_tombstone_and_no_token() {
    let fixture = Fixture::open();
    let composer = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let token = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    let own = fixture.actor(connector.user.unwrap());
    fixture.ping(&connector.id, None);
    fixture.connectors.delete(&own, &connector.id).unwrap();
    assert!(
        fixture.stored(&connector.id).is_some(),
        "what a connector says when it stops deletes nothing"
    );
    let version = fixture.connectors.version();
    fixture
        .connectors
        .delete(&fixture.admin, &connector.id)
        .unwrap();
    assert!(fixture.stored(&connector.id).is_none());
    assert!(fixture.connectors.version() > version);
    assert!(!matches!(
        fixture.accounts.authenticate(&token),
        Ok(Some(_))
    ));
    let work = fixture.connectors.work_for(&composer, "site-a").unwrap();
    assert_eq!(work.connectors, []);
    assert_eq!(work.tombstones, std::slice::from_ref(&connector.id));
    assert_eq!(work.approved, Vec::<String>::new());
    fixture
        .connectors
        .approve_removals(
            &fixture.admin,
            "site-a",
            std::slice::from_ref(&connector.id),
        )
        .unwrap();
    let work = fixture.connectors.work_for(&composer, "site-a").unwrap();
    assert_eq!(work.approved, std::slice::from_ref(&connector.id));
    let gone = ferrocti_connectors::managed::Report {
        removed: vec![connector.id],
        ..Default::default()
    };
    fixture
        .connectors
        .report(&composer, "site-a", &gone)
        .unwrap();
    let work = fixture.connectors.work_for(&composer, "site-a").unwrap();
    assert_eq!(work.tombstones, Vec::<String>::new());
    assert_eq!(fixture.store.check().unwrap(), []);
}

#[test]
fn the_account_of_a_deleted_connector_is_taken_up_again() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    fixture
        .connectors
        .delete(&fixture.admin, &connector.id)
        .unwrap();
    let again = fixture.deployed("Feed");
    assert_ne!(again.id, connector.id);
    assert_eq!(again.user, connector.user);
    assert!(fixture.opened_value(&again.id, "OPENCTI_TOKEN").is_some());
}

#[test]
fn an_account_that_somebody_has_a_token_of_is_not_taken_up() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    // made for a connector that runs elsewhere and has not registered yet
    fixture.service("Feed");
    let error = fixture
        .connectors
        .deploy(&fixture.admin, deploy("Feed"))
        .unwrap_err();
    assert!(matches!(&error, ConnectorError::Account(_)));
    assert_eq!(error.code(), "FUNCTIONAL_ERROR");
}
