//! The connector protocol: registration, ping, state, works, bundles.

use serde_json::{Value, json};

use crate::{Fixture, data};

const REGISTER: &str = "mutation RegisterConnector($input: RegisterConnectorInput) { registerConnector(input: $input) { id connector_state jwks \
    config { connection { host vhost use_ssl port user pass } s3 { endpoint port use_ssl bucket_name bucket_region access_key secret_key } \
    listen listen_routing listen_exchange push push_routing push_exchange } connector_user_id } }";
const PING: &str = "mutation PingConnector($id: ID!, $state: String, $connectorInfo: ConnectorInfoInput) { \
    pingConnector(id: $id, state: $state, connectorInfo: $connectorInfo) { id connector_state \
    connector_info { run_and_terminate buffering queue_threshold queue_messages_size next_run_datetime last_run_datetime } } }";
const WORK: &str = "query WorkQuery($id: ID!) { work(id: $id) { id name user { name } timestamp status event_source_id received_time processed_time \
    completed_time tracking { import_expected_number import_processed_number } messages { timestamp message sequence source } \
    errors { timestamp message sequence source } } }";

/// A registered connector of its own account.
struct Connector<'f> {
    fixture: &'f Fixture,
    token: String,
    id: &'static str,
}

impl<'f> Connector<'f> {
    fn new(fixture: &'f Fixture) -> Self {
        let connector = Self {
            fixture,
            token: fixture.service("Feed"),
            id: "feed-1",
        };
        connector.register();
        connector
    }

    fn run(&self, query: &str, variables: Value) -> Value {
        data(self.fixture.run_as(&self.token, query, variables), query)
    }

    fn register(&self) -> Value {
        let input = json!({
            "id": self.id, "name": "Feed", "type": "EXTERNAL_IMPORT", "scope": ["stix2", " b"], "auto": false, "only_contextual": false,
            "playbook_compatible": false, "listen_callback_uri": null, "auto_update": false, "enrichment_resolution": "none",
        });
        self.run(REGISTER, json!({ "input": input }))["registerConnector"].clone()
    }

    fn ping(&self, state: &str) -> Value {
        let info = json!({
            "run_and_terminate": false, "buffering": false, "queue_threshold": 500.0, "queue_messages_size": 0.0,
            "next_run_datetime": "2026-01-01T00:00:00Z", "last_run_datetime": null,
        });
        self.run(
            PING,
            json!({ "id": self.id, "state": state, "connectorInfo": info }),
        )["pingConnector"]
            .clone()
    }

    fn work(&self) -> String {
        let query = "mutation WorkAdd($id: String!, $name: String, $multi: Boolean) { workAdd(connectorId: $id, friendlyName: $name, isMultiPartWork: $multi) { id } }";
        self.run(
            query,
            json!({ "id": self.id, "name": "run", "multi": false }),
        )["workAdd"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn edit(&self, work: &str, step: &str) -> Value {
        self.run(
            &format!("mutation E($id: ID!) {{ workEdit(id: $id) {{ {step} }} }}"),
            json!({ "id": work }),
        )["workEdit"]
            .clone()
    }

    fn read(&self, work: &str) -> Value {
        self.run(WORK, json!({ "id": work }))["work"].clone()
    }
}

#[test]
fn registration_tells_how_to_reach_the_broker_and_keeps_the_state() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let state = r#"{"last_run": 1.50, "ü": "\u00e9"}"#;
    assert_eq!(connector.ping(state)["connector_state"], state);
    let registered = connector.register();
    assert_eq!(
        registered["connector_state"], state,
        "the state comes back as it was sent, byte for byte"
    );
    let config = &registered["config"];
    assert_eq!(config["push"], "push_feed-1");
    assert_eq!(config["push_routing"], "push_routing_feed-1");
    assert_eq!(config["push_exchange"], "amqp.worker.exchange");
    assert_eq!(config["connection"]["port"], 5672);
    assert!(!config["connection"]["pass"].as_str().unwrap().is_empty());
    assert_eq!(config["s3"]["bucket_name"], "");
    let keys: Value = serde_json::from_str(registered["jwks"].as_str().unwrap()).unwrap();
    assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    assert!(keys["keys"][0]["kid"].is_string());
    assert!(fixture.queues.depth("push_feed-1").is_some());
}

#[test]
fn the_broker_password_is_for_the_connector_alone() {
    let fixture = Fixture::new();
    Connector::new(&fixture);
    let query = "{ connector(id: \"feed-1\") { config { connection { user pass } } } }";
    assert_eq!(
        fixture.run(query, json!({}))["connector"]["config"]["connection"]["pass"],
        ""
    );
}

#[test]
fn a_ping_answers_what_was_sent_and_never_loses_a_state() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let info = connector.ping("{\"a\":1}");
    assert_eq!(info["connector_info"]["queue_threshold"], 500.0);
    assert_eq!(
        info["connector_info"]["next_run_datetime"],
        "2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        connector.ping("null")["connector_state"],
        "null",
        "the answer is what was sent"
    );
    assert_eq!(
        connector.register()["connector_state"],
        "{\"a\":1}",
        "nothing did not replace something"
    );
    let history = connector.run(
        "{ connectorStateHistory(id: \"feed-1\") { version state origin } }",
        json!({}),
    );
    assert_eq!(history["connectorStateHistory"][0]["state"], "{\"a\":1}");
}

#[test]
fn a_reset_holds_until_the_connector_registers_and_can_be_undone() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    connector.ping("{\"a\":1}");
    fixture.run(
        "mutation { resetStateConnector(id: \"feed-1\") { connector_state } }",
        json!({}),
    );
    assert_eq!(connector.ping("{\"a\":2}")["connector_state"], "");
    assert_eq!(
        connector.ping("{\"a\":2}")["connector_state"],
        "",
        "the second ping of a forced one does not undo the reset"
    );
    assert_eq!(connector.register()["connector_state"], "");
    let history = connector.run(
        "{ connectorStateHistory(id: \"feed-1\") { version state origin } }",
        json!({}),
    );
    let versions = history["connectorStateHistory"].as_array().unwrap();
    let before = versions
        .iter()
        .find(|version| version["state"] == "{\"a\":1}")
        .unwrap();
    fixture.run(
        "mutation R($v: Int!) { connectorStateRestore(id: \"feed-1\", version: $v) { id } }",
        json!({ "v": before["version"] }),
    );
    assert_eq!(connector.register()["connector_state"], "{\"a\":1}");
}

#[test]
fn a_connector_is_active_for_five_minutes_after_a_sign_of_life() {
    let fixture = Fixture::new();
    Connector::new(&fixture);
    let query = "{ connector(id: \"feed-1\") { id name active auto only_contextual connector_type connector_scope connector_state \
                 connector_queue_details { messages_number messages_size } updated_at created_at config { listen listen_exchange push push_exchange push_routing } built_in } }";
    let seen = fixture.run(query, json!({}))["connector"].clone();
    assert_eq!(seen["active"], true);
    assert_eq!(seen["connector_scope"], json!(["stix2", "b"]));
    assert_eq!(
        seen["connector_queue_details"],
        json!({ "messages_number": 0, "messages_size": 0 })
    );
    fixture.clock.advance(5 * 60 * 1000);
    assert_eq!(fixture.run(query, json!({}))["connector"]["active"], false);
    assert_eq!(
        fixture.run("{ connector(id: \"nobody\") { id } }", json!({}))["connector"],
        Value::Null
    );
}

#[test]
fn a_connector_that_deletes_itself_keeps_its_state() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    connector.ping("{\"a\":1}");
    let deleted = connector.run("mutation { deleteConnector(id: \"feed-1\") }", json!({}));
    assert_eq!(deleted["deleteConnector"], "feed-1");
    assert_eq!(connector.register()["connector_state"], "{\"a\":1}");
}

#[test]
fn another_account_cannot_speak_for_a_connector() {
    let fixture = Fixture::new();
    Connector::new(&fixture);
    let other = fixture.service("Other");
    for query in [
        "mutation { pingConnector(id: \"feed-1\", state: \"{}\") { id } }",
        "mutation { workAdd(connectorId: \"feed-1\") { id } }",
        "mutation { stixBundlePush(connectorId: \"feed-1\", bundle: \"{}\") }",
        "mutation { resetStateConnector(id: \"feed-1\") { id } }",
        "{ connectorStateHistory(id: \"feed-1\") { state } }",
    ] {
        let answer = fixture.run_as(&other, query, json!({}));
        assert_eq!(
            answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
            "{query}: {answer}"
        );
    }
}

#[test]
fn an_unknown_connector_cannot_ping() {
    let fixture = Fixture::new();
    let error = fixture.fail(
        PING,
        json!({ "id": "nobody", "state": "null", "connectorInfo": null }),
    );
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
}

#[test]
fn a_work_counts_and_completes() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let work = connector.work();
    assert!(work.starts_with("work_feed-1_"));
    assert_eq!(connector.read(&work)["status"], "progress");
    assert_eq!(
        connector.edit(&work, "toReceived(message: \"taken\")")["toReceived"],
        work.as_str()
    );
    connector.edit(&work, "addExpectations(expectations: 2)");
    connector.edit(&work, "reportExpectation(error: null)");
    connector.edit(
        &work,
        "reportExpectation(error: {error: \"bad\", source: \"{}\"})",
    );
    connector.edit(&work, "toProcessed(message: \"done\", inError: false)");
    let read = connector.read(&work);
    assert_eq!(read["status"], "complete");
    assert_eq!(
        read["tracking"],
        json!({ "import_expected_number": 2, "import_processed_number": 2 })
    );
    assert_eq!(read["errors"][0]["message"], "bad");
    assert_eq!(read["errors"][0]["source"], "{}");
    assert_eq!(read["messages"][0]["message"], "taken");
    assert_eq!(read["user"]["name"], "[C] Feed");
    assert!(read["completed_time"].is_string());
}

#[test]
fn an_announcement_that_no_work_can_keep_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let work = connector.work();
    connector.edit(&work, "addExpectations(expectations: 1)");
    let query =
        "mutation E($id: ID!) { workEdit(id: $id) { addExpectations(expectations: 2147483647) } }";
    let answer = fixture.run_as(&connector.token, query, json!({ "id": work }));
    let error = &answer["errors"][0];
    assert_eq!(error["name"], "FUNCTIONAL_ERROR");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("100000000"), "{message}");
    connector.edit(&work, "reportExpectation(error: null)");
    assert_eq!(connector.read(&work)["status"], "complete");
}

#[test]
fn a_deleted_work_is_dead_and_still_answers() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let work = connector.work();
    let alive = |work: &str| {
        connector.run(
            "query A($id: ID!) { isWorkAlive(id: $id) }",
            json!({ "id": work }),
        )["isWorkAlive"]
            .clone()
    };
    assert_eq!(alive(&work), true);
    assert_eq!(connector.edit(&work, "delete")["delete"], work.as_str());
    assert_eq!(alive(&work), false);
    assert_eq!(
        connector.edit(&work, "addExpectations(expectations: 1)")["addExpectations"],
        work.as_str()
    );
    assert_eq!(connector.read(&work), Value::Null);
}

#[test]
fn works_are_listed_newest_first_and_by_connector() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let first = connector.work();
    fixture.clock.advance(1000);
    let second = connector.work();
    let query = "query W($count: Int, $orderBy: WorksOrdering, $orderMode: OrderingMode, $filters: FilterGroup) { \
                 works(first: $count, orderBy: $orderBy, orderMode: $orderMode, filters: $filters) { edges { node { id } } } }";
    let filters = json!({ "mode": "and", "filters": [{ "key": "connector_id", "values": ["feed-1"] }], "filterGroups": [] });
    let variables =
        json!({ "count": 50, "orderBy": "timestamp", "orderMode": "desc", "filters": filters });
    let listed = connector.run(query, variables)["works"]["edges"].clone();
    assert_eq!(
        listed,
        json!([{ "node": { "id": second } }, { "node": { "id": first } }])
    );
    let other = json!({ "mode": "and", "filters": [{ "key": "connector_id", "values": ["other"] }], "filterGroups": [] });
    assert_eq!(
        connector.run(query, json!({ "filters": other }))["works"]["edges"],
        json!([])
    );
}

#[test]
fn a_pushed_bundle_is_counted_before_the_answer() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let work = connector.work();
    let bundle = json!({ "type": "bundle", "id": "bundle--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d", "objects": [
        { "type": "malware", "spec_version": "2.1", "id": "malware--31b940d4-6f7f-459a-80ea-9c1f17b58abc", "name": "Emotet", "is_family": true },
        { "type": "tool", "spec_version": "2.1", "id": "tool--31b940d4-6f7f-459a-80ea-9c1f17b58abd", "name": "PsExec" },
    ]});
    let query = "mutation P($connectorId: String!, $bundle: String!, $work: String) { stixBundlePush(connectorId: $connectorId, bundle: $bundle, work_id: $work) }";
    let pushed = connector.run(
        query,
        json!({ "connectorId": "feed-1", "bundle": bundle.to_string(), "work": work }),
    );
    assert_eq!(pushed["stixBundlePush"], true);
    assert_eq!(
        connector.read(&work)["tracking"]["import_expected_number"],
        2
    );
    assert_eq!(fixture.queues.depth("push_feed-1").unwrap().messages, 1);
    // The connector is done before anything was applied: the work is not.
    connector.edit(&work, "toProcessed(message: \"done\")");
    assert_eq!(connector.read(&work)["status"], "progress");
    for (bundle, work, name) in [
        ("{}", Some(work.as_str()), "UNSUPPORTED_ERROR"),
        ("not JSON", None, "UNSUPPORTED_ERROR"),
        (&*bundle.to_string(), Some("work_gone"), "WORK_NOT_ALIVE"),
    ] {
        let answer = fixture.run_as(
            &connector.token,
            query,
            json!({ "connectorId": "feed-1", "bundle": bundle, "work": work }),
        );
        assert_eq!(answer["errors"][0]["name"], name, "{answer}");
    }
}

#[test]
fn case_122_a_work_tells_what_was_applied_in_part() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let add = "mutation A($input: MalwareAddInput!) { malwareAdd(input: $input) { standard_id } }";
    let input = json!({ "name": "Emotet", "is_family": true, "description": "the analyst's", "confidence": 80 });
    let known = fixture.run(add, json!({ "input": input }))["malwareAdd"]["standard_id"].clone();
    let work = connector.work();
    let bundle = json!({ "type": "bundle", "id": "bundle--0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d", "objects": [
        { "type": "malware", "spec_version": "2.1", "id": "malware--31b940d4-6f7f-459a-80ea-9c1f17b58abc", "name": "Emotet", "is_family": true,
          "description": "the feed's", "labels": ["feed"], "confidence": 90 },
        { "type": "tool", "spec_version": "2.1", "id": "tool--31b940d4-6f7f-459a-80ea-9c1f17b58abd", "name": "PsExec", "confidence": 50 },
    ]});
    let push = "mutation P($bundle: String!, $work: String) { stixBundlePush(connectorId: \"feed-1\", bundle: $bundle, work_id: $work) }";
    connector.run(push, json!({ "bundle": bundle.to_string(), "work": work }));
    ferrocti_ingest::Ingest::new(
        fixture.store.clone(),
        fixture.queues.clone(),
        fixture.clock.clone(),
        ferrocti_ingest::Options::default(),
    )
    .work_off()
    .unwrap();

    let query = "query W($id: ID!) { work(id: $id) { status errors { message } tracking { import_processed_number import_partial_number } \
        partially_applied { sequence object_id object_name entity_type message parts { attributes references reason } } } }";
    let told = connector.run(query, json!({ "id": work }))["work"].clone();
    let reason = "the input counts with 60, the most that [C] Feed may claim for Malware; the stored confidence is 80";
    assert_eq!(
        told,
        json!({
            "status": "complete", "errors": [], "tracking": { "import_processed_number": 2, "import_partial_number": 1 },
            "partially_applied": [{
                "sequence": 1, "object_id": known, "object_name": "Emotet", "entity_type": "Malware",
                "message": format!("Malware \"Emotet\" ({}): not applied: description ({reason})", known.as_str().unwrap()),
                "parts": [{ "attributes": ["description"], "references": [], "reason": reason }],
            }],
        })
    );
    let read = "query M($id: String!) { malware(id: $id) { description confidence objectLabel { value } } }";
    assert_eq!(
        fixture.run(read, json!({ "id": known }))["malware"],
        json!({ "description": "the analyst's", "confidence": 80, "objectLabel": [{ "value": "feed" }] })
    );
}

#[test]
fn a_request_for_a_work_that_is_gone_is_refused_as_a_whole() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    let work = connector.work();
    let bearer = format!("Bearer {}", connector.token);
    let ask = |work: &str| {
        fixture.post_json(
            &json!({ "query": "{ about { version } }" }),
            &[("authorization", &bearer), ("opencti-work-id", work)],
        )
    };
    assert_eq!(ask(&work).0, 200);
    connector.edit(&work, "delete");
    let (status, answer) = ask(&work);
    assert_eq!(status, 500);
    assert_eq!(answer["errors"][0]["name"], "WORK_NOT_ALIVE");
}

#[test]
fn the_status_shows_queues_objects_and_works() {
    let fixture = Fixture::new();
    let connector = Connector::new(&fixture);
    connector.work();
    fixture.malware("Emotet");
    let query = "{ platformStatus { version started_at objects objects_by_type { entity_type count } parked dead_letters open_works queues { name messages bytes } } parkedReferences { awaited } deadLetters { edges { node { id } } pageInfo { globalCount } } }";
    let status = fixture.run(query, json!({}))["platformStatus"].clone();
    assert_eq!(status["open_works"], 1);
    assert!(
        status["objects_by_type"]
            .as_array()
            .unwrap()
            .contains(&json!({ "entity_type": "Malware", "count": 1 }))
    );
    assert!(
        status["queues"]
            .as_array()
            .unwrap()
            .iter()
            .any(|queue| queue["name"] == "push_feed-1")
    );
}

#[test]
fn dead_letters_are_listed_replayed_and_discarded() {
    let fixture = Fixture::new();
    Connector::new(&fixture);
    for body in ["first", "second"] {
        let publish = ferrocti_broker::Publish {
            body: body.as_bytes().to_vec().into(),
            ..Default::default()
        };
        fixture
            .queues
            .dead_letter_body("push_feed-1", publish, "not JSON")
            .wait()
            .unwrap();
    }
    let list = "query D($after: ID) { deadLetters(first: 1, after: $after) { edges { node { id connector_id reason size excerpt } } pageInfo { endCursor hasNextPage globalCount } } }";
    let page = fixture.run(list, json!({}))["deadLetters"].clone();
    let node = &page["edges"][0]["node"];
    assert_eq!(
        (&node["connector_id"], &node["reason"], &node["excerpt"]),
        (&json!("feed-1"), &json!("not JSON"), &json!("second"))
    );
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let rest =
        fixture.run(list, json!({ "after": page["pageInfo"]["endCursor"] }))["deadLetters"].clone();
    assert_eq!(rest["edges"][0]["node"]["excerpt"], "first");
    fixture.run(
        "mutation R($id: ID!) { deadLetterReplay(id: $id) }",
        json!({ "id": node["id"] }),
    );
    assert_eq!(fixture.queues.depth("push_feed-1").unwrap().messages, 1);
    fixture.run(
        "mutation R($id: ID!) { deadLetterDiscard(id: $id) }",
        json!({ "id": rest["edges"][0]["node"]["id"] }),
    );
    assert_eq!(
        fixture.run(list, json!({}))["deadLetters"]["edges"],
        json!([])
    );
    assert_eq!(
        fixture.fail("mutation { deadLetterDiscard(id: \"77\") }", json!({}))["name"],
        "FUNCTIONAL_ERROR"
    );
    let audits = fixture.run(
        "query { audits(first: 20) { edges { node { event_scope context_data { entity_id message } } } } }",
        json!({}),
    );
    for (scope, deed, id) in [
        ("update", "replay", &node["id"]),
        ("delete", "discard", &rest["edges"][0]["node"]["id"]),
    ] {
        let message = format!("asks to {deed} the dead letter `{}`", id.as_str().unwrap());
        let lines = audits["audits"]["edges"].as_array().unwrap();
        assert!(
            lines.iter().any(|line| line["node"]["event_scope"] == scope
                && line["node"]["context_data"]["message"] == message.as_str()),
            "{message}: {audits}"
        );
    }
}

#[test]
fn an_account_made_over_the_api_can_register() {
    let fixture = Fixture::new();
    let query = "mutation A { connectorAccountAdd(name: \"My feed\", max_confidence: 70) { token user { name user_email } } }";
    let account = fixture.run(query, json!({}))["connectorAccountAdd"].clone();
    assert_eq!(account["user"]["name"], "[C] My feed");
    let token = account["token"].as_str().unwrap();
    assert!(token.starts_with("flgrn_octi_tkn_"));
    let connector = Connector {
        fixture: &fixture,
        token: token.to_owned(),
        id: "my-feed",
    };
    assert_eq!(connector.register()["id"], "my-feed");
    assert!(
        connector.run("mutation { connectorJWT }", json!({}))["connectorJWT"]
            .as_str()
            .unwrap()
            .split('.')
            .count()
            == 3
    );
}
