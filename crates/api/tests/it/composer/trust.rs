//! Who may do what: deploying is for those who manage connectors, and a composer speaks of its own connectors only.

use serde_json::{Value, json};

use super::documents::{CURRENT_STATUS, GET_CONNECTORS, HEALTH, LOGS, PING, REGISTER};
use super::support::{DEPLOY, PUBLIC_KEY, SECRET, World, deploy_input};
use crate::ADMIN;

const WORK: &str = "query W($composer: ID!) { composerWork(composer: $composer) { version } }";
const REPORT: &str = "mutation R($input: ComposerReportInput!) { composerReport(input: $input) }";
const MANAGES: &[&str] = &["MODULES_MODMANAGE", "APIACCESS_USETOKEN"];

impl World {
    /// The token of a user with these capabilities.
    fn user_with(&self, name: &str, capabilities: &[&str]) -> String {
        self.fixture.person(name, capabilities).1
    }

    fn refused(&self, token: &str, query: &str, variables: Value) {
        let (code, message) = self.fail_as(token, query, variables);
        assert_eq!(code, "FORBIDDEN_ACCESS", "{query}: {message}");
    }
}

/// Everything that changes what runs, with the id of a connector.
fn changes(id: &str, user: &str) -> Vec<(&'static str, Value)> {
    vec![
        (DEPLOY, json!({ "input": deploy_input("Other", json!({})) })),
        (
            "mutation A($input: AddManagedConnectorInput!) { managedConnectorAdd(input: $input) { id } }",
            json!({ "input": {
                "name": "Other", "user_id": "Other", "automatic_user": true, "catalog_id": "example", "manager_contract_image": "example/connector-feed",
                "manager_contract_configuration": [],
            } }),
        ),
        (
            "mutation E($input: EditManagedConnectorInput!) { managedConnectorEdit(input: $input) { id } }",
            json!({ "input": { "id": id, "name": "x2", "title": "x2", "connector_user_id": user, "manager_contract_configuration": [] } }),
        ),
        (
            "mutation R($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id } }",
            json!({ "input": { "id": id, "status": "stopping" } }),
        ),
        (
            "mutation C($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { notices } }",
            json!({ "input": { "id": id, "runtime": { "mounts": [{ "source": "/", "target": "/host" }] } } }),
        ),
        (
            "mutation U($id: ID!) { managedConnectorUpgrade(id: $id) { notices } }",
            json!({ "id": id }),
        ),
        (
            "mutation B($id: ID!) { managedConnectorRollback(id: $id) { notices } }",
            json!({ "id": id }),
        ),
        (
            "mutation S($id: ID!) { managedConnectorRestart(id: $id) { notices } }",
            json!({ "id": id }),
        ),
        (
            "mutation A($ids: [ID!]!) { composerApproveRemovals(composer: \"site-a\", connectors: $ids) }",
            json!({ "ids": [id] }),
        ),
        ("mutation { composerRemove(id: \"site-a\") }", json!({})),
        ("mutation { catalogsRefresh { id } }", json!({})),
        (
            "query { connectorsPlan(file: \"connectors: []\") { hash } }",
            json!({}),
        ),
        (
            "mutation { connectorsApply(file: \"connectors: []\", hash: \"\") { failures { name } } }",
            json!({}),
        ),
    ]
}

#[test]
fn neither_a_connector_nor_a_composer_says_what_runs() {
    let (world, composer) = World::with_composer();
    let id = world.deploy("Feed");
    let before = world.listing(&composer);
    let user = world.connector(&id, "connector_user_id")["connector_user_id"].clone();
    let connector = world.fixture.service("Some connector");
    let reader = world.user_with("Reader", &["KNOWLEDGE", "MODULES", "APIACCESS_USETOKEN"]);
    for (query, variables) in changes(&id, user.as_str().unwrap()) {
        for token in [&connector, &composer, &reader] {
            world.refused(token, query, variables.clone());
        }
    }
    assert_eq!(world.listing(&composer), before);
    // nobody at all
    let (code, _) = world.fail_as("none", GET_CONNECTORS, json!({}));
    assert_eq!(code, "AUTH_REQUIRED");
}

#[test]
fn whoever_deploys_lends_no_rights_that_he_has_not() {
    let (world, _) = World::with_composer();
    let manager = world.user_with("Manager", MANAGES);
    // an account is made or lent only by who administers accounts
    let input = deploy_input("Feed", json!({}));
    world.refused(&manager, DEPLOY, json!({ "input": input }));
    let me = world.run("{ me { id } }", json!({}));
    let input = deploy_input("Feed", json!({ "user_id": me["me"]["id"] }));
    world.refused(&manager, DEPLOY, json!({ "input": input }));
    let both = world.user_with(
        "Both",
        &[
            "MODULES_MODMANAGE",
            "SETTINGS_SETACCESSES",
            "APIACCESS_USETOKEN",
        ],
    );
    // nor the administrator's account by somebody who is less
    let answer = world
        .fixture
        .run_as(&both, DEPLOY, json!({ "input": input }));
    assert!(answer["errors"][0].is_object(), "{answer}");
    assert_eq!(
        world.run("{ connectors { id } }", json!({}))["connectors"],
        json!([])
    );
    // a change that leaves the user as he is needs no more than managing
    let id = world.deploy("Feed");
    world.run_as(
        &manager,
        "mutation C($input: ManagedConnectorConfigureInput!) { managedConnectorConfigure(input: $input) { notices } }",
        json!({ "input": { "id": id, "configuration": [{ "key": "FEED_LIMIT", "value": "3" }] } }),
    );
}

#[test]
fn a_composer_sees_and_reports_its_own_connectors_only() {
    let (world, a) = World::with_composer();
    let b = world.composer("site-b");
    let of_a = world.deploy_with("Feed a", json!({ "composer": "site-a" }));
    let of_b = world.deploy_with("Feed b", json!({ "composer": "site-b" }));
    let ids = |token: &str| -> Vec<Value> {
        let list = world.listing(token);
        list.iter().map(|one| one["id"].clone()).collect()
    };
    assert_eq!(ids(&a), [json!(of_a)]);
    assert_eq!(ids(&b), [json!(of_b)]);
    world.refused(&a, WORK, json!({ "composer": "site-b" }));
    world.refused(&a, PING, json!({ "input": { "id": "site-b" } }));
    world.refused(
        &a,
        CURRENT_STATUS,
        json!({ "input": { "id": of_b, "status": "started" } }),
    );
    world.refused(
        &a,
        LOGS,
        json!({ "input": { "id": of_b, "logs": ["forged"] } }),
    );
    let health = json!({ "id": of_b, "restart_count": 9, "started_at": "2025-10-09T08:53:20Z", "is_in_reboot_loop": true });
    world.refused(&a, HEALTH, json!({ "input": health }));
    let said = json!({ "id": of_b, "hash": "", "state": "failed", "reason": "forged", "logs": ["forged"] });
    world.refused(
        &a,
        REPORT,
        json!({ "input": { "composer": "site-b", "connectors": [said], "removed": [of_b] } }),
    );
    // in its own name it says nothing about what is not its own
    world.run_as(
        &a,
        REPORT,
        json!({ "input": { "composer": "site-a", "connectors": [said], "removed": [of_b] } }),
    );
    let shown = world.connector(&of_b, "manager_state manager_connector_logs manager_current_status manager_health_metrics { restart_count }");
    assert_eq!(shown["manager_state"], "requested");
    assert_eq!(shown["manager_connector_logs"], json!([]));
    assert_eq!(shown["manager_current_status"], Value::Null);
    assert_eq!(shown["manager_health_metrics"], Value::Null);
    // nor does somebody who is no composer at all
    let stranger = world.fixture.service("Stranger");
    world.refused(
        &stranger,
        REPORT,
        json!({ "input": { "composer": "site-a", "connectors": [] } }),
    );
    world.refused(
        &stranger,
        LOGS,
        json!({ "input": { "id": of_a, "logs": ["forged"] } }),
    );
}

#[test]
fn there_is_never_an_empty_list_for_somebody_who_is_no_composer() {
    let (world, _) = World::with_composer();
    world.deploy("Feed");
    let connector = world.fixture.service("Stranger");
    for token in [ADMIN, &connector] {
        let answer = world.fixture.run_as(token, GET_CONNECTORS, json!({}));
        assert_eq!(answer["data"]["connectorsForManagers"], Value::Null);
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "FUNCTIONAL_ERROR");
        assert!(
            error["message"].as_str().unwrap().contains("register"),
            "{error}"
        );
    }
    let reader = world.user_with("Reader", &["MODULES", "APIACCESS_USETOKEN"]);
    world.refused(&reader, GET_CONNECTORS, json!({}));
}

#[test]
fn one_user_is_one_composer_and_a_composer_belongs_to_its_user() {
    let (world, a) = World::with_composer();
    let register = |token: &str, id: &str, key: &str| {
        let input = json!({ "id": id, "name": id, "public_key": key });
        let answer = world
            .fixture
            .run_as(token, REGISTER, json!({ "input": input }));
        answer["errors"][0]["message"].as_str().map(str::to_owned)
    };
    assert_eq!(register(&a, "site-a", PUBLIC_KEY), None, "again");
    let second = register(&a, "site-c", PUBLIC_KEY).unwrap();
    assert!(second.contains("site-a"), "{second}");
    let stranger = world.composer_user("Stranger");
    let taken = register(&stranger, "site-a", PUBLIC_KEY).unwrap();
    assert!(taken.contains("another user"), "{taken}");
    let small = include_str!("../../../../catalog/tests/vectors/test-public-2048.pem");
    let refused = register(&stranger, "site-d", small).unwrap();
    assert!(refused.contains("4096"), "{refused}");
    assert!(register(&stranger, "site-d", "no key").is_some());
    // the account of a connector is no composer's
    let connector = world.fixture.service("Connector");
    let refused = register(&connector, "site-d", PUBLIC_KEY).unwrap();
    assert!(refused.contains("account of its own"), "{refused}");
    let reader = world.user_with("Reader", &["KNOWLEDGE", "APIACCESS_USETOKEN"]);
    let input = json!({ "id": "site-e", "name": "site-e", "public_key": PUBLIC_KEY });
    world.refused(&reader, REGISTER, json!({ "input": input }));
    let (code, _) = world.fail_as(&stranger, PING, json!({ "input": { "id": "none" } }));
    assert_eq!(code, "COMPOSER_NOT_REGISTERED");
}

#[test]
fn a_log_is_for_who_manages_for_its_composer_and_for_the_connector_itself() {
    let (world, a) = World::with_composer();
    let id = world.deploy("Feed");
    world.run_as(&a, LOGS, json!({ "input": { "id": id, "logs": [SECRET] } }));
    let reader = world.user_with("Reader", &["KNOWLEDGE", "MODULES", "APIACCESS_USETOKEN"]);
    let other = world.fixture.service("Other connector");
    let query = "query L($id: String!) { connectorLogs(id: $id) { lines { text } } }";
    let shown = "query C($id: String!) { connector(id: $id) { manager_connector_logs } }";
    for token in [&reader, &other] {
        world.refused(token, query, json!({ "id": id }));
        let shown = world.run_as(token, shown, json!({ "id": id }));
        assert_eq!(shown["connector"]["manager_connector_logs"], Value::Null);
    }
    let manager = world.user_with("Manager", &["MODULES_MODMANAGE", "APIACCESS_USETOKEN"]);
    for token in [&manager, &a] {
        let logs = world.run_as(token, query, json!({ "id": id }));
        assert_eq!(logs["connectorLogs"]["lines"][0]["text"], SECRET);
    }
}

#[test]
fn catalogs_are_for_who_may_see_connectors_or_ingestion() {
    let world = World::new();
    let query = "{ catalogs { id } contracts { total } }";
    for (name, capability, allowed) in [
        ("Ingestion", "INGESTION", true),
        ("Modules", "MODULES", true),
        ("Knowledge", "KNOWLEDGE", false),
    ] {
        let token = world.user_with(name, &[capability, "APIACCESS_USETOKEN"]);
        if allowed {
            world.run_as(&token, query, json!({}));
        } else {
            world.refused(&token, query, json!({}));
        }
    }
}
