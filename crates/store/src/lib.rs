//! The transactional store: knowledge, history, works, connectors and users in one SQLite file.
//!
//! [`Store::write`] runs a closure in a durable, shared transaction; [`Store::read`] runs one on a consistent snapshot. All SQL of the platform
//! is here, as typed methods of [`Snapshot`] and [`Tx`], one file per subject. Rules (what a merge does, who may) are not.
//! The layout and its reasons: `docs/development/architecture.md`.

mod audit;
mod check;
mod composers;
mod connection;
mod connectors;
mod counts;
mod edges;
mod error;
pub mod find;
pub mod fold;
mod groups;
mod history;
mod inputs;
mod lease_check;
mod leases;
mod lock;
mod maintenance;
mod markings;
mod objects;
mod parked;
mod queue;
mod relationships;
mod rights;
mod roles;
mod schema;
mod search;
mod sessions;
mod settings;
mod snapshot;
mod store;
mod tokens;
mod users;
mod works;
mod writer;
#[cfg(feature = "yardstick")]
pub mod yardstick;

pub use audit::{AuditEntry, AuditQuery, NewAudit};
pub use check::Problem;
pub use composers::{Composer, LogLine, StoredDefinition, StoredReport, Tombstone};
pub use connectors::{Connector, StateVersion};
pub use edges::Edge;
pub use error::{Result, StoreError};
pub use ferrocti_model::filter::Side;
pub use find::{Cursor, ObjectQuery, OrderKey, Page};
pub use groups::{DefaultMarkings, Group, MaxShareable};
pub use history::{Event, HistoryEntry, Operation};
pub use inputs::Inputs;
pub use leases::{Fenced, FencedInstance, Lease, LeaseEvent};
pub use markings::Visibility;
pub use objects::{NewObject, ObjectChange, Stored};
pub use parked::{NewParked, Parked, Waiting};
pub use queue::{NewPush, Push};
pub use relationships::RelationshipQuery;
pub use rights::MarkingDefinition;
pub use roles::Role;
pub use sessions::{LoginFailures, Session};
pub use snapshot::{Snapshot, Tx};
pub use store::{Durability, Options, Store};
pub use tokens::Token;
pub use users::{User, UserStatus};
pub use works::{Note, NoteKind, Work, WorkOrder, WorkQuery, WorkStatus};

/// Row number of an object: positive, growing, never reused.
pub type Iid = i64;
