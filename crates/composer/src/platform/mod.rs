//! What the composer needs of a platform. Each protocol is one implementation; the engine does the rest.
//!
//! Secrets arrive sealed, as the platform keeps them; only the engine has the key. No implementation retries, remembers what to do, or
//! decides anything: it asks once and tells what it was answered.

mod ferrocti;
mod found;
mod http;
mod opencti;
mod wire;

use std::{collections::BTreeSet, future::Future, pin::Pin, time::Duration};

use ferrocti_catalog::{
    Entry,
    launch::{Launch, Runtime},
};
use ferrocti_model::clock::Millis;

pub use self::{
    ferrocti::Ferrocti,
    found::{Found, Protocol},
    http::{Access, PlatformError},
    opencti::OpenCti,
};
use crate::{ConnectorId, Current, Requested, State};

/// The future of a question; boxed, so that platforms can be chosen at run time.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// Why a question has no answer. The texts are for operators; they never hold a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The platform cannot be asked now: no connection, no answer in time, an answer that is none. It is asked again.
    #[error("{0}")]
    Away(String),
    /// It does not know this composer (any more): the engine registers again.
    #[error("{0}")]
    Unregistered(String),
    /// It has understood and refuses: a token that does not work, missing rights. It is asked again, slowly; somebody has to change something.
    #[error("{0}")]
    Refused(String),
}

/// A platform that defines connectors. All questions may be repeated, and may be asked at the same time.
pub trait Platform: Send + Sync {
    /// Makes this composer and its key known, or renews that.
    fn register<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()>;

    /// Says that this composer is there.
    fn alive<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()>;

    /// The connectors of this composer. An answer is whole: what could only be read in part is `Away`, and a connector that cannot be
    /// understood is in it with its `fault`.
    fn work(&self) -> Reply<'_, Work>;

    /// Waits until something has changed since the `version` of an answer to [`Platform::work`]; `false`: nothing has within `wait`.
    /// A platform that cannot tell waits for as long as it wants to be left alone (or `wait`, when that is less) and answers `true`.
    fn changed<'a>(&'a self, version: &'a str, wait: Duration) -> Reply<'a, bool>;

    /// Tells what has become of connectors. Ids that the platform no longer knows are no error. Where it takes more than one request, what was
    /// told is not told again when a later one fails, or harmlessly so: the engine repeats the report as a whole.
    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()>;

    /// Which of these, which have instances here and were missing in an answer to [`Platform::work`], the platform says one by one not to exist.
    /// A platform with tombstones answers with none.
    fn gone<'a>(&'a self, connectors: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>>;

    /// How often it wants to be told that the composer is alive.
    fn alive_every(&self) -> Duration;
}

/// Who this composer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The public half of its key, PKCS#1 in PEM.
    pub public_key: String,
    /// The version of this program.
    pub version: String,
    /// What it runs connectors on: `process`, `docker`.
    pub orchestrators: Vec<String>,
}

/// What the platform asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// Names this answer, for [`Platform::changed`]; empty where the platform has no such name.
    pub version: String,
    /// The connectors of this composer.
    pub connectors: Vec<Assigned>,
    /// Connectors that the platform says to have been deleted, until it is told that nothing is left of them.
    pub tombstones: BTreeSet<ConnectorId>,
    /// Those of which an operator has confirmed the removal.
    pub approved: BTreeSet<ConnectorId>,
}

/// One connector, as the platform defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    /// Its id.
    pub id: ConnectorId,
    /// Its name, for people.
    pub name: String,
    /// Whether it shall run.
    pub requested: Requested,
    /// The contract hash: changes with everything that needs another instance.
    pub hash: String,
    /// How it is started.
    pub launch: Launch,
    /// Within which limits, and with what beside.
    pub runtime: Runtime,
    /// Its configuration; secrets are sealed.
    pub configuration: Vec<Entry>,
    /// How long ago, at the moment of the answer, the platform has last heard from it; `None`: never.
    pub last_seen: Option<Duration>,
    /// The [`Logs::cursor`] that the platform was told last, where it keeps that.
    pub log_cursor: Option<String>,
    /// Why nothing can be made of this definition, in words for an operator; what of it could be read is in the other fields.
    pub fault: Option<String>,
}

/// What has become of connectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The connectors that there is something to say of; each at most once.
    pub connectors: Vec<Reported>,
    /// Deleted connectors of which nothing is left here.
    pub removed: BTreeSet<ConnectorId>,
    /// Deletions that wait for an operator's confirmation.
    pub held: BTreeSet<ConnectorId>,
    /// Why something is held back that is not the matter of one connector; `None`: nothing is.
    pub blocked: Option<String>,
}

/// What has become of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Its id.
    pub id: ConnectorId,
    /// The hash of the definition that this was decided on.
    pub hash: String,
    /// Its state.
    pub state: State,
    /// Why, in words.
    pub reason: String,
    /// Upstream's word for whether an instance runs; `None`: none was made, or it is not known.
    pub current: Option<Current>,
    /// The hash of the definition that was given up for the one before it.
    pub rejected: Option<String>,
    /// Whether something of the above is other than the platform was told last by this engine.
    pub changed: bool,
    /// Figures, when it is time for them and an instance runs.
    pub health: Option<Health>,
    /// What it has written since the last time; `None`: nothing.
    pub logs: Option<Logs>,
}

/// Figures of a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Since when it runs.
    pub started_at: Option<Millis>,
    /// How often it was started again since it was defined or asked for.
    pub restarts: u32,
    /// Whether it ends again and again.
    pub crash_looping: bool,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
}

/// Lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// New lines, oldest first.
    pub lines: Vec<String>,
    /// Where the next ones begin; nothing but the engine understands it.
    pub cursor: String,
}
