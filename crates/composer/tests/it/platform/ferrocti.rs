//! Ferrocti's own protocol.

use std::{collections::BTreeSet, time::Duration};

use ferrocti_catalog::launch::Launch;
use ferrocti_composer::{
    Requested, State,
    platform::{Ferrocti, Platform, Report, Trouble},
};
use serde_json::{Value, json};

use super::{
    HEALTH, access, logs, me, report, running,
    script::{Server, Step, data, json_step, refusal},
};

fn platform(server: &Server) -> Ferrocti {
    Ferrocti::open(&access(server), "site-a").unwrap()
}

fn connector(id: &str, with: Value) -> Value {
    let mut out = json!({
        "id": id,
        "name": "A feed",
        "requested": "starting",
        "hash": "0a1b2c3d",
        "launch": r#"{"command": ["@ferrocti", "connector", "sample"]}"#,
        "runtime": r#"{"memory": 67108864}"#,
        "configuration": [
            { "key": "CONNECTOR_ID", "value": id, "encrypted": false },
            { "key": "OPENCTI_TOKEN", "value": "c2VhbGVk", "encrypted": true },
        ],
        "last_seen_ms": 1500.0,
        "log_cursor": "17",
        "obstacle": null,
    });
    for (key, value) in with.as_object().unwrap() {
        out[key] = value.clone();
    }
    out
}

fn work(connectors: Vec<Value>) -> Step {
    data(
        "composerWork",
        json!({ "version": "a-1", "connectors": connectors, "tombstones": ["gone-1", "gone-2"], "approved": ["gone-1"] }),
    )
}

#[tokio::test]
async fn work_is_read_as_it_was_told() {
    let server = Server::start([work(vec![
        connector("one", json!({})),
        connector(
            "two",
            json!({
                "requested": "stopped", "last_seen_ms": null, "log_cursor": null,
                "launch": r#"{"image": "opencti/connector-mitre:7"}"#, "runtime": "{}",
            }),
        ),
    ])]);
    let work = platform(&server).work().await.unwrap();
    assert_eq!(work.version, "a-1");
    assert_eq!(
        work.tombstones,
        BTreeSet::from(["gone-1".to_owned(), "gone-2".to_owned()])
    );
    assert_eq!(work.approved, BTreeSet::from(["gone-1".to_owned()]));
    let [one, two] = &work.connectors[..] else {
        panic!("two connectors")
    };
    assert_eq!(
        (one.id.as_str(), one.requested),
        ("one", Requested::Running)
    );
    assert_eq!(one.runtime.memory, Some(67_108_864));
    assert_eq!(one.last_seen, Some(Duration::from_millis(1500)));
    assert_eq!(one.log_cursor.as_deref(), Some("17"));
    assert!(one.configuration[1].encrypted && !one.configuration[0].encrypted);
    assert_eq!(one.fault, None);
    assert_eq!(two.requested, Requested::Stopped);
    assert_eq!(two.last_seen, None);
    assert_eq!(
        two.launch,
        Launch::Image {
            image: "opencti/connector-mitre:7".to_owned()
        }
    );
    assert_eq!(
        server.asked()[0].body["variables"],
        json!({ "composer": "site-a" })
    );
}

#[tokio::test]
async fn one_definition_that_cannot_be_understood_spoils_no_other() {
    let server = Server::start([work(vec![
        connector("bad-launch", json!({ "launch": r#"{"pod": "x"}"# })),
        connector("bad-runtime", json!({ "runtime": r#"{"gpus": 2}"# })),
        connector("obstacle", json!({ "obstacle": "it has no user" })),
        connector("good", json!({})),
        connector("odd-age", json!({ "last_seen_ms": -5.0 })),
    ])]);
    let work = platform(&server).work().await.unwrap();
    let faults: Vec<bool> = work.connectors.iter().map(|c| c.fault.is_some()).collect();
    assert_eq!(faults, [true, true, true, false, false]);
    assert_eq!(work.connectors[2].fault.as_deref(), Some("it has no user"));
    assert_eq!(work.connectors[4].last_seen, Some(Duration::ZERO));
}

#[tokio::test]
async fn changes_are_waited_for_by_version() {
    let server = Server::start([
        json_step(json!({ "version": "a-2" })),
        json_step(json!({ "version": "a b/1" })),
        json_step(json!({})),
        Step::Answer(
            404,
            vec![],
            r#"{"error": "There is nothing here."}"#.to_owned(),
        ),
        Step::Answer(401, vec![], r#"{"error": "no"}"#.to_owned()),
    ]);
    let platform = platform(&server);
    let wait = Duration::from_secs(25);
    assert!(platform.changed("a-1", wait).await.unwrap());
    assert!(
        !platform
            .changed("a b/1", Duration::from_secs(300))
            .await
            .unwrap()
    );
    assert!(matches!(
        platform.changed("a-1", wait).await,
        Err(Trouble::Away(_))
    ));
    assert!(matches!(
        platform.changed("a-1", wait).await,
        Err(Trouble::Away(_))
    ));
    assert!(matches!(
        platform.changed("a-1", wait).await,
        Err(Trouble::Refused(_))
    ));
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /composer/changes?after=a-1&wait=25");
    assert_eq!(
        asked[1].line,
        "GET /composer/changes?after=a%20b%2F1&wait=30"
    );
}

#[tokio::test]
async fn a_report_holds_states_and_what_is_new_of_figures_and_lines() {
    let server = Server::start([
        data("composerReport", json!(true)),
        data("composerReport", json!(true)),
    ]);
    let platform = platform(&server);
    let mut failed = running("one");
    failed.state = State::CrashLooping;
    failed.rejected = Some("ffffffff".to_owned());
    failed.health = Some(HEALTH);
    failed.logs = Some(logs(&["a", "b"], "19"));
    let mut same = running("two");
    same.changed = false;
    same.health = Some(HEALTH);
    let full = Report {
        removed: BTreeSet::from(["gone-1".to_owned()]),
        blocked: Some("the key is gone".to_owned()),
        ..report(vec![failed, same])
    };
    platform.report(&full).await.unwrap();
    platform.report(&report(vec![])).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked[0].body["variables"]["input"],
        json!({
            "composer": "site-a",
            "connectors": [
                {
                    "id": "one", "hash": "0a1b2c3d", "state": "crash-looping", "reason": "it runs", "current": "started", "rejected": "ffffffff",
                    "started_at": "2023-11-14T22:13:20Z", "restart_count": 2, "is_in_reboot_loop": false, "memory": 52_428_800,
                    "logs": ["a", "b"], "log_cursor": "19",
                },
                {
                    "id": "two", "hash": "0a1b2c3d", "state": "running", "reason": "it runs", "current": "started", "rejected": null,
                    "started_at": "2023-11-14T22:13:20Z", "restart_count": 2, "is_in_reboot_loop": false, "memory": 52_428_800,
                },
            ],
            "removed": ["gone-1"],
            "blocked": "the key is gone",
        })
    );
    assert_eq!(asked[1].body["variables"]["input"]["blocked"], "");
}

#[tokio::test]
async fn a_composer_makes_itself_known() {
    let server = Server::start([
        data("composerRegister", json!({ "id": "site-a" })),
        data("updateConnectorManagerStatus", json!({ "id": "site-a" })),
        data("updateConnectorManagerStatus", json!(null)),
        refusal("FORBIDDEN_ACCESS", "You are not allowed to do this."),
    ]);
    let platform = platform(&server);
    platform.register(&me()).await.unwrap();
    platform.alive(&me()).await.unwrap();
    assert!(matches!(
        platform.alive(&me()).await,
        Err(Trouble::Unregistered(_))
    ));
    assert!(matches!(
        platform.register(&me()).await,
        Err(Trouble::Refused(_))
    ));
    let input = &server.asked()[0].body["variables"]["input"];
    assert_eq!(input["public_key"], me().public_key);
    assert_eq!(input["orchestrators"], json!(["process"]));
    assert_eq!(
        platform.gone(&["x".to_owned()]).await.unwrap(),
        BTreeSet::new()
    );
}

#[tokio::test]
async fn a_platform_that_has_forgotten_the_composer_is_told_of_it_again() {
    let forgotten = || {
        refusal(
            "COMPOSER_NOT_REGISTERED",
            "composer site-a is not registered; a composer registers when it starts",
        )
    };
    let other = refusal("FUNCTIONAL_ERROR", "The connector `x` is not managed");
    let server = Server::start([forgotten(), forgotten(), forgotten(), other]);
    let platform = platform(&server);
    assert!(matches!(
        platform.work().await,
        Err(Trouble::Unregistered(_))
    ));
    assert!(matches!(
        platform.alive(&me()).await,
        Err(Trouble::Unregistered(_))
    ));
    assert!(matches!(
        platform.report(&report(vec![])).await,
        Err(Trouble::Unregistered(_))
    ));
    assert!(matches!(platform.work().await, Err(Trouble::Refused(_))));
}
