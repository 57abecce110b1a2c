//! The actor: on whose behalf something is read or written.

use ferrocti_model::StixId;
use uuid::Uuid;

use crate::{Capabilities, names};

/// Which marking definitions an actor may see and use.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What the user may do.
    pub capabilities: Capabilities,
    /// What the user may see and use.
    pub markings: Markings,
    /// The highest confidence, 0 to 100, that the user's data may carry.
    pub max_confidence: u8,
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
            capabilities: Capabilities::administrator(),
            markings: Markings::All,
            max_confidence: 100,
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

    /// The confidence that counts: what was given, at most the user's maximum; the maximum where nothing was given.
    #[must_use]
    pub fn cap_confidence(&self, given: Option<u8>) -> u8 {
        given.map_or(self.max_confidence, |given| given.min(self.max_confidence))
    }
}
