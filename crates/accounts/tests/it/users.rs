//! Users: what makes one, what may be changed of it, and what a user may change of itself.

use ferrocti_access::{Level, names, password::Policy};
use ferrocti_accounts::{AccountError, Acting, NewUser, SelfPatch, UserPatch, set_password_policy};
use ferrocti_store::{User, UserStatus};
use serde_json::{Map, Value, json};

use crate::support::{DAY, Fixture, START, id, mail, person, secret};

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
