//! What a plan is made from: everything that is known of a connector, of where it runs, and of where it shall run.
//!
//! What changes by itself while a connector runs is in [`Passing`] and no part of a plan's hash; all else is, so that a plan is refused once it is no
//! longer about what is there.

use ferrocti_catalog::ConnectorType;
use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize};

/// A connector as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type, e.g. `EXTERNAL_IMPORT`.
    pub connector_type: String,
    /// What it listens to or makes.
    pub scope: Vec<String>,
    /// The version that it registered with, when it told one.
    pub version: Option<String>,
    /// Whether a composer runs it already.
    pub managed: bool,
}

impl Registered {
    /// The type, when it is one that is known.
    #[must_use]
    pub fn kind(&self) -> Option<ConnectorType> {
        ConnectorType::of(&self.connector_type)
    }
}

/// The user that a connector works as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is there and let in.
    pub let_in: bool,
    /// Whether it is a service account.
    pub service_account: bool,
    /// Whether it is the administrator that the platform itself sets up.
    pub bootstrap: bool,
    /// Rights that no connector needs, e.g. `BYPASS`.
    pub privileges: Vec<String>,
    /// Whether somebody logs in with it.
    pub human: bool,
    /// What else works as this user: names of other connectors, or `workers`.
    pub shared_by: Vec<String>,
    /// What else uses the same token, as far as it is known.
    pub token_shared_by: Vec<String>,
}

/// The contract that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractFacts {
    /// Its slug.
    pub slug: String,
    /// Its version.
    pub version: String,
    /// Its type.
    pub connector_type: String,
    /// Whether it says that it can be managed.
    pub supported: bool,
    /// Whether it fits the platform.
    pub compatible: bool,
}

/// What runs the connector today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunsAs {
    /// A container.
    Container,
    /// A process.
    Process,
    /// Nobody knows: it was found in a file, or only on the platform.
    #[default]
    Unknown,
}

/// Something of the machine that the connector sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Path or name of a volume; `None`: a volume without a name.
    pub source: Option<String>,
    /// Where it is seen.
    pub target: String,
    /// Whether it may only be read.
    pub read_only: bool,
    /// Whether the composer's own settings allow it.
    pub allowed: bool,
}

/// Where a connector runs today.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// As what.
    pub runs_as: RunsAs,
    /// The composer that can stop it; `None`: it is out of reach.
    pub reached_by: Option<String>,
    /// The machine, when it is known.
    pub host: Option<String>,
    /// Name of its container, process or service in a file, for people.
    pub named: Option<String>,
    /// Its image as it was named.
    pub image: Option<String>,
    /// The digest of that image.
    pub digest: Option<String>,
    /// Its command, when it is a process; only whether there is one matters here.
    pub command: bool,
    /// When it is started again.
    pub restart: Option<String>,
    /// How many instances the definition starts.
    pub replicas: u32,
    /// What it sees of the machine.
    pub mounts: Vec<Mounted>,
    /// Its networks.
    pub networks: Vec<String>,
    /// A mode in place of networks.
    pub network_mode: Option<String>,
    /// The id that its environment says; `None`: it says none.
    pub says_id: Option<String>,
    /// Whether it uses a broker that is not the platform's own (`MQ_*`).
    pub other_broker: bool,
}

/// Where it shall run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// The composer; `None`: there is none.
    pub composer: Option<String>,
    /// Its machine, when it is known.
    pub host: Option<String>,
    /// What it can run: `docker`, `process`.
    pub orchestrators: Vec<String>,
    /// What its settings say against the image or command, in words.
    pub refused: Option<String>,
    /// Whether secrets can be sealed for it.
    pub has_key: bool,
    /// Networks of the source that it does not have.
    pub missing_networks: Vec<String>,
}

/// What changes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Passing {
    /// The current time.
    pub now: Millis,
    /// Whether the composer has been heard of lately.
    pub composer_alive: bool,
    /// The last heartbeat of the connector.
    pub last_ping: Option<Millis>,
    /// Whether that is fresh.
    pub live: bool,
    /// Addresses of instances that use the id.
    pub instances: Vec<String>,
    /// The hash of its state; `None`: it has none.
    pub state_hash: Option<String>,
    /// When the state was last written.
    pub state_at: Option<Millis>,
    /// The end of its last run.
    pub last_run: Option<Millis>,
    /// The beginning of its next run.
    pub next_run: Option<Millis>,
    /// Whether it ends after each run.
    pub run_and_terminate: bool,
    /// Whether it waits because its queue is full.
    pub buffering: bool,
    /// Works of its that are not complete.
    pub running_works: u64,
    /// Messages that the platform has still to ingest.
    pub push_queue: u64,
    /// Messages that wait for the connector.
    pub listen_queue: u64,
    /// Another migration of the connector that is going on.
    pub locked_by: Option<String>,
}

/// Everything that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The connector.
    pub connector: Registered,
    /// Its user.
    pub user: User,
    /// Its contract; `None`: it is in no catalog.
    pub contract: Option<ContractFacts>,
    /// Where it runs.
    pub running: Running,
    /// Where it shall run.
    pub target: Target,
    /// What changes by itself.
    pub passing: Passing,
}
