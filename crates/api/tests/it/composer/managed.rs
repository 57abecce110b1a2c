//! Managed connectors by our own operations: deployed, configured, upgraded, rolled back, watched.

use serde_json::{Value, json};

use super::support::{DEPLOY, SECRET, World, contract, deploy_input, opened, setting};
use crate::ADMIN;

const CONFIGURE: &str = "mutation C($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { notices connector { id definition_number title pinned runtime } } }";
const UPGRADE: &str = "mutation U($id: ID!, $version: String) { managedConnectorUpgrade(id: $id, version: $version) { notices connector { contract_version definition_number } } }";
const ROLLBACK: &str = "mutation B($id: ID!, $number: Int) { managedConnectorRollback(id: $id, number: $number) { connector { contract_version definition_number } } }";
const RESTART: &str = "mutation R($id: ID!) { managedConnectorRestart(id: $id) { connector { manager_requested_status } } }";
const REGISTER: &str = "mutation R($input: ComposerRegisterInput!) { composerRegister(input: $input) { id key_id active about } }";
const WORK: &str = "query W($composer: ID!) { composerWork(composer: $composer) { version tombstones approved connectors { id name requested hash launch runtime configuration { key value encrypted } last_seen_ms log_cursor retired_hash obstacle } } }";
const REPORT: &str = "mutation R($input: ComposerReportInput!) { composerReport(input: $input) }";
const DEFINITIONS: &str = "query D($id: String!) { connectorDefinitions(id: $id) { number at actor_name reason image version current launch runtime configuration { key value } } }";
const LOGS: &str = "query L($id: String!, $search: String, $first: Int, $before: Float) { connectorLogs(id: $id, search: $search, first: $first, before: $before) { lines { seq at text } before } }";

/// Registers a composer of ours with an account of its own; its token.
fn own_composer(world: &World, id: &str) -> String {
    let token = world.composer_user(&format!("composer-{id}"));
    let input = json!({
        "id": id, "name": id, "public_key": super::support::PUBLIC_KEY, "version": "0.1.0", "orchestrators": ["process"], "host": "here",
    });
    let registered = world.run_as(&token, REGISTER, json!({ "input": input }));
    assert_eq!(registered["composerRegister"]["active"], true);
    assert_eq!(registered["composerRegister"]["about"]["host"], "here");
    token
}

fn world() -> (World, String) {
    let world = World::new();
    let token = own_composer(&world, "site-a");
    (world, token)
}

fn work(world: &World, token: &str) -> Value {
    world.run_as(token, WORK, json!({ "composer": "site-a" }))["composerWork"].clone()
}

fn report(world: &World, token: &str, connector: Value) {
    let input = json!({ "composer": "site-a", "connectors": [connector] });
    let said = world.run_as(token, REPORT, json!({ "input": input }));
    assert_eq!(said["composerReport"], true);
}

fn definitions(world: &World, id: &str) -> Vec<Value> {
    let answer = world.run(DEFINITIONS, json!({ "id": id }));
    answer["connectorDefinitions"].as_array().unwrap().clone()
}

#[test]
fn a_composer_is_told_everything_that_it_needs() {
    let (world, token) = world();
    let runtime = json!({ "memory": "512m", "environment": { "TZ": "UTC" }, "mounts": [{ "source": "data", "target": "/data" }] });
    let id = world.deploy_with("Feed", json!({ "id": "my-feed", "runtime": runtime }));
    assert_eq!(id, "my-feed");
    let work = work(&world, &token);
    let connector = &work["connectors"][0];
    assert_eq!(connector["id"], "my-feed");
    assert_eq!(connector["requested"], "starting");
    let launch: Value = serde_json::from_str(connector["launch"].as_str().unwrap()).unwrap();
    assert_eq!(launch, json!({ "image": "example/connector-feed:1.0.0" }));
    let runtime: Value = serde_json::from_str(connector["runtime"].as_str().unwrap()).unwrap();
    assert_eq!(runtime["memory"], 512 << 20);
    assert_eq!(runtime["environment"], json!({ "TZ": "UTC" }));
    let configuration = &connector["configuration"];
    assert_eq!(
        opened(&setting(configuration, "FEED_API_KEY").unwrap()["value"]),
        SECRET
    );
    assert!(!opened(&setting(configuration, "OPENCTI_TOKEN").unwrap()["value"]).is_empty());
    assert_eq!(connector["last_seen_ms"], Value::Null);
    assert_eq!(connector["obstacle"], Value::Null);
    assert_eq!(work["tombstones"], json!([]));
}

#[test]
fn a_version_of_the_work_names_it_and_changes_with_it() {
    let (world, token) = world();
    let version = || work(&world, &token)["version"].clone();
    let first = version();
    assert_eq!(version(), first, "nothing has changed");
    let id = world.deploy("Feed");
    let second = version();
    assert_ne!(second, first);
    world.run(RESTART, json!({ "id": id }));
    let third = version();
    assert_ne!(third, second);
    world.run(
        "mutation D($id: ID!) { deleteConnector(id: $id) }",
        json!({ "id": id }),
    );
    let fourth = work(&world, &token);
    assert_ne!(fourth["version"], third);
    assert_eq!(fourth["connectors"], json!([]));
    assert_eq!(fourth["tombstones"], json!([id]));
    let input = json!({ "composer": "site-a", "connectors": [], "removed": [id] });
    world.run_as(&token, REPORT, json!({ "input": input }));
    assert_eq!(work(&world, &token)["tombstones"], json!([]));
}

#[test]
fn removals_are_agreed_to_and_a_composer_with_connectors_is_not_forgotten() {
    let (world, token) = world();
    let id = world.deploy("Feed");
    let (code, message) = world.fail_as(
        ADMIN,
        "mutation { composerRemove(id: \"site-a\") }",
        json!({}),
    );
    assert_eq!(code, "FUNCTIONAL_ERROR");
    assert!(message.contains("feed"), "{message}");
    world.run(
        "mutation D($id: ID!) { deleteConnector(id: $id) }",
        json!({ "id": id }),
    );
    let manager = |selection: &str| {
        let query = format!("{{ connectorManager(managerId: \"site-a\") {{ {selection} }} }}");
        world.run(&query, json!({}))["connectorManager"].clone()
    };
    let stones = manager("connectors_count tombstones { connector_id approved at }");
    assert_eq!(stones["connectors_count"], 0);
    assert_eq!(stones["tombstones"][0]["connector_id"], json!(id));
    assert_eq!(stones["tombstones"][0]["approved"], false);
    let approve = "mutation A($composer: ID!, $connectors: [ID!]!) { composerApproveRemovals(composer: $composer, connectors: $connectors) }";
    world.run(approve, json!({ "composer": "site-a", "connectors": [id] }));
    assert_eq!(work(&world, &token)["approved"], json!([id]));
    let blocked =
        json!({ "composer": "site-a", "connectors": [], "blocked": "the key was changed" });
    world.run_as(&token, REPORT, json!({ "input": blocked }));
    assert_eq!(manager("blocked")["blocked"], "the key was changed");
    world.run("mutation { composerRemove(id: \"site-a\") }", json!({}));
    assert_eq!(
        world.run("{ connectorManagers { id } }", json!({}))["connectorManagers"],
        json!([])
    );
    let (code, _) = world.fail_as(&token, WORK, json!({ "composer": "site-a" }));
    assert_eq!(code, "COMPOSER_NOT_REGISTERED");
}

#[test]
fn what_a_composer_reports_is_shown_with_state_reason_health_and_log() {
    let (world, token) = world();
    let id = world.deploy("Feed");
    let state = || {
        world.connector(&id, "manager_state manager_state_reason manager_state_at health { level reasons last_ping last_data expected_next errors restarts } manager_health_metrics { restart_count }")
    };
    assert_eq!(state()["manager_state"], "requested");
    let hash = work(&world, &token)["connectors"][0]["hash"].clone();
    report(
        &world,
        &token,
        json!({ "id": id, "hash": hash, "state": "failed", "reason": "the image example/connector-feed:1.0.0 does not exist", "current": "stopped" }),
    );
    let failed = state();
    assert_eq!(failed["manager_state"], "failed");
    assert_eq!(
        failed["manager_state_reason"],
        "the image example/connector-feed:1.0.0 does not exist"
    );
    assert_eq!(failed["health"]["level"], "red");
    assert!(failed["manager_state_at"].is_string());
    report(
        &world,
        &token,
        json!({
            "id": id, "hash": hash, "state": "running", "reason": "", "current": "started", "started_at": "2025-10-09T08:53:20Z",
            "restart_count": 3, "is_in_reboot_loop": false, "memory": 12_345_678_901_u64, "logs": ["first line", "Second LINE", "third"], "log_cursor": "c3",
        }),
    );
    let running = state();
    assert_eq!(running["manager_health_metrics"]["restart_count"], 3);
    assert_eq!(running["health"]["restarts"], 3);
    assert_eq!(work(&world, &token)["connectors"][0]["log_cursor"], "c3");

    let logs = |variables: Value| {
        let mut all = json!({ "id": id });
        for (key, value) in variables.as_object().unwrap() {
            all[key] = value.clone();
        }
        world.run(LOGS, all)["connectorLogs"].clone()
    };
    let texts = |page: &Value| -> Vec<String> {
        let lines = page["lines"].as_array().unwrap();
        lines
            .iter()
            .map(|line| line["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        texts(&logs(json!({}))),
        ["first line", "Second LINE", "third"]
    );
    assert_eq!(logs(json!({}))["before"], Value::Null);
    assert_eq!(
        texts(&logs(json!({ "search": "line" }))),
        ["first line", "Second LINE"]
    );
    let last = logs(json!({ "first": 2 }));
    assert_eq!(texts(&last), ["Second LINE", "third"]);
    assert_eq!(
        texts(&logs(json!({ "first": 2, "before": last["before"] }))),
        ["first line"]
    );
    let (code, _) = world.fail_as(
        &token,
        REPORT,
        json!({ "input": { "composer": "site-a", "connectors": [{ "id": id, "hash": "", "state": "dancing", "reason": "" }] } }),
    );
    assert_eq!(code, "FUNCTIONAL_ERROR");
}

#[test]
fn a_change_touches_only_what_it_names() {
    let (world, token) = world();
    let id = world.deploy_with("Feed", json!({ "runtime": { "memory": "1g" } }));
    let configuration = || work(&world, &token)["connectors"][0]["configuration"].clone();
    let sealed = setting(&configuration(), "FEED_API_KEY").unwrap()["value"].clone();
    let changed = world.run(
        CONFIGURE,
        json!({ "input": { "id": id, "name": "Feed of mine", "pinned": true, "configuration": [{ "key": "FEED_LIMIT", "value": "12abc" }, { "key": "MISSPELT", "value": "x" }] } }),
    );
    let outcome = &changed["managedConnectorConfigure"];
    let notices = outcome["notices"].as_array().unwrap();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert_eq!(outcome["connector"]["title"], "Feed of mine");
    assert_eq!(outcome["connector"]["pinned"], true);
    assert_eq!(outcome["connector"]["runtime"]["memory"], 1 << 30);
    let shown = definitions(&world, &id);
    assert_eq!(shown[0]["runtime"]["memory"], 1 << 30);
    assert_eq!(
        shown[0]["launch"],
        json!({ "image": "example/connector-feed:1.0.0" })
    );
    let now = configuration();
    assert_eq!(setting(&now, "FEED_LIMIT").unwrap()["value"], "12");
    assert_eq!(
        setting(&now, "FEED_URL").unwrap()["value"],
        "https://feed.example.org"
    );
    assert_eq!(setting(&now, "FEED_API_KEY").unwrap()["value"], sealed);
    assert_eq!(
        setting(&now, "CONNECTOR_NAME").unwrap()["value"],
        "feed-of-mine"
    );
    // null puts a default back, and a required secret cannot be forgotten
    world.run(
        CONFIGURE,
        json!({ "input": { "id": id, "configuration": [{ "key": "FEED_LIMIT", "value": null }] } }),
    );
    assert_eq!(
        setting(&configuration(), "FEED_LIMIT").unwrap()["value"],
        "10"
    );
    for (configuration, key) in [
        (
            json!([{ "key": "FEED_API_KEY", "value": null }]),
            "FEED_API_KEY",
        ),
        (
            json!([{ "key": "FEED_URL", "value": "no address" }]),
            "FEED_URL",
        ),
    ] {
        let (code, message) = world.fail_as(
            ADMIN,
            CONFIGURE,
            json!({ "input": { "id": id, "configuration": configuration } }),
        );
        assert_eq!(code, "UNSUPPORTED_ERROR");
        assert!(message.contains(key), "{message}");
    }
    let (code, message) = world.fail_as(
        ADMIN,
        CONFIGURE,
        json!({ "input": { "id": id, "runtime": { "memry": "1g" } } }),
    );
    assert_eq!(code, "FUNCTIONAL_ERROR");
    assert!(message.contains("memry"), "{message}");
}

#[test]
fn an_upgrade_is_checked_first_and_taken_back() {
    let (world, token) = world();
    let id = world.deploy("Feed");
    let offer = || {
        world.connector(&id, "update_available latest_compatible_version has_newer_incompatible_version contract_version pinned")
    };
    assert_eq!(offer()["update_available"], false);
    world.publish(contract(
        "feed",
        "2.0.0",
        &json!({ "FEED_REGION": { "type": "string" } }),
    ));
    world.publish(contract("feed", "1.5.0", &json!({})));
    let mut newest = contract("feed", "3.0.0", &json!({}));
    newest["support_version"] = json!(">=99.0.0");
    world.publish(newest);
    let offered = offer();
    assert_eq!(offered["update_available"], true);
    assert_eq!(offered["latest_compatible_version"], "2.0.0");
    assert_eq!(offered["has_newer_incompatible_version"], true);

    let before = work(&world, &token);
    let (code, message) = world.fail_as(ADMIN, UPGRADE, json!({ "id": id }));
    assert_eq!(code, "UNSUPPORTED_ERROR");
    assert!(message.contains("FEED_REGION"), "{message}");
    assert_eq!(
        work(&world, &token)["connectors"],
        before["connectors"],
        "nothing was changed"
    );

    let upgraded = world.run(UPGRADE, json!({ "id": id, "version": "1.5.0" }));
    let connector = &upgraded["managedConnectorUpgrade"]["connector"];
    assert_eq!(connector["contract_version"], "1.5.0");
    let after = work(&world, &token);
    assert_ne!(
        after["connectors"][0]["hash"],
        before["connectors"][0]["hash"]
    );
    let history = definitions(&world, &id);
    let versions: Vec<&Value> = history.iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["1.5.0", "1.0.0"]);
    assert_eq!(history[0]["current"], true);
    assert_eq!(history[0]["actor_name"], "admin");

    let back = world.run(ROLLBACK, json!({ "id": id }));
    assert_eq!(
        back["managedConnectorRollback"]["connector"]["contract_version"],
        "1.0.0"
    );
    assert_eq!(
        work(&world, &token)["connectors"][0]["hash"],
        before["connectors"][0]["hash"]
    );
    let number = definitions(&world, &id)
        .iter()
        .find(|one| one["version"] == "1.5.0")
        .unwrap()["number"]
        .clone();
    let forth = world.run(ROLLBACK, json!({ "id": id, "number": number }));
    assert_eq!(
        forth["managedConnectorRollback"]["connector"]["contract_version"],
        "1.5.0"
    );
    let (code, _) = world.fail_as(ADMIN, ROLLBACK, json!({ "id": id, "number": 99 }));
    assert_eq!(code, "FUNCTIONAL_ERROR");
}

#[test]
fn a_definition_that_its_composer_gave_up_is_taken_back_by_itself() {
    let (world, token) = world();
    let id = world.deploy("Feed");
    let good = work(&world, &token)["connectors"][0]["hash"].clone();
    report(
        &world,
        &token,
        json!({ "id": id, "hash": good, "state": "running", "reason": "", "current": "started" }),
    );
    world.publish(contract("feed", "2.0.0", &json!({})));
    world.run(UPGRADE, json!({ "id": id }));
    let bad = work(&world, &token)["connectors"][0]["hash"].clone();
    assert_ne!(bad, good);
    report(
        &world,
        &token,
        json!({ "id": id, "hash": good, "state": "running", "reason": "2.0.0 ended at once: no such file", "current": "started", "rejected": bad }),
    );
    let after = work(&world, &token);
    assert_eq!(after["connectors"][0]["hash"], good);
    assert_eq!(after["connectors"][0]["retired_hash"], bad);
    let shown = world.connector(
        &id,
        "contract_version definition_number rolled_back { number reason at }",
    );
    assert_eq!(shown["contract_version"], "1.0.0");
    assert_eq!(shown["rolled_back"]["number"], 2);
    assert!(
        shown["rolled_back"]["reason"]
            .as_str()
            .unwrap()
            .contains("no such file")
    );
}

#[test]
fn an_image_and_a_command_without_a_contract_are_deployed() {
    let (world, token) = world();
    let image = json!({
        "title": "Mine", "type": "INTERNAL_ENRICHMENT", "launch": { "image": "registry.example:5000/mine:3" }, "environment": { "LEVEL": "info" }, "secrets": ["MY_KEY"],
    });
    let command = json!({ "title": "Script", "type": "STREAM", "launch": { "command": ["python", "main.py"], "working_directory": "/srv/script" } });
    for (name, generic, settings) in [
        (
            "Mine",
            image,
            json!([{ "key": "MY_KEY", "value": SECRET }, { "key": "ANYTHING", "value": "kept" }]),
        ),
        ("Script", command, json!([])),
    ] {
        let input = json!({ "name": name, "generic": generic, "configuration": settings });
        world.run(DEPLOY, json!({ "input": input }));
    }
    let work = work(&world, &token);
    let named = |name: &str| {
        let list = work["connectors"].as_array().unwrap();
        list.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let mine = named("mine");
    assert_eq!(
        mine["launch"],
        "{\"image\":\"registry.example:5000/mine:3\"}"
    );
    assert_eq!(
        setting(&mine["configuration"], "ANYTHING").unwrap()["value"],
        "kept"
    );
    assert_eq!(
        setting(&mine["configuration"], "LEVEL").unwrap()["value"],
        "info"
    );
    assert_eq!(
        setting(&mine["configuration"], "MY_KEY").unwrap()["encrypted"],
        true
    );
    assert_eq!(
        setting(&mine["configuration"], "CONNECTOR_TYPE").unwrap()["value"],
        "INTERNAL_ENRICHMENT"
    );
    // a change keeps unknown keys as the deployment did
    let input = json!({ "id": mine["id"], "configuration": [{ "key": "MORE", "value": "1" }] });
    world.run(CONFIGURE, json!({ "input": input }));
    let again = self::work(&world, &token);
    let list = again["connectors"].as_array().unwrap();
    let changed = list.iter().find(|one| one["id"] == mine["id"]).unwrap();
    for key in ["MORE", "ANYTHING"] {
        assert!(setting(&changed["configuration"], key).is_some(), "{key}");
    }
    let script: Value = serde_json::from_str(named("script")["launch"].as_str().unwrap()).unwrap();
    assert_eq!(script["command"], json!(["python", "main.py"]));
    let missing = json!({ "name": "Other", "generic": { "title": "O", "type": "STREAM", "launch": { "image": "x" }, "secrets": ["KEY"] } });
    let (code, message) = world.fail_as(ADMIN, DEPLOY, json!({ "input": missing }));
    assert_eq!(code, "UNSUPPORTED_ERROR");
    assert!(message.contains("KEY"), "{message}");
    for what in [
        json!({}),
        json!({ "contract": "feed", "image": "example/connector-feed" }),
    ] {
        let mut input = json!({ "name": "Nothing" });
        for (key, value) in what.as_object().unwrap() {
            input[key] = value.clone();
        }
        let (code, _) = world.fail_as(ADMIN, DEPLOY, json!({ "input": input }));
        assert_eq!(code, "FUNCTIONAL_ERROR");
    }
}

#[test]
fn each_of_several_composers_has_its_own_connectors() {
    let (world, _) = world();
    let other = own_composer(&world, "site-b");
    world.deploy_with("Feed a", json!({ "composer": "site-a" }));
    let moved = world.deploy_with("Feed b", json!({ "composer": "site-b" }));
    let names = |token: &str, composer: &str| -> Vec<Value> {
        let work = world.run_as(token, WORK, json!({ "composer": composer }));
        let list = work["composerWork"]["connectors"].as_array().unwrap();
        list.iter().map(|one| one["name"].clone()).collect()
    };
    assert_eq!(names(ADMIN, "site-a"), ["feed-a"]);
    assert_eq!(names(&other, "site-b"), ["feed-b"]);
    // both sites have the same key here, so that the secrets can move along
    world.run(
        CONFIGURE,
        json!({ "input": { "id": moved, "composer": "site-a" } }),
    );
    assert_eq!(names(ADMIN, "site-a"), ["feed-a", "feed-b"]);
    let left = world.run_as(&other, WORK, json!({ "composer": "site-b" }));
    assert_eq!(left["composerWork"]["tombstones"], json!([moved]));
}

#[test]
fn a_deployed_connector_can_be_left_stopped_and_a_version_named() {
    let (world, token) = world();
    world.publish(contract("feed", "2.0.0", &json!({})));
    let mut input = deploy_input(
        "Feed",
        json!({ "version": "1.0.0", "start": false, "user_name": "Feed account", "confidence_level": 33 }),
    );
    input["contract"] = Value::Null;
    input["image"] = json!("example/connector-feed");
    let deployed = world.run(
        "mutation D($input: ManagedConnectorDeployInput!) { managedConnectorDeploy(input: $input) { connector { contract_version pinned connector_user { name } } } }",
        json!({ "input": input }),
    );
    let connector = &deployed["managedConnectorDeploy"]["connector"];
    assert_eq!(connector["contract_version"], "1.0.0");
    assert_eq!(connector["pinned"], true);
    assert!(
        connector["connector_user"]["name"]
            .as_str()
            .unwrap()
            .contains("Feed account")
    );
    assert_eq!(
        work(&world, &token)["connectors"][0]["requested"],
        "stopped"
    );
}

#[test]
fn a_connector_that_nobody_manages_has_health_and_no_state() {
    let world = World::new();
    let token = world.fixture.service("Standalone");
    world.run_as(
        &token,
        "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id } }",
        json!({ "input": { "id": "alone", "name": "Alone", "type": "EXTERNAL_IMPORT" } }),
    );
    let fields = "is_managed manager_state manager_requested_status manager_contract_configuration { key } update_available launch health { level last_ping errors }";
    let shown = world.connector("alone", fields);
    assert_eq!(shown["is_managed"], false);
    for nothing in [
        "manager_state",
        "manager_requested_status",
        "manager_contract_configuration",
        "update_available",
        "launch",
    ] {
        assert_eq!(shown[nothing], Value::Null, "{nothing}");
    }
    assert_eq!(shown["health"]["level"], "green");
    assert!(shown["health"]["last_ping"].is_string());
}
