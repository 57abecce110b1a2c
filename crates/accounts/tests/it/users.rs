//! Users: what makes one, what may be changed of it, and what a user may change of itself.

use ferrocti_access::{Level, names, password::Policy};
use ferrocti_accounts::{AccountError, Acting, NewUser, SelfPatch, UserPatch, set_password_policy};
use ferrocti_store::{User, UserStatus};
use serde_json::{Map, Value, json};

use crate::support::{DAY, Fixture, PASSWORD, START, TOKEN, id, mail, person, secret};

fn profile(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn groups(fixture: &Fixture, user: &User) -> Vec<String> {
    fixture.read(|s| {
        s.groups_of(user.row)?
            .into_iter()
            .map(|row| Ok(s.group(row)?.unwrap().name))
            .collect()
    })
}

#[test]
fn a_new_user_joins_the_default_groups_unless_told_otherwise() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let connectors = fixture.group_named("Connectors").id.to_string();
    let add = |name: &str, groups: &[&String], prevent_default_groups| {
        let new = NewUser {
            groups: groups.iter().map(ToString::to_string).collect(),
            prevent_default_groups,
            ..person(name)
        };
        fixture.accounts.add_user(&acting, new).unwrap()
    };
    let default = fixture.group_named("Default").id.to_string();
    for (name, given, prevent, expected) in [
        ("one", vec![], false, vec!["Default"]),
        ("two", vec![&connectors], true, vec!["Connectors"]),
        (
            "three",
            vec![&connectors],
            false,
            vec!["Default", "Connectors"],
        ),
        ("four", vec![&default], false, vec!["Default"]),
    ] {
        let user = add(name, &given, prevent);
        assert_eq!(groups(&fixture, &user), expected, "{name}");
    }
    assert_eq!(
        fixture.last_audit().message,
        "creates user `four@example.org`"
    );
}

#[test]
fn an_address_belongs_to_one_user_whatever_its_case() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    fixture.person("Jane");
    let john = fixture.person("John");
    for service_account in [false, true] {
        let new = NewUser {
            email: Some("JANE@Example.Org".to_owned()),
            service_account,
            ..person("Other")
        };
        let refused = fixture.accounts.add_user(&acting, new).unwrap_err();
        assert!(
            refused.to_string().starts_with("User already exists"),
            "{refused}"
        );
    }
    let patch = UserPatch {
        email: Some("Jane@example.org".to_owned()),
        ..UserPatch::default()
    };
    let refused = fixture.accounts.edit_user(&acting, &id(&john), patch);
    assert!(matches!(refused, Err(AccountError::AlreadyExists(_))));
    let john = fixture.actor(&john);
    let patch = SelfPatch {
        email: Some("jane@EXAMPLE.org".to_owned()),
        ..SelfPatch::default()
    };
    let refused = fixture.accounts.edit_self(&Acting::of(&john), patch, None);
    assert!(matches!(refused, Err(AccountError::AlreadyExists(_))));
}

#[test]
fn values_that_do_not_fit_make_no_user() {
    let fixture = Fixture::new();
    let before = fixture.read(|s| s.users()).len();
    let lines = fixture.audit().len();
    let level = |max, name: &str, value| Level {
        max,
        overrides: [(name.to_owned(), value)].into(),
    };
    for (what, new) in [
        (
            "name",
            NewUser {
                name: " x ".to_owned(),
                ..person("Jane")
            },
        ),
        (
            "no address",
            NewUser {
                email: None,
                ..person("Jane")
            },
        ),
        (
            "blank address",
            NewUser {
                email: Some("  ".to_owned()),
                ..person("Jane")
            },
        ),
        (
            "bad address",
            NewUser {
                email: Some("jane".to_owned()),
                ..person("Jane")
            },
        ),
        (
            "no password",
            NewUser {
                password: None,
                ..person("Jane")
            },
        ),
        (
            "short password",
            NewUser {
                password: Some("short".to_owned()),
                ..person("Jane")
            },
        ),
        (
            "level",
            NewUser {
                level: Level {
                    max: Some(101),
                    ..Level::default()
                },
                ..person("Jane")
            },
        ),
        (
            "override",
            NewUser {
                level: level(Some(1), "Report", 101),
                ..person("Jane")
            },
        ),
        (
            "override of nothing",
            NewUser {
                level: level(Some(1), "Nothing", 1),
                ..person("Jane")
            },
        ),
        (
            "unknown group",
            NewUser {
                groups: vec![uuid::Uuid::nil().to_string()],
                ..person("Jane")
            },
        ),
        (
            "role as group",
            NewUser {
                groups: vec![fixture.role_named("Default").id.to_string()],
                ..person("Jane")
            },
        ),
        (
            "unknown organisation",
            NewUser {
                organizations: vec!["x".to_owned()],
                ..person("Jane")
            },
        ),
        (
            "marking as organisation",
            NewUser {
                organizations: vec![fixture.marking("TLP:RED").to_string()],
                ..person("Jane")
            },
        ),
        (
            "profile",
            NewUser {
                profile: profile(json!({"api_token": "x"})),
                ..person("Jane")
            },
        ),
        (
            "language",
            NewUser {
                profile: profile(json!({"language": "xx"})),
                ..person("Jane")
            },
        ),
    ] {
        assert!(
            fixture.accounts.add_user(&fixture.acting(), new).is_err(),
            "{what}"
        );
        assert_eq!(fixture.read(|s| s.users()).len(), before, "{what}");
    }
    assert_eq!(fixture.audit().len(), lines);
}

#[test]
fn a_service_account_may_go_without_an_address() {
    let fixture = Fixture::new();
    let new = NewUser {
        email: None,
        service_account: true,
        ..person("Robot")
    };
    let user = fixture.accounts.add_user(&fixture.acting(), new).unwrap();
    assert!(
        user.email.starts_with("automatic+") && user.email.ends_with(".invalid"),
        "{}",
        user.email
    );
}

#[test]
fn passwords_satisfy_the_policy() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let policy = Policy {
        min_length: 10,
        min_numbers: 1,
        ..Policy::default()
    };
    fixture
        .accounts
        .set_password_policy(&acting, &policy)
        .unwrap();
    assert_eq!(fixture.read(ferrocti_accounts::password_policy), policy);
    let new = NewUser {
        password: Some("abcdefgh".to_owned()),
        ..person("Jane")
    };
    let refused = fixture.accounts.add_user(&acting, new).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Invalid password: size must be >= 10, number of digits must be >= 1"
    );
    assert_eq!(refused.code(), "FUNCTIONAL_ERROR");
    let manager = fixture.actor(&{
        let new = NewUser {
            password: Some("abcdefghi1".to_owned()),
            ..person("Jane")
        };
        fixture.accounts.add_user(&acting, new).unwrap()
    });
    let refused = fixture
        .store
        .write(|tx| set_password_policy(tx, &Acting::of(&manager), &Policy::default()));
    assert!(matches!(refused, Err(AccountError::Denied(_))));
    for impossible in [
        Policy {
            min_length: 10,
            max_length: 9,
            ..Policy::default()
        },
        Policy {
            min_symbols: 5,
            max_length: 4,
            ..Policy::default()
        },
        Policy {
            min_length: 100_000,
            ..Policy::default()
        },
    ] {
        let refused = fixture.accounts.set_password_policy(&acting, &impossible);
        assert!(
            matches!(refused, Err(AccountError::Invalid(_))),
            "{impossible:?}"
        );
    }
}

#[test]
fn an_edit_changes_what_it_names_and_records_it_without_secrets() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let acting = fixture.acting();
    let patch = UserPatch {
        name: Some("Janet".to_owned()),
        password: Some("a brand new secret".to_owned()),
        level: Some(Level::of(30)),
        profile: profile(json!({"firstname": "Janet", "language": "de-de"})),
        ..UserPatch::default()
    };
    let edited = fixture
        .accounts
        .edit_user(&acting, &id(&user), patch.clone())
        .unwrap();
    assert_eq!(
        (edited.name.as_str(), edited.max_confidence),
        ("Janet", Some(30))
    );
    assert_eq!(edited.profile["firstname"], "Janet");
    assert_eq!(fixture.read(|s| s.user(user.row)), Some(edited));
    let line = fixture.last_audit();
    assert_eq!(
        line.message,
        "updates `name, user_confidence_level, firstname, language, password` for user `jane@example.org`"
    );
    let data = line.data.unwrap();
    assert_eq!(data["before"]["name"], "Jane");
    assert_eq!(data["after"]["user_confidence_level"]["max_confidence"], 30);
    assert_eq!(data["after"]["password"], "*** Redacted ***");
    assert!(!data.to_string().contains("brand new") && !data.to_string().contains("argon2"));
    let lines = fixture.audit().len();
    let same = UserPatch {
        password: None,
        ..patch
    };
    fixture
        .accounts
        .edit_user(&acting, &id(&user), same)
        .unwrap();
    assert_eq!(
        fixture.audit().len(),
        lines,
        "what changes nothing is not recorded"
    );
}

#[test]
fn a_date_that_is_past_expires_an_account_and_another_status_takes_it_away() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let edit = |patch| {
        fixture
            .accounts
            .edit_user(&fixture.acting(), &id(&user), patch)
            .unwrap()
    };
    let state = |user: User| (user.status, user.expires_at);
    let date = |end| UserPatch {
        expires_at: Some(end),
        ..UserPatch::default()
    };
    let status = |status| UserPatch {
        status: Some(status),
        ..UserPatch::default()
    };
    assert_eq!(
        state(edit(date(Some(START + DAY)))),
        (UserStatus::Active, Some(START + DAY))
    );
    assert_eq!(
        state(edit(date(Some(START - 1)))),
        (UserStatus::Expired, Some(START - 1))
    );
    assert_eq!(
        state(edit(status(UserStatus::Active))),
        (UserStatus::Active, None)
    );
    assert_eq!(
        state(edit(date(Some(START - 1)))),
        (UserStatus::Expired, Some(START - 1))
    );
    assert_eq!(state(edit(date(None))), (UserStatus::Active, None));
}

#[test]
fn name_and_address_of_an_external_user_stay() {
    let fixture = Fixture::new();
    let admin = fixture.admin.user_id.to_string();
    for (patch, expected) in [
        (
            UserPatch {
                name: Some("other".to_owned()),
                ..UserPatch::default()
            },
            "Name cannot be updated for external user",
        ),
        (
            UserPatch {
                email: Some("other@example.org".to_owned()),
                ..UserPatch::default()
            },
            "Email cannot be updated for external user",
        ),
    ] {
        let refused = fixture
            .accounts
            .edit_user(&fixture.acting(), &admin, patch)
            .unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }
    let patch = SelfPatch {
        email: Some("other@example.org".to_owned()),
        ..SelfPatch::default()
    };
    assert!(
        fixture
            .accounts
            .edit_self(&fixture.acting(), patch, None)
            .is_err()
    );
}

#[test]
fn a_service_account_gets_no_password_and_a_person_that_becomes_one_loses_it() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &[names::USE_TOKEN], &[]);
    let acting = fixture.acting();
    let (_, token) = fixture
        .accounts
        .add_token(
            &acting,
            &id(&user),
            "cli",
            ferrocti_accounts::Lifetime::Unlimited,
        )
        .unwrap();
    let session = fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
    let patch = UserPatch {
        service_account: Some(true),
        ..UserPatch::default()
    };
    let edited = fixture
        .accounts
        .edit_user(&acting, &id(&user), patch)
        .unwrap();
    assert_eq!((edited.id, edited.password), (user.id, None));
    assert!(fixture.accounts.session(&session).unwrap().is_none());
    assert!(fixture.actor_of_token(&token).is_some(), "tokens are kept");
    let patch = UserPatch {
        password: Some("a new long password".to_owned()),
        ..UserPatch::default()
    };
    let refused = fixture
        .accounts
        .edit_user(&acting, &id(&user), patch)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Cannot update password for Service account"
    );
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

#[test]
fn a_deleted_user_leaves_its_address_free() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    fixture
        .accounts
        .delete_user(&fixture.acting(), &id(&user))
        .unwrap();
    assert_eq!(
        fixture.last_audit().message,
        "deletes user `jane@example.org`"
    );
    let again = fixture.person("Jane");
    assert_ne!((again.row, again.id), (user.row, user.id));
}

#[test]
fn organisations_are_joined_and_left() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let acting = fixture.acting();
    let iid = fixture.add_object("Organization", "ACME", json!({"name": "ACME"}), None, &[]);
    let organization = fixture
        .read(|s| s.load_one(iid))
        .unwrap()
        .internal
        .to_string();
    fixture
        .accounts
        .add_organization(&acting, &id(&user), &organization)
        .unwrap();
    assert_eq!(
        fixture.last_audit().message,
        "adds Organization `ACME` to user `jane@example.org`"
    );
    assert_eq!(fixture.read(|s| s.organizations_of(user.row)), [iid]);
    fixture
        .accounts
        .remove_organization(&acting, &id(&user), &organization)
        .unwrap();
    assert_eq!(
        fixture.last_audit().message,
        "removes Organization `ACME` from user `jane@example.org`"
    );
    assert_eq!(
        fixture.read(|s| s.organizations_of(user.row)),
        Vec::<i64>::new()
    );
}
