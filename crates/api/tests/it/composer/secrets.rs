//! What is secret is told to nobody but the composer, sealed.

use serde_json::{Value, json};

use super::documents::{GET_CONNECTORS, LOGS};
use super::support::{DEPLOY, SECRET, World, contract, deploy_input, opened, setting};
use crate::ADMIN;

/// Everything of a connector that could hold a setting.
const EVERYTHING: &str = "query C($id: String!) { connector(id: $id) { id name title connector_info { queue_threshold } connector_state is_managed manager { id name public_key about blocked } manager_current_status manager_requested_status manager_contract_image manager_contract_definition manager_contract_configuration { key value } manager_contract_hash manager_connector_logs manager_secret_keys manager_state manager_state_reason health { reasons } launch runtime pinned declared definition_number rolled_back { reason } } connectorDefinitions(id: $id) { reason image version launch runtime configuration { key value } } connectors { id manager_contract_configuration { key value } runtime launch manager_contract_definition } }";
const AUDITS: &str = "{ audits(first: 500) { edges { node { id raw_data context_data { message entity_name } } } } }";

/// Secrets beside the one of the contract, which are given where anybody might give them.
const OTHERS: [&str; 2] = ["in-a-proxy", "in-an-extra-key"];

fn deployed() -> (World, String, String) {
    let (world, composer) = World::with_composer();
    let mut input = deploy_input(
        "Feed",
        json!({
            "unknown_keys": "KEEP",
            "runtime": {
                "environment": { "TZ": "UTC" },
                "proxy": { "https": "http://me:in-a-proxy@proxy:3128" },
            },
        }),
    );
    let settings = input["configuration"].as_array_mut().unwrap();
    settings.push(json!({ "key": "EXTRA_PASSWORD", "value": "in-an-extra-key" }));
    let outcome = world.run(DEPLOY, json!({ "input": input }));
    let id = outcome["managedConnectorDeploy"]["connector"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    (world, id, composer)
}

/// No secret is in an answer, neither in clear nor sealed.
fn clean(answer: &Value, sealed: &[String]) {
    let text = answer.to_string();
    for secret in OTHERS.iter().copied().chain([SECRET]) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for envelope in sealed {
        assert!(!text.contains(envelope), "an envelope in {text}");
    }
}

/// The envelopes of a connector, as its composer gets them.
fn envelopes(world: &World, composer: &str) -> Vec<String> {
    let listed = world.listing(composer);
    let configuration = listed[0]["manager_contract_configuration"]
        .as_array()
        .unwrap();
    configuration
        .iter()
        .filter(|setting| setting["encrypted"] == true)
        .map(|setting| setting["value"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn neither_the_connector_nor_its_definitions_nor_the_audit_tell_a_secret() {
    let (world, id, composer) = deployed();
    let sealed = envelopes(&world, &composer);
    assert_eq!(sealed.len(), 3, "the key, the extra one, the token");
    let shown = world.run(EVERYTHING, json!({ "id": id }));
    clean(&shown, &sealed);
    let connector = &shown["connector"];
    assert_eq!(
        connector["manager_secret_keys"],
        json!(["FEED_API_KEY", "EXTRA_PASSWORD"])
    );
    let configuration = &connector["manager_contract_configuration"];
    assert_eq!(setting(configuration, "FEED_API_KEY"), None);
    assert_eq!(setting(configuration, "OPENCTI_TOKEN"), None);
    assert_eq!(
        setting(configuration, "FEED_URL").unwrap()["value"],
        "https://feed.example.org"
    );
    assert_eq!(
        connector["runtime"]["proxy"]["https"],
        "http://***@proxy:3128"
    );
    let masked = &shown["connectorDefinitions"][0]["configuration"];
    assert_eq!(setting(masked, "FEED_API_KEY").unwrap()["value"], "***");
    // what was done is in the audit, without what was given
    let edited = json!({ "id": id, "configuration": [{ "key": "FEED_API_KEY", "value": "another-secret" }, { "key": "FEED_LIMIT", "value": "4" }] });
    world.run(
        "mutation C($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { notices connector { id } } }",
        json!({ "input": edited }),
    );
    let audits = world.run(AUDITS, json!({}));
    assert!(audits.to_string().contains("deploys connector"), "{audits}");
    clean(&audits, &sealed);
    assert!(!audits.to_string().contains("another-secret"), "{audits}");
}

#[test]
fn who_deploys_is_answered_without_envelopes() {
    let (world, id, composer) = deployed();
    let sealed = envelopes(&world, &composer);
    let user = world.connector(&id, "connector_user_id")["connector_user_id"].clone();
    let edited = world.run(
        "mutation E($input: EditManagedConnectorInput!) { managedConnectorEdit(input: $input) { manager_contract_configuration { key value encrypted } manager_connector_logs } }",
        json!({ "input": { "id": id, "name": "feed", "title": "Feed", "connector_user_id": user, "manager_contract_configuration": [{ "key": "FEED_URL", "value": "https://x.example.org" }] } }),
    );
    clean(&edited, &sealed);
    let configuration = &edited["managedConnectorEdit"]["manager_contract_configuration"];
    assert!(setting(configuration, "FEED_URL").is_some());
    // a composer of another site neither
    let other = world.composer("site-b");
    let listed = world.run_as(&other, GET_CONNECTORS, json!({}));
    clean(&listed, &sealed);
}

#[test]
fn errors_do_not_repeat_what_was_given() {
    let (world, id, _) = deployed();
    let mut tries = Vec::new();
    for configuration in [
        json!([{ "key": "FEED_API_KEY", "value": SECRET }]),
        json!([{ "key": "FEED_API_KEY", "value": SECRET }, { "key": "FEED_URL", "value": "wrong" }]),
    ] {
        let input = json!({ "name": "Other", "contract": "feed", "configuration": configuration, "unknown_keys": "REFUSE" });
        tries.push(
            world
                .fixture
                .run_as(ADMIN, DEPLOY, json!({ "input": input })),
        );
    }
    let mut strict = contract("strict", "1.0.0", &json!({}));
    strict["config_schema"]["properties"]["FEED_API_KEY"]["minLength"] = json!(100);
    world.publish(strict);
    let mut input = deploy_input("Strict", json!({}));
    input["contract"] = json!("strict");
    tries.push(
        world
            .fixture
            .run_as(ADMIN, DEPLOY, json!({ "input": input })),
    );
    let input = deploy_input("Feed", json!({}));
    tries.push(
        world
            .fixture
            .run_as(ADMIN, DEPLOY, json!({ "input": input })),
    );
    for runtime in [
        json!({ "proxy": SECRET }),
        json!({ "environment": SECRET }),
        json!(SECRET),
    ] {
        let input = deploy_input("Other", json!({ "runtime": runtime }));
        tries.push(
            world
                .fixture
                .run_as(ADMIN, DEPLOY, json!({ "input": input })),
        );
    }
    let reader = world.fixture.service("Stranger");
    let input = deploy_input("Other", json!({}));
    tries.push(
        world
            .fixture
            .run_as(&reader, DEPLOY, json!({ "input": input })),
    );
    let file = format!(
        "connectors:\n  - name: Declared\n    contract: feed\n    settings:\n      FEED_API_KEY: {SECRET}\n"
    );
    tries.push(world.fixture.run_as(
        ADMIN,
        "query P($file: String!) { connectorsPlan(file: $file) { steps { action problem changes { path before after } } } }",
        json!({ "file": file }),
    ));
    for answer in &tries {
        assert!(
            answer["errors"][0].is_object() || answer.to_string().contains("problem"),
            "{answer}"
        );
        clean(answer, &[]);
    }
    clean(&world.run(AUDITS, json!({})), &[]);
    assert!(world.connector(&id, "id")["id"].is_string());
}

#[test]
fn a_connector_of_another_user_does_not_get_at_the_token() {
    let (world, id, composer) = deployed();
    let listed = world.listing(&composer);
    let token = setting(
        &listed[0]["manager_contract_configuration"],
        "OPENCTI_TOKEN",
    )
    .unwrap();
    let token = opened(&token["value"]);
    // it works, and ends with the connector
    world.run_as(&token, "{ me { id } }", json!({}));
    let other = world.fixture.service("Other");
    let register =
        "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id } }";
    let input = json!({ "id": id, "name": "feed", "type": "EXTERNAL_IMPORT" });
    let answer = world
        .fixture
        .run_as(&other, register, json!({ "input": input }));
    assert!(answer["errors"][0].is_object(), "{answer}");
    world.run_as(
        &composer,
        LOGS,
        json!({ "input": { "id": id, "logs": [] } }),
    );
    world.run(
        "mutation D($id: ID!) { deleteConnector(id: $id) }",
        json!({ "id": id }),
    );
    let (code, _) = world.fail_as(&token, "{ me { id } }", json!({}));
    assert_eq!(code, "AUTH_REQUIRED");
}
