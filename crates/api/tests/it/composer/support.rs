//! A platform with catalogs and composers.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use ferrocti_catalog::PrivateKey;
use ferrocti_model::clock::SeededEntropy;
use serde_json::{Value, json};

use super::documents::{GET_CONNECTORS, REGISTER};
use crate::{ADMIN, Fixture, data};

/// The public half of a key for tests, PKCS#1 as upstream's composer sends it.
pub(super) const PUBLIC_KEY: &str =
    include_str!("../../../../catalog/tests/vectors/test-public-pkcs1.pem");
const PRIVATE_KEY: &str = include_str!("../../../../catalog/tests/vectors/test-key.pem");

/// A secret that must never come back.
pub(super) const SECRET: &str = "hunter2-do-not-tell";

/// A platform whose catalog can be changed, and one composer of upstream's.
pub(super) struct World {
    pub(super) fixture: Fixture,
    manifest: PathBuf,
    contracts: RefCell<Vec<Value>>,
    _dir: tempfile::TempDir,
}

impl World {
    /// With the contract `feed` in version 1.0.0, without composers.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("manifest.json");
        let contracts = vec![contract("feed", "1.0.0", &json!({}))];
        write(&manifest, &contracts);
        let fixture = Fixture::with_catalogs(&[manifest.to_str().unwrap().to_owned()]);
        Self {
            fixture,
            manifest,
            contracts: RefCell::new(contracts),
            _dir: dir,
        }
    }

    /// With a composer too; its token.
    pub(super) fn with_composer() -> (Self, String) {
        let world = Self::new();
        let token = world.composer("site-a");
        (world, token)
    }

    /// Adds a contract to the catalog.
    pub(super) fn publish(&self, contract: Value) {
        self.contracts.borrow_mut().push(contract);
        write(&self.manifest, &self.contracts.borrow());
        self.fixture
            .run("mutation { catalogsRefresh { id } }", json!({}));
    }

    /// A user that may be a composer and nothing else; its token.
    pub(super) fn composer_user(&self, name: &str) -> String {
        self.fixture
            .person(name, &["CONNECTORAPI", "APIACCESS_USETOKEN"])
            .1
    }

    /// Registers a composer of upstream's with an account of its own; its token.
    pub(super) fn composer(&self, id: &str) -> String {
        let token = self.composer_user(&format!("composer-{id}"));
        let input = json!({ "id": id, "name": id, "public_key": PUBLIC_KEY });
        self.run_as(&token, REGISTER, json!({ "input": input }));
        token
    }

    /// The data of an answer without errors.
    pub(super) fn run_as(&self, token: &str, query: &str, variables: Value) -> Value {
        data(self.fixture.run_as(token, query, variables), query)
    }

    /// The data of an answer to the administrator.
    pub(super) fn run(&self, query: &str, variables: Value) -> Value {
        self.run_as(ADMIN, query, variables)
    }

    /// The first error of an answer: code and message.
    pub(super) fn fail_as(&self, token: &str, query: &str, variables: Value) -> (String, String) {
        let answer = self.fixture.run_as(token, query, variables);
        let error = &answer["errors"][0];
        assert!(error.is_object(), "no error for {query}: {answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// Deploys `feed` under a name by our own mutation; its id.
    pub(super) fn deploy(&self, name: &str) -> String {
        self.deploy_with(name, json!({}))
    }

    /// The same with more input.
    pub(super) fn deploy_with(&self, name: &str, more: Value) -> String {
        let outcome = self.run(DEPLOY, json!({ "input": deploy_input(name, more) }));
        let id = &outcome["managedConnectorDeploy"]["connector"]["id"];
        id.as_str().unwrap().to_owned()
    }

    /// What upstream's composer is told.
    pub(super) fn listing(&self, composer: &str) -> Vec<Value> {
        let listed = self.run_as(composer, GET_CONNECTORS, json!({}));
        listed["connectorsForManagers"].as_array().unwrap().clone()
    }

    /// One connector as an administrator sees it.
    pub(super) fn connector(&self, id: &str, selection: &str) -> Value {
        let query = format!("query C($id: String!) {{ connector(id: $id) {{ {selection} }} }}");
        self.run(&query, json!({ "id": id }))["connector"].clone()
    }
}

pub(super) const DEPLOY: &str = "mutation D($input: ManagedConnectorDeployInput!) { managedConnectorDeploy(input: $input) { notices connector { id name title } } }";

/// Input that deploys `feed`, with the secret.
pub(super) fn deploy_input(name: &str, more: Value) -> Value {
    let mut input = json!({
        "name": name,
        "contract": "feed",
        "configuration": [{ "key": "FEED_API_KEY", "value": SECRET }, { "key": "FEED_URL", "value": "https://feed.example.org" }],
    });
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    input
}

/// A contract with a required secret and a required address; `more` adds properties to its schema, the required among them by `required`.
pub(super) fn contract(slug: &str, version: &str, more: &Value) -> Value {
    let mut properties = json!({
        "OPENCTI_URL": { "type": "string", "format": "uri" },
        "OPENCTI_TOKEN": { "type": "string", "format": "password" },
        "CONNECTOR_NAME": { "type": "string", "default": slug },
        "CONNECTOR_SCOPE": { "type": "array", "items": { "type": "string" }, "default": ["report"] },
        "CONNECTOR_TYPE": { "type": "string", "const": "EXTERNAL_IMPORT", "default": "EXTERNAL_IMPORT" },
        "CONNECTOR_LOG_LEVEL": { "type": "string", "enum": ["debug", "info", "error"], "default": "info" },
        "FEED_API_KEY": { "type": "string", "format": "password", "writeOnly": true },
        "FEED_URL": { "type": "string", "format": "uri" },
        "FEED_LIMIT": { "type": "integer", "default": 10, "minimum": 1 },
    });
    let mut required = vec![
        json!("OPENCTI_URL"),
        json!("OPENCTI_TOKEN"),
        json!("FEED_API_KEY"),
        json!("FEED_URL"),
    ];
    for (key, value) in more.as_object().unwrap() {
        properties[key] = value.clone();
        if value["default"].is_null() {
            required.push(json!(key));
        }
    }
    json!({
        "title": "Feed",
        "slug": slug,
        "description": "A feed.",
        "short_description": "A feed.",
        "logo": "data:image/png;base64,AA==",
        "use_cases": ["Commercial Threat Intel"],
        "solution_categories": ["Other"],
        "license_type": "Free",
        "verified": true,
        "playbook_supported": false,
        "max_confidence_level": 70,
        "support_version": ">=6.5.1",
        "manager_supported": true,
        "container_version": version,
        "container_image": format!("example/connector-{slug}"),
        "container_type": "EXTERNAL_IMPORT",
        "config_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": true,
        },
    })
}

fn write(path: &Path, contracts: &[Value]) {
    let manifest = json!({ "id": "example", "name": "Example", "description": "", "version": "rolling", "contracts": contracts });
    std::fs::write(path, manifest.to_string()).unwrap();
}

/// What is sealed in a value of a configuration.
pub(super) fn opened(value: &Value) -> String {
    let key = PrivateKey::from_pem(PRIVATE_KEY).unwrap();
    let opened = key.open(value.as_str().unwrap(), &SeededEntropy::new(7));
    opened.unwrap().expose().to_owned()
}

/// One setting of a configuration.
pub(super) fn setting<'a>(configuration: &'a Value, key: &str) -> Option<&'a Value> {
    let list = configuration.as_array().unwrap();
    list.iter().find(|setting| setting["key"] == key)
}
