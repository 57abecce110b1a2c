//! Accounts of connectors: what connectors need and no more.

use ferrocti_access::{Markings, names};
use ferrocti_accounts::{AccountError, Acting};

use crate::support::Fixture;

#[test]
fn a_connectors_account_has_what_connectors_need_and_no_more() {
    let fixture = Fixture::new();
    let (user, token) = fixture
        .accounts
        .add_connector(&fixture.acting(), "MITRE ATT&CK", Some(60), None)
        .unwrap();
    assert_eq!(user.email, "mitre-att-ck@connector.ferrocti.local");
    assert_eq!(user.name, "[C] MITRE ATT&CK");
    assert!(user.service_account && user.password.is_none());
    let actor = fixture.actor_of_token(&token).unwrap();
    assert!(actor.capabilities.holds(names::CONNECTOR_API) && !actor.bypass());
    assert!(!actor.capabilities.holds(names::SET_ACCESSES));
    assert_eq!(actor.level("Report"), Some(60));
    assert!(actor.may_use_marking(fixture.marking("TLP:RED")));
    let groups = fixture.read(|s| s.groups_of(user.row));
    assert_eq!(groups, [fixture.group_named("Connectors").row]);
}

#[test]
fn a_limit_puts_connectors_into_a_group_of_its_own_that_is_made_once() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let add = |name, limit| {
        fixture
            .accounts
            .add_connector(&acting, name, None, Some(limit))
            .unwrap()
    };
    let (one, token) = add("One", "tlp:amber");
    let (two, _) = add("Two", "TLP:AMBER");
    let (three, _) = add("Three", "TLP:GREEN");
    let group = fixture.group_named("Connectors up to TLP:AMBER");
    assert_eq!(
        fixture.read(|s| s.members_of(group.row)),
        [one.row, two.row]
    );
    assert_eq!(fixture.read(|s| s.groups()).len(), 5);
    assert_eq!(
        fixture.read(|s| s.groups_of(three.row)),
        [fixture.group_named("Connectors up to TLP:GREEN").row]
    );
    let actor = fixture.actor_of_token(&token).unwrap();
    assert_eq!(
        actor.level("Report"),
        Some(100),
        "that of the group of connectors"
    );
    for (marking, expected) in [
        ("TLP:CLEAR", true),
        ("TLP:AMBER", true),
        ("TLP:RED", false),
        ("PAP:RED", true),
    ] {
        assert_eq!(
            actor.may_use_marking(fixture.marking(marking)),
            expected,
            "{marking}"
        );
    }
    assert!(matches!(actor.markings, Markings::Only(_)));
    assert!(actor.capabilities.holds(names::CONNECTOR_API));
    fixture.add_marking("TLP", "TLP:BLACK", 9);
    let actor = fixture.actor_of_token(&token).unwrap();
    assert!(
        !actor.may_use_marking(fixture.marking("TLP:BLACK")),
        "later markings are not granted"
    );
}

#[test]
fn accounts_are_refused_with_a_reason() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let (_, token) = fixture
        .accounts
        .add_connector(&acting, "Feed", None, None)
        .unwrap();
    let service = fixture.actor_of_token(&token).unwrap();
    let denied = fixture
        .accounts
        .add_connector(&Acting::of(&service), "Third", None, None);
    assert!(matches!(denied, Err(AccountError::Denied(_))));
    let twice = fixture.accounts.add_connector(&acting, "feed", None, None);
    assert!(matches!(twice, Err(AccountError::AlreadyExists(_))));
    for (name, confidence, marking) in [
        ("x", None, None),
        ("***", None, None),
        ("Fourth", Some(101), None),
        ("Fourth", None, Some("TLP:NOTHING")),
    ] {
        let refused = fixture
            .accounts
            .add_connector(&acting, name, confidence, marking);
        assert!(
            matches!(refused, Err(AccountError::Invalid(_))),
            "{name} {confidence:?} {marking:?}"
        );
    }
}

#[test]
fn secrets_are_stored_only_as_hashes() {
    let fixture = Fixture::new();
    let (user, token) = fixture
        .accounts
        .add_connector(&fixture.acting(), "Feed", Some(0), None)
        .unwrap();
    let kept = format!(
        "{:?} {:?}",
        fixture.read(|s| s.tokens_of(user.row)),
        fixture.audit()
    );
    assert!(!kept.contains(&token[15..]));
    assert!(
        fixture
            .audit()
            .iter()
            .any(|line| line.message == "creates user `feed@connector.ferrocti.local`")
    );
    assert_eq!(
        fixture.actor_of_token(&token).unwrap().level("Report"),
        Some(0),
        "0 is a level"
    );
}

#[test]
fn a_group_of_connectors_that_may_do_everything_is_used_only_by_who_may() {
    let fixture = Fixture::new();
    let manager = fixture.user_with("Manager", &[names::SET_ACCESSES], &[]);
    let (group, role) = (
        fixture.group_named("Connectors").id.to_string(),
        fixture.role_named("Administrator").id.to_string(),
    );
    fixture
        .accounts
        .add_group_role(&fixture.acting(), &group, &role)
        .unwrap();
    let manager = fixture.actor(&manager);
    for limit in [None, Some("TLP:GREEN")] {
        let refused = fixture
            .accounts
            .add_connector(&Acting::of(&manager), "Mine", None, limit);
        assert!(matches!(refused, Err(AccountError::Denied(_))), "{limit:?}");
    }
}
