//! What is stored of a managed connector.

use std::{collections::BTreeMap, fmt};

use ferrocti_catalog::{
    ConnectorType, Contract, ContractFault, Entry, contract_hash,
    environment::{self, Identity, Proxy},
    launch::{Launch, Runtime},
};
use ferrocti_model::clock::{Millis, format_date};
use ferrocti_store::{Connector, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ConnectorError;

/// Whether it shall run, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestedStatus {
    /// It shall run.
    Starting,
    /// It shall not run any more.
    Stopping,
    /// Nobody has asked for it to run yet.
    #[default]
    Stopped,
}

impl RequestedStatus {
    /// Upstream's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it shall run.
    #[must_use]
    pub fn runs(self) -> bool {
        self == Self::Starting
    }
}

/// Whether an instance runs, as a composer says it, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CurrentStatus {
    /// One runs.
    Started,
    /// None runs.
    Stopped,
}

impl CurrentStatus {
    /// Upstream's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
        }
    }

    /// The status of upstream's word.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Started, Self::Stopped]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// The state that an operator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was asked for, and its composer has not taken that up yet.
    Requested,
    /// Its image or Python environment is fetched.
    Pulling,
    /// Its instance is made or runs, and the platform has not heard from it.
    Starting,
    /// It runs, and the platform hears from it.
    Running,
    /// It runs, but not as it should.
    Degraded,
    /// It ends again and again.
    CrashLooping,
    /// It cannot be run as it is defined.
    Failed,
    /// It is about to stop.
    Stopping,
    /// It does not run, as asked.
    Stopped,
    /// Its composer, or what the composer runs it on, cannot be asked.
    Unreachable,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::Pulling,
        Self::Starting,
        Self::Running,
        Self::Degraded,
        Self::CrashLooping,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
        Self::Unreachable,
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::CrashLooping => "crash-looping",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Unreachable => "unreachable",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The connector's own token, sealed for its composer; the token itself is nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedToken {
    /// Id of the token.
    pub token: Uuid,
    /// Whose it is (`User.row`).
    pub user: i64,
    /// The composer's key that can open it.
    pub key_id: String,
    /// The envelope.
    pub sealed: String,
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedToken({} for key {})", self.token, self.key_id)
    }
}

/// A definition that was given up by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// Number of the definition that was given up.
    pub number: i64,
    /// Its hash, which the composer must not try again.
    pub hash: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Millis,
}

/// What a managed connector shall be. Kept in the connector's row, but for the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// The composer that runs it.
    pub composer: String,
    /// Whether it shall run.
    pub requested: RequestedStatus,
    /// Since when.
    pub requested_at: Millis,
    /// Whether an instance runs, as its composer said last; `None`: none was made yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentStatus>,
    /// Number of its definition.
    pub number: i64,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SealedToken>,
    /// Whether it came from a `connectors.yaml`, so that one may remove it.
    #[serde(default)]
    pub declared: bool,
    /// When somebody asked for a new instance without any other change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Millis>,
    /// The definition that was given up for the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// Number of the definition that ran well last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<i64>,
    /// What it is started as.
    #[serde(skip)]
    pub definition: Definition,
}

/// What a connector is started as. Its secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Id of the catalog that its contract is from.
    pub catalog: String,
    /// Its contract as it was ([`Contract::document`]).
    pub contract: Value,
    /// Its image with tag or digest, as the contract hash has it.
    pub image: String,
    /// Its type, e.g. `EXTERNAL_IMPORT`.
    pub kind: String,
    /// Its configuration.
    pub entries: Vec<Entry>,
    /// The composer's key that what is sealed in it can be opened with.
    pub key_id: String,
    /// Keyed fingerprints of its secrets, by key; a secret without one was given in another way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fingerprints: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default)]
    pub runtime: Runtime,
    /// How it is started.
    pub launch: Launch,
    /// Whether it stays at its version although there are newer ones.
    #[serde(default)]
    pub pinned: bool,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            catalog: String::new(),
            contract: Value::Null,
            image: String::new(),
            kind: ConnectorType::ExternalImport.name().to_owned(),
            entries: Vec::new(),
            key_id: String::new(),
            fingerprints: BTreeMap::new(),
            runtime: Runtime::default(),
            launch: Launch::Image {
                image: String::new(),
            },
            pinned: false,
        }
    }
}

impl Definition {
    /// Its contract.
    ///
    /// # Errors
    /// The stored contract cannot be read, which only a newer version of it causes.
    pub fn contract(&self) -> Result<Contract, ContractFault> {
        Contract::read(&self.contract)
    }

    fn said(&self, key: &str) -> &str {
        self.contract
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The slug of its contract.
    #[must_use]
    pub fn slug(&self) -> &str {
        self.said("slug")
    }

    /// The version of its contract.
    #[must_use]
    pub fn version(&self) -> &str {
        self.said("container_version")
    }

    /// The image of its contract without tag.
    #[must_use]
    pub fn image_name(&self) -> &str {
        self.said("container_image")
    }

    /// The title of its contract.
    #[must_use]
    pub fn title(&self) -> &str {
        self.said("title")
    }

    /// Keys of its secrets that only another key of a composer than `key_id` can open.
    #[must_use]
    pub fn sealed_for_another(&self, key_id: &str) -> Vec<&str> {
        if self.key_id == key_id {
            return Vec::new();
        }
        self.sealed_keys()
    }

    /// Keys of what is sealed.
    #[must_use]
    pub fn sealed_keys(&self) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.encrypted)
            .map(|entry| entry.key.as_str())
            .collect()
    }

    /// What of it says more than upstream's hash covers; empty where it says nothing more.
    fn beyond_upstream(&self) -> String {
        let plain = self.runtime == Runtime::default()
            && matches!(&self.launch, Launch::Image { image } if *image == self.image);
        if plain {
            return String::new();
        }
        let text = serde_json::json!([self.runtime, self.launch]).to_string();
        format!("|{:x}", Sha256::digest(text))
    }
}

impl Managed {
    /// What is stored of a connector; `None`: it is not managed.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub fn of(
        snapshot: &Snapshot<'_>,
        connector: &Connector,
    ) -> Result<Option<Self>, ConnectorError> {
        let Some(mut managed) = Self::without_definition(connector)? else {
            return Ok(None);
        };
        let stored = snapshot
            .definition(&connector.id, managed.number)?
            .ok_or_else(|| {
                StoreError::Corrupt(format!(
                    "the managed connector {} has no definition {}",
                    connector.id, managed.number
                ))
            })?;
        managed.definition = read(&connector.id, stored.document)?;
        Ok(Some(managed))
    }

    /// The same without its definition, which is another row.
    pub(crate) fn without_definition(
        connector: &Connector,
    ) -> Result<Option<Self>, ConnectorError> {
        connector
            .manager
            .as_ref()
            .map(|manager| {
                Self::deserialize(manager).map_err(|error| corrupt(&connector.id, &error).into())
            })
            .transpose()
    }

    /// The whole environment as a composer is given it: what is sealed stays sealed.
    #[must_use]
    pub fn environment(&self, connector: &Connector, proxy: &Proxy) -> Vec<Entry> {
        environment::for_composer(
            &self.definition.entries,
            Identity {
                id: &connector.id,
                name: &connector.name,
                connector_type: &self.definition.kind,
            },
            self.token.as_ref().map(|token| token.sealed.as_str()),
            proxy,
        )
    }

    /// The contract hash: changes with everything that needs another instance. It is upstream's as long as nothing is said that upstream
    /// cannot say.
    #[must_use]
    pub fn hash(&self, connector: &Connector, proxy: &Proxy) -> String {
        self.hash_of(&self.environment(connector, proxy), connector)
    }

    pub(crate) fn hash_of(&self, environment: &[Entry], connector: &Connector) -> String {
        let since = self
            .restarted_at
            .map_or(connector.state_at, |at| at.max(connector.state_at));
        let since = format_date(since) + &self.definition.beyond_upstream();
        contract_hash(&self.definition.image, environment, Some(&since))
    }
}

/// Reads a stored definition.
pub(crate) fn read(connector: &str, document: Value) -> Result<Definition, ConnectorError> {
    serde_json::from_value(document).map_err(|error| corrupt(connector, &error).into())
}

fn corrupt(connector: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!(
        "what is stored of the managed connector {connector} cannot be read: {error}"
    ))
}

/// What a composer said of a connector last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reported {
    /// When it said something last.
    #[serde(skip)]
    pub at: Millis,
    /// The hash of the definition that it spoke of; empty: its protocol has no such thing.
    pub hash: String,
    /// The state; `None`: its protocol has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why.
    pub reason: String,
    /// Since when the state and the reason are the same.
    pub since: Millis,
    /// Since when the instance runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// How often it was started again.
    pub restarts: u64,
    /// Whether it ends again and again.
    pub reboot_loop: bool,
    /// Memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// When the figures were told; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_at: Option<Millis>,
    /// Where the composer goes on reading the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_cursor: Option<String>,
}

impl Reported {
    /// What was said of a connector last; `None`: nothing yet.
    ///
    /// # Errors
    /// The store failed.
    pub fn of(snapshot: &Snapshot<'_>, connector: &str) -> Result<Option<Self>, ConnectorError> {
        let stored = snapshot.connector_report(connector)?;
        Ok(stored.map(|stored| {
            // a report of another version of this program says less, and is soon replaced
            let reported: Self = serde_json::from_value(stored.document).unwrap_or_default();
            Self {
                at: stored.at,
                ..reported
            }
        }))
    }
}
