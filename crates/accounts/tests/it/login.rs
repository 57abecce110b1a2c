//! Logins, what slows guessing down, and the life of sessions.

use std::collections::HashSet;

use ferrocti_access::names;
use ferrocti_accounts::{
    AccountError, Acting, Barred, LoginRefusal, Origin, SessionLimits, UserPatch,
};
use ferrocti_store::UserStatus;

use crate::support::{DAY, Fixture, PASSWORD, id, mail, secret};

const MINUTE: i64 = 60 * 1000;

fn refusal<T>(result: Result<T, AccountError>) -> LoginRefusal {
    match result {
        Err(AccountError::LoginRefused(refusal)) => refusal,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[test]
fn the_right_password_opens_a_session_whatever_the_case_of_the_address() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let secret = fixture.login("JANE@example.org", &secret("Jane")).unwrap();
    let (rights, session) = fixture.accounts.session(&secret).unwrap().unwrap();
    assert_eq!(rights.actor.user_id, user.id);
    assert_eq!(session.address.as_deref(), Some("192.0.2.1"));
    let line = fixture.last_audit();
    assert_eq!(
        (
            line.event_type.as_str(),
            line.event_scope.as_str(),
            line.status.as_str(),
            line.message.as_str()
        ),
        (
            "authentication",
            "login",
            "success",
            "login from provider `local`"
        )
    );
    assert_eq!(
        (line.actor, line.address.as_deref(), line.agent.as_deref()),
        (Some(user.row), Some("192.0.2.1"), Some("test"))
    );
}

#[test]
fn an_unknown_address_and_a_wrong_password_look_the_same() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    for email in [mail("Jane"), "nobody@example.org".to_owned(), String::new()] {
        let refused = refusal(fixture.login(&email, "wrong"));
        assert_eq!(refused, LoginRefusal::BadCredentials);
        assert_eq!(refused.to_string(), "Bad login or password");
        let line = fixture.last_audit();
        assert_eq!(
            (line.event_scope.as_str(), line.status.as_str()),
            ("login", "error")
        );
        assert_eq!(
            line.message,
            format!("detects `login failure` for `{email}`")
        );
        assert_eq!(line.actor, None);
    }
}

#[test]
fn ten_failures_lock_logins_for_a_while_even_with_the_right_password() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    for _ in 0..10 {
        assert_eq!(
            refusal(fixture.login(&mail("Jane"), "wrong")),
            LoginRefusal::BadCredentials
        );
    }
    assert!(fixture.audit().iter().any(|line| {
        line.message
            .starts_with("locks logins of `account:jane@example.org`")
    }));
    // whatever the address they come from, and whatever the case
    for address in [[192, 0, 2, 1], [198, 51, 100, 7]] {
        let refused = fixture.login_from("Jane@Example.org", &secret("Jane"), address.into());
        assert!(matches!(
            refusal(refused),
            LoginRefusal::TooManyFailures { .. }
        ));
    }
    assert!(
        fixture.login("admin@example.org", PASSWORD).is_ok(),
        "others are not locked"
    );
    fixture.clock.advance(15 * MINUTE);
    assert!(fixture.login(&mail("Jane"), &secret("Jane")).is_ok());
}

#[test]
fn unknown_accounts_are_locked_like_known_ones() {
    let fixture = Fixture::new();
    for _ in 0..10 {
        assert_eq!(
            refusal(fixture.login("nobody@example.org", "x")),
            LoginRefusal::BadCredentials
        );
    }
    assert!(matches!(
        refusal(fixture.login("nobody@example.org", "x")),
        LoginRefusal::TooManyFailures { .. }
    ));
}

#[test]
fn a_success_forgets_the_failures_of_the_account() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    for _ in 0..3 {
        for _ in 0..9 {
            refusal(fixture.login(&mail("Jane"), "wrong"));
        }
        assert!(fixture.login(&mail("Jane"), &secret("Jane")).is_ok());
    }
}

#[test]
fn failures_are_remembered_only_for_a_while() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    for _ in 0..9 {
        refusal(fixture.login(&mail("Jane"), "wrong"));
    }
    fixture.clock.advance(15 * MINUTE + 1);
    refusal(fixture.login(&mail("Jane"), "wrong"));
    assert!(fixture.login(&mail("Jane"), &secret("Jane")).is_ok());
}

#[test]
fn one_address_cannot_guess_at_many_accounts() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    for n in 0..100 {
        refusal(fixture.login(&format!("user{n}@example.org"), "x"));
    }
    assert!(matches!(
        refusal(fixture.login(&mail("Jane"), &secret("Jane"))),
        LoginRefusal::TooManyFailures { .. }
    ));
    assert!(
        fixture
            .login_from(&mail("Jane"), &secret("Jane"), [198, 51, 100, 7].into())
            .is_ok()
    );
}

#[test]
fn only_who_knows_the_password_learns_that_an_account_is_barred() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    for (status, barred) in [
        (UserStatus::Inactive, Barred::Inactive),
        (UserStatus::Locked, Barred::Locked),
        (UserStatus::Expired, Barred::Expired),
    ] {
        let patch = UserPatch {
            status: Some(status),
            ..UserPatch::default()
        };
        fixture
            .accounts
            .edit_user(&fixture.acting(), &id(&user), patch)
            .unwrap();
        assert_eq!(
            refusal(fixture.login(&mail("Jane"), "wrong")),
            LoginRefusal::BadCredentials
        );
        assert_eq!(
            refusal(fixture.login(&mail("Jane"), &secret("Jane"))),
            LoginRefusal::Barred(barred)
        );
    }
}

#[test]
fn every_login_has_a_secret_of_its_own_that_is_stored_nowhere() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    let secrets: HashSet<_> = (0..3)
        .map(|_| fixture.login(&mail("Jane"), &secret("Jane")).unwrap())
        .collect();
    assert_eq!(secrets.len(), 3);
    let kept = format!(
        "{:?} {:?}",
        fixture.read(|s| s.sessions(None)),
        fixture.audit()
    );
    for secret in &secrets {
        assert!(!kept.contains(secret.as_str()));
    }
    let sessions = fixture.read(|s| s.sessions(None));
    for session in sessions {
        // neither the id nor the hash of a session proves it
        assert!(
            fixture
                .accounts
                .session(&session.id.to_string())
                .unwrap()
                .is_none()
        );
        let hash: String = session
            .hash
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(fixture.accounts.session(&hash).unwrap().is_none());
    }
}

#[test]
fn a_session_ends_when_unused_and_at_the_latest_after_its_lifetime() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    let open = || fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
    let lives = |secret: &str| fixture.accounts.session(secret).unwrap().is_some();
    let idle = fixture.accounts.session_idle();
    let unused = open();
    fixture.clock.advance(idle - 1);
    assert!(lives(&unused), "used just in time");
    fixture.clock.advance(idle - 1);
    assert!(lives(&unused), "which counts from the last use");
    fixture.clock.advance(idle);
    assert!(!lives(&unused));
    let used = open();
    let mut passed = 0;
    while passed + idle / 2 < fixture.accounts.session_lifetime() {
        fixture.clock.advance(idle / 2);
        passed += idle / 2;
        assert!(lives(&used));
    }
    fixture.clock.advance(idle / 2);
    assert!(!lives(&used));
}

#[test]
fn use_keeps_a_session_alive_however_short_it_may_be_unused() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    let accounts = fixture.accounts.clone().with_sessions(SessionLimits {
        idle: 60_000,
        lifetime: 3_600_000,
    });
    let opened = accounts
        .login(&mail("Jane"), &secret("Jane"), Origin::default())
        .unwrap();
    for _ in 0..10 {
        fixture.clock.advance(50_000);
        assert!(accounts.session(&opened.secret).unwrap().is_some());
    }
    fixture.clock.advance(60_000);
    assert!(accounts.session(&opened.secret).unwrap().is_none());
}

#[test]
fn sessions_end_when_the_account_is_barred_or_its_password_changes() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let acting = fixture.acting();
    let changes = [
        UserPatch {
            status: Some(UserStatus::Inactive),
            ..UserPatch::default()
        },
        UserPatch {
            expires_at: Some(Some(1)),
            ..UserPatch::default()
        },
        UserPatch {
            password: Some(secret("Jane")),
            ..UserPatch::default()
        },
    ];
    for (n, patch) in changes.into_iter().enumerate() {
        let session = fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
        fixture
            .accounts
            .edit_user(&acting, &id(&user), patch)
            .unwrap();
        assert!(
            fixture.read(|s| s.sessions(Some(user.row))).is_empty(),
            "change {n}"
        );
        assert!(fixture.accounts.session(&session).unwrap().is_none());
        let back = UserPatch {
            status: Some(UserStatus::Active),
            expires_at: Some(None),
            ..UserPatch::default()
        };
        fixture
            .accounts
            .edit_user(&acting, &id(&user), back)
            .unwrap();
        assert!(
            fixture.accounts.session(&session).unwrap().is_none(),
            "it does not come back"
        );
    }
}

#[test]
fn logging_out_ends_one_session() {
    let fixture = Fixture::new();
    fixture.person("Jane");
    let (one, two) = (
        fixture.login(&mail("Jane"), &secret("Jane")).unwrap(),
        fixture.login(&mail("Jane"), &secret("Jane")).unwrap(),
    );
    let (_, session) = fixture.accounts.session(&one).unwrap().unwrap();
    assert!(
        fixture
            .accounts
            .close_session(session.id, Origin::default())
            .unwrap()
    );
    assert_eq!(fixture.last_audit().message, "logout");
    assert!(
        !fixture
            .accounts
            .close_session(session.id, Origin::default())
            .unwrap()
    );
    assert!(fixture.accounts.session(&one).unwrap().is_none());
    assert!(fixture.accounts.session(&two).unwrap().is_some());
}

#[test]
fn sessions_are_killed_one_by_one_and_all_at_once() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let acting = fixture.acting();
    let open = || fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
    let (one, two, three) = (open(), open(), open());
    let (_, session) = fixture.accounts.session(&one).unwrap().unwrap();
    fixture
        .accounts
        .kill_session(&acting, &session.id.to_string())
        .unwrap();
    assert_eq!(
        fixture.last_audit().message,
        "kills `specific session` for user `jane@example.org`"
    );
    assert!(fixture.accounts.session(&one).unwrap().is_none());
    assert!(fixture.accounts.session(&two).unwrap().is_some());
    assert_eq!(
        fixture
            .accounts
            .kill_sessions_of(&acting, &id(&user))
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        fixture.last_audit().message,
        "kills `all sessions` for user `jane@example.org`"
    );
    assert!(fixture.accounts.session(&three).unwrap().is_none());
    let unknown = fixture
        .accounts
        .kill_session(&acting, &session.id.to_string());
    assert!(matches!(unknown, Err(AccountError::NotFound { .. })));
}

#[test]
fn sessions_of_who_may_do_everything_are_killed_by_his_equals_alone() {
    let fixture = Fixture::new();
    let manager = fixture.user_with("Manager", &[names::SET_ACCESSES], &[]);
    let session = fixture.login("admin@example.org", PASSWORD).unwrap();
    let manager = fixture.actor(&manager);
    let admin = fixture.admin.user_id.to_string();
    let refused = fixture
        .accounts
        .kill_sessions_of(&Acting::of(&manager), &admin);
    assert!(matches!(refused, Err(AccountError::Denied(_))));
    assert!(fixture.accounts.session(&session).unwrap().is_some());
}

#[test]
fn a_service_account_has_no_password() {
    let fixture = Fixture::new();
    let new = ferrocti_accounts::NewUser {
        service_account: true,
        ..crate::support::person("Robot")
    };
    let user = fixture.accounts.add_user(&fixture.acting(), new).unwrap();
    assert_eq!(user.password, None);
    assert_eq!(
        refusal(fixture.login(&mail("Robot"), &secret("Robot"))),
        LoginRefusal::BadCredentials
    );
}

#[test]
fn what_is_over_is_forgotten_in_time() {
    let fixture = Fixture::new();
    let user = fixture.person("Jane");
    let end = crate::support::START + DAY;
    let patch = UserPatch {
        expires_at: Some(Some(end)),
        ..UserPatch::default()
    };
    fixture
        .accounts
        .edit_user(&fixture.acting(), &id(&user), patch)
        .unwrap();
    fixture.login(&mail("Jane"), &secret("Jane")).unwrap();
    let lines = fixture.audit().len();
    fixture.accounts.tidy(Some(30)).unwrap();
    assert_eq!(fixture.read(|s| s.sessions(None)).len(), 1);
    assert_eq!(fixture.audit().len(), lines);
    fixture.clock.advance(DAY);
    fixture.accounts.tidy(Some(30)).unwrap();
    assert_eq!(fixture.read(|s| s.sessions(None)), []);
    assert_eq!(
        fixture.read(|s| s.user(user.row)).unwrap().status,
        UserStatus::Expired
    );
    fixture.clock.advance(30 * DAY);
    fixture.accounts.tidy(None).unwrap();
    assert_eq!(
        fixture.audit().len(),
        lines,
        "without a limit everything is kept"
    );
    fixture.accounts.tidy(Some(30)).unwrap();
    assert_eq!(fixture.audit(), []);
}
