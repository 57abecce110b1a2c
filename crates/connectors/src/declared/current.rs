//! The managed connectors that are there, as a file would say them.

use std::collections::BTreeMap;

use ferrocti_catalog::plan::{Current, Definition, settings};
use ferrocti_store::{Connector, Snapshot, StoreError};

use crate::{ConnectorError, managed::Managed};

/// A managed connector that is there.
#[derive(Debug, Clone)]
pub(super) struct There {
    /// What it is.
    pub connector: Connector,
    /// What it shall be.
    pub managed: Managed,
    /// The same as a file would say it: the user as its e-mail address, the composer as its id.
    pub current: Current,
}

/// All of them. One that is stored in a way that cannot be read is left out and told; its name stays taken.
pub(super) fn all(snapshot: &Snapshot<'_>) -> Result<Vec<There>, ConnectorError> {
    let mut out = Vec::new();
    for connector in snapshot.managed_connectors()? {
        match Managed::of(snapshot, &connector) {
            Ok(Some(managed)) => out.push(one(snapshot, connector, managed)?),
            Ok(None) => {}
            Err(ConnectorError::Store(StoreError::Corrupt(reason))) => {
                tracing::error!(
                    connector = connector.id,
                    reason,
                    "a managed connector cannot be read"
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

fn one(
    snapshot: &Snapshot<'_>,
    connector: Connector,
    managed: Managed,
) -> Result<There, ConnectorError> {
    let user = match connector.user {
        Some(row) => snapshot.user(row)?,
        None => None,
    };
    let definition = &managed.definition;
    // what the composer's present key cannot open is as if it were not known, so that it is set again
    let key = snapshot
        .composer(&managed.composer)?
        .map(|composer| composer.key_id);
    let opens = key.is_none_or(|key| key == definition.key_id);
    let secrets: BTreeMap<String, String> = definition
        .entries
        .iter()
        .filter(|entry| entry.encrypted)
        .map(|entry| {
            let print = definition.fingerprints.get(&entry.key).filter(|_| opens);
            (entry.key.clone(), print.cloned().unwrap_or_default())
        })
        .collect();
    let current = Current {
        id: connector.id.clone(),
        declared: managed.declared,
        definition: Definition {
            name: connector
                .title
                .clone()
                .unwrap_or_else(|| connector.name.clone()),
            catalog: definition.catalog.clone(),
            slug: definition.slug().to_owned(),
            version: definition.version().to_owned(),
            launch: definition.launch.clone(),
            user: user.as_ref().map(|user| user.email.clone()),
            confidence: user.as_ref().and_then(|user| user.max_confidence),
            composer: Some(managed.composer.clone()),
            running: managed.requested.runs(),
            settings: settings(&definition.entries),
            secrets,
            runtime: definition.runtime.clone(),
        },
    };
    Ok(There {
        connector,
        managed,
        current,
    })
}
