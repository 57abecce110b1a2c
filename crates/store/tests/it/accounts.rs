//! Users, groups, roles, tokens, sessions, and the version of rights.

use ferrocti_store::{
    DefaultMarkings, Group, LoginFailures, MaxShareable, ObjectChange, Role, Session, StoreError,
    Token, Tx, User, UserStatus,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Fixture, Open, Sample};

fn user(number: u128, email: &str) -> User {
    User::new(Uuid::from_u128(number), email, "Somebody", 1)
}

fn stored_user(fixture: &Fixture, number: u128, email: &str) -> User {
    let mut user = user(number, email);
    fixture.write(|tx| tx.insert_user(&mut user));
    user
}

fn stored_group(fixture: &Fixture, number: u128, name: &str) -> Group {
    let mut group = Group::new(Uuid::from_u128(number), name, 1);
    fixture.write(|tx| tx.insert_group(&mut group));
    group
}

fn token(number: u128, user: i64, name: &str, hash: u8) -> Token {
    Token {
        id: Uuid::from_u128(number),
        user,
        name: name.to_owned(),
        hash: [hash; 32],
        masked: "****abcd".to_owned(),
        created_at: 1,
        created_by: Some(user),
        expires_at: Some(5),
        last_used: None,
    }
}

fn session(number: u128, user: i64, hash: u8, used_at: i64, expires_at: i64) -> Session {
    Session {
        hash: [hash; 32],
        id: Uuid::from_u128(number),
        user,
        created_at: i64::from(hash),
        used_at,
        expires_at,
        address: Some("192.0.2.1".to_owned()),
        agent: None,
    }
}

fn marking(number: u64, definition: &str) -> Sample {
    Sample::new(
        "Marking-Definition",
        number,
        json!({"definition_type": "TLP", "definition": definition, "x_opencti_order": number}),
    )
}

pub fn users_are_found_by_every_name(open: Open) {
    let mut fixture = Fixture::new(open);
    let mut one = user(1, " Admin@Example.org");
    one.password = Some("$argon2".to_owned());
    one.external = true;
    one.expires_at = Some(99);
    one.max_confidence = Some(40);
    one.overrides.insert("Report".to_owned(), 90);
    one.profile.insert("language".to_owned(), json!("de-de"));
    fixture.write(|tx| tx.insert_user(&mut one));
    assert_eq!(one.email, "admin@example.org", "the stored form is told");
    fixture.restart();
    let expected = Some(one.clone());
    assert_eq!(
        fixture.read(|s| s.user_by_email("ADMIN@example.org ")),
        expected
    );
    assert_eq!(fixture.read(|s| s.user_by_id(one.id)), expected);
    assert_eq!(fixture.read(|s| s.user(one.row)), expected);
    let twin = fixture
        .store()
        .write(|tx| tx.insert_user(&mut user(3, "aDmin@example.org")));
    assert!(twin.is_err(), "an address is taken whatever its case");
    one.status = UserStatus::Locked;
    one.max_confidence = None;
    fixture.write(|tx| tx.update_user(&one));
    assert_eq!(fixture.read(|s| s.users()), [one]);
}

pub fn deleted_user_takes_everything_of_it_along(open: Open) {
    let fixture = Fixture::new(open);
    let gone = stored_user(&fixture, 1, "gone@example.org");
    let stays = stored_user(&fixture, 2, "stays@example.org");
    let group = stored_group(&fixture, 3, "Analysts");
    let organization = fixture.write(|tx| Sample::named("Organization", 1, "ACME").insert(tx));
    fixture.write(|tx| {
        for (user, number) in [(&gone, 10_u8), (&stays, 20)] {
            tx.insert_token(&token(u128::from(number), user.row, "cli", number))?;
            tx.insert_session(&session(u128::from(number) + 1, user.row, number, 1, 10))?;
            assert!(tx.add_member(group.row, user.row)?);
            assert!(tx.add_organization(user.row, organization)?);
        }
        assert!(!tx.add_member(group.row, gone.row)?, "a member already");
        assert!(tx.delete_user(gone.row)?);
        assert!(!tx.delete_user(gone.row)?);
        let former = tx
            .former_user(gone.row)?
            .expect("the audit goes on naming it");
        assert_eq!((former.id, &former.email), (gone.id, &gone.email));
        assert_eq!(former.password, None);
        assert_eq!(tx.former_users(gone.id)?, [former]);
        Ok(())
    });
    assert_eq!(fixture.read(|s| s.tokens_of(gone.row)), []);
    assert_eq!(fixture.read(|s| s.token_by_hash(&[10; 32])), None);
    assert_eq!(fixture.read(|s| s.session_by_hash(&[10; 32])), None);
    assert_eq!(fixture.read(|s| s.members_of(group.row)), [stays.row]);
    assert_eq!(
        fixture.read(|s| s.organization_members(organization)),
        [stays.row]
    );
    assert_eq!(fixture.read(|s| s.sessions(None)).len(), 1);
    let next = stored_user(&fixture, 4, "next@example.org");
    assert!(next.row > stays.row, "row numbers are not reused");
    fixture.assert_sound();
}

pub fn tokens_are_found_by_their_hash_only(open: Open) {
    let mut fixture = Fixture::new(open);
    let owner = stored_user(&fixture, 1, "a@example.org");
    let one = token(2, owner.row, "cli", 9);
    fixture.write(|tx| tx.insert_token(&one));
    fixture.restart();
    assert_eq!(
        fixture.read(|s| s.token_by_hash(&[9; 32])),
        Some((one.clone(), owner.clone()))
    );
    assert_eq!(fixture.read(|s| s.token_by_hash(&[8; 32])), None);
    assert_eq!(fixture.read(|s| s.token(one.id)), Some(one.clone()));
    for (twin, why) in [
        (
            token(3, owner.row, "cli", 7),
            "a name is used once per user",
        ),
        (token(3, owner.row, "other", 9), "a hash is used once"),
        (token(2, owner.row, "other", 7), "an id is used once"),
    ] {
        assert!(
            fixture.store().write(|tx| tx.insert_token(&twin)).is_err(),
            "{why}"
        );
    }
    fixture.write(|tx| tx.touch_token(one.id));
    assert!(
        fixture.read(|s| s.tokens_of(owner.row))[0]
            .last_used
            .is_some()
    );
    assert!(fixture.write(|tx| tx.delete_token(one.id)));
    assert!(!fixture.write(|tx| tx.delete_token(one.id)));
}

pub fn groups_and_roles_are_found_by_every_name(open: Open) {
    let mut fixture = Fixture::new(open);
    let mut group = Group::new(Uuid::from_u128(1), "Analysts", 1);
    group.auto_integration = true;
    group.no_creators = true;
    group.max_confidence = Some(75);
    group.overrides.insert("Malware".to_owned(), 10);
    group.max_shareable.push(MaxShareable {
        marking_type: "PAP".to_owned(),
        value: None,
    });
    group.profile.insert("description".to_owned(), json!("x"));
    let mut role = Role::new(Uuid::from_u128(2), "Reader", 1);
    role.capabilities = vec!["KNOWLEDGE".to_owned()];
    role.draft_capabilities = vec!["KNOWLEDGE_KNUPDATE".to_owned()];
    role.description = Some("reads".to_owned());
    fixture.write(|tx| {
        tx.insert_group(&mut group)?;
        tx.insert_role(&mut role)?;
        assert!(tx.add_group_role(group.row, role.row)?);
        assert!(!tx.add_group_role(group.row, role.row)?);
        Ok(())
    });
    fixture.restart();
    let expected = Some(group.clone());
    assert_eq!(fixture.read(|s| s.group(group.row)), expected);
    assert_eq!(fixture.read(|s| s.group_by_id(group.id)), expected);
    assert_eq!(fixture.read(|s| s.group_by_name(" analysts ")), expected);
    let expected = Some(role.clone());
    assert_eq!(fixture.read(|s| s.role(role.row)), expected);
    assert_eq!(fixture.read(|s| s.role_by_id(role.id)), expected);
    assert_eq!(fixture.read(|s| s.role_by_name("READER")), expected);
    assert_eq!(fixture.read(|s| s.roles_of(group.row)), [role.row]);
    assert_eq!(fixture.read(|s| s.groups_with_role(role.row)), [group.row]);
    let twin = fixture
        .store()
        .write(|tx| tx.insert_group(&mut Group::new(Uuid::from_u128(9), "ANALYSTS", 1)));
    assert!(twin.is_err(), "a name is taken whatever its case");
    let twin = fixture
        .store()
        .write(|tx| tx.insert_role(&mut Role::new(Uuid::from_u128(9), "reader", 1)));
    assert!(twin.is_err(), "a name is taken whatever its case");
    group.name = "Hunters".to_owned();
    role.sensitive = true;
    fixture.write(|tx| {
        tx.update_group(&group)?;
        tx.update_role(&role)
    });
    assert_eq!(fixture.read(|s| s.groups()), [group.clone()]);
    assert_eq!(fixture.read(|s| s.roles()), [role.clone()]);
    assert_eq!(fixture.read(|s| s.group_by_name("Analysts")), None);
    assert!(fixture.write(|tx| tx.delete_role(role.row)));
    assert_eq!(fixture.read(|s| s.roles_of(group.row)), Vec::<i64>::new());
    assert!(fixture.write(|tx| tx.delete_group(group.row)));
    assert!(!fixture.write(|tx| tx.delete_group(group.row)));
    fixture.assert_sound();
}

pub fn every_change_that_decides_rights_has_a_version_of_its_own(open: Open) {
    let mut fixture = Fixture::new(open);
    let user = stored_user(&fixture, 1, "a@example.org");
    let group = stored_group(&fixture, 2, "Analysts");
    let mut role = Role::new(Uuid::from_u128(3), "Reader", 1);
    let iid = fixture.write(|tx| {
        tx.insert_role(&mut role)?;
        marking(1, "TLP:GREEN").insert(tx)
    });
    let mut seen = vec![fixture.read(|s| s.rights_version())];
    type Change<'a> = (
        &'a str,
        Box<dyn Fn(&mut Tx<'_>) -> Result<(), StoreError> + 'a>,
    );
    let changes: [Change<'_>; 15] = [
        ("user", Box::new(|tx| tx.update_user(&user))),
        ("group", Box::new(|tx| tx.update_group(&group))),
        ("role", Box::new(|tx| tx.update_role(&role))),
        (
            "member",
            Box::new(|tx| tx.add_member(group.row, user.row).map(drop)),
        ),
        (
            "no member",
            Box::new(|tx| tx.remove_member(group.row, user.row).map(drop)),
        ),
        (
            "role given",
            Box::new(|tx| tx.add_group_role(group.row, role.row).map(drop)),
        ),
        (
            "role taken",
            Box::new(|tx| tx.remove_group_role(group.row, role.row).map(drop)),
        ),
        (
            "granted",
            Box::new(|tx| tx.grant_marking(group.row, iid).map(drop)),
        ),
        (
            "revoked",
            Box::new(|tx| tx.revoke_marking(group.row, iid).map(drop)),
        ),
        (
            "new marking",
            Box::new(|tx| marking(2, "TLP:RED").insert(tx).map(drop)),
        ),
        (
            "order of a marking",
            Box::new(|tx| {
                let attributes = json!({"definition_type": "TLP", "definition": "TLP:GREEN", "x_opencti_order": 7});
                tx.update(
                    iid,
                    &ObjectChange {
                        attributes: attributes.as_object(),
                        ..ObjectChange::default()
                    },
                )
            }),
        ),
        ("marking deleted", Box::new(|tx| tx.delete(iid))),
        (
            "role deleted",
            Box::new(|tx| tx.delete_role(role.row).map(drop)),
        ),
        (
            "group deleted",
            Box::new(|tx| tx.delete_group(group.row).map(drop)),
        ),
        (
            "user deleted",
            Box::new(|tx| tx.delete_user(user.row).map(drop)),
        ),
    ];
    for (what, change) in &changes {
        fixture.write(|tx| change(tx));
        let version = fixture.read(|s| s.rights_version());
        assert!(!seen.contains(&version), "{what}");
        seen.push(version);
    }
    let last = fixture.read(|s| s.rights_version());
    fixture.write(|tx| Sample::named("Malware", 5, "x").insert(tx));
    assert_eq!(
        fixture.read(|s| s.rights_version()),
        last,
        "knowledge decides no rights"
    );
    drop(changes);
    fixture.restart();
    assert_eq!(fixture.read(|s| s.rights_version()), last);
    stored_user(&fixture, 7, "b@example.org");
    assert!(!seen.contains(&fixture.read(|s| s.rights_version())));
}

pub fn version_of_rights_is_not_used_again_after_a_rollback(open: Open) {
    let fixture = Fixture::new(open);
    let group = stored_group(&fixture, 1, "Analysts");
    let before = fixture.read(|s| s.rights_version());
    let mut within = 0;
    let undone: Result<(), StoreError> = fixture.store().write(|tx| {
        tx.update_group(&group)?;
        within = tx.rights_version()?;
        Err(StoreError::Closed)
    });
    assert!(undone.is_err());
    assert_eq!(fixture.read(|s| s.rights_version()), before);
    fixture.write(|tx| tx.update_group(&group));
    assert_ne!(fixture.read(|s| s.rights_version()), within);
}

pub fn new_marking_is_granted_to_the_groups_that_get_every_one(open: Open) {
    let fixture = Fixture::new(open);
    let mut all = Group::new(Uuid::from_u128(1), "All", 1);
    all.auto_new_marking = true;
    fixture.write(|tx| tx.insert_group(&mut all));
    let none = stored_group(&fixture, 2, "None");
    let iid = fixture.write(|tx| marking(1, "TLP:RED").insert(tx));
    assert_eq!(fixture.read(|s| s.markings_of_group(all.row)), [iid]);
    assert_eq!(
        fixture.read(|s| s.markings_of_group(none.row)),
        Vec::<i64>::new()
    );
    let definitions = fixture.read(|s| s.marking_definitions());
    assert_eq!(definitions.len(), 1);
    assert_eq!(
        (
            definitions[0].iid,
            definitions[0].definition_type.as_str(),
            definitions[0].definition.as_str(),
            definitions[0].order
        ),
        (iid, "TLP", "TLP:RED", 1)
    );
}

pub fn deleted_marking_leaves_no_grant_default_or_limit(open: Open) {
    let fixture = Fixture::new(open);
    let (gone, stays) = fixture.write(|tx| {
        Ok((
            marking(1, "TLP:GREEN").insert(tx)?,
            marking(2, "TLP:RED").insert(tx)?,
        ))
    });
    let internal = |iid| fixture.read(|s| s.load_one(iid)).unwrap().internal;
    let (gone_id, stays_id) = (internal(gone), internal(stays));
    let mut group = Group::new(Uuid::from_u128(1), "Analysts", 1);
    group.default_markings.push(DefaultMarkings {
        entity_type: "GLOBAL".to_owned(),
        values: vec![gone_id, stays_id],
    });
    for (kind, value) in [("TLP", gone_id), ("PAP", stays_id)] {
        group.max_shareable.push(MaxShareable {
            marking_type: kind.to_owned(),
            value: Some(value),
        });
    }
    fixture.write(|tx| {
        tx.insert_group(&mut group)?;
        tx.grant_marking(group.row, gone)?;
        tx.grant_marking(group.row, stays)?;
        tx.delete(gone)
    });
    let group = fixture.read(|s| s.group(group.row)).unwrap();
    assert_eq!(group.default_markings[0].values, [stays_id]);
    assert_eq!(
        group.max_shareable[0].value, None,
        "nothing of this type is shared"
    );
    assert_eq!(group.max_shareable[1].value, Some(stays_id));
    assert_eq!(fixture.read(|s| s.markings_of_group(group.row)), [stays]);
    fixture.assert_sound();
}

pub fn deleted_organization_has_no_members(open: Open) {
    let fixture = Fixture::new(open);
    let user = stored_user(&fixture, 1, "a@example.org");
    let iid = fixture.write(|tx| Sample::named("Organization", 1, "ACME").insert(tx));
    fixture.write(|tx| tx.add_organization(user.row, iid));
    assert_eq!(fixture.read(|s| s.organizations_of(user.row)), [iid]);
    fixture.write(|tx| tx.delete(iid));
    assert_eq!(
        fixture.read(|s| s.organizations_of(user.row)),
        Vec::<i64>::new()
    );
    fixture.assert_sound();
}

pub fn sessions_end_by_id_by_user_and_by_age(open: Open) {
    let mut fixture = Fixture::new(open);
    let one = stored_user(&fixture, 1, "a@example.org");
    let two = stored_user(&fixture, 2, "b@example.org");
    let ids = |fixture: &Fixture| {
        let mut ids: Vec<_> = fixture
            .read(|s| s.sessions(None))
            .iter()
            .map(|session| session.id.as_u128())
            .collect();
        ids.sort_unstable();
        ids
    };
    let first = session(10, one.row, 1, 5, 100);
    fixture.write(|tx| {
        tx.insert_session(&first)?;
        tx.insert_session(&session(11, one.row, 2, 50, 100))?;
        tx.insert_session(&session(12, two.row, 3, 50, 20))?;
        tx.insert_session(&session(13, two.row, 4, 50, 100))?;
        tx.insert_session(&session(14, two.row, 5, 50, 100))
    });
    fixture.restart();
    assert_eq!(
        fixture.read(|s| s.session_by_hash(&[1; 32])),
        Some(first.clone())
    );
    assert_eq!(fixture.read(|s| s.session(first.id)), Some(first));
    assert_eq!(fixture.read(|s| s.sessions(Some(one.row))).len(), 2);
    assert_eq!(fixture.write(|tx| tx.prune_sessions(20, Some(6))), 2);
    assert_eq!(
        ids(&fixture),
        [11, 13, 14],
        "one idle, one at the end of its time"
    );
    fixture.write(|tx| tx.touch_session(Uuid::from_u128(11)));
    assert!(fixture.read(|s| s.sessions(Some(one.row)))[0].used_at > 50);
    assert!(fixture.write(|tx| tx.delete_session(Uuid::from_u128(11))));
    assert!(!fixture.write(|tx| tx.delete_session(Uuid::from_u128(11))));
    assert_eq!(fixture.write(|tx| tx.delete_sessions_of(two.row)).len(), 2);
    assert_eq!(ids(&fixture), Vec::<u128>::new());
}

pub fn failed_logins_are_counted_and_forgotten(open: Open) {
    let mut fixture = Fixture::new(open);
    let failures = LoginFailures {
        key: "a@example.org".to_owned(),
        failures: 3,
        last_at: 7,
        locked_until: Some(9),
    };
    let old = LoginFailures {
        key: "old".to_owned(),
        last_at: 1,
        locked_until: None,
        ..failures
    };
    fixture.write(|tx| {
        tx.put_login_failures(&old)?;
        tx.put_login_failures(&LoginFailures {
            failures: 2,
            ..failures.clone()
        })?;
        tx.put_login_failures(&failures)
    });
    fixture.restart();
    assert_eq!(
        fixture.read(|s| s.login_failures("a@example.org")),
        Some(failures)
    );
    assert_eq!(fixture.write(|tx| tx.prune_login_failures(7)), 1);
    assert_eq!(fixture.read(|s| s.login_failures("old")), None);
    assert!(fixture.write(|tx| tx.clear_login_failures("a@example.org")));
    assert!(!fixture.write(|tx| tx.clear_login_failures("a@example.org")));
}
