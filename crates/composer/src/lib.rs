//! The composer: runs connectors on a host or a container engine, as the platform asks.
//!
//! [`decide`] compares what is wanted with what is there and answers with at most one action per connector, a state that is true, and the
//! reason in words; it reads no clock, touches nothing and can be tested to the last corner. See `docs/development/composer.md`.

pub mod decide;
mod definition;
pub mod docker;
mod engine;
mod instance;
pub mod keys;
pub mod orchestrator;
pub mod permits;
pub mod platform;
pub mod process;
mod routed;
mod state;

pub use decide::{Action, Decision, Input, Memory, Plan, Policy, Sight, Track, decide};
pub use definition::{
    Definition, EnvVar, Limits, Options, Place, Requested, Restart, Source, Value, Wanted,
};
pub use docker::{DockerOrchestrator, DockerSettings, Registry};
pub use engine::{Engine, EngineSettings};
pub use ferrocti_catalog::{Secret, launch::Mount};
pub use instance::{Evidence, Instance, Listing, Phase};
pub use orchestrator::{Failure, Foreign, LogPage, LogQuery, Orchestrator, Stats, follow};
pub use permits::{Commands, Permits};
pub use platform::Platform;
pub use process::{ProcessOrchestrator, ProcessSettings};
pub use routed::Routed;
pub use state::{Current, State};

/// The id that a connector gives itself: any text, not necessarily a UUID.
pub type ConnectorId = String;
