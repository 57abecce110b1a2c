//! Managed connectors: the platform's side.

mod composers;
mod deploying;
mod reports;
mod versions;
mod work;

use ferrocti_access::Actor;
use ferrocti_accounts::{Acting, NewUser};
use ferrocti_catalog::{Contract, Extra, Given, PrivateKey, Secret, environment, launch::Runtime};
use ferrocti_connectors::managed::{
    ConnectorReport, Deploy, Listed, Managed, NewComposer, Outcome, Report, State, UserChoice, View,
};
use ferrocti_model::clock::{Clock, SeededEntropy};
use ferrocti_store::{AuditQuery, Connector};
use serde_json::{Value, json};

use crate::support::Fixture;

pub const KEY: &str = include_str!("../../../../catalog/tests/vectors/test-key.pem");
pub const PUBLIC: &str = include_str!("../../../../catalog/tests/vectors/test-public-spki.pem");
/// Nobody has the private half of it.
pub const OTHER_PUBLIC: &str = include_str!("../keys/other-public.pem");

/// A contract with one required secret and a few settings.
pub fn contract(version: &str) -> Contract {
    contract_with(version, &json!({}), &[])
}

pub fn contract_with(version: &str, more: &Value, required: &[&str]) -> Contract {
    let mut properties = json!({
        "CONNECTOR_SCOPE": {"type": "array", "items": {"type": "string"}, "default": ["report"]},
        "CONNECTOR_DURATION_PERIOD": {"type": "string", "format": "duration", "default": "PT1H"},
        "FEED_LIMIT": {"type": "integer", "default": 10, "minimum": 1},
        "FEED_API_KEY": {"type": "string", "format": "password"},
    });
    properties
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut all = vec!["FEED_API_KEY"];
    all.extend(required);
    Contract::read(&json!({
        "title": "Feed", "slug": "feed", "container_image": "example/feed", "container_version": version, "container_type": "EXTERNAL_IMPORT",
        "max_confidence_level": 70, "manager_supported": true,
        "config_schema": {"type": "object", "properties": properties, "required": all},
    }))
    .unwrap()
}

pub fn given(pairs: &[(&str, &str)]) -> Vec<Given> {
    pairs
        .iter()
        .map(|(key, value)| Given::new(*key, *value))
        .collect()
}

pub fn deploy(name: &str) -> Deploy {
    Deploy {
        id: None,
        name: name.to_owned(),
        catalog: "test".to_owned(),
        contract: contract("1.0.0"),
        given: given(&[("FEED_API_KEY", "hunter2")]),
        extra: Extra::Ignore,
        user: UserChoice::Automatic {
            name: None,
            confidence: None,
        },
        composer: None,
        runtime: Runtime::default(),
        start: true,
        pinned: true,
        declared: false,
    }
}

pub fn composer(id: &str) -> NewComposer {
    NewComposer {
        id: id.to_owned(),
        name: format!("Composer {id}"),
        public_key: PUBLIC.to_owned(),
        about: Some(json!({"version": "1"})),
        own: true,
    }
}

impl Fixture {
    /// A user with nothing but some capabilities.
    pub fn user_with(&self, name: &str, capabilities: &[&str]) -> Actor {
        let acting = Acting::of(&self.admin);
        let role = self.accounts.add_role(&acting, name, None).unwrap();
        let role = role.id.to_string();
        for capability in capabilities {
            self.accounts
                .add_capability(&acting, &role, capability, false)
                .unwrap();
        }
        let group = self.accounts.add_group(
            &acting,
            ferrocti_accounts::NewGroup {
                name: name.to_owned(),
                ..Default::default()
            },
        );
        let group = group.unwrap().id.to_string();
        self.accounts
            .add_group_role(&acting, &group, &role)
            .unwrap();
        let user = NewUser {
            name: name.to_owned(),
            service_account: true,
            groups: vec![group],
            prevent_default_groups: true,
            ..NewUser::default()
        };
        let user = self.accounts.add_user(&acting, user).unwrap();
        self.actor(user.row)
    }

    /// The actor that a user is at present.
    pub fn actor(&self, row: i64) -> Actor {
        let rights = self
            .store
            .read(|snapshot| ferrocti_accounts::rights_of_any(snapshot, row))
            .unwrap();
        Actor::clone(&rights.unwrap().actor)
    }

    /// A registered composer's user.
    pub fn composer(&self, id: &str) -> Actor {
        let actor = self.user_with(&format!("composer {id}"), &["CONNECTORAPI"]);
        self.connectors
            .register_composer(&actor, composer(id))
            .unwrap();
        actor
    }

    pub fn deployed(&self, name: &str) -> Connector {
        self.deploy(deploy(name)).connector
    }

    pub fn deploy(&self, new: Deploy) -> Outcome {
        self.connectors.deploy(&self.admin, new).unwrap()
    }

    pub fn view(&self, id: &str) -> View {
        self.store
            .read(|snapshot| {
                let connector = snapshot.connector(id)?.unwrap();
                self.connectors.view(snapshot, &connector)
            })
            .unwrap()
            .unwrap()
    }

    pub fn managed(&self, id: &str) -> Managed {
        self.view(id).managed
    }

    pub fn state(&self, id: &str) -> (State, String) {
        let connector = self.stored(id).unwrap();
        let shown = self.view(id).state(&connector, self.clock.now());
        (shown.state, shown.reason)
    }

    pub fn stored(&self, id: &str) -> Option<Connector> {
        self.store.read(|snapshot| snapshot.connector(id)).unwrap()
    }

    /// The environment of a connector with its secrets opened, by the composer that has the key of the tests.
    pub fn opened(&self, id: &str) -> Vec<(String, Secret)> {
        let connector = self.stored(id).unwrap();
        let entries = self
            .managed(id)
            .environment(&connector, &environment::Proxy::default());
        let key = PrivateKey::from_pem(KEY).unwrap();
        environment::open(&entries, &key, &SeededEntropy::new(3))
            .unwrap()
            .into_iter()
            .map(|variable| (variable.key, variable.value))
            .collect()
    }

    pub fn opened_value(&self, id: &str, key: &str) -> Option<String> {
        let found = self.opened(id).into_iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.expose().to_owned())
    }

    /// Everything that the audit says, as one text.
    pub fn audit(&self) -> String {
        let query = AuditQuery {
            limit: 1000,
            ..AuditQuery::default()
        };
        let lines = self.store.read(|snapshot| snapshot.audits(&query)).unwrap();
        format!("{lines:#?}")
    }

    pub fn report(&self, actor: &Actor, composer: &str, report: ConnectorReport) {
        let report = Report {
            connectors: vec![report],
            ..Report::default()
        };
        self.connectors.report(actor, composer, &report).unwrap();
    }

    /// A sign of life of a managed connector, with its own token.
    pub fn ping(&self, id: &str, info: Option<Value>) {
        let managed = self.managed(id);
        let token = managed.token.unwrap();
        let own = self.actor(token.user);
        let acting = Acting::of(&own).with_token(token.token);
        self.connectors.ping(acting, id, None, info).unwrap();
    }

    pub fn hash(&self, id: &str) -> String {
        self.view(id).hash
    }
}

/// A report of a connector that does well.
pub fn running(id: &str, hash: &str) -> ConnectorReport {
    ConnectorReport {
        id: id.to_owned(),
        hash: hash.to_owned(),
        state: State::Running,
        reason: String::new(),
        current: Some(ferrocti_connectors::managed::CurrentStatus::Started),
        health: None,
        logs: Vec::new(),
        log_cursor: None,
        rejected: None,
    }
}

pub fn entry<'a>(listed: &'a Listed, key: &str) -> Option<&'a str> {
    let mut entries = listed.configuration.iter();
    entries
        .find(|entry| entry.key == key)
        .map(|entry| entry.value.as_str())
}
