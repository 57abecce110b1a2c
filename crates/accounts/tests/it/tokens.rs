//! Tokens: only the hash of a secret finds a user, and only while everything about it is in order.

use ferrocti_access::{Actor, names};
use ferrocti_accounts::{AccountError, Acting, Lifetime, UserPatch, ids};
use ferrocti_store::UserStatus;

use crate::support::{DAY, Fixture, TOKEN, id};

const READER: [&str; 2] = [names::KNOWLEDGE, names::USE_TOKEN];

#[test]
fn ids_and_names_are_no_tokens() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let acting = fixture.acting();
    let (token, secret) = fixture
        .accounts
        .add_token(&acting, &id(&user), "cli", Lifetime::Unlimited)
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_some());
    let group = fixture.group_named("Administrators");
    let role = fixture.role_named("Administrator");
    for guess in [
        Actor::ADMIN_ID.to_string(),
        Actor::SYSTEM_ID.to_string(),
        ids::user_standard_id("admin@example.org"),
        user.id.to_string(),
        group.id.to_string(),
        role.id.to_string(),
        "admin@example.org".to_owned(),
        "admin".to_owned(),
        String::new(),
        token.id.to_string(),
        token.masked,
        TOKEN.to_uppercase(),
        format!("{TOKEN} "),
    ] {
        assert!(fixture.actor_of_token(&guess).is_none(), "{guess:?}");
    }
}

#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let (token, secret) = fixture
        .accounts
        .add_token(&fixture.acting(), &id(&user), "cli", Lifetime::Days(30))
        .unwrap();
    assert_eq!(token.expires_at, Some(crate::support::START + 30 * DAY));
    assert_eq!(token.masked, format!("****{}", &secret[secret.len() - 4..]));
    let kept = format!(
        "{:?} {:?}",
        fixture.read(|s| s.tokens_of(user.row)),
        fixture.audit()
    );
    assert!(!kept.contains(&secret));
    let line = fixture.last_audit();
    assert_eq!(
        line.message,
        "generated a new API token 'cli' for user 'jane@example.org'"
    );
    assert_eq!(line.entity_id.as_deref(), Some(id(&user).as_str()));
}

#[test]
fn a_revoked_token_is_refused_at_once() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let acting = fixture.acting();
    let (token, secret) = fixture
        .accounts
        .add_token(&acting, &id(&user), "cli", Lifetime::Unlimited)
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_some());
    let token = token.id.to_string();
    fixture
        .accounts
        .revoke_token(&acting, &id(&user), &token)
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_none());
    assert_eq!(
        fixture.last_audit().message,
        "revoked API token 'cli' for user 'jane@example.org'"
    );
    let again = fixture.accounts.revoke_token(&acting, &id(&user), &token);
    assert!(
        again
            .unwrap_err()
            .to_string()
            .starts_with("Token not found")
    );
}

#[test]
fn a_token_ends_at_its_time() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let (_, secret) = fixture
        .accounts
        .add_token(&fixture.acting(), &id(&user), "cli", Lifetime::Days(1))
        .unwrap();
    fixture.clock.advance(DAY - 1);
    assert!(fixture.actor_of_token(&secret).is_some());
    fixture.clock.advance(1);
    assert!(fixture.actor_of_token(&secret).is_none());
}

#[test]
fn a_user_that_is_not_let_in_or_gone_is_nobody() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let acting = fixture.acting();
    let (_, secret) = fixture
        .accounts
        .add_token(&acting, &id(&user), "cli", Lifetime::Unlimited)
        .unwrap();
    let patch = |patch: UserPatch| {
        fixture
            .accounts
            .edit_user(&acting, &id(&user), patch)
            .unwrap()
    };
    for status in [
        UserStatus::Inactive,
        UserStatus::Locked,
        UserStatus::Expired,
    ] {
        patch(UserPatch {
            status: Some(status),
            ..UserPatch::default()
        });
        assert!(fixture.actor_of_token(&secret).is_none(), "{status:?}");
    }
    patch(UserPatch {
        status: Some(UserStatus::Active),
        ..UserPatch::default()
    });
    assert!(fixture.actor_of_token(&secret).is_some());
    patch(UserPatch {
        expires_at: Some(Some(crate::support::START + DAY)),
        ..UserPatch::default()
    });
    fixture.clock.advance(DAY);
    assert!(
        fixture.actor_of_token(&secret).is_none(),
        "its time is over"
    );
    patch(UserPatch {
        expires_at: Some(None),
        ..UserPatch::default()
    });
    assert!(fixture.actor_of_token(&secret).is_some());
    fixture.accounts.delete_user(&acting, &id(&user)).unwrap();
    assert!(fixture.actor_of_token(&secret).is_none());
}

#[test]
fn using_a_token_needs_the_capability_to() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &[names::KNOWLEDGE], &[]);
    let (_, secret) = fixture
        .accounts
        .add_token(&fixture.acting(), &id(&user), "cli", Lifetime::Unlimited)
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_none());
    let role = fixture.role_named("Jane");
    fixture
        .accounts
        .add_capability(
            &fixture.acting(),
            &role.id.to_string(),
            names::USE_TOKEN,
            false,
        )
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_some());
}

#[test]
fn the_token_of_one_who_may_do_everything_is_made_by_his_equals_alone() {
    let fixture = Fixture::new();
    let manager = fixture.user_with("Manager", &[names::SET_ACCESSES], &[]);
    let victim = fixture.user_with("Victim", &["BYPASS"], &[]);
    let manager = fixture.actor(&manager);
    let acting = Acting::of(&manager);
    for target in [Actor::ADMIN_ID.to_string(), id(&victim)] {
        let refused = fixture
            .accounts
            .add_token(&acting, &target, "mine", Lifetime::Unlimited);
        assert!(matches!(refused, Err(AccountError::Denied(_))), "{target}");
    }
    assert!(fixture.read(|s| s.tokens_of(victim.row)).is_empty());
}

#[test]
fn a_user_looks_after_its_own_tokens_and_no_others() {
    let fixture = Fixture::new();
    let (jane, john) = (
        fixture.user_with("Jane", &READER, &[]),
        fixture.user_with("John", &READER, &[]),
    );
    let acting = fixture.acting();
    let (other, _) = fixture
        .accounts
        .add_token(&acting, &id(&john), "cli", Lifetime::Unlimited)
        .unwrap();
    let jane = fixture.actor(&jane);
    let acting = Acting::of(&jane);
    let (own, secret) = fixture
        .accounts
        .add_own_token(&acting, "mine", Lifetime::Days(90))
        .unwrap();
    assert_eq!(
        fixture.actor_of_token(&secret).unwrap().user_id,
        jane.user_id
    );
    assert_eq!(
        fixture.last_audit().message,
        "generated a new API token 'mine'"
    );
    let foreign = fixture
        .accounts
        .revoke_own_token(&acting, &other.id.to_string());
    assert!(matches!(foreign, Err(AccountError::NotFound { .. })));
    let foreign = fixture
        .accounts
        .add_token(&acting, &id(&john), "x", Lifetime::Unlimited);
    assert!(matches!(foreign, Err(AccountError::Denied(_))));
    fixture
        .accounts
        .revoke_own_token(&acting, &own.id.to_string())
        .unwrap();
    assert!(fixture.actor_of_token(&secret).is_none());
}

#[test]
fn names_and_lifetimes_of_tokens_must_fit() {
    let fixture = Fixture::new();
    let user = fixture.user_with("Jane", &READER, &[]);
    let acting = fixture.acting();
    let add = |name: &str, lifetime| {
        fixture
            .accounts
            .add_token(&acting, &id(&user), name, lifetime)
    };
    add("cli", Lifetime::Unlimited).unwrap();
    let twice = add("cli", Lifetime::Unlimited);
    assert!(matches!(twice, Err(AccountError::AlreadyExists(_))));
    for (name, lifetime) in [
        ("", Lifetime::Unlimited),
        ("a\nb", Lifetime::Unlimited),
        ("x", Lifetime::Days(0)),
        ("x", Lifetime::Days(u32::MAX)),
    ] {
        assert!(
            matches!(add(name, lifetime), Err(AccountError::Invalid(_))),
            "{name:?} {lifetime:?}"
        );
    }
    for (name, expected) in [
        ("DAYS_30", Some(Lifetime::Days(30))),
        ("DAYS_365", Some(Lifetime::Days(365))),
        ("UNLIMITED", Some(Lifetime::Unlimited)),
        ("DAYS_-1", None),
        ("forever", None),
    ] {
        assert_eq!(Lifetime::parse(name), expected, "{name}");
    }
}

#[test]
fn use_of_a_token_is_noted_once_an_hour() {
    let fixture = Fixture::new();
    let admin = fixture.read(|s| s.user_by_id(Actor::ADMIN_ID)).unwrap();
    let used = || fixture.read(|s| s.tokens_of(admin.row))[0].last_used;
    let first = used();
    assert!(first.is_some());
    fixture.clock.advance(60 * 1000);
    fixture.actor_of_token(TOKEN).unwrap();
    assert_eq!(used(), first);
    fixture.clock.advance(2 * 60 * 60 * 1000);
    fixture.actor_of_token(TOKEN).unwrap();
    assert!(used() > first);
}
