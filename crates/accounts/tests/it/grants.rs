//! Nobody gives more than he has, and somebody always remains who can administer the platform.

use ferrocti_access::{Level, names};
use ferrocti_accounts::{
    AccountError, Acting, GroupPatch, NewGroup, NewUser, RolePatch, UserPatch,
};
use ferrocti_store::UserStatus;

use crate::support::{Fixture, id, person};

/// Somebody who manages accesses, and is not allowed everything.
fn manager(fixture: &Fixture) -> std::sync::Arc<ferrocti_access::Actor> {
    let user = fixture.user_with("Manager", &[names::SET_ACCESSES, names::USE_TOKEN], &[]);
    fixture.actor(&user)
}

#[test]
fn bypass_is_given_by_no_way_without_having_it() {
    let fixture = Fixture::new();
    let manager = manager(&fixture);
    let acting = Acting::of(&manager);
    let accounts = &fixture.accounts;
    let own = manager.user_id.to_string();
    let administrators = fixture.group_named("Administrators").id.to_string();
    let administrator = fixture.role_named("Administrator").id.to_string();
    let (group, role) = (
        fixture.group_named("Manager").id.to_string(),
        fixture.role_named("Manager").id.to_string(),
    );
    let target = fixture.user_with("Target", &["BYPASS"], &[]);
    let password = || UserPatch {
        password: Some("my own long password".to_owned()),
        ..UserPatch::default()
    };
    let tries = [
        (
            "joining Administrators",
            accounts
                .add_member(&acting, &own, &administrators)
                .map(drop),
        ),
        (
            "a new user in Administrators",
            accounts
                .add_user(
                    &acting,
                    NewUser {
                        groups: vec![administrators.clone()],
                        ..person("Mine")
                    },
                )
                .map(drop),
        ),
        (
            "the role for the own group",
            accounts
                .add_group_role(&acting, &group, &administrator)
                .map(drop),
        ),
        (
            "BYPASS for the own role",
            accounts
                .add_capability(&acting, &role, "BYPASS", false)
                .map(drop),
        ),
        (
            "BYPASS in drafts",
            accounts
                .add_capability(&acting, &role, "BYPASS", true)
                .map(drop),
        ),
        (
            "BYPASS by id",
            accounts
                .add_capability(
                    &acting,
                    &role,
                    "capability--5e270c74-931e-5603-8708-e0c0ff723e3d",
                    false,
                )
                .map(drop),
        ),
        (
            "Administrators as default group",
            accounts
                .edit_group(
                    &acting,
                    &administrators,
                    GroupPatch {
                        default_assignation: Some(true),
                        ..GroupPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "the password of another",
            accounts
                .edit_user(&acting, &id(&target), password())
                .map(drop),
        ),
        (
            "the address of another",
            accounts
                .edit_user(
                    &acting,
                    &id(&target),
                    UserPatch {
                        email: Some("mine@example.org".to_owned()),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "deleting another",
            accounts.delete_user(&acting, &id(&target)).map(drop),
        ),
        (
            "locking another out",
            accounts
                .edit_user(
                    &acting,
                    &id(&target),
                    UserPatch {
                        status: Some(UserStatus::Locked),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "demoting another",
            accounts
                .remove_member(
                    &acting,
                    &id(&target),
                    &fixture.group_named("Target").id.to_string(),
                )
                .map(drop),
        ),
        (
            "emptying the role",
            accounts
                .remove_capability(&acting, &administrator, "BYPASS", false)
                .map(drop),
        ),
        (
            "deleting the role",
            accounts.delete_role(&acting, &administrator).map(drop),
        ),
        (
            "deleting the group",
            accounts.delete_group(&acting, &administrators).map(drop),
        ),
        (
            "taking the role from the group",
            accounts
                .remove_group_role(&acting, &administrators, &administrator)
                .map(drop),
        ),
        (
            "the right to change what is protected",
            accounts
                .edit_role(
                    &acting,
                    &role,
                    RolePatch {
                        sensitive: Some(true),
                        ..RolePatch::default()
                    },
                )
                .map(drop),
        ),
    ];
    for (what, result) in tries {
        let error = result.expect_err(what);
        assert_eq!(error.code(), "FORBIDDEN_ACCESS", "{what}: {error}");
    }
    let manager = fixture.read(|s| s.user_by_id(manager.user_id)).unwrap();
    assert!(!fixture.actor(&manager).bypass());
    assert!(fixture.rights(&target).unwrap().actor.bypass());
}

#[test]
fn a_default_group_that_may_do_everything_takes_no_users_of_others() {
    let fixture = Fixture::new();
    let manager = manager(&fixture);
    let administrators = fixture.group_named("Administrators").id.to_string();
    let patch = GroupPatch {
        default_assignation: Some(true),
        ..GroupPatch::default()
    };
    fixture
        .accounts
        .edit_group(&fixture.acting(), &administrators, patch)
        .unwrap();
    let new = NewUser {
        prevent_default_groups: false,
        ..person("Mine")
    };
    let refused = fixture.accounts.add_user(&Acting::of(&manager), new);
    assert!(matches!(refused, Err(AccountError::Denied(_))));
}

#[test]
fn who_manages_accesses_does_what_is_not_beyond_him() {
    let fixture = Fixture::new();
    let manager = manager(&fixture);
    let acting = Acting::of(&manager);
    let user = fixture.accounts.add_user(&acting, person("Jane")).unwrap();
    let group = fixture
        .accounts
        .add_group(
            &acting,
            NewGroup {
                name: "Readers".to_owned(),
                level: Level::of(40),
                ..NewGroup::default()
            },
        )
        .unwrap();
    let role = fixture
        .accounts
        .add_role(&acting, "Reader", Some("reads"))
        .unwrap();
    let (group, role) = (group.id.to_string(), role.id.to_string());
    fixture
        .accounts
        .add_capability(&acting, &role, "KNOWLEDGE", false)
        .unwrap();
    fixture
        .accounts
        .add_group_role(&acting, &group, &role)
        .unwrap();
    fixture
        .accounts
        .add_member(&acting, &id(&user), &group)
        .unwrap();
    let actor = fixture.actor(&user);
    assert!(actor.capabilities.holds("KNOWLEDGE"));
    assert_eq!(actor.level("Report"), Some(40));
}

#[test]
fn the_last_administrator_cannot_be_taken_away() {
    let fixture = Fixture::new();
    let last = fixture.user_with("Last", &["BYPASS"], &[]);
    // the administrators of this platform come from elsewhere
    fixture.accounts.remove_admin().unwrap();
    let actor = fixture.actor(&last);
    let acting = Acting::of(&actor);
    let accounts = &fixture.accounts;
    let group = fixture.group_named("Last").id.to_string();
    let role = fixture.role_named("Last").id.to_string();
    let tries = [
        (
            "delete",
            accounts.delete_user(&acting, &id(&last)).map(drop),
        ),
        (
            "lock",
            accounts
                .edit_user(
                    &acting,
                    &id(&last),
                    UserPatch {
                        status: Some(UserStatus::Locked),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "expire",
            accounts
                .edit_user(
                    &acting,
                    &id(&last),
                    UserPatch {
                        expires_at: Some(Some(1)),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "no password, no token",
            accounts
                .edit_user(
                    &acting,
                    &id(&last),
                    UserPatch {
                        service_account: Some(true),
                        ..UserPatch::default()
                    },
                )
                .map(drop),
        ),
        (
            "leave the group",
            accounts
                .remove_member(&acting, &id(&last), &group)
                .map(drop),
        ),
        (
            "delete the group",
            accounts.delete_group(&acting, &group).map(drop),
        ),
        (
            "delete the role",
            accounts.delete_role(&acting, &role).map(drop),
        ),
        (
            "empty the role",
            accounts
                .remove_capability(&acting, &role, "BYPASS", false)
                .map(drop),
        ),
        (
            "take the role",
            accounts.remove_group_role(&acting, &group, &role).map(drop),
        ),
    ];
    for (what, result) in tries {
        assert!(
            matches!(result, Err(AccountError::LastAdministrator(_))),
            "{what}"
        );
        assert!(
            fixture.rights(&last).unwrap().actor.bypass(),
            "{what} left a trace"
        );
    }
    let second = fixture.person("Second");
    accounts.add_member(&acting, &id(&second), &group).unwrap();
    accounts.delete_user(&acting, &id(&last)).unwrap();
}

#[test]
fn unknown_and_mixed_up_ids_are_refused() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let acting = fixture.acting();
    let accounts = &fixture.accounts;
    let group = fixture.group_named("Default").id.to_string();
    let role = fixture.role_named("Default").id.to_string();
    let marking = fixture.marking("TLP:RED").to_string();
    let malware = fixture.add_object(
        "Malware",
        "Emotet",
        serde_json::json!({"name": "Emotet"}),
        Some(50),
        &[],
    );
    let malware = fixture
        .read(|s| s.load_one(malware))
        .unwrap()
        .standard
        .to_string();
    for wrong in [
        "",
        "x",
        "group--x",
        &uuid::Uuid::nil().to_string(),
        &malware,
    ] {
        let tries = [
            (
                "user",
                accounts
                    .edit_user(&acting, wrong, UserPatch::default())
                    .map(drop),
            ),
            (
                "group of a user",
                accounts.add_member(&acting, &id(&user), wrong).map(drop),
            ),
            (
                "user of a group",
                accounts.add_member(&acting, wrong, &group).map(drop),
            ),
            (
                "group",
                accounts
                    .edit_group(&acting, wrong, GroupPatch::default())
                    .map(drop),
            ),
            (
                "role",
                accounts
                    .edit_role(&acting, wrong, RolePatch::default())
                    .map(drop),
            ),
            (
                "role of a group",
                accounts.add_group_role(&acting, &group, wrong).map(drop),
            ),
            (
                "capability",
                accounts
                    .add_capability(&acting, &role, wrong, false)
                    .map(drop),
            ),
            (
                "marking",
                accounts.grant_marking(&acting, &group, wrong).map(drop),
            ),
            (
                "default marking",
                accounts
                    .set_default_markings(&acting, &group, "GLOBAL", &[wrong.to_owned()])
                    .map(drop),
            ),
            (
                "organisation",
                accounts
                    .add_organization(&acting, &id(&user), wrong)
                    .map(drop),
            ),
            ("session", accounts.kill_session(&acting, wrong).map(drop)),
        ];
        for (what, result) in tries {
            assert!(
                matches!(result, Err(AccountError::NotFound { .. })),
                "{what} {wrong:?}"
            );
        }
    }
    // a group is no role, a role no group, so that nothing can contain itself
    for (what, result) in [
        (
            "group in group",
            accounts.add_group_role(&acting, &group, &group).map(drop),
        ),
        (
            "role in role",
            accounts
                .add_capability(&acting, &role, &role, false)
                .map(drop),
        ),
        (
            "group as member",
            accounts.add_member(&acting, &group, &group).map(drop),
        ),
        (
            "role as marking",
            accounts.grant_marking(&acting, &group, &role).map(drop),
        ),
        (
            "marking as role",
            accounts.add_group_role(&acting, &group, &marking).map(drop),
        ),
    ] {
        assert!(
            matches!(result, Err(AccountError::NotFound { .. })),
            "{what}"
        );
    }
}

#[test]
fn names_of_groups_and_roles_are_taken_once_whatever_their_case() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let group = |name: &str| {
        fixture.accounts.add_group(
            &acting,
            NewGroup {
                name: name.to_owned(),
                ..NewGroup::default()
            },
        )
    };
    let other = group("Other").unwrap().id.to_string();
    assert!(matches!(
        group("DEFAULT "),
        Err(AccountError::AlreadyExists(_))
    ));
    assert!(matches!(group("x"), Err(AccountError::Invalid(_))));
    let rename = GroupPatch {
        name: Some("default".to_owned()),
        ..GroupPatch::default()
    };
    let refused = fixture.accounts.edit_group(&acting, &other, rename);
    assert!(matches!(refused, Err(AccountError::AlreadyExists(_))));
    let refused = fixture.accounts.add_role(&acting, "connector", None);
    assert!(matches!(refused, Err(AccountError::AlreadyExists(_))));
}

#[test]
fn changes_of_groups_and_roles_are_recorded() {
    let fixture = Fixture::new();
    fixture.group("Readers", &["KNOWLEDGE"], &["TLP:GREEN"]);
    let messages: Vec<String> = fixture
        .audit()
        .into_iter()
        .map(|line| line.message)
        .collect();
    let expected = [
        "creates group `Readers`",
        "updates `group_confidence_level` for group `Readers`",
        "creates role `Readers`",
        "adds Capability `KNOWLEDGE` for role `Readers`",
        "adds Role `Readers` for group `Readers`",
        "adds Marking-Definition `TLP:GREEN` for group `Readers`",
    ];
    assert_eq!(&messages[messages.len() - expected.len()..], expected);
    let line = fixture.last_audit();
    assert_eq!(
        (
            line.event_type.as_str(),
            line.event_scope.as_str(),
            line.event_access.as_str(),
            line.status.as_str()
        ),
        ("mutation", "update", "administration", "success")
    );
    assert_eq!(
        (line.actor, line.entity_type.as_deref()),
        (Some(fixture.admin.user_row), Some("Group"))
    );
}

#[test]
fn only_some_capabilities_are_given_for_drafts_alone() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let role = fixture.role_named("Default").id.to_string();
    let (role_now, _) = fixture
        .accounts
        .add_capability(&acting, &role, "KNOWLEDGE_KNUPDATE", true)
        .unwrap();
    assert_eq!(role_now.draft_capabilities, ["KNOWLEDGE_KNUPDATE"]);
    let refused = fixture
        .accounts
        .add_capability(&acting, &role, "SETTINGS_SETACCESSES", true);
    assert!(matches!(refused, Err(AccountError::Invalid(_))));
    let user = fixture
        .accounts
        .add_user(
            &acting,
            NewUser {
                prevent_default_groups: false,
                ..person("Jane")
            },
        )
        .unwrap();
    assert!(
        !fixture
            .actor(&user)
            .capabilities
            .holds("KNOWLEDGE_KNUPDATE"),
        "outside of drafts it counts not"
    );
}
