//! What is there: instances as an orchestrator lists them, and what the platform has seen of them.

use std::collections::BTreeMap;

use ferrocti_model::clock::Millis;

use crate::{ConnectorId, Place};

/// The instances that carry this composer's labels.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Those that were found.
    pub instances: Vec<Instance>,
    /// Where there may be more, and why; empty: these are all. Nothing is created or deleted where the listing is incomplete.
    pub incomplete: BTreeMap<Place, String>,
}

impl Listing {
    /// The listing of a place that could not be asked.
    pub fn failed(place: Place, why: impl Into<String>) -> Self {
        Self {
            instances: Vec::new(),
            incomplete: BTreeMap::from([(place, why.into())]),
        }
    }
}

/// One container or process of a connector, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The orchestrator's own name of it.
    pub handle: String,
    /// Where it is.
    pub place: Place,
    /// The connector that it belongs to.
    pub connector: ConnectorId,
    /// The revision of the definition that it was made from.
    pub revision: String,
    /// What it is doing.
    pub phase: Phase,
    /// When it was last started.
    pub started_at: Option<Millis>,
    /// How often the engine, not the composer, started it again.
    pub restarts: u32,
    /// The last line that it wrote, when it has ended and its log was looked at; no orchestrator fills it in.
    pub said: Option<String>,
}

impl Instance {
    /// Whether it may be doing something right now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running | Phase::Restarting | Phase::Paused
        )
    }
}

/// What an instance is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started.
    Created,
    /// It runs.
    Running,
    /// The engine is about to start it again.
    Restarting,
    /// Somebody froze it.
    Paused,
    /// It ended.
    Exited {
        /// The exit code where it is known, negative for a signal; for people to read, nothing is decided by it.
        code: Option<i32>,
        /// When it ended, where that is known.
        at: Option<Millis>,
    },
    /// It can neither run nor be started; the text says why.
    Broken(String),
}

/// What the platform has seen of a connector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Its last ping or registration.
    pub last_seen: Option<Millis>,
}
