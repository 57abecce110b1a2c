//! What composers say, and what is made of it.

use ferrocti_connectors::managed::{
    ConnectorReport, CurrentStatus, HealthReport, Level, Report, Reported, RequestedStatus, State,
};
use ferrocti_model::clock::Clock;
use ferrocti_store::LogLine;
use serde_json::json;

use super::running;
use crate::support::Fixture;

fn lines(fixture: &Fixture, id: &str, search: Option<&str>, before: Option<i64>) -> Vec<LogLine> {
    fixture
        .store
        .read(|snapshot| fixture.connectors.logs(snapshot, id, search, before, 3))
        .unwrap()
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.line.as_str()).collect()
}

#[test]
fn a_report_is_taken_whole_or_not_at_all() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let one = fixture.deployed("One");
    let report = Report {
        connectors: vec![
            ConnectorReport {
                logs: vec!["a".to_owned(), "b".to_owned()],
                log_cursor: Some("2".to_owned()),
                health: Some(HealthReport {
                    started_at: Some(5),
                    restarts: 2,
                    reboot_loop: false,
                    memory: Some(1 << 20),
                }),
                ..running(&one.id, &fixture.hash(&one.id))
            },
            running("deleted in the meantime", "x"),
        ],
        removed: vec!["never heard of".to_owned()],
        blocked: Some("the disk is full".to_owned()),
    };
    fixture
        .connectors
        .report(&actor, "site-a", &report)
        .unwrap();
    let view = fixture.view(&one.id);
    let reported = view.reported.unwrap();
    assert_eq!(reported.state, Some(State::Running));
    assert_eq!((reported.restarts, reported.memory), (2, Some(1 << 20)));
    assert_eq!(view.managed.current, Some(CurrentStatus::Started));
    assert_eq!(view.managed.verified, Some(1));
    assert_eq!(
        view.composer.unwrap().blocked.as_deref(),
        Some("the disk is full")
    );
    assert_eq!(texts(&lines(&fixture, &one.id, None, None)), ["a", "b"]);
    let work = fixture.connectors.work_for(&actor, "site-a").unwrap();
    assert_eq!(work.connectors[0].log_cursor.as_deref(), Some("2"));
    // figures and cursor stay when a report has none
    fixture.report(&actor, "site-a", running(&one.id, &fixture.hash(&one.id)));
    let reported = fixture.view(&one.id).reported.unwrap();
    assert_eq!(
        (reported.restarts, reported.log_cursor.as_deref()),
        (2, Some("2"))
    );
}

#[test]
fn logs_are_bounded_paged_and_searched() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    let say = |logs: Vec<String>| {
        let report = ConnectorReport {
            logs,
            ..running(id, &fixture.hash(id))
        };
        fixture.report(&actor, "site-a", report);
    };
    say((1..=2500).map(|n| format!("line {n} Ünïx")).collect());
    let newest = lines(&fixture, id, None, None);
    assert_eq!(
        texts(&newest),
        ["line 2498 Ünïx", "line 2499 Ünïx", "line 2500 Ünïx"]
    );
    let before = lines(&fixture, id, None, Some(newest[0].seq));
    assert_eq!(before.last().unwrap().line, "line 2497 Ünïx");
    assert_eq!(
        texts(&lines(&fixture, id, Some("LINE 777 "), None)),
        ["line 777 Ünïx"]
    );
    assert!(lines(&fixture, id, Some("%"), None).is_empty());
    assert!(
        lines(&fixture, id, Some("line 42 "), None).is_empty(),
        "forgotten"
    );
    say(vec!["é".repeat(10_000); 200]);
    let all = fixture
        .store
        .read(|snapshot| snapshot.connector_log(id, None, None, 10_000))
        .unwrap();
    assert!(all.iter().map(|line| line.line.len()).sum::<usize>() <= 1 << 20);
    assert_eq!(all.len(), 128);
    assert_eq!(all[0].line.len(), 8 << 10);
    assert_eq!(fixture.store.check().unwrap(), []);
}

#[test]
fn lines_that_a_composer_of_upstreams_repeats_are_kept_once() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let say = |logs: &[&str]| {
        let logs: Vec<String> = logs.iter().map(|&line| line.to_owned()).collect();
        fixture
            .connectors
            .set_logs(&actor, &connector.id, &logs)
            .unwrap();
    };
    say(&["a", "b"]);
    say(&["b", "c"]);
    say(&["b", "c"]);
    let kept = fixture
        .store
        .read(|snapshot| {
            fixture
                .connectors
                .logs(snapshot, &connector.id, None, None, 100)
        })
        .unwrap();
    assert_eq!(texts(&kept), ["a", "b", "c"]);
}

#[test]
fn what_a_composer_of_upstreams_says_becomes_a_state() {
    let fixture = Fixture::open();
    let actor = fixture.user_with("xtm", &["CONNECTORAPI"]);
    let new = ferrocti_connectors::managed::NewComposer {
        own: false,
        ..super::composer("xtm")
    };
    let connectors = &fixture.connectors;
    connectors.register_composer(&actor, new).unwrap();
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    assert_eq!(fixture.state(id).0, State::Requested);
    connectors
        .set_current(&actor, id, CurrentStatus::Stopped)
        .unwrap();
    assert_eq!(fixture.state(id).0, State::Starting);
    connectors
        .set_current(&actor, id, CurrentStatus::Started)
        .unwrap();
    assert_eq!(
        fixture.state(id).0,
        State::Starting,
        "nothing was heard of it"
    );
    fixture.clock.advance(1000);
    fixture.ping(id, None);
    assert_eq!(fixture.state(id).0, State::Running);
    let health = HealthReport {
        restarts: 4,
        reboot_loop: true,
        ..HealthReport::default()
    };
    connectors.set_health(&actor, id, health).unwrap();
    let (state, reason) = fixture.state(id);
    assert_eq!(state, State::CrashLooping);
    assert!(reason.contains("4 times"), "{reason}");
    connectors
        .set_health(&actor, id, HealthReport::default())
        .unwrap();
    connectors
        .request(&fixture.admin, id, RequestedStatus::Stopping)
        .unwrap();
    assert_eq!(fixture.state(id).0, State::Stopping);
    connectors
        .set_current(&actor, id, CurrentStatus::Stopped)
        .unwrap();
    assert_eq!(fixture.state(id).0, State::Stopped);
    fixture.clock.advance(10 * 60_000);
    assert_eq!(
        fixture.state(id).0,
        State::Stopped,
        "that needs no composer"
    );
    connectors
        .request(&fixture.admin, id, RequestedStatus::Starting)
        .unwrap();
    let (state, reason) = fixture.state(id);
    assert_eq!(state, State::Unreachable);
    assert!(reason.contains("Composer xtm"), "{reason}");
}

#[test]
fn a_report_of_another_definition_is_not_taken_for_the_present_one() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    fixture.report(&actor, "site-a", running(id, &fixture.hash(id)));
    assert_eq!(fixture.state(id).0, State::Running);
    fixture
        .connectors
        .upgrade(&fixture.admin, id, "test", &super::contract("2.0.0"))
        .unwrap();
    assert_eq!(fixture.state(id).0, State::Requested);
    fixture.report(
        &actor,
        "site-a",
        ConnectorReport {
            state: State::Pulling,
            reason: "example/feed:2.0.0".to_owned(),
            ..running(id, &fixture.hash(id))
        },
    );
    assert_eq!(
        fixture.state(id),
        (State::Pulling, "example/feed:2.0.0".to_owned())
    );
    assert_eq!(fixture.managed(id).verified, Some(1));
}

#[test]
fn health_follows_what_the_platform_sees() {
    let fixture = Fixture::open();
    let actor = fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    let id = connector.id.as_str();
    fixture.report(&actor, "site-a", running(id, &fixture.hash(id)));
    let now = fixture.clock.now();
    let info = json!({
        "run_and_terminate": false, "buffering": false, "queue_threshold": 500.0, "queue_messages_size": 0.0,
        "next_run_datetime": ferrocti_model::clock::format_date(now + 3_600_000), "last_run_datetime": ferrocti_model::clock::format_date(now),
    });
    fixture.ping(id, Some(info));
    let health = || {
        let stored = fixture.stored(id).unwrap();
        fixture.view(id).health(&stored, fixture.clock.now())
    };
    let well = health();
    assert_eq!((well.level, &well.reasons[..]), (Level::Green, &[][..]));
    assert_eq!(well.expected_next, Some(now + 3_600_000));
    fixture.clock.advance(3_600_000 + 11 * 60_000);
    fixture.ping(id, None);
    fixture.report(&actor, "site-a", running(id, &fixture.hash(id)));
    let late = health();
    assert_eq!(late.level, Level::Amber);
    assert!(late.reasons[0].contains("was due"), "{:?}", late.reasons);
    fixture.clock.advance(6 * 60_000);
    fixture.report(&actor, "site-a", running(id, &fixture.hash(id)));
    assert_eq!(health().level, Level::Red, "it is silent");
}

#[test]
fn a_report_that_another_version_wrote_is_as_good_as_none() {
    let fixture = Fixture::open();
    fixture.composer("site-a");
    let connector = fixture.deployed("Feed");
    fixture
        .store
        .write(|tx| tx.put_connector_report(&connector.id, &json!({"restarts": "many"})))
        .unwrap();
    let reported = fixture
        .store
        .read(|snapshot| Reported::of(snapshot, &connector.id))
        .unwrap()
        .unwrap();
    assert_eq!(reported.state, None);
}
