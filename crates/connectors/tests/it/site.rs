//! A platform with a composer and a catalog, to apply files on.

use std::{collections::BTreeMap, fs, path::Path};

use ferrocti_access::Actor;
use ferrocti_accounts::{Acting, Lifetime, NewGroup, NewUser};
use ferrocti_catalog::Secret;
use ferrocti_connectors::{
    ConnectorError,
    catalogs::Catalogs,
    declared::{Applied, Files, Plan, Sent},
    managed::{Managed, NewComposer},
};
use ferrocti_store::{Connector, User};
use serde_json::{Value, json};

use crate::{
    catalogs::{contract, manifest, no_network, open},
    support::Fixture,
};

pub const PUBLIC: &str = include_str!("../../../catalog/tests/vectors/test-public-spki.pem");
pub const PRIVATE: &str = include_str!("../../../catalog/tests/vectors/test-key.pem");

/// A platform with a composer and a catalog, and the secrets that are sent along.
pub struct Site {
    pub fixture: Fixture,
    pub files: Files,
    pub catalogs: Catalogs,
    pub secrets: BTreeMap<String, Secret>,
    pub dir: tempfile::TempDir,
}

impl Site {
    pub fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(
            dir.path(),
            &[contract("feed", "7.1.0"), contract("other", "7.1.0")],
        );
        let path = dir.path().join("manifest.json");
        let catalogs = open(dir.path(), &[path.to_str().unwrap()], no_network());
        let fixture = Fixture::open();
        let composer = fixture.user_with("Composer", &["CONNECTORAPI"]);
        fixture
            .connectors
            .register_composer(&composer, registration("site-a", "Site A"))
            .unwrap();
        let files = Files::new(
            fixture.connectors.clone(),
            catalogs.clone(),
            fixture.accounts.clone(),
        );
        let secrets = [("env:FEED_KEY", "first"), ("file:/run/key", "second")]
            .map(|(reference, value)| (reference.to_owned(), Secret::new(value)));
        Self {
            fixture,
            files,
            catalogs,
            secrets: secrets.into(),
            dir,
        }
    }

    pub fn sent<'a>(&'a self, text: &'a str) -> Sent<'a> {
        Sent {
            text,
            secrets: &self.secrets,
        }
    }

    pub fn plan(&self, text: &str) -> Plan {
        self.files
            .plan(&self.fixture.admin, self.sent(text))
            .unwrap()
    }

    pub fn apply(&self, text: &str) -> Applied {
        let hash = self.plan(text).hash;
        self.files
            .apply(&self.fixture.admin, self.sent(text), &hash, true)
            .unwrap()
    }

    pub fn by_title(&self, title: &str) -> (Connector, Managed) {
        let found = self.fixture.store.read(|snapshot| {
            let connector = snapshot
                .managed_connectors()?
                .into_iter()
                .find(|connector| connector.title.as_deref() == Some(title))
                .unwrap();
            let managed = Managed::of(snapshot, &connector)?.unwrap();
            Ok::<_, ConnectorError>((connector, managed))
        });
        found.unwrap()
    }

    pub fn titles(&self) -> Vec<String> {
        let list = self
            .fixture
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.managed_connectors()?))
            .unwrap();
        let mut titles: Vec<String> = list.into_iter().filter_map(|one| one.title).collect();
        titles.sort();
        titles
    }

    pub fn sealed(&self, title: &str, key: &str) -> String {
        let (_, managed) = self.by_title(title);
        let entry = managed
            .definition
            .entries
            .iter()
            .find(|entry| entry.key == key && entry.encrypted);
        entry.unwrap().value.clone()
    }

    pub fn user(&self, title: &str) -> User {
        let row = self.by_title(title).0.user.unwrap();
        let user = self
            .fixture
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.user(row)?));
        user.unwrap().unwrap()
    }

    /// Somebody who may manage connectors, and nothing else.
    pub fn operator(&self) -> Actor {
        let accounts = &self.fixture.accounts;
        let admin = Acting::of(&self.fixture.admin);
        let role = accounts.add_role(&admin, "Operators", None).unwrap();
        accounts
            .add_capability(&admin, &role.id.to_string(), "MODULES_MODMANAGE", false)
            .unwrap();
        let group = accounts
            .add_group(
                &admin,
                NewGroup {
                    name: "Operators".to_owned(),
                    ..Default::default()
                },
            )
            .unwrap();
        accounts
            .add_group_role(&admin, &group.id.to_string(), &role.id.to_string())
            .unwrap();
        let user = self.person("operator@example.org", "Operator");
        accounts
            .add_member(&admin, &user.id.to_string(), &group.id.to_string())
            .unwrap();
        let (_, token) = accounts
            .add_token(&admin, &user.id.to_string(), "t", Lifetime::Unlimited)
            .unwrap();
        Actor::clone(accounts.authenticate(&token).unwrap().unwrap().actor())
    }

    pub fn person(&self, email: &str, name: &str) -> User {
        let new = NewUser {
            email: Some(email.to_owned()),
            name: name.to_owned(),
            password: Some("Correct-Horse-1".to_owned()),
            ..NewUser::default()
        };
        self.fixture
            .accounts
            .add_user(&Acting::of(&self.fixture.admin), new)
            .unwrap()
    }
}

pub fn put(dir: &Path, contracts: &[Value]) {
    fs::write(dir.join("manifest.json"), manifest("test", contracts)).unwrap();
}

pub fn registration(id: &str, name: &str) -> NewComposer {
    NewComposer {
        id: id.to_owned(),
        name: name.to_owned(),
        public_key: PUBLIC.to_owned(),
        about: None,
        own: true,
    }
}

/// Two connectors, one of them with two secrets.
pub const TWO: &str = r#"
connectors:
  - name: Feed one
    contract: feed
    settings: {FEED_URL: "https://feed.example.org/"}
    secrets:
      FEED_API_KEY: {env: FEED_KEY}
      FEED_SECOND_TOKEN: {file: /run/key}
    running: false
  - name: Feed two
    contract: other
    version: 7.1.0
    settings: {FEED_URL: "https://other.example.org/"}
    runtime: {memory: 512m}
"#;

/// The contract of `TWO` with a second secret.
pub fn with_second(mut one: Value) -> Value {
    one["config_schema"]["properties"]["FEED_SECOND_TOKEN"] =
        json!({"type": "string", "format": "password"});
    one
}

pub fn two() -> Site {
    let site = Site::open();
    put(
        site.dir.path(),
        &[
            with_second(contract("feed", "7.1.0")),
            contract("other", "7.1.0"),
        ],
    );
    site.catalogs.refresh();
    site
}
