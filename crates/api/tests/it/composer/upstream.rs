//! Upstream's composer and pages: the seven operations with the composer's selections, and what upstream asks of a platform.

use serde_json::{Value, json};

use super::documents::{CURRENT_STATUS, GET_CONNECTORS, GET_VERSION, HEALTH, LOGS, PING, REGISTER};
use super::support::{PUBLIC_KEY, SECRET, World, opened, setting};
use crate::data;

const ADD: &str = "mutation Add($input: AddManagedConnectorInput!) { managedConnectorAdd(input: $input) { id name manager_contract_image manager_requested_status manager_current_status manager_contract_hash manager_contract_configuration { key value encrypted } connector_user_id connector_user { id name } manager { id } } }";
const EDIT: &str = "mutation Edit($input: EditManagedConnectorInput!) { managedConnectorEdit(input: $input) { id name manager_contract_hash manager_contract_configuration { key value } } }";
const REQUEST: &str = "mutation Request($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id manager_requested_status } }";
const METRICS: &str = "manager_health_metrics { restart_count started_at last_update is_in_reboot_loop } manager_connector_uptime";

/// What upstream's page sends for a new connector.
fn input(name: &str) -> Value {
    json!({
        "name": name,
        "user_id": format!("[C] {name}"),
        "automatic_user": true,
        "confidence_level": "65",
        "catalog_id": "example",
        "manager_contract_image": "example/connector-feed",
        "manager_contract_configuration": [
            { "key": "FEED_API_KEY", "value": SECRET },
            { "key": "FEED_URL", "value": "https://feed.example.org" },
            { "key": "CONNECTOR_SCOPE", "value": "report,indicator" },
            { "key": "UNKNOWN_KEY", "value": "left out" },
        ],
    })
}

fn add(world: &World, name: &str) -> Value {
    world.run(ADD, json!({ "input": input(name) }))["managedConnectorAdd"].clone()
}

fn request(world: &World, id: &Value, status: &str) {
    let input = json!({ "id": id, "status": status });
    world.run(REQUEST, json!({ "input": input }));
}

/// The seven fields of the composer are there where it takes them for granted.
fn check_listed(connector: &Value) {
    for field in [
        "id",
        "name",
        "manager_contract_hash",
        "manager_contract_image",
        "manager_requested_status",
    ] {
        let text = connector[field].as_str();
        assert!(
            text.is_some_and(|text| !text.is_empty()),
            "{field}: {connector}"
        );
    }
    let configuration = connector["manager_contract_configuration"]
        .as_array()
        .unwrap();
    assert!(!configuration.is_empty());
    for setting in configuration {
        assert!(
            setting["key"].is_string() && setting["value"].is_string(),
            "{setting}"
        );
        assert!(setting["encrypted"].is_boolean(), "{setting}");
    }
}

#[test]
fn the_seven_operations_of_its_composer_are_answered_without_a_null_where_it_takes_none() {
    let world = World::new();
    let token = world.composer_user("Composer");
    // each answer without `errors` beside the data
    let run = |query: &str, variables: Value| {
        let answer = world.fixture.run_as(&token, query, variables);
        data(answer, query)
    };
    let about = run(GET_VERSION, json!({}));
    let version = about["about"]["version"].as_str().unwrap();
    let registered = run(
        REGISTER,
        json!({ "input": { "id": "xtm", "name": "XTM composer", "public_key": PUBLIC_KEY } }),
    );
    assert_eq!(
        registered["registerConnectorsManager"],
        json!({ "id": "xtm", "about_version": version })
    );
    let pinged = run(PING, json!({ "input": { "id": "xtm" } }));
    assert_eq!(
        pinged["updateConnectorManagerStatus"],
        json!({ "id": "xtm", "about_version": version })
    );
    assert_eq!(
        run(GET_CONNECTORS, json!({})),
        json!({ "connectorsForManagers": [] })
    );

    let id = add(&world, "Feed one")["id"].clone();
    let listed = run(GET_CONNECTORS, json!({}));
    let listed = listed["connectorsForManagers"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 1);
    check_listed(&listed[0]);
    assert_eq!(listed[0]["manager_requested_status"], "stopped");
    assert_eq!(listed[0]["manager_current_status"], Value::Null);
    assert_eq!(
        listed[0]["manager_contract_image"],
        "example/connector-feed:1.0.0"
    );

    for status in ["stopped", "started"] {
        let told = run(
            CURRENT_STATUS,
            json!({ "input": { "id": id, "status": status } }),
        );
        let told = &told["updateConnectorCurrentStatus"];
        check_listed(told);
        assert_eq!(told["manager_current_status"], status);
        assert_eq!(
            told["manager_contract_hash"],
            listed[0]["manager_contract_hash"]
        );
        assert_eq!(
            told["manager_contract_configuration"],
            listed[0]["manager_contract_configuration"]
        );
    }
    let logs = run(
        LOGS,
        json!({ "input": { "id": id, "logs": ["one", "two"] } }),
    );
    assert_eq!(logs["updateConnectorLogs"], id);
    let health = json!({ "id": id, "restart_count": 2, "started_at": "2025-10-09T08:53:00.123456789Z", "is_in_reboot_loop": false });
    let health = run(HEALTH, json!({ "input": health }));
    assert_eq!(health["updateConnectorHealth"], id);
}

#[test]
fn the_composer_opens_what_was_sealed_for_it_and_the_token_is_the_connectors() {
    let (world, composer) = World::with_composer();
    let id = add(&world, "Feed")["id"].clone();
    let listed = world.listing(&composer).remove(0);
    let configuration = &listed["manager_contract_configuration"];
    let key = setting(configuration, "FEED_API_KEY").unwrap();
    assert_eq!(key["encrypted"], true);
    assert_eq!(opened(&key["value"]), SECRET);
    for (key, value) in [
        ("CONNECTOR_ID", id.as_str().unwrap()),
        ("CONNECTOR_NAME", "feed"),
        ("CONNECTOR_TYPE", "EXTERNAL_IMPORT"),
        ("CONNECTOR_SCOPE", "report,indicator"),
        ("FEED_LIMIT", "10"),
        ("HTTPS_PROXY_REJECT_UNAUTHORIZED", "false"),
    ] {
        let setting = setting(configuration, key).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(
            (&setting["value"], &setting["encrypted"]),
            (&json!(value), &json!(false)),
            "{key}"
        );
    }
    assert_eq!(setting(configuration, "UNKNOWN_KEY"), None);
    let token = setting(configuration, "OPENCTI_TOKEN").unwrap();
    assert_eq!(token["encrypted"], true);
    // the connector registers with it, as itself
    let registered = world.run_as(
        &opened(&token["value"]),
        "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id is_managed connector_user { name } } }",
        json!({ "input": { "id": id, "name": "feed", "type": "EXTERNAL_IMPORT" } }),
    );
    assert_eq!(registered["registerConnector"]["is_managed"], true);
    let user = &registered["registerConnector"];
    assert_eq!(
        world.connector(id.as_str().unwrap(), "active")["active"],
        false
    );
    assert_eq!(user["id"], id);
}

#[test]
fn a_connector_is_added_started_stopped_and_deleted() {
    let (world, composer) = World::with_composer();
    let added = add(&world, "Feed Number One");
    assert_eq!(added["name"], "feed-number-one");
    assert_eq!(added["manager_requested_status"], "stopped");
    assert_eq!(added["manager"]["id"], "site-a");
    assert_eq!(added["connector_user"]["name"], "[C] Feed Number One");
    let id = &added["id"];
    let user = world.run(
        "query U($id: String!) { user(id: $id) { user_confidence_level { max_confidence } user_service_account } }",
        json!({ "id": added["connector_user_id"] }),
    );
    assert_eq!(user["user"]["user_confidence_level"]["max_confidence"], 65);
    let shown = world.connector(id.as_str().unwrap(), "title name is_managed active catalog_id manager_state manager_contract_excerpt { title slug logo } manager_contract_definition connector_type");
    assert_eq!(shown["title"], "Feed Number One");
    assert_eq!(shown["is_managed"], true);
    assert_eq!(shown["active"], false);
    assert_eq!(shown["manager_contract_excerpt"]["slug"], "feed");
    let contract: Value =
        serde_json::from_str(shown["manager_contract_definition"].as_str().unwrap()).unwrap();
    assert_eq!(contract["container_image"], "example/connector-feed");

    let requested = || world.listing(&composer)[0]["manager_requested_status"].clone();
    let hash = || world.listing(&composer)[0]["manager_contract_hash"].clone();
    let before = hash();
    for status in ["starting", "stopping", "starting"] {
        request(&world, id, status);
        assert_eq!(requested(), status);
    }
    assert_eq!(hash(), before, "starting and stopping is no new definition");
    let deleted = world.run(
        "mutation D($id: ID!) { deleteConnector(id: $id) }",
        json!({ "id": id }),
    );
    assert_eq!(&deleted["deleteConnector"], id);
    assert!(world.listing(&composer).is_empty());
    let gone = world.run(
        "query C($id: String!) { connector(id: $id) { id } }",
        json!({ "id": id }),
    );
    assert_eq!(gone["connector"], Value::Null);
}

#[test]
fn only_what_changes_the_instance_changes_the_hash() {
    let (world, composer) = World::with_composer();
    let added = add(&world, "Feed");
    let hash = || world.listing(&composer)[0]["manager_contract_hash"].clone();
    let first = hash();
    assert_eq!(hash(), first, "nothing changed");
    let edit = |configuration: Value| {
        let input = json!({
            "id": added["id"], "name": "feed", "title": "Feed", "connector_user_id": added["connector_user_id"], "manager_contract_configuration": configuration,
        });
        world.run(EDIT, json!({ "input": input }));
    };
    let same = json!([{ "key": "FEED_URL", "value": "https://feed.example.org" }, { "key": "CONNECTOR_SCOPE", "value": "report,indicator" }]);
    edit(same);
    assert_eq!(
        hash(),
        first,
        "an edit that changes nothing, without the secret"
    );
    edit(json!([{ "key": "FEED_URL", "value": "https://other.example.org" }]));
    let second = hash();
    assert_ne!(second, first);
    let listed = world.listing(&composer).remove(0);
    let configuration = &listed["manager_contract_configuration"];
    // what is left out goes back to its default, but secrets stay
    assert_eq!(
        setting(configuration, "CONNECTOR_SCOPE").unwrap()["value"],
        "report"
    );
    assert_eq!(
        opened(&setting(configuration, "FEED_API_KEY").unwrap()["value"]),
        SECRET
    );
    world.fixture.clock.advance(1);
    world.run(
        "mutation R($id: ID!) { resetStateConnector(id: $id) { id } }",
        json!({ "id": added["id"] }),
    );
    let third = hash();
    assert_ne!(third, second, "a reset starts it anew");
    world.fixture.clock.advance(60_000);
    assert_eq!(hash(), third);
}

#[test]
fn logs_and_health_are_readable_and_null_when_never_told() {
    let (world, composer) = World::with_composer();
    let id = add(&world, "Feed")["id"].as_str().unwrap().to_owned();
    let before = world.connector(&id, METRICS);
    assert_eq!(before["manager_health_metrics"], Value::Null);
    assert_eq!(before["manager_connector_uptime"], Value::Null);
    let started_at = "2025-10-09T08:53:20Z";
    let health = json!({ "id": id, "restart_count": 5, "started_at": started_at, "is_in_reboot_loop": true });
    world.run_as(&composer, HEALTH, json!({ "input": health }));
    world.run_as(
        &composer,
        LOGS,
        json!({ "input": { "id": id, "logs": ["a", "b"] } }),
    );
    // the last lines again, and one more
    world.run_as(
        &composer,
        LOGS,
        json!({ "input": { "id": id, "logs": ["b", "c"] } }),
    );
    let after = world.connector(&id, &format!("{METRICS} manager_connector_logs"));
    assert_eq!(after["manager_connector_logs"], json!(["a", "b", "c"]));
    let metrics = &after["manager_health_metrics"];
    assert_eq!(metrics["restart_count"], 5);
    assert_eq!(metrics["is_in_reboot_loop"], true);
    assert_eq!(metrics["started_at"], "2025-10-09T08:53:20.000Z");
    assert!(metrics["last_update"].is_string());
    assert_eq!(after["manager_connector_uptime"], 0);
    let status = json!({ "id": id, "status": "stopped" });
    world.run_as(&composer, CURRENT_STATUS, json!({ "input": status }));
    let stopped = world.connector(&id, METRICS);
    assert_eq!(stopped["manager_connector_uptime"], Value::Null);
    assert_eq!(stopped["manager_health_metrics"], *metrics);
}

#[test]
fn what_cannot_be_deployed_is_refused_with_upstreams_codes() {
    let world = World::new();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut input = input("Feed");
        change(&mut input);
        world.fail_as(crate::ADMIN, ADD, json!({ "input": input }))
    };
    let check = |(code, message): (String, String), wanted: &str, text: &str| {
        assert!(
            code == wanted && message.contains(text),
            "{code}: {message}"
        );
    };
    check(
        refused(&|_| {}),
        "FUNCTIONAL_ERROR",
        "no composer is registered",
    );
    world.composer("site-a");
    check(
        refused(&|input| input["manager_contract_image"] = json!("example/none")),
        "UNSUPPORTED_ERROR",
        "Target contract not found",
    );
    check(
        refused(&|input| input["manager_contract_configuration"] = json!([])),
        "UNSUPPORTED_ERROR",
        "FEED_URL",
    );
    check(
        refused(&|input| {
            input["manager_contract_configuration"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "key": "FEED_LIMIT", "value": "0" }));
        }),
        "UNSUPPORTED_ERROR",
        "FEED_LIMIT",
    );
    check(
        refused(&|input| input["confidence_level"] = json!("101")),
        "FUNCTIONAL_ERROR",
        "101",
    );
    check(
        refused(&|input| input["user_id"] = json!("x")),
        "FUNCTIONAL_ERROR",
        "user_id",
    );
    check(
        refused(&|input| input["name"] = json!(" x ")),
        "VALIDATION_ERROR",
        "2",
    );
    // nothing of it left an account behind
    let users = world.run(
        "{ users(search: \"Feed\") { edges { node { name } } } }",
        json!({}),
    );
    assert_eq!(users["users"]["edges"], json!([]));

    let first = add(&world, "Feed");
    check(
        refused(&|_| {}),
        "FUNCTIONAL_ERROR",
        "CONNECTOR_NAME_ALREADY_EXISTS",
    );
    // the same by an edit, which upstream lets pass
    let second = add(&world, "Other feed");
    let edit = json!({
        "id": second["id"], "name": first["name"], "title": "Feed", "connector_user_id": second["connector_user_id"],
        "manager_contract_configuration": [{ "key": "FEED_URL", "value": "https://feed.example.org" }],
    });
    check(
        world.fail_as(crate::ADMIN, EDIT, json!({ "input": edit })),
        "FUNCTIONAL_ERROR",
        "CONNECTOR_NAME_ALREADY_EXISTS",
    );
    let unknown = json!({ "input": { "id": "none", "status": "starting" } });
    let (code, _) = world.fail_as(crate::ADMIN, REQUEST, unknown);
    assert_eq!(code, "FUNCTIONAL_ERROR");
}
