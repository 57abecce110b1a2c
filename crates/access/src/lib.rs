//! Who may do what: actors, capabilities, rights, tokens, and decisions that can explain themselves.
//!
//! Everything here is pure: the facts about users, groups and roles are read by others, [`rights()`] computes what follows from them, and
//! [`may`] answers without looking anywhere else.

mod actor;
pub mod capability;
mod confidence;
mod decision;
pub mod explain;
pub mod password;
mod rights;
pub mod token;

pub use actor::{Actor, Markings};
pub use capability::{CAPABILITIES, Capabilities, CapabilityInfo, names};
pub use confidence::{Confidence, Level, MAX as MAX_CONFIDENCE};
pub use decision::{Action, Decision, Denial, Target, may};
pub use rights::{
    EffectiveLevel, GroupFacts, LevelSource, MarkingFacts, MarkingGrant, Rights, RoleFacts,
    Shareable, UserFacts, rights,
};
