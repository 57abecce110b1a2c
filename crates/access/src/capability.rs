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
    /// Delete knowledge.
    pub const KNOWLEDGE_DELETE: &str = "KNOWLEDGE_KNUPDATE_KNDELETE";
    /// Merge knowledge.
    pub const KNOWLEDGE_MERGE: &str = "KNOWLEDGE_KNUPDATE_KNMERGE";
    /// Write notes and opinions of one's own.
    pub const KNOWLEDGE_PARTICIPATE: &str = "KNOWLEDGE_KNPARTICIPATE";
    /// Upload files.
    pub const KNOWLEDGE_UPLOAD: &str = "KNOWLEDGE_KNUPLOAD";
    /// Share with organizations.
    pub const ORGANIZATION_RESTRICT: &str = "KNOWLEDGE_KNUPDATE_KNORGARESTRICT";
    /// Use the connector protocol: register, ping, works, bundles.
    pub const CONNECTOR_API: &str = "CONNECTORAPI";
    /// See connectors, queues and works.
    pub const MODULES: &str = "MODULES";
    /// Manage connectors: reset, restore, delete.
    pub const MODULES_MANAGE: &str = "MODULES_MODMANAGE";
    /// See what only administrators need.
    pub const SETTINGS: &str = "SETTINGS";
    /// Change settings of the platform.
    pub const SET_PARAMETERS: &str = "SETTINGS_SETPARAMETERS";
    /// Manage users, groups, roles and tokens.
    pub const SET_ACCESSES: &str = "SETTINGS_SETACCESSES";
    /// Create and change marking definitions.
    pub const SET_MARKINGS: &str = "SETTINGS_SETMARKINGS";
    /// Create and change labels.
    pub const SET_LABELS: &str = "SETTINGS_SETLABELS";
    /// Create and change entries of vocabularies.
    pub const SET_VOCABULARIES: &str = "SETTINGS_SETVOCABULARIES";
    /// Create and change kill chain phases.
    pub const SET_KILL_CHAIN_PHASES: &str = "SETTINGS_SETKILLCHAINPHASES";
    /// Read the audit.
    pub const SECURITY_ACTIVITY: &str = "SETTINGS_SECURITYACTIVITY";
    /// Log in with a token.
    pub const USE_TOKEN: &str = "APIACCESS_USETOKEN";
    /// Log in with e-mail and password in each request.
    pub const USE_BASIC: &str = "APIACCESS_USEBASICAUTH";
}

/// A capability as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilityInfo {
    /// Name, which tells its parents.
    pub name: &'static str,
    /// What it allows, in words.
    pub description: &'static str,
    /// Place in lists.
    pub order: u32,
}

const fn info(order: u32, name: &'static str, description: &'static str) -> CapabilityInfo {
    CapabilityInfo {
        name,
        description,
        order,
    }
}

/// All capabilities, in the order in which they are shown. The names and their tree are upstream's (7.x), so that roles carry over.
pub const CAPABILITIES: &[CapabilityInfo] = &[
    info(1, "BYPASS", "Bypass all capabilities"),
    info(100, "KNOWLEDGE", "Access knowledge"),
    info(
        150,
        "KNOWLEDGE_KNPARTICIPATE",
        "Access to collaborative creation",
    ),
    info(
        160,
        "KNOWLEDGE_KNFRONTENDEXPORT",
        "Export what the web interface shows",
    ),
    info(170, "KNOWLEDGE_KNSHAREFILTERS", "Share saved filters"),
    info(200, "KNOWLEDGE_KNUPDATE", "Create / Update knowledge"),
    info(
        290,
        "KNOWLEDGE_KNUPDATE_KNORGARESTRICT",
        "Restrict organization access",
    ),
    info(300, "KNOWLEDGE_KNUPDATE_KNDELETE", "Delete knowledge"),
    info(305, "KNOWLEDGE_KNUPDATE_KNMERGE", "Merge knowledge"),
    info(
        310,
        "KNOWLEDGE_KNUPDATE_KNMANAGEAUTHMEMBERS",
        "Manage authorized members",
    ),
    info(
        320,
        "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE",
        "Bypass enforced reference",
    ),
    info(
        330,
        "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS",
        "Bypass mandatory fields",
    ),
    info(400, "KNOWLEDGE_KNUPLOAD", "Upload knowledge files"),
    info(500, "KNOWLEDGE_KNASKIMPORT", "Import knowledge"),
    info(700, "KNOWLEDGE_KNGETEXPORT", "Download knowledge export"),
    info(
        710,
        "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT",
        "Generate knowledge export",
    ),
    info(
        800,
        "KNOWLEDGE_KNENRICHMENT",
        "Ask for knowledge enrichment",
    ),
    info(
        900,
        "KNOWLEDGE_KNDISSEMINATION",
        "Disseminate files by email",
    ),
    info(1000, "EXPLORE", "Access dashboards"),
    info(1100, "EXPLORE_EXUPDATE", "Create / Update dashboards"),
    info(1200, "EXPLORE_EXUPDATE_EXDELETE", "Delete dashboards"),
    info(1300, "EXPLORE_EXUPDATE_PUBLISH", "Manage public dashboards"),
    info(1400, "INVESTIGATION", "Access investigations"),
    info(
        1410,
        "INVESTIGATION_INUPDATE",
        "Create / Update investigations",
    ),
    info(
        1420,
        "INVESTIGATION_INUPDATE_INDELETE",
        "Delete investigations",
    ),
    info(2000, "MODULES", "Access connectors"),
    info(2100, "MODULES_MODMANAGE", "Manage connector state"),
    info(
        2300,
        "CONNECTORAPI",
        "Connectors API usage: register, ping, export push ...",
    ),
    info(2500, "TAXIIAPI", "Access data sharing"),
    info(2510, "TAXIIAPI_SETCOLLECTIONS", "Manage data sharing"),
    info(2600, "INGESTION", "Access ingestion"),
    info(2610, "INGESTION_SETINGESTIONS", "Manage ingestion"),
    info(2700, "CSVMAPPERS", "Manage data mappers"),
    info(2750, "AUTOMATION", "Use playbooks"),
    info(2760, "AUTOMATION_AUTMANAGE", "Manage playbooks"),
    info(2800, "PIRAPI", "Access priority intelligence requirements"),
    info(
        2810,
        "PIRAPI_PIRUPDATE",
        "Create / Update priority intelligence requirements",
    ),
    info(2900, "APIACCESS", "Access the API"),
    info(2910, "APIACCESS_USETOKEN", "Use API access tokens"),
    info(
        2920,
        "APIACCESS_USEBASICAUTH",
        "Use basic authentication for the API",
    ),
    info(3000, "SETTINGS", "Access to admin functionalities"),
    info(3100, "SETTINGS_SETPARAMETERS", "Manage parameters"),
    info(3200, "SETTINGS_SETACCESSES", "Manage credentials"),
    info(3250, "SETTINGS_SETAUTH", "Manage authentication"),
    info(3300, "SETTINGS_SETMARKINGS", "Manage marking definitions"),
    info(
        3320,
        "SETTINGS_SETDISSEMINATION",
        "Manage dissemination lists",
    ),
    info(3350, "SETTINGS_SETCUSTOMIZATION", "Manage customization"),
    info(3400, "SETTINGS_SETLABELS", "Manage labels"),
    info(3410, "SETTINGS_SETVOCABULARIES", "Manage vocabularies"),
    info(3420, "SETTINGS_SETCASETEMPLATES", "Manage case templates"),
    info(
        3430,
        "SETTINGS_SETSTATUSTEMPLATES",
        "Manage status templates",
    ),
    info(
        3440,
        "SETTINGS_SETKILLCHAINPHASES",
        "Manage kill chain phases",
    ),
    info(3450, "SETTINGS_SETMANAGEXTMHUB", "Manage the hub"),
    info(
        3500,
        "SETTINGS_SECURITYACTIVITY",
        "Access security activity",
    ),
    info(3600, "SETTINGS_FILEINDEXING", "Access to file indexing"),
    info(3700, "SETTINGS_SUPPORT", "Access to support data"),
];

/// What the role Connector may do: read, create, update, delete and upload knowledge, speak the connector protocol, create the
/// markings, labels, vocabulary entries and kill chain phases that its data needs. No `BYPASS`, and no management of other
/// connectors: its own ones a user manages by owning them.
pub const CONNECTOR: &[&str] = &[
    "KNOWLEDGE_KNUPDATE_KNDELETE",
    "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE",
    "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS",
    "KNOWLEDGE_KNUPLOAD",
    "KNOWLEDGE_KNASKIMPORT",
    "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT",
    "KNOWLEDGE_KNENRICHMENT",
    names::MODULES,
    names::CONNECTOR_API,
    "TAXIIAPI",
    names::USE_TOKEN,
    names::SET_MARKINGS,
    names::SET_LABELS,
    names::SET_VOCABULARIES,
    names::SET_KILL_CHAIN_PHASES,
];

/// What the role Default may do: read, and use a token for it.
pub const DEFAULT: &[&str] = &[names::KNOWLEDGE, names::USE_TOKEN];

/// What is known of a capability; `None`: there is none of that name.
#[must_use]
pub fn capability(name: &str) -> Option<&'static CapabilityInfo> {
    CAPABILITIES.iter().find(|known| known.name == name)
}

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
        self.bypass() || self.0.iter().any(|held| implies(held, capability))
    }

    /// The names held, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Whether who holds one capability holds the other: it is the same or a parent. `KNBYPASSREFERENCE` is not `BYPASS`.
#[must_use]
pub fn implies(held: &str, capability: &str) -> bool {
    held.strip_prefix(capability)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
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
        let held: Capabilities = [
            "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE",
            "KNOWLEDGE_KNUPDATE_KNDELETE",
            "MODULES",
        ]
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
    fn the_tree_is_whole() {
        assert_eq!(CAPABILITIES.len(), 56);
        assert!(
            CAPABILITIES
                .windows(2)
                .all(|pair| pair[0].order < pair[1].order),
            "listed in order"
        );
        for known in CAPABILITIES {
            if let Some((parent, _)) = known.name.rsplit_once('_') {
                assert!(capability(parent).is_some(), "{} has a parent", known.name);
            }
        }
        for name in CONNECTOR.iter().chain(DEFAULT) {
            assert!(capability(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_connector_may_deliver_but_not_manage() {
        let connector = Capabilities::connector();
        assert!(connector.holds(names::CONNECTOR_API) && connector.holds(names::KNOWLEDGE_UPDATE));
        assert!(!connector.holds(names::MODULES_MANAGE) && !connector.holds(names::SET_ACCESSES));
        assert!(!connector.bypass());
    }
}
