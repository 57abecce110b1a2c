//! What follows for a user from its groups, roles and the markings, and that a change counts at once.

use ferrocti_access::{Level, LevelSource, Markings, explain::Verb, names};
use ferrocti_accounts::{AccountError, Accounts, Acting, GroupPatch, Lifetime, UserPatch};
use ferrocti_model::StixId;
use ferrocti_store::{StoreError, User, UserStatus, Visibility};
use serde_json::json;

use crate::support::{Fixture, id};

fn allowed(fixture: &Fixture, user: &User) -> Vec<String> {
    let Markings::Only(ids) = fixture.actor(user).markings.clone() else {
        panic!("everything is allowed");
    };
    let definitions = fixture.read(|s| s.marking_definitions());
    let name = |id: &StixId| {
        let found = definitions.iter().find(|marking| marking.standard == *id);
        found.unwrap().definition.clone()
    };
    let mut names: Vec<String> = ids.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_marking_allows_the_milder_ones_of_its_kind() {
    let fixture = Fixture::new();
    for (granted, expected) in [
        (vec![], vec![]),
        (
            vec!["TLP:AMBER"],
            vec!["TLP:AMBER", "TLP:CLEAR", "TLP:GREEN"],
        ),
        (vec!["PAP:RED"], vec!["PAP:GREEN", "PAP:RED"]),
        (
            vec!["TLP:CLEAR", "PAP:GREEN"],
            vec!["PAP:GREEN", "TLP:CLEAR"],
        ),
    ] {
        let user = fixture.user_with(
            &format!("user {}", granted.join(" ")),
            &["KNOWLEDGE"],
            &granted,
        );
        assert_eq!(allowed(&fixture, &user), expected, "{granted:?}");
    }
}

#[test]
fn every_change_counts_for_the_next_request() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let accounts = &fixture.accounts;
    let user = fixture.user_with(
        "Jane",
        &[names::KNOWLEDGE, names::USE_TOKEN],
        &["TLP:GREEN"],
    );
    let (_, token) = accounts
        .add_token(&acting, &id(&user), "cli", Lifetime::Unlimited)
        .unwrap();
    let now = || fixture.actor_of_token(&token).unwrap();
    let group = fixture.group_named("Jane").id.to_string();
    let role = fixture.role_named("Jane").id.to_string();

    assert!(!now().capabilities.holds(names::KNOWLEDGE_UPDATE));
    accounts
        .add_capability(&acting, &role, names::KNOWLEDGE_UPDATE, false)
        .unwrap();
    assert!(now().capabilities.holds(names::KNOWLEDGE_UPDATE));
    accounts
        .remove_capability(&acting, &role, names::KNOWLEDGE_UPDATE, false)
        .unwrap();
    assert!(!now().capabilities.holds(names::KNOWLEDGE_UPDATE));

    let red = fixture.marking("TLP:RED");
    assert!(!now().may_use_marking(red));
    accounts
        .grant_marking(&acting, &group, &red.to_string())
        .unwrap();
    assert!(now().may_use_marking(red));
    accounts
        .revoke_marking(&acting, &group, &red.to_string())
        .unwrap();
    assert!(!now().may_use_marking(red));

    assert_eq!(now().level("Report"), Some(100));
    let level = GroupPatch {
        level: Some(Level::of(40)),
        ..GroupPatch::default()
    };
    accounts.edit_group(&acting, &group, level).unwrap();
    assert_eq!(now().level("Report"), Some(40));
    let own = UserPatch {
        level: Some(Level::of(70)),
        ..UserPatch::default()
    };
    accounts.edit_user(&acting, &id(&user), own).unwrap();
    assert_eq!(now().level("Report"), Some(70));

    let connectors = fixture.group_named("Connectors").id.to_string();
    accounts
        .add_member(&acting, &id(&user), &connectors)
        .unwrap();
    assert!(now().capabilities.holds(names::CONNECTOR_API));
    accounts
        .remove_member(&acting, &id(&user), &connectors)
        .unwrap();
    assert!(!now().capabilities.holds(names::CONNECTOR_API));

    accounts.delete_role(&acting, &role).unwrap();
    assert!(
        fixture.actor_of_token(&token).is_none(),
        "the right to use tokens is gone"
    );
}

#[test]
fn a_new_marking_is_allowed_at_once_to_groups_that_get_every_one() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let group = fixture.group("Everything", &["KNOWLEDGE"], &[]);
    let patch = GroupPatch {
        auto_new_marking: Some(true),
        ..GroupPatch::default()
    };
    fixture.accounts.edit_group(&acting, &group, patch).unwrap();
    let (with, without) = (
        fixture.person("With"),
        fixture.user_with("Without", &["KNOWLEDGE"], &["TLP:RED"]),
    );
    fixture
        .accounts
        .add_member(&acting, &id(&with), &group)
        .unwrap();
    assert_eq!(allowed(&fixture, &with), Vec::<String>::new());
    fixture.add_marking("statement", "Copyright", 0);
    assert_eq!(allowed(&fixture, &with), ["Copyright"]);
    assert!(!allowed(&fixture, &without).contains(&"Copyright".to_owned()));
}

#[test]
fn a_deleted_marking_does_not_harm_who_was_allowed_it() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &["TLP:GREEN", "PAP:RED"]);
    let green = fixture.marking("TLP:GREEN");
    let acting = fixture.acting();
    let group = fixture.group_named("Jane").id.to_string();
    let limits = vec![
        ("TLP".to_owned(), Some(green.to_string())),
        ("PAP".to_owned(), None),
    ];
    let patch = GroupPatch {
        max_shareable: Some(limits),
        ..GroupPatch::default()
    };
    fixture.accounts.edit_group(&acting, &group, patch).unwrap();
    fixture
        .accounts
        .set_default_markings(&acting, &group, "GLOBAL", &[green.to_string()])
        .unwrap();
    assert_eq!(
        fixture.rights(&user).unwrap().default_markings["GLOBAL"],
        [green]
    );
    fixture.write(|tx| {
        let iid = tx.resolve_one(&green.key())?.unwrap();
        tx.delete(iid)
    });
    let rights = fixture.rights(&user).unwrap();
    assert_eq!(allowed(&fixture, &user), ["PAP:GREEN", "PAP:RED"]);
    assert!(rights.default_markings["GLOBAL"].is_empty());
    assert!(rights.shareable.is_empty());
}

#[test]
fn of_default_markings_the_strictest_of_each_kind_stays() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let group = fixture.group("Jane", &["KNOWLEDGE"], &["TLP:RED", "PAP:RED"]);
    let given: Vec<String> = ["TLP:CLEAR", "TLP:AMBER", "PAP:GREEN"]
        .map(|name| fixture.marking(name).to_string())
        .to_vec();
    let set = |values: &[String]| {
        fixture
            .accounts
            .set_default_markings(&acting, &group, "GLOBAL", values)
            .unwrap()
    };
    assert_eq!(set(&given).default_markings[0].values.len(), 2);
    let emptied = set(&[]);
    assert_eq!(
        (
            emptied.default_markings.len(),
            emptied.default_markings[0].values.len()
        ),
        (1, 0)
    );
}

#[test]
fn the_level_tells_where_it_comes_from() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &[]);
    let level = || fixture.rights(&user).unwrap().level.clone().unwrap();
    assert!(matches!(&level().source, LevelSource::Group(group) if group.name == "Jane"));
    let patch = UserPatch {
        level: Some(Level::of(0)),
        ..UserPatch::default()
    };
    fixture
        .accounts
        .edit_user(&fixture.acting(), &id(&user), patch)
        .unwrap();
    assert_eq!((level().max, level().source), (0, LevelSource::User));
    let lonely = fixture.person("Lonely");
    assert_eq!(fixture.rights(&lonely).unwrap().level, None);
}

#[test]
fn rights_are_computed_once_until_something_changes() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &[]);
    let first = fixture.rights(&user).unwrap();
    let again = fixture.rights(&user).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    fixture.person("Somebody else");
    let changed = fixture.rights(&user).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &changed));
    assert_eq!(first.actor, changed.actor);
}

#[test]
fn rights_seen_within_a_transaction_that_is_undone_are_forgotten() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &[]);
    let administrators = fixture.group_named("Administrators");
    let undone: Result<(), StoreError> = fixture.store.write(|tx| {
        tx.add_member(administrators.row, user.row)?;
        let within = ferrocti_accounts::rights(tx, user.row)?.unwrap();
        assert!(within.actor.bypass());
        Err(StoreError::Closed)
    });
    assert!(undone.is_err());
    assert!(!fixture.actor(&user).bypass());
    // the next change must not bring it back either
    fixture.person("Somebody else");
    assert!(!fixture.actor(&user).bypass());
}

#[test]
fn what_is_seen_follows_markings_and_new_sets_of_them() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &["TLP:GREEN"]);
    let sees = |name: &str, markings: &[&str]| {
        let iid = fixture.add_object("Malware", name, json!({"name": name}), None, markings);
        let set = fixture.read(|s| s.load_one(iid)).unwrap().marking_set;
        let actor = fixture.actor(&user);
        fixture
            .read(|s| ferrocti_accounts::visibility(s, &actor))
            .allows(set)
    };
    assert!(sees("unmarked", &[]));
    assert!(sees("clear", &["TLP:CLEAR"]));
    assert!(!sees("amber", &["TLP:AMBER"]));
    assert!(!sees("both", &["TLP:GREEN", "PAP:GREEN"]));
    let group = fixture.group_named("Jane").id.to_string();
    let pap = fixture.marking("PAP:GREEN").to_string();
    fixture
        .accounts
        .grant_marking(&fixture.acting(), &group, &pap)
        .unwrap();
    assert!(sees("both again", &["TLP:GREEN", "PAP:GREEN"]));
    let admin = fixture.admin.clone();
    assert_eq!(
        fixture.read(|s| ferrocti_accounts::visibility(s, &admin)),
        Visibility::All
    );
}

#[test]
fn sets_of_markings_of_a_transaction_that_is_undone_are_not_remembered() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &["TLP:GREEN"]);
    let actor = fixture.actor(&user);
    let kind = ferrocti_model::Registry::get().by_name("Malware").unwrap();
    let reference = ferrocti_model::Registry::get()
        .reference_type("object-marking")
        .unwrap()
        .code;
    let marking = |definition: &str| {
        let all = fixture.read(|s| s.marking_definitions());
        all.iter()
            .find(|marking| marking.definition == definition)
            .unwrap()
            .iid
    };
    let (green, red) = (marking("TLP:GREEN"), marking("TLP:RED"));
    let insert = |tx: &mut ferrocti_store::Tx<'_>, number: u128, marking| {
        let attributes = serde_json::Map::new();
        tx.insert(&ferrocti_store::NewObject {
            kind,
            internal: None,
            standard: StixId {
                type_code: kind.stix_code,
                uuid: uuid::Uuid::from_u128(number),
            },
            keys: &[],
            attributes: &attributes,
            confidence: None,
            ends: None,
            edges: &[(reference, marking)],
            name: "x",
            text: "",
            inputs: None,
        })
    };
    // a set that the user sees gets a number that another set gets after the rollback
    let mut number = 0;
    let undone: Result<(), StoreError> = fixture.store.write(|tx| {
        let iid = insert(tx, 1, green)?;
        number = tx.load_one(iid)?.unwrap().marking_set;
        assert!(ferrocti_accounts::visibility(tx, &actor)?.allows(number));
        Err(StoreError::Closed)
    });
    assert!(undone.is_err());
    let iid = fixture.write(|tx| insert(tx, 2, red));
    let set = fixture.read(|s| s.load_one(iid)).unwrap().marking_set;
    assert_eq!(set, number, "the number is used again");
    assert!(
        !fixture
            .read(|s| ferrocti_accounts::visibility(s, &actor))
            .allows(set)
    );
}

fn why(
    fixture: &Fixture,
    acting: &Acting<'_>,
    user: Option<&str>,
    verb: Verb,
    object: &str,
) -> String {
    let found = fixture
        .accounts
        .explain(acting, user, verb, object)
        .unwrap();
    let refused: Vec<String> = found
        .explanation
        .reasons
        .into_iter()
        .filter(|reason| !reason.allowed)
        .map(|reason| format!("{}: {}", reason.rule, reason.text))
        .collect();
    assert_eq!(found.explanation.allowed, refused.is_empty());
    refused.join("; ")
}

#[test]
fn an_explanation_names_what_is_missing() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &[names::KNOWLEDGE_UPDATE], &["TLP:GREEN"]);
    let patch = UserPatch {
        level: Some(Level::of(30)),
        ..UserPatch::default()
    };
    fixture
        .accounts
        .edit_user(&fixture.acting(), &id(&user), patch)
        .unwrap();
    let object = |name: &str, confidence, markings: &[&str]| {
        let iid = fixture.add_object("Malware", name, json!({"name": name}), confidence, markings);
        fixture
            .read(|s| s.load_one(iid))
            .unwrap()
            .standard
            .to_string()
    };
    let (green, red) = (
        object("green", Some(50), &["TLP:GREEN"]),
        object("red", Some(10), &["TLP:RED"]),
    );
    let acting = fixture.acting();
    let jane = id(&user);
    let ask = |verb, object: &str| why(&fixture, &acting, Some(&jane), verb, object);
    assert_eq!(ask(Verb::Read, &green), "");
    assert!(
        ask(Verb::Read, &red).contains("marking: TLP:RED is missing"),
        "{}",
        ask(Verb::Read, &red)
    );
    let update = ask(Verb::Update, &green);
    assert!(
        update.starts_with("confidence: ") && update.contains("30") && update.contains("50"),
        "{update}"
    );
    assert!(
        ask(Verb::Delete, &green).contains("capability: KNOWLEDGE_KNUPDATE_KNDELETE is missing")
    );
    let patch = UserPatch {
        status: Some(UserStatus::Locked),
        ..UserPatch::default()
    };
    fixture.accounts.edit_user(&acting, &jane, patch).unwrap();
    assert!(ask(Verb::Read, &green).starts_with("account: "));
}

#[test]
fn an_explanation_reveals_nothing_that_who_asks_may_not_see() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &["TLP:GREEN"]);
    let manager = fixture.user_with("Manager", &[names::SET_ACCESSES], &["TLP:GREEN"]);
    let iid = fixture.add_object("Malware", "red", json!({"name": "red"}), None, &["TLP:RED"]);
    let red = fixture
        .read(|s| s.load_one(iid))
        .unwrap()
        .standard
        .to_string();
    let (jane, manager) = (fixture.actor(&user), fixture.actor(&manager));
    let hidden = |acting: &Acting<'_>, user: Option<&str>| {
        fixture.accounts.explain(acting, user, Verb::Read, &red)
    };
    assert!(matches!(
        hidden(&Acting::of(&jane), None),
        Err(AccountError::NotFound { .. })
    ));
    let admin = fixture.admin.user_id.to_string();
    assert!(matches!(
        hidden(&Acting::of(&manager), Some(&admin)),
        Err(AccountError::NotFound { .. })
    ));
    let foreign = fixture
        .accounts
        .explain(&Acting::of(&jane), Some(&admin), Verb::Read, &red);
    assert!(matches!(foreign, Err(AccountError::Denied(_))));
}

#[test]
fn many_threads_see_a_change_as_soon_as_it_is_made() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &["KNOWLEDGE"], &[]);
    let group = fixture.group_named("Jane");
    let accounts: Accounts = fixture.accounts.clone();
    let admin = fixture.admin.clone();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let (level, stored) = fixture.read(|s| {
                        let rights = ferrocti_accounts::rights(s, user.row)?.unwrap();
                        Ok((
                            rights.actor.level("Report"),
                            s.group(group.row)?.unwrap().max_confidence,
                        ))
                    });
                    assert_eq!(level, stored);
                }
            });
        }
        for level in 0..50 {
            let patch = GroupPatch {
                level: Some(Level::of(level)),
                ..GroupPatch::default()
            };
            accounts
                .edit_group(&Acting::of(&admin), &group.id.to_string(), patch)
                .unwrap();
        }
    });
}
