//! What a user may change of itself, and what nobody may without being allowed to.

use ferrocti_access::{Level, names};
use ferrocti_accounts::{AccountError, Acting, SelfPatch, UserPatch};
use ferrocti_store::UserStatus;
use serde_json::{Map, Value, json};

use crate::support::{DAY, Fixture, PASSWORD, START, TOKEN, id, mail, person, secret};

fn profile(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn a_user_changes_of_itself_only_what_is_its_own() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let actor = fixture.actor(&user);
    let acting = Acting::of(&actor);
    let before = fixture.read(|s| s.user(user.row)).unwrap();
    for key in [
        "api_token",
        "external",
        "user_service_account",
        "groups",
        "otp_secret",
        "user_confidence_level",
        "account_status",
        "capabilities",
        "id",
        "password",
        "user_email",
    ] {
        let patch = SelfPatch {
            profile: profile(json!({key: "x"})),
            ..SelfPatch::default()
        };
        assert!(
            fixture.accounts.edit_self(&acting, patch, None).is_err(),
            "{key}"
        );
    }
    assert_eq!(fixture.read(|s| s.user(user.row)), Some(before));
    let patch = SelfPatch {
        name: Some("Janet".to_owned()),
        profile: profile(json!({"theme": "dark"})),
        ..SelfPatch::default()
    };
    fixture.accounts.edit_self(&acting, patch, None).unwrap();
    assert_eq!(
        fixture.last_audit().message,
        "updates `name, theme` for `themselves`"
    );
}

#[test]
fn a_new_password_of_ones_own_needs_the_current_one_and_ends_the_sessions() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let session = fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
    let actor = fixture.actor(&user);
    let patch = || SelfPatch {
        password: Some("another long password".to_owned()),
        ..SelfPatch::default()
    };
    let change = |current: Option<&str>| {
        fixture
            .accounts
            .edit_self(&Acting::of(&actor), patch(), current)
    };
    for wrong in [None, Some(""), Some("wrong")] {
        let refused = change(wrong).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "The current password you have provided is not valid"
        );
    }
    assert!(fixture.accounts.session(&session).unwrap().is_some());
    change(Some(&secret("Jane"))).unwrap();
    assert!(fixture.accounts.session(&session).unwrap().is_none());
    assert!(
        fixture
            .login(&mail("Jane"), "another long password")
            .is_ok()
    );
    for _ in 0..10 {
        let _ = change(Some("wrong"));
    }
    assert!(
        matches!(
            change(Some("another long password")),
            Err(AccountError::LoginRefused(_))
        ),
        "a stolen session does not help to guess the password"
    );
    let moved = SelfPatch {
        email: Some("another@example.org".to_owned()),
        ..SelfPatch::default()
    };
    fixture
        .accounts
        .edit_self(&Acting::of(&actor), moved, None)
        .unwrap();
    assert!(
        matches!(
            change(Some("another long password")),
            Err(AccountError::LoginRefused(_))
        ),
        "nor does another address"
    );
}

#[test]
fn who_may_not_administer_changes_nobody() {
    let fixture = Fixture::new();
    let victim = fixture.person("Victim");
    let ordinary = fixture.user_with(
        "Jane",
        &[
            names::KNOWLEDGE_UPDATE,
            names::USE_TOKEN,
            names::MODULES_MANAGE,
        ],
        &[],
    );
    let actor = fixture.actor(&ordinary);
    let acting = Acting::of(&actor);
    let lines = fixture.audit().len();
    let accounts = &fixture.accounts;
    let group = fixture.group_named("Administrators").id.to_string();
    let role = fixture.role_named("Administrator").id.to_string();
    let refused = [
        (
            "add_user",
            accounts.add_user(&acting, person("Other")).map(drop),
        ),
        (
            "edit_user",
            accounts
                .edit_user(&acting, &id(&victim), UserPatch::default())
                .map(drop),
        ),
        (
            "edit_user itself",
            accounts
                .edit_user(
                    &acting,
                    &id(&ordinary),
                    UserPatch {
                        level: Some(Level::of(100)),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "delete_user",
            accounts.delete_user(&acting, &id(&victim)).map(drop),
        ),
        (
            "add_member",
            accounts
                .add_member(&acting, &id(&ordinary), &group)
                .map(drop),
        ),
        (
            "remove_member",
            accounts
                .remove_member(&acting, &id(&victim), &group)
                .map(drop),
        ),
        (
            "add_group",
            accounts
                .add_group(
                    &acting,
                    ferrocti_accounts::NewGroup {
                        name: "mine".to_owned(),
                        ..Default::default()
                    },
                )
                .map(drop),
        ),
        (
            "edit_group",
            accounts
                .edit_group(&acting, &group, ferrocti_accounts::GroupPatch::default())
                .map(drop),
        ),
        (
            "delete_group",
            accounts.delete_group(&acting, &group).map(drop),
        ),
        (
            "add_role",
            accounts.add_role(&acting, "mine", None).map(drop),
        ),
        (
            "edit_role",
            accounts
                .edit_role(&acting, &role, ferrocti_accounts::RolePatch::default())
                .map(drop),
        ),
        (
            "delete_role",
            accounts.delete_role(&acting, &role).map(drop),
        ),
        (
            "add_capability",
            accounts
                .add_capability(&acting, &role, "KNOWLEDGE", false)
                .map(drop),
        ),
        (
            "add_group_role",
            accounts.add_group_role(&acting, &group, &role).map(drop),
        ),
        (
            "grant_marking",
            accounts.grant_marking(&acting, &group, "x").map(drop),
        ),
        (
            "set_default_markings",
            accounts
                .set_default_markings(&acting, &group, "GLOBAL", &[])
                .map(drop),
        ),
        (
            "kill_sessions_of",
            accounts.kill_sessions_of(&acting, &id(&victim)).map(drop),
        ),
        (
            "add_connector",
            accounts
                .add_connector(&acting, "feed", None, None)
                .map(drop),
        ),
        ("doctor", accounts.doctor(&acting).map(drop)),
    ];
    for (what, result) in refused {
        let error = result.expect_err(what);
        assert_eq!(error.code(), "FORBIDDEN_ACCESS", "{what}: {error}");
    }
    assert_eq!(fixture.audit().len(), lines, "nothing was done");
}

#[test]
fn the_first_administrator_stays_whoever_asks() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let admin = fixture.admin.user_id.to_string();
    for patch in [
        UserPatch {
            status: Some(UserStatus::Inactive),
            ..UserPatch::default()
        },
        UserPatch {
            status: Some(UserStatus::Locked),
            ..UserPatch::default()
        },
        UserPatch {
            expires_at: Some(Some(START - 1)),
            ..UserPatch::default()
        },
        UserPatch {
            expires_at: Some(Some(START + DAY)),
            ..UserPatch::default()
        },
        UserPatch {
            service_account: Some(true),
            ..UserPatch::default()
        },
    ] {
        let refused = fixture.accounts.edit_user(&acting, &admin, patch);
        assert!(matches!(refused, Err(AccountError::LastAdministrator(_))));
    }
    assert!(matches!(
        fixture.accounts.delete_user(&acting, &admin),
        Err(AccountError::LastAdministrator(_))
    ));
    assert!(fixture.login("admin@example.org", PASSWORD).is_ok());
    assert!(fixture.actor_of_token(TOKEN).is_some());
}
