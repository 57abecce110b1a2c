//! Who may do what: actors, capabilities, tokens, and decisions that can explain themselves.
//!
//! Everything here is pure: an [`Actor`] is read from the store by others, and [`may`] answers without looking anywhere else.

mod actor;
mod capability;
mod decision;
pub mod password;
pub mod token;

pub use actor::{Actor, Markings};
pub use capability::{Capabilities, names};
pub use decision::{Action, Decision, Denial, may};
