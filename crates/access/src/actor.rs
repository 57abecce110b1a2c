//! The actor: on whose behalf something is read or written.

use std::hash::{DefaultHasher, Hash, Hasher};

use ferrocti_model::StixId;
use uuid::Uuid;

use crate::{Capabilities, Confidence, names};

/// Which marking definitions an actor may see and use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Markings {
    /// All of them, also those that do not exist yet.
    All,
    /// These, by standard id.
    Only(Vec<StixId>),
}

/// On whose behalf something is read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user's id (GraphQL `id`).
    pub user_id: Uuid,
    /// The user's row in the store, which history events refer to.
    pub user_row: i64,
    /// Name to show.
    pub name: String,
    /// E-mail address, by which the audit names the user.
    pub email: String,
    /// What the user may do.
    pub capabilities: Capabilities,
    /// What the user may see and use.
    pub markings: Markings,
    /// How far the user's data counts; `None`: no group and no setting says so, and the user may write nothing.
    pub confidence: Option<Confidence>,
    /// Nothing records the user as the creator of what it writes.
    pub no_creators: bool,
    /// The user may delete only what it created.
    pub restrict_delete: bool,
    /// A program's account, without a password.
    pub service_account: bool,
}

impl Actor {
    /// Id of the platform itself, which acts where no person or connector does; the same on every platform.
    pub const SYSTEM_ID: Uuid = Uuid::from_u128(0x6a4b_11e1_90ca_4e42_ba42_db7b_c7f7_d505);
    /// Id of the first administrator; the same on every platform.
    pub const ADMIN_ID: Uuid = Uuid::from_u128(0x88ec_0c6a_13ce_5e39_b486_354f_e4a7_084f);

    /// The platform itself. `user_row` is the row of the system user in the store.
    #[must_use]
    pub fn system(user_row: i64) -> Self {
        Self {
            user_id: Self::SYSTEM_ID,
            user_row,
            name: "SYSTEM".to_owned(),
            email: "SYSTEM".to_owned(),
            capabilities: Capabilities::administrator(),
            markings: Markings::All,
            confidence: Some(Confidence::FULL),
            no_creators: false,
            restrict_delete: false,
            service_account: true,
        }
    }

    /// Whether nothing is refused to this actor.
    #[must_use]
    pub fn bypass(&self) -> bool {
        self.capabilities.bypass()
    }

    /// Whether this actor may see and use a marking.
    #[must_use]
    pub fn may_use_marking(&self, marking: StixId) -> bool {
        self.bypass()
            || match &self.markings {
                Markings::All => true,
                Markings::Only(allowed) => allowed.contains(&marking),
            }
    }

    /// Whether this actor may act in the name of another user (`opencti-applicant-id`, the applicant of a message).
    #[must_use]
    pub fn may_impersonate(&self) -> bool {
        self.capabilities.holds(names::BYPASS)
    }

    /// The highest confidence, 0 to 100, that the actor's data of a type may carry; `None`: the actor may write nothing.
    #[must_use]
    pub fn level(&self, entity_type: &str) -> Option<u8> {
        Some(self.confidence.as_ref()?.level(entity_type))
    }

    /// The confidence that counts for data of a type: what was given, at most the actor's level; the level where nothing was given.
    /// `None`: the actor may write nothing.
    #[must_use]
    pub fn cap_confidence(&self, entity_type: &str, given: Option<u8>) -> Option<u8> {
        let level = self.level(entity_type)?;
        Some(given.map_or(level, |given| given.min(level)))
    }

    /// Whether the actor is recorded as creator of what it writes.
    #[must_use]
    pub fn is_creator(&self) -> bool {
        !self.no_creators && self.user_id != Self::SYSTEM_ID
    }

    /// A number that changes with every right that decides what becomes of an input of this actor. It is not stable across
    /// releases: who remembers it must only conclude "as before" from equality.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.user_id.hash(&mut hasher);
        self.markings.hash(&mut hasher);
        self.confidence.hash(&mut hasher);
        self.no_creators.hash(&mut hasher);
        for capability in self.capabilities.iter() {
            capability.hash(&mut hasher);
        }
        hasher.finish()
    }
}
