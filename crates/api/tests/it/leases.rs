//! What an instance hears that does not act as its connector any more.

use ferrocti_accounts::Acting;
use ferrocti_connectors::lease::Holder;
use serde_json::{Value, json};

use super::{ADMIN, Fixture};

const REGISTER: &str = "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id connector_state config { connection { user pass } } } }";
const PING: &str = "mutation P($id: ID!, $state: String) { pingConnector(id: $id, state: $state) { id connector_state } }";
const WORK: &str =
    "mutation W($id: String!) { workAdd(connectorId: $id, friendlyName: \"run\") { id } }";
const EXPECT: &str =
    "mutation E($id: ID!) { workEdit(id: $id) { addExpectations(expectations: 3) } }";
const CLEAR: &str = "mutation D($id: ID!) { workEdit(id: $id) { delete } }";
const PUSH: &str = "mutation B($id: String!, $bundle: String!, $work: String) { stixBundlePush(connectorId: $id, bundle: $bundle, work_id: $work) }";
const DELETE: &str = "mutation D($id: ID!) { deleteConnector(id: $id) }";
const SHOWN: &str = "query S($id: String!) { connector(id: $id) { fenced_calls lease { epoch bound holder settled } } connectorFenced(id: \"feed\") { what calls token agent } connectorLeaseEvents(id: \"feed\") { kind epoch detail } }";
const BUNDLE: &str = r#"{"type": "bundle", "id": "bundle--5f8c6a0a-64c0-4a3b-8a53-6a8c2f3c1d11", "objects": [{"type": "malware", "id": "malware--5f8c6a0a-64c0-4a3b-8a53-6a8c2f3c1d12", "name": "one", "is_family": false}]}"#;

fn registration(id: &str) -> Value {
    json!({ "input": { "id": id, "name": "Feed", "type": "EXTERNAL_IMPORT", "scope": [] } })
}

fn fenced(answer: &Value) -> bool {
    let error = &answer["errors"][0];
    error["extensions"]["data"]["doc_code"] == "CONNECTOR_FENCED"
        && error["extensions"]["code"] == "FUNCTIONAL_ERROR"
}

/// A connector that ran with the administrator's token and moved to another one of the same user.
struct Moved {
    fixture: Fixture,
    new: String,
    work: String,
}

impl Moved {
    fn new() -> Self {
        let fixture = Fixture::new();
        for id in ["feed", "other"] {
            fixture.run(REGISTER, registration(id));
        }
        fixture.run(PING, json!({ "id": "feed", "state": "{\"last_run\": 1}" }));
        let work = fixture.run(WORK, json!({ "id": "feed" }))["workAdd"]["id"].clone();
        let secret = "5a0c3fd2-8a5f-4e0e-9e0b-0b6f5d1d6a77";
        let acting = Acting::of(&fixture.admin);
        let connectors = &fixture.connectors;
        let fence = fixture
            .store
            .write(|tx| {
                let user = tx.user(fixture.admin.user_row)?.unwrap();
                let token =
                    ferrocti_accounts::issue_token(tx, &acting, &user, "managed", secret).unwrap();
                let to = Holder::Token {
                    token: token.id,
                    name: "the composer `here`".to_owned(),
                };
                connectors.fence(tx, &acting, "feed", 0, &to)
            })
            .unwrap();
        drop(fence);
        Self {
            new: secret.to_owned(),
            work: work.as_str().unwrap().to_owned(),
            fixture,
        }
    }

    fn old(&self, query: &str, variables: Value) -> Value {
        self.fixture.run_as(ADMIN, query, variables)
    }
}

#[test]
fn everything_that_it_does_as_the_connector_is_refused_and_nothing_for_another_connector() {
    let moved = Moved::new();
    let work = moved.work.as_str();
    for (what, answer) in [
        ("register", moved.old(REGISTER, registration("feed"))),
        (
            "ping",
            moved.old(PING, json!({ "id": "feed", "state": "{\"last_run\": 9}" })),
        ),
        ("work", moved.old(WORK, json!({ "id": "feed" }))),
        ("step", moved.old(EXPECT, json!({ "id": work }))),
        ("clear", moved.old(CLEAR, json!({ "id": work }))),
        (
            "push",
            moved.old(PUSH, json!({ "id": "feed", "bundle": BUNDLE })),
        ),
        (
            "push to a work",
            moved.old(
                PUSH,
                json!({ "id": "feed", "bundle": BUNDLE, "work": work }),
            ),
        ),
        ("delete", moved.old(DELETE, json!({ "id": "feed" }))),
    ] {
        assert!(fenced(&answer), "{what}: {answer}");
    }
    // the same token goes on as another connector
    moved.fixture.run(REGISTER, registration("other"));
    moved
        .fixture
        .run(PING, json!({ "id": "other", "state": "{}" }));
    moved.fixture.run(WORK, json!({ "id": "other" }));
    moved
        .fixture
        .run(PUSH, json!({ "id": "other", "bundle": BUNDLE }));
}

#[test]
fn a_request_in_the_name_of_a_work_is_refused_whatever_it_asks_for() {
    let moved = Moved::new();
    let body = json!({ "query": "{ about { version } }" });
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        moved
            .fixture
            .post_json(
                &body,
                &[
                    ("authorization", bearer.as_str()),
                    ("opencti-work-id", moved.work.as_str()),
                ],
            )
            .1
    };
    assert!(fenced(&ask(ADMIN)), "{}", ask(ADMIN));
    assert!(ask(&moved.new)["errors"].is_null());
}

#[test]
fn the_new_instance_does_all_of_it() {
    let moved = Moved::new();
    let new = |query: &str, variables: Value| {
        let answer = moved.fixture.run_as(&moved.new, query, variables);
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"].clone()
    };
    let registered = &new(REGISTER, registration("feed"))["registerConnector"];
    assert_eq!(registered["connector_state"], "{\"last_run\": 1}");
    assert_ne!(registered["config"]["connection"]["pass"], "");
    new(PING, json!({ "id": "feed", "state": "{\"last_run\": 2}" }));
    new(EXPECT, json!({ "id": moved.work }));
    let work = new(WORK, json!({ "id": "feed" }))["workAdd"]["id"].clone();
    new(
        PUSH,
        json!({ "id": "feed", "bundle": BUNDLE, "work": work }),
    );
}

#[test]
fn the_password_of_the_broker_is_told_to_the_holder_only() {
    let moved = Moved::new();
    let query = "{ connector(id: \"feed\") { config { connection { pass } } } }";
    let pass = |token: &str| {
        let answer = moved.fixture.run_as(token, query, json!({}));
        answer["data"]["connector"]["config"]["connection"]["pass"].clone()
    };
    assert_eq!(pass(ADMIN), "");
    assert_ne!(pass(&moved.new), "");
}

#[test]
fn operators_see_who_knocks() {
    let moved = Moved::new();
    for _ in 0..3 {
        moved.old(PING, json!({ "id": "feed" }));
    }
    let shown = moved.fixture.run(SHOWN, json!({ "id": "feed" }));
    assert_eq!(shown["connector"]["fenced_calls"], 3);
    let lease = &shown["connector"]["lease"];
    assert_eq!(
        *lease,
        json!({ "epoch": 1, "bound": true, "holder": "the composer `here`", "settled": false })
    );
    let knocking = &shown["connectorFenced"][0];
    assert_eq!(
        (&knocking["what"], &knocking["calls"]),
        (&json!("ping"), &json!(3))
    );
    assert!(!knocking["token"].as_str().unwrap().contains(ADMIN));
    let granted = &shown["connectorLeaseEvents"][0];
    assert_eq!(granted["kind"], "granted");
    assert!(!granted["detail"].as_str().unwrap().contains("\"token\""));
}
