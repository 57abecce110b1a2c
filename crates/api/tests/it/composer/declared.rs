//! Declarative files: seen first, then applied.

use serde_json::{Value, json};

use super::support::{SECRET, World, opened, setting};
use crate::ADMIN;

const PLAN: &str = "query P($file: String!, $secrets: [DeclaredSecretInput!]) { connectorsPlan(file: $file, secrets: $secrets) { hash removals changed steps { action name connector_id problem notices changes { path before after } } } }";
const APPLY: &str = "mutation A($file: String!, $secrets: [DeclaredSecretInput!], $hash: String!, $removals: Boolean) { connectorsApply(file: $file, secrets: $secrets, hash: $hash, allow_removals: $removals) { failures { name error } steps { action name connector_id } } }";
const FILE: &str = "connectors:
  - name: Feed
    contract: feed
    settings: {FEED_URL: \"https://feed.example.org\", FEED_LIMIT: 7}
    secrets: {FEED_API_KEY: {env: FEED_KEY}}
  - name: Nothing
    contract: there-is-none
";

fn sent(file: &str) -> Value {
    json!({ "file": file, "secrets": [{ "reference": "env:FEED_KEY", "value": SECRET }] })
}

fn plan(world: &World, file: &str) -> Value {
    world.run(PLAN, sent(file))["connectorsPlan"].clone()
}

fn applied(file: &str, hash: &Value, removals: bool) -> Value {
    let mut variables = sent(file);
    variables["hash"] = hash.clone();
    variables["removals"] = json!(removals);
    variables
}

#[test]
fn a_file_is_planned_applied_once_and_then_changes_nothing() {
    let (world, composer) = World::with_composer();
    let planned = plan(&world, FILE);
    assert_eq!(planned["changed"], true);
    let steps = planned["steps"].as_array().unwrap();
    let actions: Vec<&Value> = steps.iter().map(|step| &step["action"]).collect();
    assert_eq!(actions, ["create", "problem"]);
    assert!(
        steps[1]["problem"]
            .as_str()
            .unwrap()
            .contains("there-is-none")
    );
    assert!(!planned.to_string().contains(SECRET), "{planned}");
    assert!(world.listing(&composer).is_empty(), "a plan does nothing");

    let result = world.run(APPLY, applied(FILE, &planned["hash"], false));
    let result = &result["connectorsApply"];
    assert_eq!(result["failures"][0]["name"], "Nothing");
    let listed = world.listing(&composer);
    assert_eq!(listed[0]["id"], result["steps"][0]["connector_id"]);
    let configuration = &listed[0]["manager_contract_configuration"];
    assert_eq!(setting(configuration, "FEED_LIMIT").unwrap()["value"], "7");
    assert_eq!(
        opened(&setting(configuration, "FEED_API_KEY").unwrap()["value"]),
        SECRET
    );
    let shown = world.connector(listed[0]["id"].as_str().unwrap(), "declared");
    assert_eq!(shown["declared"], true);

    let again = plan(&world, FILE);
    assert_eq!(again["steps"][0]["action"], "keep");
    world.run(APPLY, applied(FILE, &again["hash"], false));
    assert_eq!(world.listing(&composer), listed, "nothing is started anew");
}

#[test]
fn what_was_not_seen_is_not_done_and_removals_are_asked_for() {
    let (world, composer) = World::with_composer();
    let planned = plan(&world, FILE);
    world.run(APPLY, applied(FILE, &planned["hash"], false));
    let (code, _) = world.fail_as(ADMIN, APPLY, applied(FILE, &planned["hash"], false));
    assert_eq!(code, "FUNCTIONAL_ERROR", "the plan is an old one");
    let empty = "connectors: []";
    let removal = plan(&world, empty);
    assert_eq!(removal["removals"], 1);
    let (code, message) = world.fail_as(ADMIN, APPLY, applied(empty, &removal["hash"], false));
    assert_eq!(code, "FUNCTIONAL_ERROR");
    assert!(message.contains("Feed"), "{message}");
    assert_eq!(world.listing(&composer).len(), 1);
    world.run(APPLY, applied(empty, &removal["hash"], true));
    assert!(world.listing(&composer).is_empty());
    let (code, message) = world.fail_as(ADMIN, PLAN, sent("connectors:\n  - nmae: x\n"));
    assert_eq!(code, "VALIDATION_ERROR");
    assert!(message.contains("nmae"), "{message}");
}
