//! The request that waits for changes.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::support::World;
use crate::{ADMIN, Fixture};

/// Longest wait that is asked for, in seconds; a test that takes so long has waited in vain.
const WAIT: u64 = 30;

fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .unwrap()
}

fn poll(token: &str, after: &str, wait: u64) -> Request<Body> {
    Request::get(format!("/composer/changes?after={after}&wait={wait}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap()
}

async fn send(router: Router, request: Request<Body>) -> (StatusCode, Value) {
    let answer = router.oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The present version.
fn version(fixture: &Fixture) -> String {
    let (status, answer) =
        runtime(false).block_on(send(fixture.router.clone(), poll(ADMIN, "", 0)));
    assert_eq!(status, StatusCode::OK);
    answer["version"].as_str().unwrap().to_owned()
}

#[test]
fn another_version_is_answered_at_once() {
    let fixture = Fixture::new();
    let started = Instant::now();
    let now = version(&fixture);
    for after in ["", "something-else", "1759999999999-0"] {
        let (status, answer) =
            runtime(false).block_on(send(fixture.router.clone(), poll(ADMIN, after, WAIT)));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["version"], now);
    }
    assert!(started.elapsed() < Duration::from_secs(WAIT));
}

#[test]
fn the_version_is_that_of_the_work() {
    let (world, token) = World::with_composer();
    let work = world.run_as(
        &token,
        "{ composerWork(composer: \"site-a\") { version } }",
        json!({}),
    );
    assert_eq!(work["composerWork"]["version"], version(&world.fixture));
}

#[test]
fn who_waits_is_answered_as_soon_as_something_changes() {
    let (world, token) = World::with_composer();
    let id = world.deploy("Feed");
    let request = |status: &str| {
        world.run(
            "mutation R($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id } }",
            json!({ "input": { "id": id, "status": status } }),
        );
    };
    for status in ["stopping", "starting"] {
        let before = version(&world.fixture);
        let router = world.fixture.router.clone();
        let asked = poll(&token, &before, WAIT);
        let started = Instant::now();
        let waiting = std::thread::spawn(move || runtime(false).block_on(send(router, asked)));
        request(status);
        let (code, answer) = waiting.join().unwrap();
        assert_eq!(code, StatusCode::OK);
        assert_ne!(answer["version"], before);
        assert!(started.elapsed() < Duration::from_secs(WAIT));
    }
}

#[test]
fn without_a_change_the_answer_comes_at_the_end_of_the_wait() {
    let fixture = Fixture::new();
    let before = version(&fixture);
    for (asked, waited) in [(1, 1), (WAIT, 30), (100_000, 30)] {
        let (answer, took) = runtime(true).block_on(async {
            let started = tokio::time::Instant::now();
            let answer = send(fixture.router.clone(), poll(ADMIN, &before, asked)).await;
            (answer, started.elapsed())
        });
        assert_eq!(answer, (StatusCode::OK, json!({ "version": before })));
        assert_eq!(took.as_secs(), waited);
    }
}

#[test]
fn it_is_for_composers_and_those_who_manage_connectors() {
    let fixture = Fixture::with(|options| options.base_path = "/cti".to_owned());
    let composer = fixture.service("Composer");
    let (_, manager) = fixture.person("Manager", &["MODULES_MODMANAGE", "APIACCESS_USETOKEN"]);
    let (_, reader) = fixture.person("Reader", &["KNOWLEDGE", "APIACCESS_USETOKEN"]);
    for (token, expected) in [
        (composer.as_str(), StatusCode::OK),
        (&manager, StatusCode::OK),
        (&reader, StatusCode::FORBIDDEN),
        ("none", StatusCode::UNAUTHORIZED),
    ] {
        let request = Request::get("/cti/composer/changes")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let (status, answer) = runtime(false).block_on(send(fixture.router.clone(), request));
        assert_eq!(status, expected);
        assert_eq!(answer["version"].is_string(), status == StatusCode::OK);
        assert_eq!(answer["error"].is_string(), status != StatusCode::OK);
    }
    let nonsense = Request::get("/composer/changes?wait=soon")
        .body(Body::empty())
        .unwrap();
    let (status, _, _) = fixture.send(nonsense);
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[test]
fn two_hundred_who_wait_hold_up_no_query_and_do_not_keep_the_server_from_stopping() {
    // one place only, in whose queue the query comes last
    let fixture = Fixture::with(|options| options.concurrency = 1);
    let before = version(&fixture);
    runtime(false).block_on(async {
        let mut waiting = JoinSet::new();
        for _ in 0..200 {
            waiting.spawn(send(fixture.router.clone(), poll(ADMIN, &before, WAIT)));
        }
        // those who were spawned first ask first
        tokio::task::yield_now().await;
        for _ in 0..5 {
            let query = Request::post("/graphql")
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {ADMIN}"))
                .body(Body::from(
                    json!({ "query": "{ about { version } }" }).to_string(),
                ))
                .unwrap();
            let (status, answer) = send(fixture.router.clone(), query).await;
            assert_eq!(status, StatusCode::OK);
            assert!(answer["data"]["about"]["version"].is_string());
        }
        assert!(waiting.try_join_next().is_none(), "all of them wait");
        fixture.state.end_waiting();
        let started = Instant::now();
        while let Some(ended) = waiting.join_next().await {
            assert_eq!(
                ended.unwrap(),
                (StatusCode::OK, json!({ "version": before }))
            );
        }
        assert!(started.elapsed() < Duration::from_secs(WAIT));
        // and nobody begins to wait any more
        let late = send(fixture.router.clone(), poll(ADMIN, &before, WAIT)).await;
        assert_eq!(late.0, StatusCode::OK);
        assert!(started.elapsed() < Duration::from_secs(WAIT));
    });
}

#[test]
fn one_user_does_not_take_all_the_places() {
    let fixture = Fixture::new();
    let other = fixture.service("Composer");
    let before = version(&fixture);
    runtime(false).block_on(async {
        let mut waiting = JoinSet::new();
        for _ in 0..257 {
            waiting.spawn(send(fixture.router.clone(), poll(ADMIN, &before, WAIT)));
        }
        let (status, answer) = waiting.join_next().await.unwrap().unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        waiting.spawn(send(fixture.router.clone(), poll(&other, &before, 0)));
        let (status, _) = waiting.join_next().await.unwrap().unwrap();
        assert_eq!(status, StatusCode::OK);
        // a client that goes away gives its place back
        waiting.abort_all();
        while waiting.join_next().await.is_some() {}
        tokio::time::pause();
        let (status, _) = send(fixture.router.clone(), poll(ADMIN, &before, WAIT)).await;
        assert_eq!(status, StatusCode::OK);
    });
}
