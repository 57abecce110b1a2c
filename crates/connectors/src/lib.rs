//! The life of connectors: registration, state and its history, broker credentials, and those that a composer runs ([`managed`]).

pub mod catalogs;
pub mod declared;
mod error;
mod keys;
pub mod lease;
mod login;
pub mod managed;
mod registration;
mod registry;
pub mod state;

pub use error::ConnectorError;
pub use keys::PlatformKey;
pub use login::BrokerLogin;
pub use registration::Registration;
pub use registry::{Connectors, is_active};
