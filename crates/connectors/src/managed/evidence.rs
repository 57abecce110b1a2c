//! What the platform itself has seen of a connector's work.

use ferrocti_model::clock::Millis;
use ferrocti_store::{Connector, Snapshot, WorkQuery};

use crate::ConnectorError;

/// Works that are looked at.
const WORKS: usize = 10;
/// Errors that are older are history.
const ERRORS_OF: Millis = 24 * 60 * 60 * 1000;

/// What the platform has seen of a connector's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it last delivered something.
    pub last_data: Option<Millis>,
    /// Errors in its last works of a day.
    pub errors: u64,
}

/// What the platform has seen of a connector's work.
///
/// # Errors
/// The store failed.
pub fn evidence(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
) -> Result<Evidence, ConnectorError> {
    let query = WorkQuery {
        connectors: vec![connector.id.clone()],
        descending: true,
        limit: WORKS,
        ..WorkQuery::default()
    };
    let (works, _) = snapshot.works(&query)?;
    let now = snapshot.clock_now();
    let delivered = works
        .iter()
        .filter(|work| work.processed > 0)
        .filter_map(|work| work.last_processed.or(work.completed_at));
    let recent = works
        .iter()
        .filter(|work| now - work.updated_at < ERRORS_OF)
        .map(|work| work.errors.max(0).unsigned_abs());
    Ok(Evidence {
        last_data: delivered.max(),
        errors: recent.sum(),
    })
}
