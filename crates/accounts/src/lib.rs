//! Users, groups, roles, tokens and sessions: who somebody is, what follows from it, and the record of who changed it.
//!
//! [`Accounts`] is the handle: it authenticates, administers, and answers what a user may do and why. [`rights()`] and [`visibility()`] give
//! what follows for a user on a snapshot. Rules are in `docs/guide/security.md`.

mod acting;
mod boot;
mod change;
mod check;
mod composer;
mod connector;
mod doctor;
mod error;
mod explain;
mod groups;
mod guard;
pub mod ids;
mod login;
mod rights;
mod roles;
mod sessions;
mod settings;
mod tokens;
mod users;

use std::sync::Arc;

use ferrocti_model::clock::{Clock, Entropy};
use ferrocti_store::Store;

pub use acting::{Acting, Origin, Scope, Subject, record, record_refusal};
pub use boot::{AdminSettings, CONNECTORS_GROUP, Generated};
pub use connector::{
    add_service_account, end_token, issue_token, lend, may_direct, service_address,
};
pub use doctor::{Finding, Severity};
pub use error::{AccountError, LoginRefusal, Result};
pub use explain::Explained;
pub use groups::{GroupPatch, NewGroup};
pub use login::Authenticated;
pub use rights::{Barred, admitted, markings, rights, rights_of_any, visibility};
pub use roles::RolePatch;
pub use sessions::{OpenedSession, SessionLimits};
pub use settings::{password_policy, set_password_policy};
pub use tokens::Lifetime;
pub use users::{NewUser, SelfPatch, UserPatch};

/// The accounts of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    sessions: SessionLimits,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accounts")
    }
}

impl Accounts {
    /// The accounts kept in a store.
    #[must_use]
    pub fn new(store: Store, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            entropy,
            clock,
            sessions: SessionLimits::default(),
        }
    }

    /// With other limits for sessions than the default ones.
    #[must_use]
    pub fn with_sessions(mut self, limits: SessionLimits) -> Self {
        self.sessions = limits;
        self
    }
}
