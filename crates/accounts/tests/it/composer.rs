//! The account of the composer inside: made once, admitted for one run at a time, with hardly any rights.

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::{AccountError, Accounts, NewUser, UserPatch};
use ferrocti_store::UserStatus;

use crate::support::Fixture;

#[test]
fn the_composer_inside_may_speak_as_one_and_nothing_else() {
    let fixture = Fixture::new();
    let token = fixture.accounts.admit_composer().unwrap();
    let actor = fixture.actor_of_token(&token).unwrap();
    assert_eq!(actor.user_id, Accounts::COMPOSER_ID);
    assert!(may(&actor, Action::Use(names::CONNECTOR_API)).is_ok());
    for capability in [
        names::BYPASS,
        names::KNOWLEDGE,
        names::MODULES,
        names::MODULES_MANAGE,
        names::SETTINGS,
        names::SET_ACCESSES,
    ] {
        assert!(
            may(&actor, Action::Use(capability)).is_err(),
            "{capability}"
        );
    }
    let user = fixture
        .read(|s| s.user_by_id(Accounts::COMPOSER_ID))
        .unwrap();
    assert!(user.service_account);
    let group = fixture.group_named("Composers");
    assert!(fixture.read(|s| s.markings_of_group(group.row)).is_empty());
}

#[test]
fn each_run_has_a_token_of_its_own_that_ends_with_it() {
    let fixture = Fixture::new();
    let first = fixture.accounts.admit_composer().unwrap();
    let second = fixture.accounts.admit_composer().unwrap();
    assert!(fixture.actor_of_token(&first).is_none());
    assert!(fixture.actor_of_token(&second).is_some());
    fixture.accounts.dismiss_composer().unwrap();
    assert!(fixture.actor_of_token(&second).is_none());
    fixture.accounts.dismiss_composer().unwrap();
    let user = fixture
        .read(|s| s.user_by_id(Accounts::COMPOSER_ID))
        .unwrap();
    assert!(fixture.read(|s| s.tokens_of(user.row)).is_empty());
}

#[test]
fn who_locks_it_is_respected_and_who_deletes_it_gets_it_back() {
    let fixture = Fixture::new();
    fixture.accounts.admit_composer().unwrap();
    let id = Accounts::COMPOSER_ID.to_string();
    let locked = UserPatch {
        status: Some(UserStatus::Locked),
        ..UserPatch::default()
    };
    fixture
        .accounts
        .edit_user(&fixture.acting(), &id, locked)
        .unwrap();
    let token = fixture.accounts.admit_composer().unwrap();
    assert!(fixture.actor_of_token(&token).is_none());
    fixture
        .accounts
        .delete_user(&fixture.acting(), &id)
        .unwrap();
    let token = fixture.accounts.admit_composer().unwrap();
    assert!(fixture.actor_of_token(&token).is_some());
}

#[test]
fn somebody_else_with_its_address_is_not_taken_for_it() {
    let fixture = Fixture::new();
    let somebody = NewUser {
        name: "Somebody".to_owned(),
        email: Some("composer@ferrocti.local".to_owned()),
        service_account: true,
        ..NewUser::default()
    };
    fixture
        .accounts
        .add_user(&fixture.acting(), somebody)
        .unwrap();
    let refused = fixture.accounts.admit_composer();
    assert!(
        matches!(refused, Err(AccountError::AlreadyExists(_))),
        "{refused:?}"
    );
}

#[test]
fn the_group_of_composers_is_made_once() {
    let fixture = Fixture::new();
    fixture.accounts.make_composers().unwrap();
    let group = fixture.group_named("Composers");
    fixture.accounts.make_composers().unwrap();
    assert_eq!(fixture.group_named("Composers").id, group.id);
    fixture
        .accounts
        .delete_group(&fixture.acting(), &group.id.to_string())
        .unwrap();
    fixture.accounts.make_composers().unwrap();
    assert!(fixture.read(|s| s.group_by_name("Composers")).is_none());
}
