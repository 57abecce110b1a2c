//! Upstream's protocol, in the shapes that its platform answers.

use std::{collections::BTreeSet, time::Duration};

use ferrocti_catalog::launch::Launch;
use ferrocti_composer::{
    Current, Requested, State,
    platform::{OpenCti, Platform, Trouble},
};
use serde_json::{Value, json};

use super::{
    HEALTH, access, logs, me, report, running,
    script::{Server, Step, data, refusal, unknown_field},
};

fn platform(server: &Server) -> OpenCti {
    OpenCti::open(&access(server), "site-a").unwrap()
}

fn listed(id: &str) -> Value {
    json!({
        "id": id,
        "name": "mitre",
        "manager_contract_hash": "0a1b2c3d",
        "manager_contract_image": "opencti/connector-mitre:7.260817.0",
        "manager_current_status": "stopped",
        "manager_requested_status": "starting",
        "manager_contract_configuration": [
            { "key": "CONNECTOR_SCOPE", "value": "tool,report", "encrypted": false },
            { "key": "MITRE_KEY", "value": "AgAA", "encrypted": true },
            { "key": "EMPTY", "value": null, "encrypted": null },
        ],
    })
}

/// The list of connectors and when they were seen, at ten seconds past two.
fn answers(connectors: Vec<Value>, seen: Vec<Value>) -> [Step; 2] {
    let seen = json!({ "data": { "connectors": seen } });
    let date = vec![("date", "Sun, 22 Nov 2026 14:00:10 GMT".to_owned())];
    [
        data("connectorsForManagers", json!(connectors)),
        Step::Answer(200, date, seen.to_string()),
    ]
}

#[tokio::test]
async fn the_list_is_read_as_upstream_tells_it() {
    let server = Server::start(answers(
        vec![listed("one"), listed("two")],
        vec![
            json!({ "id": "one", "last_seen_at": "2026-11-22T14:00:07.000Z" }),
            json!({ "id": "somebody-else", "last_seen_at": null }),
        ],
    ));
    let work = platform(&server).work().await.unwrap();
    assert_eq!((work.version.as_str(), work.tombstones.len()), ("", 0));
    let [one, two] = &work.connectors[..] else {
        panic!("two connectors")
    };
    assert_eq!(one.requested, Requested::Running);
    assert_eq!(
        one.launch,
        Launch::Image {
            image: "opencti/connector-mitre:7.260817.0".to_owned()
        }
    );
    assert_eq!(one.hash, "0a1b2c3d");
    // by the platform's clock
    assert_eq!(one.last_seen, Some(Duration::from_secs(3)));
    assert_eq!(two.last_seen, None);
    assert!(one.configuration[1].encrypted);
    assert_eq!(
        (
            one.configuration[2].value.as_str(),
            one.configuration[2].encrypted
        ),
        ("", false)
    );
    assert_eq!(server.operations(), ["GetConnectors", "GetConnectorsSeen"]);
}

#[tokio::test]
async fn what_is_null_is_a_fault_of_that_connector_alone() {
    let mut broken = listed("broken");
    for field in [
        "manager_contract_hash",
        "manager_contract_image",
        "manager_requested_status",
        "manager_contract_configuration",
    ] {
        broken[field] = Value::Null;
    }
    let server = Server::start(answers(vec![broken, listed("good")], vec![]));
    let work = platform(&server).work().await.unwrap();
    let fault = work.connectors[0].fault.as_deref().unwrap();
    assert!(
        fault.contains("image, hash, requested status, configuration"),
        "{fault}"
    );
    assert_eq!(work.connectors[1].fault, None);
}

#[tokio::test]
async fn an_older_platform_tells_less_and_is_asked_for_less() {
    let [list, _] = answers(vec![listed("one")], vec![]);
    let [_, seen] = answers(
        vec![],
        vec![json!({ "id": "one", "last_seen_at": "2026-11-22T14:00:00.000Z" })],
    );
    let server = Server::start([
        list.clone(),
        unknown_field("last_seen_at"),
        seen.clone(),
        list,
        seen,
    ]);
    let platform = platform(&server);
    for _ in 0..2 {
        let work = platform.work().await.unwrap();
        assert_eq!(work.connectors[0].last_seen, Some(Duration::from_secs(10)));
    }
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn a_user_who_may_not_see_connectors_is_told_what_is_missing() {
    let [list, _] = answers(vec![listed("one")], vec![]);
    let server = Server::start([
        list,
        refusal("FORBIDDEN_ACCESS", "You are not allowed to do this."),
    ]);
    let Err(Trouble::Refused(text)) = platform(&server).work().await else {
        panic!("refused")
    };
    assert!(text.contains("MODULES"), "{text}");
}

#[tokio::test]
async fn only_what_the_platform_does_not_have_yet_is_told() {
    let [list, seen] = answers(vec![listed("one"), listed("two")], vec![]);
    let id = |id: &str| data("updateConnectorCurrentStatus", json!({ "id": id }));
    let server = Server::start([
        list,
        seen,
        id("one"),
        data("updateConnectorHealth", json!("one")),
        data("updateConnectorLogs", json!("one")),
        data("updateConnectorHealth", json!("one")),
    ]);
    let platform = platform(&server);
    platform.work().await.unwrap();
    let mut one = running("one");
    one.health = Some(HEALTH);
    one.logs = Some(logs(&["a", "b"], "2"));
    let mut two = running("two");
    // the platform has it as stopped already
    two.current = Some(Current::Stopped);
    two.state = State::Stopped;
    platform
        .report(&report(vec![one.clone(), two]))
        .await
        .unwrap();
    // the same once more: only figures are repeated
    platform.report(&report(vec![one])).await.unwrap();
    assert_eq!(
        server.operations()[2..],
        [
            "UpdateConnectorCurrentStatus",
            "UpdateConnectorHealth",
            "ReportConnectorLogs",
            "UpdateConnectorHealth"
        ]
    );
    let asked = server.asked();
    assert_eq!(
        asked[2].body["variables"]["input"],
        json!({ "id": "one", "status": "started" })
    );
    assert_eq!(
        asked[3].body["variables"]["input"],
        json!({ "id": "one", "restart_count": 2, "started_at": "2023-11-14T22:13:20Z", "is_in_reboot_loop": false })
    );
    assert_eq!(
        asked[4].body["variables"]["input"],
        json!({ "id": "one", "logs": ["a", "b"] })
    );
}

#[tokio::test]
async fn a_log_is_told_whole_and_with_the_reasons_of_trouble() {
    let told = || data("updateConnectorLogs", json!("one"));
    let server = Server::start([told(), Step::Close, told(), told()]);
    let platform = platform(&server);
    let mut one = running("one");
    one.current = None;
    one.logs = Some(logs(&["a"], "1"));
    platform.report(&report(vec![one.clone()])).await.unwrap();
    one.logs = Some(logs(&["b"], "2"));
    assert!(platform.report(&report(vec![one.clone()])).await.is_err());
    platform.report(&report(vec![one.clone()])).await.unwrap();
    one.state = State::CrashLooping;
    one.reason = "it ended 3 times".to_owned();
    one.logs = None;
    platform.report(&report(vec![one.clone()])).await.unwrap();
    platform.report(&report(vec![one])).await.unwrap();
    let asked = server.asked();
    let lines = |n: usize| asked[n].body["variables"]["input"]["logs"].clone();
    assert_eq!(asked.len(), 4);
    // what was not told is told with the next, and once
    assert_eq!(
        (lines(0), lines(1), lines(2)),
        (json!(["a"]), json!(["a", "b"]), json!(["a", "b"]))
    );
    assert_eq!(
        lines(3),
        json!(["a", "b", "[composer] crash-looping: it ended 3 times"])
    );
}

#[tokio::test]
async fn a_log_does_not_grow_without_end() {
    let server = Server::start([data("updateConnectorLogs", json!("one"))]);
    let mut one = running("one");
    one.current = None;
    let long = "x".repeat(10_000);
    let lines: Vec<&str> = std::iter::repeat_n(long.as_str(), 500).collect();
    one.logs = Some(logs(&lines, "500"));
    platform(&server).report(&report(vec![one])).await.unwrap();
    let told = server.asked()[0].body["variables"]["input"]["logs"].clone();
    let told: Vec<String> = serde_json::from_value(told).unwrap();
    assert_eq!((told.len(), told[0].len()), (100, 2_000));
}

#[tokio::test]
async fn one_connector_that_is_refused_stops_no_other() {
    let server = Server::start([
        refusal("FUNCTIONAL_ERROR", "Cant find element to update"),
        refusal("FUNCTIONAL_ERROR", "Something else"),
        data("updateConnectorCurrentStatus", json!({ "id": "three" })),
    ]);
    let platform = platform(&server);
    let answer = platform
        .report(&report(vec![
            running("one"),
            running("two"),
            running("three"),
        ]))
        .await;
    assert_eq!(server.asked().len(), 3);
    let Err(Trouble::Refused(text)) = answer else {
        panic!("{answer:?}")
    };
    assert!(text.contains("Something else"), "{text}");
}

#[tokio::test]
async fn a_connector_is_gone_only_when_the_platform_says_so_of_it_alone() {
    let knows_me = || data("connectorManager", json!({ "id": "site-a" }));
    let server = Server::start([
        knows_me(),
        data("connector", json!({ "id": "one" })),
        data("connector", json!(null)),
    ]);
    let ids = ["one".to_owned(), "two".to_owned()];
    let gone = platform(&server).gone(&ids).await.unwrap();
    assert_eq!(gone, BTreeSet::from(["two".to_owned()]));

    // null beside an error, a missing field and a platform that does not know this composer say nothing
    let beside = Step::Answer(
        200,
        vec![],
        json!({ "data": { "connector": null }, "errors": [{ "message": "x" }] }).to_string(),
    );
    for steps in [
        vec![knows_me(), beside],
        vec![
            knows_me(),
            Step::Answer(200, vec![], r#"{"data": {}}"#.to_owned()),
        ],
        vec![knows_me(), Step::Close],
        vec![refusal("FUNCTIONAL_ERROR", "Manager not found")],
    ] {
        let server = Server::start(steps);
        assert!(platform(&server).gone(&ids).await.is_err());
    }
    let server = Server::start([data("connectorManager", json!(null))]);
    assert_eq!(platform(&server).gone(&ids).await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn a_composer_registers_and_says_that_it_is_there() {
    let alive = |version: &str| {
        data(
            "updateConnectorManagerStatus",
            json!({ "id": "site-a", "about_version": version }),
        )
    };
    let server = Server::start([
        data(
            "registerConnectorsManager",
            json!({ "id": "site-a", "about_version": "7.1" }),
        ),
        alive("7.1"),
        alive("7.2"),
        refusal("FUNCTIONAL_ERROR", "Cant find element to update"),
        data("updateConnectorManagerStatus", json!(null)),
        Step::Answer(502, vec![], String::new()),
        refusal(
            "UNSUPPORTED_ERROR",
            "Only one connector manager is supported per instance",
        ),
    ]);
    let platform = platform(&server);
    platform.register(&me()).await.unwrap();
    platform.alive(&me()).await.unwrap();
    for _ in 0..3 {
        // updated, forgotten, not told
        assert!(matches!(
            platform.alive(&me()).await,
            Err(Trouble::Unregistered(_))
        ));
    }
    assert!(matches!(platform.alive(&me()).await, Err(Trouble::Away(_))));
    let Err(Trouble::Refused(text)) = platform.register(&me()).await else {
        panic!("refused")
    };
    assert!(text.contains("composer.id"), "{text}");
    assert_eq!(
        server.asked()[0].body["variables"]["input"],
        json!({ "id": "site-a", "name": "Site A", "public_key": me().public_key })
    );
}

#[tokio::test(start_paused = true)]
async fn changes_are_asked_for_every_ten_seconds() {
    let server = Server::start([]);
    let platform = platform(&server);
    let began = tokio::time::Instant::now();
    assert!(platform.changed("", Duration::from_secs(25)).await.unwrap());
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert!(platform.changed("", Duration::from_secs(2)).await.unwrap());
    assert_eq!(began.elapsed(), Duration::from_secs(12));
}
