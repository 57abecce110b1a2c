//! Who exists, who a token belongs to, and what is shown once.

use ferrocti_access::names;
use ferrocti_connectors::{AdminSettings, ConnectorError};
use ferrocti_store::StoreError;

use crate::support::Fixture;

fn settings(password: Option<&str>, token: Option<&str>) -> AdminSettings {
    AdminSettings {
        email: "admin@example.org".to_owned(),
        password: password.map(str::to_owned),
        token: token.map(str::to_owned),
    }
}

#[test]
fn the_administrators_secrets_are_generated_once() {
    let fixture = Fixture::open();
    assert!(
        fixture
            .accounts
            .ensure_admin(&settings(None, None))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_configured_token_and_password_are_in_force_after_the_next_start() {
    let fixture = Fixture::open();
    let token = "d434ce02-e58e-4cac-8b4c-42bf16748e84";
    assert!(fixture.accounts.authenticate(token).unwrap().is_none());
    assert!(
        fixture
            .accounts
            .ensure_admin(&settings(Some("a long password"), Some(token)))
            .unwrap()
            .is_none()
    );
    assert!(
        fixture
            .accounts
            .authenticate(token)
            .unwrap()
            .unwrap()
            .bypass()
    );
    assert!(
        fixture
            .accounts
            .login("Admin@Example.org", "a long password")
            .unwrap()
            .is_some()
    );
    assert!(
        fixture
            .accounts
            .login("admin@example.org", "another password")
            .unwrap()
            .is_none()
    );
    assert!(
        fixture
            .accounts
            .login("nobody@example.org", "a long password")
            .unwrap()
            .is_none()
    );
}

#[test]
fn resetting_the_administrator_ends_the_former_tokens() {
    let fixture = Fixture::open();
    let token = "d434ce02-e58e-4cac-8b4c-42bf16748e84";
    fixture
        .accounts
        .ensure_admin(&settings(None, Some(token)))
        .unwrap();
    let fresh = fixture.accounts.reset_admin("admin@example.org").unwrap();
    assert!(fixture.accounts.authenticate(token).unwrap().is_none());
    assert!(
        fixture
            .accounts
            .authenticate(&fresh.token.unwrap())
            .unwrap()
            .is_some()
    );
    assert!(
        fixture
            .accounts
            .login("admin@example.org", &fresh.password.unwrap())
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_connectors_account_has_what_connectors_need_and_no_more() {
    let fixture = Fixture::open();
    let actor = fixture.service("MITRE ATT&CK");
    assert!(actor.capabilities.holds(names::CONNECTOR_API) && !actor.bypass());
    assert_eq!(actor.max_confidence, 60);
}

#[test]
fn accounts_are_refused_with_a_reason() {
    let fixture = Fixture::open();
    fixture.service("Feed");
    let service = fixture.service("Other");
    let refused = |actor, name, confidence| {
        fixture
            .accounts
            .add_connector_account(actor, name, confidence)
            .unwrap_err()
    };
    assert!(matches!(
        refused(&service, "Third", 50),
        ConnectorError::Denied(_)
    ));
    for (name, confidence) in [("feed", 50), ("x", 50), ("***", 50), ("Fourth", 101)] {
        assert!(
            matches!(
                refused(&fixture.admin, name, confidence),
                ConnectorError::Invalid(_)
            ),
            "{name} {confidence}"
        );
    }
}

#[test]
fn secrets_are_stored_only_as_hashes() {
    let fixture = Fixture::open();
    let (user, token) = fixture
        .accounts
        .add_connector_account(&fixture.admin, "Feed", 50)
        .unwrap();
    let (kept, audit) = fixture
        .store
        .read(|s| Ok::<_, StoreError>((s.tokens_of(user.row)?, s.audit_before(None, 10)?)))
        .unwrap();
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].masked.contains(&token[..20]));
    assert!(audit.iter().any(|entry| entry.event == "user.create"));
    assert!(audit.iter().all(|entry| {
        !entry.message.contains(&token)
            && !entry
                .data
                .as_ref()
                .is_some_and(|data| data.to_string().contains(&token))
    }));
}

#[test]
fn an_expired_token_and_an_inactive_user_are_nobody() {
    let fixture = Fixture::open();
    let (mut user, token) = fixture
        .accounts
        .add_connector_account(&fixture.admin, "Feed", 50)
        .unwrap();
    assert!(fixture.accounts.authenticate(&token).unwrap().is_some());
    user.status = "Inactive".to_owned();
    fixture.store.write(|tx| tx.update_user(&user)).unwrap();
    assert!(fixture.accounts.authenticate(&token).unwrap().is_none());
}
