//! Capabilities: upstream's names, where a longer name implies its parents (`KNOWLEDGE_KNUPDATE_KNDELETE` implies `KNOWLEDGE_KNUPDATE` and `KNOWLEDGE`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Names of the capabilities that operations ask for.
pub mod names {
    /// Everything is allowed, no marking hides anything.
    pub const BYPASS: &str = "BYPASS";
    /// Read knowledge.
    pub const KNOWLEDGE: &str = "KNOWLEDGE";
    /// Create and update knowledge.
    pub const KNOWLEDGE_UPDATE: &str = "KNOWLEDGE_KNUPDATE";
    /// Use the connector protocol: register, ping, works, bundles.
    pub const CONNECTOR_API: &str = "CONNECTORAPI";
    /// See connectors, queues and works.
    pub const MODULES: &str = "MODULES";
    /// Manage connectors: reset, restore, delete.
    pub const MODULES_MANAGE: &str = "MODULES_MODMANAGE";
    /// Create marking definitions.
    pub const SET_MARKINGS: &str = "SETTINGS_SETMARKINGS";
    /// Create labels, kill chain phases and vocabulary entries.
    pub const SET_LABELS: &str = "SETTINGS_SETLABELS";
    /// Manage users and their tokens.
    pub const SET_ACCESSES: &str = "SETTINGS_SETACCESSES";
}

/// What a connector's own service account may do: read, create, update and upload knowledge, speak the connector protocol,
/// create the markings and labels that its data needs. No `BYPASS`, no management of other connectors.
const CONNECTOR: &[&str] = &[
    "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS",
    "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE",
    "KNOWLEDGE_KNUPDATE_KNDELETE",
    "KNOWLEDGE_KNUPLOAD",
    "KNOWLEDGE_KNASKIMPORT",
    "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT",
    "KNOWLEDGE_KNENRICHMENT",
    names::CONNECTOR_API,
    names::MODULES,
    "TAXIIAPI",
    "INGESTION",
    names::SET_MARKINGS,
    names::SET_LABELS,
];

/// The capabilities that a user holds, by name, without the implied parents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// The administrator's: everything.
    #[must_use]
    pub fn administrator() -> Self {
        [names::BYPASS].into_iter().collect()
    }

    /// What a connector's service account needs and nothing more.
    #[must_use]
    pub fn connector() -> Self {
        CONNECTOR.iter().copied().collect()
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn bypass(&self) -> bool {
        self.0.contains(names::BYPASS)
    }

    /// Whether the capability is held, by name, through a descendant, or through `BYPASS`.
    #[must_use]
    pub fn holds(&self, capability: &str) -> bool {
        self.bypass()
            || self.0.iter().any(|held| {
                held.strip_prefix(capability)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
    }

    /// The names held, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'a> FromIterator<&'a str> for Capabilities {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_implies_its_parents_but_not_its_siblings_or_children() {
        let held: Capabilities = ["KNOWLEDGE_KNUPDATE_KNDELETE", "MODULES"]
            .into_iter()
            .collect();
        for (capability, expected) in [
            ("KNOWLEDGE_KNUPDATE_KNDELETE", true),
            ("KNOWLEDGE_KNUPDATE", true),
            ("KNOWLEDGE", true),
            ("KNOW", false),
            ("KNOWLEDGE_KNUPLOAD", false),
            ("MODULES", true),
            ("MODULES_MODMANAGE", false),
            ("BYPASS", false),
        ] {
            assert_eq!(held.holds(capability), expected, "{capability}");
        }
    }

    #[test]
    fn bypass_holds_everything() {
        assert!(Capabilities::administrator().holds("SETTINGS_SETACCESSES"));
    }

    #[test]
    fn a_connector_may_deliver_but_not_manage() {
        let connector = Capabilities::connector();
        assert!(connector.holds(names::CONNECTOR_API) && connector.holds(names::KNOWLEDGE_UPDATE));
        assert!(!connector.holds(names::MODULES_MANAGE) && !connector.holds(names::SET_ACCESSES));
        assert!(!connector.bypass());
    }
}
