//! The counter of what composers must see, and what the rest of a connector's life has to do with it.

use ferrocti_accounts::Acting;
use ferrocti_store::{Connector, Tx};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    ConnectorError, Connectors,
    managed::{Managed, tokens},
};

impl Connectors {
    /// Changes whenever a composer should ask again: something about its connectors was changed, or one of them was heard of again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The present value of [`Connectors::changes`]. It counts from the start of the platform.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Called after a commit that a composer must see.
    pub(crate) fn bump(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// The same for what concerns composers only when the connector is managed.
    pub(crate) fn bump_for(&self, connector: &Connector) {
        if is_managed(connector) {
            self.bump();
        }
    }

    /// The key of the fingerprints of secrets.
    pub(crate) fn fingerprint_key(&self) -> [u8; 32] {
        self.key.fingerprint_key()
    }
}

/// Whether a composer runs a connector.
#[must_use]
pub fn is_managed(connector: &Connector) -> bool {
    connector.manager.is_some()
}

/// Whether a connector is managed and shall not run, or does not run as its composer says.
pub(crate) fn is_down(connector: &Connector) -> bool {
    let said = |key: &str| {
        let manager = connector.manager.as_ref();
        manager.and_then(|manager| manager.get(key)?.as_str())
    };
    matches!(said("requested"), Some("stopping" | "stopped")) || said("current") == Some("stopped")
}

/// What has to be done for a managed connector that is deleted: its composer removes its instances, and nobody uses its token any more.
pub(crate) fn bury(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    connector: &Connector,
) -> Result<(), ConnectorError> {
    let composer = connector
        .manager
        .as_ref()
        .and_then(|manager| manager.get("composer").and_then(Value::as_str));
    if let Some(composer) = composer
        && tx.composer(composer)?.is_some()
    {
        tx.put_tombstone(composer, &connector.id)?;
    }
    if let Some(mut managed) = Managed::without_definition(connector)? {
        tokens::end(tx, acting, &mut managed)?;
    }
    Ok(())
}
