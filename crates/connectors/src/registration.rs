//! What a connector says of itself when it starts, and what is refused of it.

use ferrocti_catalog::ConnectorType;

use crate::ConnectorError;

/// Longest connector id: queue names and routing keys carry it and may hold 255 bytes.
const MAX_ID: usize = 200;

/// What a connector says of itself when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// Its id, verbatim; state, queues and works hang on it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `EXTERNAL_IMPORT`, …
    pub connector_type: String,
    /// Scope entries.
    pub scope: Vec<String>,
    /// Runs by itself on matching objects.
    pub auto: bool,
    /// Runs again on updates.
    pub auto_update: bool,
    /// Only within a container.
    pub only_contextual: bool,
    /// May be used in playbooks.
    pub playbook_compatible: bool,
    /// `none` or `stix_bundle`.
    pub enrichment_resolution: Option<String>,
    /// Where it listens when it does not use the broker.
    pub listen_callback_uri: Option<String>,
    /// Intent.
    pub xtm_one_intent: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// Its short name in a catalog.
    pub slug: Option<String>,
}

impl Registration {
    /// Refuses what cannot be a connector.
    pub(crate) fn check(&self) -> Result<(), ConnectorError> {
        let invalid = |text: String| Err(ConnectorError::Invalid(text));
        check_id(&self.id)?;
        if self.name.trim().chars().count() < 2 {
            return invalid(
                "a connector name has at least 2 characters (CONNECTOR_NAME)".to_owned(),
            );
        }
        if ConnectorType::of(&self.connector_type).is_none() {
            return invalid(format!(
                "{:?} is not a connector type; it is one of {} (CONNECTOR_TYPE)",
                self.connector_type,
                ConnectorType::names()
            ));
        }
        Ok(())
    }
}

/// Refuses what cannot be the id of a connector.
pub(crate) fn check_id(id: &str) -> Result<(), ConnectorError> {
    if id.trim().is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
        return Err(ConnectorError::Invalid(format!(
            "a connector id has 1 to {MAX_ID} bytes and no control characters; a UUID is best (CONNECTOR_ID)"
        )));
    }
    Ok(())
}
