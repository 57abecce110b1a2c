//! What every platform has after its first start, and what the configuration decides at every start.

use ferrocti_access::{Actor, capability, names};
use ferrocti_accounts::{AccountError, UserPatch, ids};
use ferrocti_store::UserStatus;

use crate::support::{Fixture, MARKINGS, PASSWORD, TOKEN, settings};

#[test]
fn a_fresh_platform_has_three_groups_with_their_roles() {
    let fixture = Fixture::new();
    let found: Vec<_> = fixture
        .read(|s| s.groups())
        .into_iter()
        .map(|group| {
            let roles = fixture.read(|s| s.roles_of(group.row));
            let role = fixture.read(|s| s.role(roles[0])).unwrap();
            let markings = fixture.read(|s| s.markings_of_group(group.row)).len();
            (
                group.name,
                role.name,
                group.default_assignation,
                group.auto_new_marking,
                group.auto_integration,
                group.max_confidence,
                markings,
            )
        })
        .collect();
    let all = MARKINGS.len();
    let of = |group: &str, role: &str, default, new, integration, markings| {
        (
            group.to_owned(),
            role.to_owned(),
            default,
            new,
            integration,
            Some(100),
            markings,
        )
    };
    assert_eq!(
        found,
        [
            of("Administrators", "Administrator", false, true, false, all),
            of("Default", "Default", true, false, false, 0),
            of("Connectors", "Connector", false, true, true, all),
        ]
    );
}

#[test]
fn a_fresh_platform_has_three_roles() {
    let fixture = Fixture::new();
    let capabilities = |name: &str| fixture.role_named(name).capabilities;
    assert_eq!(capabilities("Administrator"), [names::BYPASS]);
    assert_eq!(capabilities("Default"), capability::DEFAULT);
    assert_eq!(capabilities("Connector"), capability::CONNECTOR);
    assert!(fixture.role_named("Administrator").sensitive);
    assert!(!fixture.role_named("Default").sensitive);
}

#[test]
fn markings_that_are_there_before_the_groups_are_granted_too() {
    let fixture = Fixture::empty();
    fixture.add_marking("TLP", "TLP:RED", 5);
    fixture
        .accounts
        .ensure_admin(&settings(None, None))
        .unwrap();
    let connectors = fixture.group_named("Connectors");
    assert_eq!(
        fixture.read(|s| s.markings_of_group(connectors.row)).len(),
        1
    );
}

#[test]
fn a_group_that_was_deleted_does_not_come_back_at_the_next_start() {
    let fixture = Fixture::new();
    let group = fixture.group_named("Connectors");
    let acting = fixture.acting();
    fixture
        .accounts
        .delete_group(&acting, &group.id.to_string())
        .unwrap();
    fixture
        .accounts
        .ensure_admin(&settings(Some(PASSWORD), Some(TOKEN)))
        .unwrap();
    assert_eq!(fixture.read(|s| s.groups()).len(), 2);
}

#[test]
fn the_administrators_secrets_are_generated_once() {
    let fixture = Fixture::empty();
    let generated = fixture
        .accounts
        .ensure_admin(&settings(None, None))
        .unwrap()
        .unwrap();
    assert!(generated.password.is_some() && generated.token.is_some());
    let again = fixture
        .accounts
        .ensure_admin(&settings(None, None))
        .unwrap();
    assert!(again.is_none());
    assert!(fixture.actor_of_token(&generated.token.unwrap()).is_some());
}

#[test]
fn the_first_administrator_may_do_everything_even_without_a_group() {
    let fixture = Fixture::new();
    let admin = fixture.read(|s| s.user_by_id(Actor::ADMIN_ID)).unwrap();
    for group in fixture.read(|s| s.groups_of(admin.row)) {
        fixture.write(|tx| tx.remove_member(group, admin.row));
    }
    let rights = fixture.rights(&admin).unwrap();
    assert!(rights.actor.bypass());
    assert_eq!(rights.level.as_ref().map(|level| level.max), Some(100));
}

#[test]
fn a_configured_token_replaces_the_former_one() {
    let fixture = Fixture::new();
    let other = "11111111-2222-4333-8444-555555555555";
    assert!(fixture.actor_of_token(other).is_none());
    fixture
        .accounts
        .ensure_admin(&settings(Some("another long password"), Some(other)))
        .unwrap();
    assert!(fixture.actor_of_token(other).unwrap().bypass());
    assert!(fixture.actor_of_token(TOKEN).is_none());
    assert!(
        fixture
            .login("Admin@Example.org", "another long password")
            .is_ok()
    );
    assert!(fixture.login("admin@example.org", PASSWORD).is_err());
}

#[test]
fn a_weak_configured_token_is_refused() {
    let fixture = Fixture::empty();
    let refused = fixture
        .accounts
        .ensure_admin(&settings(None, Some("ChangeMe")));
    assert!(matches!(refused, Err(AccountError::Token(_))));
}

#[test]
fn the_configuration_lets_the_administrator_in_again_at_every_start() {
    let fixture = Fixture::new();
    fixture.write(|tx| {
        let mut admin = tx.user_by_id(Actor::ADMIN_ID)?.unwrap();
        admin.status = UserStatus::Locked;
        admin.expires_at = Some(1);
        tx.update_user(&admin)
    });
    assert!(fixture.actor_of_token(TOKEN).is_none());
    fixture
        .accounts
        .ensure_admin(&settings(Some(PASSWORD), Some(TOKEN)))
        .unwrap();
    assert!(fixture.actor_of_token(TOKEN).is_some());
}

#[test]
fn resetting_the_administrator_ends_the_former_secrets() {
    let fixture = Fixture::new();
    let session = fixture.login("admin@example.org", PASSWORD).unwrap();
    let fresh = fixture.accounts.reset_admin("unused@example.org").unwrap();
    assert!(fixture.actor_of_token(TOKEN).is_none());
    assert!(fixture.accounts.session(&session).unwrap().is_none());
    assert!(fixture.actor_of_token(&fresh.token.unwrap()).is_some());
    assert!(
        fixture
            .login("admin@example.org", &fresh.password.unwrap())
            .is_ok()
    );
}

#[test]
fn an_administrator_from_elsewhere_means_none_of_our_own() {
    let fixture = Fixture::new();
    assert!(fixture.accounts.remove_admin().unwrap());
    assert!(!fixture.accounts.remove_admin().unwrap());
    assert!(fixture.actor_of_token(TOKEN).is_none());
}

#[test]
fn the_platform_itself_is_no_user_that_can_be_administered() {
    let fixture = Fixture::new();
    fixture.accounts.system().unwrap();
    let system = Actor::SYSTEM_ID.to_string();
    let listed = fixture
        .store
        .read(|snapshot| fixture.accounts.users(snapshot))
        .unwrap();
    assert!(listed.iter().all(|user| user.id != Actor::SYSTEM_ID));
    let acting = fixture.acting();
    let patch = UserPatch {
        password: Some("a new long password".to_owned()),
        ..UserPatch::default()
    };
    assert!(matches!(
        fixture.accounts.edit_user(&acting, &system, patch),
        Err(AccountError::NotFound { .. })
    ));
    assert!(matches!(
        fixture.accounts.delete_user(&acting, &system),
        Err(AccountError::NotFound { .. })
    ));
    assert!(matches!(
        fixture.accounts.add_token(
            &acting,
            &system,
            "x",
            ferrocti_accounts::Lifetime::Unlimited
        ),
        Err(AccountError::NotFound { .. })
    ));
}

#[test]
fn everything_is_found_by_internal_and_standard_id() {
    let fixture = Fixture::new();
    fixture.read(|snapshot| {
        let group = snapshot.group_by_name("Connectors")?.unwrap();
        for id in [
            group.id.to_string(),
            "group--599fc7ab-02f4-50c1-94f9-4b68da122010".to_owned(),
        ] {
            assert_eq!(
                ids::find_group(snapshot, &id).unwrap().unwrap().id,
                group.id
            );
        }
        let role = snapshot.role_by_name("Connector")?.unwrap();
        for id in [
            role.id.to_string(),
            "role--b375ed46-a11c-56d5-a2d4-0c654f61eeee".to_owned(),
        ] {
            assert_eq!(ids::find_role(snapshot, &id).unwrap().unwrap().id, role.id);
        }
        let standard = ids::user_standard_id("admin@example.org");
        let found = ids::find_user(snapshot, &standard).unwrap().unwrap();
        assert_eq!(found.id, Actor::ADMIN_ID);
        for id in [
            "",
            "x",
            "user--x",
            "group--b375ed46-a11c-56d5-a2d4-0c654f61eeee",
        ] {
            assert!(ids::find_user(snapshot, id).unwrap().is_none(), "{id}");
            assert!(ids::find_role(snapshot, id).unwrap().is_none(), "{id}");
        }
        Ok(())
    });
    for id in [
        "BYPASS",
        "capability--5e270c74-931e-5603-8708-e0c0ff723e3d",
        "5e270c74-931e-5603-8708-e0c0ff723e3d",
    ] {
        assert_eq!(ids::find_capability(id).unwrap().name, "BYPASS");
    }
    assert!(ids::find_capability("NOTHING").is_none());
}
