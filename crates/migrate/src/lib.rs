//! Taking over a standalone connector: what runs now is read, mapped to a contract and planned, and the steps of the migration are decided.
//!
//! Everything here is pure: values in, values out. Who reads files, asks engines and the platform, or stores something does so elsewhere.
//!
//! - [`compose`]: Compose files as people write them; [`config_yml`]: a connector's own `config.yml`.
//! - [`recognise`]: which services are connectors; [`map`]: their environment against a contract, and what differs afterwards.
//! - [`plan`]: findings, estimates and the hash of a plan; [`saga`]: the steps of a migration, and the way back from each;
//!   [`bulk`]: many at once; [`history`]: whether what has happened keeps the invariants.

pub mod bulk;
pub mod compose;
pub mod config_yml;
pub mod history;
pub mod map;
pub mod plan;
pub mod recognise;
pub mod saga;
