//! Which capability a field asks for: one table, looked at before any resolver runs.

use std::collections::HashMap;
use std::sync::OnceLock;

use ferrocti_access::{Action, Actor, may, names};

use crate::edits::Edits;
use crate::fault::Fault;
use crate::roots::Roots;

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: the field is how somebody logs in.
    Nobody,
    /// Somebody who is logged in.
    Login,
    /// One of these capabilities.
    Any(&'static [&'static str]),
}

const READ: Need = Need::Any(&[names::KNOWLEDGE]);
const WRITE: Need = Need::Any(&[names::KNOWLEDGE_UPDATE]);
const LABELS: Need = Need::Any(&[names::SET_LABELS]);
const VOCABULARIES: Need = Need::Any(&[names::SET_VOCABULARIES]);
const KILL_CHAIN_PHASES: Need = Need::Any(&[names::SET_KILL_CHAIN_PHASES]);
const MARKINGS: Need = Need::Any(&[names::SET_MARKINGS]);
const CONNECTOR: Need = Need::Any(&[names::CONNECTOR_API]);
const SEE_MODULES: Need = Need::Any(&[names::MODULES, names::CONNECTOR_API]);
/// Own connectors or all; the service decides by the connector's owner.
const MANAGE_MODULES: Need = Need::Any(&[names::MODULES_MANAGE, names::CONNECTOR_API]);
const MANAGE_ALL: Need = Need::Any(&[names::MODULES_MANAGE]);
const ACCESSES: Need = Need::Any(&[names::SET_ACCESSES]);
const AUDIT: Need = Need::Any(&[names::SECURITY_ACTIVITY]);
/// What can be deployed; upstream asks for the first.
const SEE_CATALOGS: Need = Need::Any(&["INGESTION", names::MODULES, names::MODULES_MANAGE]);
/// A composer's own connectors; the service decides by the composer's user.
const COMPOSER: Need = Need::Any(&[names::CONNECTOR_API, names::MODULES_MANAGE]);
/// Upstream asks for the first; the user of a composer needs no more than the second.
const LISTING: Need = Need::Any(&[names::SET_ACCESSES, names::CONNECTOR_API]);
const USE_TOKEN: Need = Need::Any(&[names::USE_TOKEN]);
const SETTINGS: Need = Need::Any(&[names::SET_PARAMETERS, names::SET_ACCESSES]);

/// Type, field, need. Root fields that read or add knowledge follow the rule of [`table`] unless they are named here.
const TABLE: &[(&str, &str, Need)] = &[
    ("Query", "about", Need::Login),
    ("Query", "me", Need::Login),
    ("Query", "settings", Need::Login),
    ("Query", "members", READ),
    ("Query", "creators", READ),
    ("Query", "user", ACCESSES),
    ("Query", "users", ACCESSES),
    ("Query", "group", ACCESSES),
    ("Query", "groups", ACCESSES),
    ("Query", "role", ACCESSES),
    ("Query", "roles", ACCESSES),
    ("Query", "capabilities", ACCESSES),
    ("Query", "sessions", ACCESSES),
    ("Query", "logs", READ),
    ("Query", "audit", AUDIT),
    ("Query", "audits", AUDIT),
    ("Query", "auditsNumber", AUDIT),
    // of oneself without, of others with SETTINGS_SETACCESSES
    ("Query", "accessExplain", Need::Login),
    ("Query", "doctor", ACCESSES),
    ("Query", "stix", READ),
    ("Query", "vocabularyCategories", READ),
    ("Query", "stixRefRelationship", READ),
    ("Query", "stixRefRelationships", READ),
    ("Query", "stixNestedRefRelationships", READ),
    ("Query", "connector", SEE_MODULES),
    ("Query", "connectors", SEE_MODULES),
    ("Query", "connectorsForWorker", SEE_MODULES),
    ("Query", "work", SEE_MODULES),
    ("Query", "works", SEE_MODULES),
    ("Query", "isWorkAlive", SEE_MODULES),
    ("Query", "platformStatus", SEE_MODULES),
    ("Query", "connectorStateHistory", SEE_MODULES),
    ("Query", "connectorFenced", SEE_MODULES),
    ("Query", "connectorLeaseEvents", SEE_MODULES),
    ("Query", "deadLetters", MANAGE_ALL),
    ("Query", "parkedReferences", SEE_MODULES),
    ("Query", "catalogs", SEE_CATALOGS),
    ("Query", "catalog", SEE_CATALOGS),
    ("Query", "contract", SEE_CATALOGS),
    ("Query", "contracts", SEE_CATALOGS),
    ("Query", "connectorManager", SEE_MODULES),
    ("Query", "connectorManagers", SEE_MODULES),
    ("Query", "connectorsForManagers", LISTING),
    ("Query", "composerWork", COMPOSER),
    ("Query", "connectorLogs", SEE_MODULES),
    ("Query", "connectorDefinitions", SEE_MODULES),
    ("Mutation", "labelAdd", LABELS),
    ("Mutation", "killChainPhaseAdd", KILL_CHAIN_PHASES),
    ("Mutation", "vocabularyAdd", VOCABULARIES),
    ("Mutation", "markingDefinitionAdd", MARKINGS),
    ("Mutation", "registerConnector", CONNECTOR),
    ("Mutation", "pingConnector", CONNECTOR),
    ("Mutation", "connectorJWT", CONNECTOR),
    ("Mutation", "resetStateConnector", MANAGE_MODULES),
    ("Mutation", "deleteConnector", MANAGE_MODULES),
    ("Mutation", "connectorStateRestore", MANAGE_MODULES),
    ("Mutation", "workAdd", CONNECTOR),
    ("Mutation", "workEdit", CONNECTOR),
    ("Mutation", "workDelete", MANAGE_MODULES),
    ("Mutation", "stixBundlePush", CONNECTOR),
    ("Mutation", "deadLetterReplay", MANAGE_ALL),
    ("Mutation", "deadLetterDiscard", MANAGE_ALL),
    ("Mutation", "registerConnectorsManager", CONNECTOR),
    ("Mutation", "updateConnectorManagerStatus", CONNECTOR),
    ("Mutation", "composerRegister", CONNECTOR),
    ("Mutation", "updateConnectorCurrentStatus", COMPOSER),
    ("Mutation", "updateConnectorLogs", COMPOSER),
    ("Mutation", "updateConnectorHealth", COMPOSER),
    ("Mutation", "composerReport", COMPOSER),
    // upstream lets every connector say what runs on the composer's machine
    ("Mutation", "managedConnectorAdd", MANAGE_ALL),
    ("Mutation", "managedConnectorEdit", MANAGE_ALL),
    ("Mutation", "updateConnectorRequestedStatus", MANAGE_ALL),
    ("Mutation", "composerApproveRemovals", MANAGE_ALL),
    ("Mutation", "composerRemove", MANAGE_ALL),
    ("Mutation", "managedConnectorDeploy", MANAGE_ALL),
    ("Mutation", "managedConnectorConfigure", MANAGE_ALL),
    ("Mutation", "managedConnectorUpgrade", MANAGE_ALL),
    ("Mutation", "managedConnectorRollback", MANAGE_ALL),
    ("Mutation", "managedConnectorRestart", MANAGE_ALL),
    ("Mutation", "catalogsRefresh", MANAGE_ALL),
    ("Query", "connectorsPlan", MANAGE_ALL),
    ("Mutation", "connectorsApply", MANAGE_ALL),
    ("Mutation", "connectorAccountAdd", ACCESSES),
    ("Mutation", "token", Need::Nobody),
    ("Mutation", "logout", Need::Login),
    ("Mutation", "meEdit", Need::Login),
    ("Mutation", "meTokenRenew", USE_TOKEN),
    ("Mutation", "userTokenAdd", USE_TOKEN),
    ("Mutation", "userTokenRevoke", USE_TOKEN),
    ("Mutation", "userAdminTokenAdd", ACCESSES),
    ("Mutation", "userAdminTokenRevoke", ACCESSES),
    ("Mutation", "userAdd", ACCESSES),
    ("Mutation", "userEdit", ACCESSES),
    ("Mutation", "groupAdd", ACCESSES),
    ("Mutation", "groupEdit", ACCESSES),
    ("Mutation", "roleAdd", ACCESSES),
    ("Mutation", "roleEdit", ACCESSES),
    ("Mutation", "sessionKill", ACCESSES),
    ("Mutation", "userSessionsKill", ACCESSES),
    // each setting asks for its own capability as well
    ("Mutation", "settingsEdit", SETTINGS),
    ("Group", "members", ACCESSES),
    ("ConnectorConfig", "connection", CONNECTOR),
    ("ConnectorConfig", "s3", CONNECTOR),
];

/// The needs of all guarded fields.
fn table() -> &'static HashMap<&'static str, HashMap<&'static str, Need>> {
    static NEEDS: OnceLock<HashMap<&'static str, HashMap<&'static str, Need>>> = OnceLock::new();
    NEEDS.get_or_init(|| {
        let roots = Roots::get();
        let reads = roots
            .reads
            .keys()
            .map(|field| ("Query", field.as_str(), READ));
        let adds = roots
            .adds
            .keys()
            .map(|field| ("Mutation", field.as_str(), WRITE));
        let mut needs: HashMap<_, HashMap<_, _>> = HashMap::new();
        let edits = Edits::get().needs();
        for (owner, field, need) in reads.chain(adds).chain(edits).chain(TABLE.iter().copied()) {
            needs.entry(owner).or_default().insert(field, need);
        }
        needs
    })
}

/// What a field asks for; `None`: nothing beyond what led to it.
pub(crate) fn need(owner: &str, field: &str) -> Option<Need> {
    table().get(owner)?.get(field).copied()
}

/// Whether the caller may have a field.
///
/// # Errors
/// `AUTH_REQUIRED` without a caller, `FORBIDDEN_ACCESS` without the capability.
pub(crate) fn check(caller: Option<&Actor>, owner: &str, field: &str) -> Result<(), Fault> {
    let Some(need) = need(owner, field) else {
        return Ok(());
    };
    if need == Need::Nobody {
        return Ok(());
    }
    let actor = caller.ok_or_else(Fault::login_required)?;
    let Need::Any(capabilities) = need else {
        return Ok(());
    };
    let mut denial = None;
    for capability in capabilities {
        match may(actor, Action::Use(capability)) {
            Ok(()) => return Ok(()),
            Err(reason) => {
                denial.get_or_insert(reason);
            }
        }
    }
    denial.map_or(Ok(()), |reason| Err(Fault::denied(&reason)))
}

#[cfg(test)]
mod tests {
    use ferrocti_access::Capabilities;
    use ferrocti_graphql::{OperationKind, Schema};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_root_field_has_an_entry_and_every_entry_a_field() {
        let schema = Schema::parse(&crate::sdl::build()).unwrap();
        let mut guarded = 0;
        for kind in [OperationKind::Query, OperationKind::Mutation] {
            let root = schema.root_type(kind).unwrap();
            for field in schema.field_names(root) {
                assert!(need(root, field).is_some(), "{root}.{field} has no entry");
                guarded += 1;
            }
        }
        assert!(guarded > 200, "{guarded}");
        for (owner, field, _) in TABLE {
            assert!(
                schema.has_field(owner, field),
                "{owner}.{field} is not in the schema"
            );
        }
    }

    #[test]
    fn a_field_asks_for_one_of_its_capabilities() {
        let actor = |held: &[&str]| Actor {
            user_id: Uuid::nil(),
            name: "someone".to_owned(),
            capabilities: held.iter().copied().collect::<Capabilities>(),
            ..Actor::system(1)
        };
        for (held, owner, field, allowed) in [
            (&["KNOWLEDGE"][..], "Query", "malware", true),
            (&["KNOWLEDGE"], "Mutation", "malwareAdd", false),
            (
                &["KNOWLEDGE_KNUPDATE_KNDELETE"],
                "Mutation",
                "malwareAdd",
                true,
            ),
            (&["KNOWLEDGE_KNUPDATE"], "Mutation", "labelAdd", false),
            (
                &["MODULES_MODMANAGE"],
                "Mutation",
                "resetStateConnector",
                true,
            ),
            (&["CONNECTORAPI"], "Mutation", "deadLetterReplay", false),
            (&[], "Query", "me", true),
            (&[], "Malware", "name", true),
            (&["BYPASS"], "Mutation", "connectorAccountAdd", true),
        ] {
            assert_eq!(
                check(Some(&actor(held)), owner, field).is_ok(),
                allowed,
                "{held:?} {owner}.{field}"
            );
        }
        assert!(check(None, "Query", "about").is_err());
    }
}
