//! What can be deployed: contracts of connectors, their configuration, sealed secrets, and plans from a declarative file.
//!
//! Everything here is pure: bytes in, values out. Who reads files, asks the network or stores something does so elsewhere.
//!
//! - [`catalog`]: catalogs from upstream's manifests; [`contract`], [`schema`], [`version`]: what is in them; [`generic`], [`local`]: contracts
//!   for what is in no catalog, and for the connector that comes with Ferrocti.
//! - [`configure()`]: values are checked against a contract, coerced, and secrets sealed; [`environment`]: what a connector finds in its environment.
//! - [`keys`], [`seal`], [`secret`]: secrets in upstream's envelope.
//! - [`declared`], [`plan`]: `connectors.yaml`, and what has to be done for it; [`yaml`]: how it is read.

pub mod catalog;
pub mod check;
mod configure;
pub mod contract;
pub mod declared;
pub mod environment;
pub mod generic;
mod hash;
pub mod keys;
pub mod launch;
pub mod local;
pub mod names;
pub mod plan;
mod read;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod version;
pub mod yaml;

pub use catalog::{Broken, Catalog, Filter, Lookup, ManifestError, search};
pub use configure::{
    Configured, Entry, Extra, Given, Invalid, Notice, Request, configure, recheck,
};
pub use contract::{Compatibility, ConnectorType, Contract, ContractFault, Remark};
pub use hash::contract_hash;
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use read::FieldFault;
pub use schema::{Kind, Property, Schema, SchemaFault};
pub use seal::{Envelope, SealError};
pub use secret::Secret;
