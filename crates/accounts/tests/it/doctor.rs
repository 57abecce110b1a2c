//! What the doctor finds, and that a sound platform gives it nothing to find.

use ferrocti_access::{Level, names};
use ferrocti_accounts::{GroupPatch, Lifetime, NewUser, Severity, UserPatch, ids::importer_id};
use ferrocti_store::{Connector, User, UserStatus};
use serde_json::json;

use crate::support::{DAY, Fixture, id};

fn codes(fixture: &Fixture) -> Vec<&'static str> {
    let findings = fixture.accounts.doctor(&fixture.acting()).unwrap();
    findings.iter().map(|finding| finding.code).collect()
}

fn register(fixture: &Fixture, name: &str, user: &User) {
    let connector: Connector = Connector {
        id: name.to_owned(),
        name: name.to_owned(),
        kind: "EXTERNAL_IMPORT".to_owned(),
        scope: vec![],
        auto: false,
        auto_update: false,
        only_contextual: false,
        playbook_compatible: false,
        enrichment_resolution: None,
        listen_callback_uri: None,
        xtm_one_intent: None,
        version: None,
        slug: None,
        user: Some(user.row),
        built_in: false,
        title: None,
        trigger_filters: None,
        priority_group: "DEFAULT".to_owned(),
        info: None,
        state: None,
        state_reset: false,
        state_at: 0,
        created_at: 0,
        updated_at: 0,
        registered_at: Some(0),
        last_ping: None,
        catalog_id: None,
        manager: None,
        registered_token: None,
    };
    fixture.write(|tx| tx.put_connector(&connector));
}

fn service(fixture: &Fixture, name: &str) -> User {
    fixture
        .accounts
        .add_connector(&fixture.acting(), name, None, None)
        .unwrap()
        .0
}

#[test]
fn a_sound_platform_has_no_findings() {
    let fixture = Fixture::new();
    let (one, two) = (service(&fixture, "One"), service(&fixture, "Two"));
    register(&fixture, "one", &one);
    register(&fixture, "two", &two);
    assert_eq!(codes(&fixture), Vec::<&str>::new());
}

#[test]
fn what_a_person_imports_by_hand_is_no_connector_of_a_person() {
    let fixture = Fixture::new();
    let admin = fixture.read(|s| s.user(fixture.admin.user_row)).unwrap();
    register(&fixture, &importer_id(admin.id).to_string(), &admin);
    assert_eq!(codes(&fixture), Vec::<&str>::new());
    let person = fixture.user_with("Jane", &[names::CONNECTOR_API], &[]);
    register(&fixture, &importer_id(person.id).to_string(), &person);
    register(&fixture, "as person", &person);
    assert_eq!(codes(&fixture), ["connector_as_person"]);
}

#[test]
fn connectors_with_too_many_rights_are_dangerous() {
    let fixture = Fixture::new();
    let admin = fixture.read(|s| s.user(fixture.admin.user_row)).unwrap();
    register(&fixture, "as admin", &admin);
    register(
        &fixture,
        "as god",
        &fixture.user_with("God", &["BYPASS"], &[]),
    );
    register(
        &fixture,
        "as manager",
        &fixture.user_with("Manager", &[names::SET_ACCESSES], &[]),
    );
    let findings = fixture.accounts.doctor(&fixture.acting()).unwrap();
    let dangerous: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Dangerous)
        .map(|finding| (finding.subject.as_str(), finding.code))
        .collect();
    assert_eq!(
        dangerous,
        [
            ("as admin", "connector_as_administrator"),
            ("as god", "connector_with_bypass"),
            ("as manager", "connector_administers")
        ]
    );
    assert!(findings.is_sorted_by_key(|finding| finding.severity));
    assert!(findings.iter().all(|finding| !finding.remedy.is_empty()));
}

#[test]
fn connectors_that_share_an_account_are_named() {
    let fixture = Fixture::new();
    let shared = service(&fixture, "Shared");
    register(&fixture, "one", &shared);
    register(&fixture, "two", &shared);
    let findings = fixture.accounts.doctor(&fixture.acting()).unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, "shared_account");
    assert!(
        findings[0]
            .text
            .starts_with("one, two run under one account"),
        "{}",
        findings[0].text
    );
}

#[test]
fn accounts_that_do_not_work_for_a_connector_are_found() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let accounts = &fixture.accounts;
    let person = fixture.user_with("Jane", &[names::CONNECTOR_API], &[]);
    register(&fixture, "as person", &person);
    let locked = service(&fixture, "Locked");
    let patch = UserPatch {
        status: Some(UserStatus::Locked),
        ..UserPatch::default()
    };
    accounts.edit_user(&acting, &id(&locked), patch).unwrap();
    register(&fixture, "locked", &locked);
    let new = NewUser {
        service_account: true,
        ..crate::support::person("Lonely")
    };
    register(
        &fixture,
        "no level",
        &accounts.add_user(&acting, new).unwrap(),
    );
    let gone = service(&fixture, "Gone");
    register(&fixture, "gone", &gone);
    accounts.delete_user(&acting, &id(&gone)).unwrap();
    let high = service(&fixture, "High");
    register(&fixture, "high", &high);
    let group = fixture.group_named("Connectors").id.to_string();
    let level = GroupPatch {
        level: Some(Level::of(50)),
        ..GroupPatch::default()
    };
    accounts.edit_group(&acting, &group, level).unwrap();
    let patch = UserPatch {
        level: Some(Level::of(90)),
        ..UserPatch::default()
    };
    accounts.edit_user(&acting, &id(&high), patch).unwrap();
    let mut found = codes(&fixture);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "confidence_above_group",
            "connector_as_person",
            "connector_barred",
            "connector_without_level",
            "connector_without_user"
        ]
    );
}

#[test]
fn what_nobody_uses_is_found_after_a_month() {
    let fixture = Fixture::new();
    let acting = fixture.acting();
    let accounts = &fixture.accounts;
    let used = fixture.user_with("Used", &[names::USE_TOKEN], &[]);
    fixture.person("Unused");
    let (_, secret) = accounts
        .add_token(&acting, &id(&used), "used", Lifetime::Unlimited)
        .unwrap();
    accounts
        .add_token(&acting, &id(&used), "unused", Lifetime::Unlimited)
        .unwrap();
    accounts
        .add_token(&acting, &id(&used), "ends", Lifetime::Days(365))
        .unwrap();
    fixture.actor_of_token(&secret).unwrap();
    let logged_in = fixture.person("Human");
    fixture
        .login("human@example.org", &crate::support::secret("Human"))
        .unwrap();
    let ends = fixture.person("Ends");
    let patch = UserPatch {
        expires_at: Some(Some(crate::support::START + 365 * DAY)),
        ..UserPatch::default()
    };
    accounts.edit_user(&acting, &id(&ends), patch).unwrap();
    assert_eq!(codes(&fixture), Vec::<&str>::new(), "not yet");
    fixture.clock.advance(31 * DAY);
    let findings = accounts.doctor(&acting).unwrap();
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding.code, finding.subject.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("token_never_used", "unused"),
            ("account_never_used", "unused@example.org")
        ]
    );
    assert!(logged_in.row > 0);
}

#[test]
fn groups_that_may_do_everything_are_found() {
    let fixture = Fixture::new();
    fixture.group("Second administrators", &["BYPASS"], &[]);
    assert_eq!(codes(&fixture), ["group_with_bypass"]);
    let group = fixture.group_named("Second administrators").id.to_string();
    let patch = GroupPatch {
        default_assignation: Some(true),
        ..GroupPatch::default()
    };
    fixture
        .accounts
        .edit_group(&fixture.acting(), &group, patch)
        .unwrap();
    assert_eq!(codes(&fixture), ["default_group_with_bypass"]);
}

#[test]
fn markings_that_nobody_or_everybody_sees_are_found() {
    let fixture = Fixture::new();
    let connectors = fixture.group_named("Connectors").id.to_string();
    let red = fixture.marking("TLP:RED").to_string();
    fixture
        .accounts
        .revoke_marking(&fixture.acting(), &connectors, &red)
        .unwrap();
    fixture.add_marking("TLP", "TLP:MINE", 0);
    let findings = fixture.accounts.doctor(&fixture.acting()).unwrap();
    let mut found: Vec<_> = findings
        .iter()
        .map(|finding| (finding.code, finding.subject.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("marking_nobody_sees", "TLP:RED"),
            ("marking_without_rank", "TLP:MINE")
        ]
    );
    fixture.add_marking("statement", "Copyright", 0);
    assert_eq!(
        codes(&fixture).len(),
        2,
        "a kind without ranks is fine: {}",
        json!(fixture.accounts.doctor(&fixture.acting()).unwrap())
    );
}
