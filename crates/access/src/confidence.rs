//! Confidence levels: how far the data of a user counts, as it is set on users and groups, and what follows from all of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The highest level.
pub const MAX: u8 = 100;

/// A level as it is set on a user or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// For every type, 0 to 100; `None`: not set.
    pub max: Option<u8>,
    /// For single types, by name; without a type hierarchy.
    #[serde(default)]
    pub overrides: BTreeMap<String, u8>,
}

impl Level {
    /// One level for every type.
    #[must_use]
    pub fn of(max: u8) -> Self {
        Self {
            max: Some(max.min(MAX)),
            overrides: BTreeMap::new(),
        }
    }
}

/// The level that is in force for a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Confidence {
    /// For types without an override, 0 to 100.
    pub max: u8,
    /// For single types, by name; may be higher or lower than `max`.
    pub overrides: BTreeMap<String, u8>,
}

impl Confidence {
    /// As high as it gets.
    pub const FULL: Self = Self {
        max: MAX,
        overrides: BTreeMap::new(),
    };

    /// One level for every type.
    #[must_use]
    pub fn of(max: u8) -> Self {
        Self {
            max: max.min(MAX),
            overrides: BTreeMap::new(),
        }
    }

    /// The level for a type: its override, or the general one.
    #[must_use]
    pub fn level(&self, entity_type: &str) -> u8 {
        self.overrides.get(entity_type).copied().unwrap_or(self.max)
    }
}
