//! What composers are given, and who is given it.

use ferrocti_access::Actor;
use ferrocti_accounts::{Acting, Lifetime};
use ferrocti_catalog::launch::Launch;
use ferrocti_connectors::{
    ConnectorError,
    managed::{Change, Configuration, CurrentStatus, Deploy, NewComposer, RequestedStatus, State},
};

use ferrocti_store::StoredDefinition;
use serde_json::json;

use super::{composer, deploy, entry, given, running};
use crate::support::Fixture;

/// A composer of upstream's, whose user may administer accounts.
fn upstream(fixture: &Fixture, id: &str) -> Actor {
    let actor = fixture.user_with(id, &["CONNECTORAPI", "SETTINGS_SETACCESSES"]);
    let new = NewComposer {
        own: false,
        ..composer(id)
    };
    fixture.connectors.register_composer(&actor, new).unwrap();
    actor
}

#[test]
fn a_composer_gets_its_connectors_and_no_others() {
    let fixture = Fixture::open();
    let (a, b) = (fixture.composer("site-a"), fixture.composer("site-b"));
    let on = |name: &str, composer: &str| {
        let new = Deploy {
            composer: Some(composer.to_owned()),
            ..deploy(name)
        };
        fixture.deploy(new).connector
    };
    let (one, two) = (on("One", "site-a"), on("Two", "site-b"));
    let connectors = &fixture.connectors;
    let work = connectors.work_for(&a, "site-a").unwrap();
    assert_eq!(work.connectors.len(), 1);
    let assigned = &work.connectors[0];
    assert_eq!(assigned.id, one.id);
    assert_eq!(assigned.hash, fixture.hash(&one.id));
    assert_eq!(assigned.requested, RequestedStatus::Starting);
    assert_eq!(
        assigned.launch,
        Launch::Image {
            image: "example/feed:1.0.0".to_owned()
        }
    );
    assert_eq!((assigned.last_seen, &assigned.obstacle), (None, &None));
    let listed = connectors.listing_for(&b).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].connector.id, two.id);
    assert_eq!(listed[0].image, "example/feed:1.0.0");
    assert_eq!(listed[0].hash, fixture.hash(&two.id));
    assert_eq!(entry(&listed[0], "CONNECTOR_ID"), Some(two.id.as_str()));
    for outcome in [
        connectors.work_for(&b, "site-a").map(|_| ()),
        connectors.report(&b, "site-a", &Default::default()),
        connectors
            .set_current(&b, &one.id, CurrentStatus::Stopped)
            .map(|_| ()),
        connectors.set_logs(&b, &one.id, &["x".to_owned()]),
        connectors.set_health(&b, &one.id, Default::default()),
    ] {
        assert_eq!(outcome.unwrap_err().code(), "FORBIDDEN_ACCESS");
    }
}

#[test]
fn who_is_no_composer_gets_an_error_and_never_an_empty_list() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    fixture.deployed("Feed");
    let connectors = &fixture.connectors;
    for actor in [&fixture.admin, &fixture.service("Plain")] {
        let error = connectors.listing_for(actor).unwrap_err();
        assert!(
            matches!(&error, ConnectorError::Refused(text) if text.contains("registerConnectorsManager"))
        );
    }
    let nobody = fixture.user_with("nobody", &["MODULES"]);
    let error = connectors.listing_for(&nobody).unwrap_err();
    assert_eq!(error.code(), "FORBIDDEN_ACCESS");
    let error = connectors.work_for(&fixture.admin, "site-z").unwrap_err();
    assert!(matches!(error, ConnectorError::UnknownComposer(_)));
}

#[test]
fn a_token_that_was_revoked_is_made_anew() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let before = fixture.hash(&connector.id);
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(work.connectors[0].hash, before, "a token that works stays");
    let token = fixture.managed(&connector.id).token.unwrap();
    let user = fixture.actor(connector.user.unwrap());
    fixture
        .accounts
        .revoke_token(
            &Acting::of(&fixture.admin),
            &user.user_id.to_string(),
            &token.token.to_string(),
        )
        .unwrap();
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_ne!(work.connectors[0].hash, before);
    let text = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    assert!(fixture.accounts.authenticate(&text).unwrap().is_some());
}

#[test]
fn a_connector_whose_user_was_deleted_spoils_no_list() {
    let fixture = Fixture::open();
    let actor = upstream(&fixture, "xtm");
    let (broken, well) = (fixture.deployed("Broken"), fixture.deployed("Well"));
    let hash = fixture.hash(&broken.id);
    let user = fixture.actor(broken.user.unwrap());
    fixture
        .accounts
        .delete_user(&Acting::of(&fixture.admin), &user.user_id.to_string())
        .unwrap();
    let listed = fixture.connectors.listing_for(&actor).unwrap();
    let ids: Vec<&str> = listed.iter().map(|one| one.connector.id.as_str()).collect();
    assert_eq!(ids, [broken.id.as_str(), well.id.as_str()]);
    assert_eq!(listed[0].hash, hash, "with what it had");
    assert!(entry(&listed[0], "OPENCTI_TOKEN").is_some());
    let work = fixture.connectors.work_for(&actor, "xtm").unwrap();
    assert!(work.connectors[0].obstacle.is_some());
    assert!(work.connectors[1].obstacle.is_none());
}

#[test]
fn a_definition_that_cannot_be_read_stops_nobody_else() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let (broken, well) = (fixture.deployed("Broken"), fixture.deployed("Well"));
    let hash = fixture.hash(&broken.id);
    fixture.report(&actor, "site-a", running(&broken.id, &hash));
    fixture
        .store
        .write(|tx| {
            let mut connector = tx.connector(&broken.id)?.unwrap();
            connector.manager.as_mut().unwrap()["number"] = 2.into();
            tx.put_connector(&connector)?;
            let definition = StoredDefinition {
                number: 2,
                at: 0,
                actor: None,
                reason: String::new(),
                document: json!({"of": "another version"}),
            };
            tx.add_definition(&broken.id, &definition, 9)
        })
        .unwrap();
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    let [one, two] = &work.connectors[..] else {
        panic!("{work:?}");
    };
    assert_eq!(
        (&one.id, &one.hash),
        (&broken.id, &hash),
        "what runs runs on"
    );
    assert!(one.obstacle.as_ref().unwrap().contains("cannot be read"));
    assert_eq!((&two.id, &two.obstacle), (&well.id, &None));
    assert!(
        fixture.connectors.listing_for(&actor).is_err(),
        "never less of it"
    );
    fixture.report(&actor, "site-a", running(&broken.id, &hash));
    fixture
        .connectors
        .request(&fixture.admin, &broken.id, RequestedStatus::Stopping)
        .unwrap();
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(work.connectors[0].requested, RequestedStatus::Stopping);
    fixture
        .connectors
        .delete(&fixture.admin, &broken.id)
        .unwrap();
}

#[test]
fn a_connector_that_moves_is_started_when_the_former_composer_has_removed_it() {
    let fixture = Fixture::open();
    let (a, b) = (fixture.composer("site-a"), fixture.composer("site-b"));
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let token = fixture.managed(id).token;
    let to_b = |pairs: &[(&str, &str)]| Change {
        composer: Some("site-b".to_owned()),
        configuration: (!pairs.is_empty()).then(|| Configuration {
            given: given(pairs),
            replace: false,
            extra: Default::default(),
        }),
        ..Change::default()
    };
    let connectors = &fixture.connectors;
    let other = NewComposer {
        public_key: super::OTHER_PUBLIC.to_owned(),
        ..composer("site-b")
    };
    connectors.register_composer(&b, other).unwrap();
    let refused = connectors.configure(&fixture.admin, id, to_b(&[]));
    assert!(
        matches!(refused, Err(ConnectorError::Refused(text)) if text.contains("FEED_API_KEY")),
        "a secret cannot be sealed again by who cannot read it"
    );
    connectors
        .configure(&fixture.admin, id, to_b(&[("FEED_API_KEY", "hunter2")]))
        .unwrap();
    assert_ne!(fixture.managed(id).token, token);
    let before = connectors.work_for(&a, "site-a").unwrap();
    assert_eq!(
        (before.connectors.len(), before.tombstones),
        (0, vec![id.to_owned()])
    );
    let after = connectors.work_for(&b, "site-b").unwrap();
    assert_eq!(after.connectors[0].requested, RequestedStatus::Stopping);
    let (state, reason) = fixture.state(id);
    assert_eq!(state, State::Requested);
    assert!(reason.contains("site-a"), "{reason}");
    let gone = ferrocti_connectors::managed::Report {
        removed: vec![id.to_owned()],
        ..Default::default()
    };
    connectors.report(&a, "site-a", &gone).unwrap();
    let after = connectors.work_for(&b, "site-b").unwrap();
    assert_eq!(after.connectors[0].requested, RequestedStatus::Starting);
}

#[test]
fn what_a_composer_of_upstreams_has_removed_is_forgotten_when_it_must_have_seen_it() {
    let fixture = Fixture::open();
    let actor = upstream(&fixture, "xtm");
    let connector = fixture.deployed("Feed");
    fixture
        .connectors
        .delete(&fixture.admin, &connector.id)
        .unwrap();
    let tombstones = || {
        fixture
            .store
            .read(|snapshot| snapshot.tombstones("xtm"))
            .unwrap()
            .len()
    };
    fixture.connectors.listing_for(&actor).unwrap();
    assert_eq!(tombstones(), 1);
    fixture.clock.advance(61_000);
    fixture.connectors.listing_for(&actor).unwrap();
    assert_eq!(tombstones(), 0);
}

#[test]
fn a_connector_of_the_same_id_deployed_again_is_not_removed() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let again = || Deploy {
        id: Some("feed-1".to_owned()),
        ..deploy("Feed")
    };
    fixture.deploy(again());
    fixture.connectors.delete(&fixture.admin, "feed-1").unwrap();
    fixture.deploy(again());
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!((work.connectors.len(), work.tombstones.len()), (1, 0));
}

#[test]
fn everything_that_a_composer_must_see_moves_the_counter() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connectors = &fixture.connectors;
    let mut changes = connectors.changes();
    let mut moved = |what: &str| {
        assert!(changes.has_changed().unwrap(), "{what}");
        changes.mark_unchanged();
        changes.borrow_and_update();
    };
    let connector = fixture.deployed("Feed");
    let (admin, id) = (&fixture.admin, connector.id.as_str());
    moved("deploy");
    fixture.ping(id, None);
    moved("first ping");
    connectors
        .request(admin, id, RequestedStatus::Stopping)
        .unwrap();
    moved("request");
    connectors.restart(admin, id).unwrap();
    moved("restart");
    connectors.reset_state(admin, id).unwrap();
    moved("reset");
    connectors
        .upgrade(admin, id, "test", &super::contract("2.0.0"))
        .unwrap();
    moved("upgrade");
    connectors.roll_back(admin, id, None).unwrap();
    moved("rollback");
    connectors.delete(admin, id).unwrap();
    moved("delete");
    connectors
        .approve_removals(admin, "site-a", &[id.to_owned()])
        .unwrap();
    moved("approval");
    let other = fixture.deployed("Other");
    moved("deploy");
    fixture.ping(&other.id, None);
    moved("first ping");
    let still = connectors.version();
    fixture.clock.advance(40_000);
    fixture.ping(&other.id, None);
    fixture.report(
        &actor,
        "site-a",
        running(&other.id, &fixture.hash(&other.id)),
    );
    connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(connectors.version(), still, "what it knows is no news");
    fixture.clock.advance(61_000);
    fixture.ping(&other.id, None);
    assert!(
        connectors.version() > still,
        "a sign of life after silence is"
    );
}

#[test]
fn another_composer_ends_the_token_even_when_it_has_the_same_key() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    fixture.composer("site-b");
    let connector = fixture.deployed("Feed");
    let token = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    let change = Change {
        composer: Some("site-b".to_owned()),
        ..Change::default()
    };
    fixture
        .connectors
        .configure(&fixture.admin, &connector.id, change)
        .unwrap();
    assert!(!matches!(
        fixture.accounts.authenticate(&token),
        Ok(Some(_))
    ));
    let token = fixture
        .opened_value(&connector.id, "OPENCTI_TOKEN")
        .unwrap();
    assert!(fixture.accounts.authenticate(&token).unwrap().is_some());
}

#[test]
fn a_connector_that_cannot_get_a_token_keeps_nobody_waiting() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let (full, well) = (fixture.deployed("Full"), fixture.deployed("Well"));
    let user = fixture.actor(full.user.unwrap());
    let acting = Acting::of(&fixture.admin);
    let user = user.user_id.to_string();
    for connector in [&full, &well] {
        let owner = fixture.actor(connector.user.unwrap()).user_id.to_string();
        let token = fixture.managed(&connector.id).token.unwrap().token;
        fixture
            .accounts
            .revoke_token(&acting, &owner, &token.to_string())
            .unwrap();
    }
    for n in 0..200 {
        fixture
            .accounts
            .add_token(&acting, &user, &format!("token {n}"), Lifetime::Unlimited)
            .unwrap();
    }
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(work.connectors.len(), 2);
    let token = fixture.opened_value(&well.id, "OPENCTI_TOKEN").unwrap();
    assert!(fixture.accounts.authenticate(&token).unwrap().is_some());
}
