//! The checker: never two writers, a state that never goes back, no message lost, no object by an epoch that has ended.

use ferrocti_broker::{Queues, queue::push_queue};
use ferrocti_store::{Problem, Snapshot, StateVersion, Store};

use crate::{ConnectorError, state};

/// Something in the history that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What must hold.
    pub invariant: String,
    /// Where it does not.
    pub detail: String,
}

impl From<Problem> for Broken {
    fn from(problem: Problem) -> Self {
        Self {
            invariant: problem.invariant.to_owned(),
            detail: problem.detail,
        }
    }
}

/// Checks everything that connectors wrote against their leases, as far as it is kept. Empty: all is well.
///
/// # Errors
/// The store or the queues cannot be read.
pub fn check_history(store: &Store, queues: &Queues) -> Result<Vec<Broken>, ConnectorError> {
    let mut broken: Vec<Broken> = store
        .check_leases()?
        .into_iter()
        .map(Broken::from)
        .collect();
    store.read(|snapshot| {
        for connector in snapshot.connectors()? {
            let lease = snapshot.lease(&connector.id)?;
            let mut versions = snapshot.state_versions(&connector.id)?;
            versions.reverse();
            broken.extend(regressions(&connector.id, &versions, lease.epoch > 0));
            if let Some(problem) = uncounted(snapshot, queues, &connector.id)? {
                broken.push(problem);
            }
        }
        Ok::<_, ConnectorError>(())
    })?;
    Ok(broken)
}

/// Versions of a state that go back without somebody having asked for it.
fn regressions(connector: &str, versions: &[StateVersion], leased: bool) -> Vec<Broken> {
    let mut broken = Vec::new();
    for pair in versions.windows(2) {
        let [before, after] = pair else { continue };
        if after.reason != "ping" && after.reason != "fence" {
            continue;
        }
        let (Some(was), is) = (before.state.as_deref(), after.state.as_deref()) else {
            continue;
        };
        let emptied = !state::is_empty(was) && is.is_none_or(state::is_empty);
        let older = leased && is.is_some_and(|is| state::is_older(was, is));
        if emptied || older {
            broken.push(Broken {
                invariant: "a state never goes back by itself".to_owned(),
                detail: format!(
                    "connector {connector}, version {} (epoch {}) after version {} (epoch {})",
                    after.version, after.epoch, before.version, before.epoch
                ),
            });
        }
    }
    broken
}

/// Messages that were confirmed and are neither dealt with nor there.
fn uncounted(
    snapshot: &Snapshot<'_>,
    queues: &Queues,
    connector: &str,
) -> Result<Option<Broken>, ConnectorError> {
    let queue = push_queue(connector);
    let Some(ledger) = queues.ledger(&queue, snapshot.queue_mark(&queue)?.unsigned_abs())? else {
        return Ok(None);
    };
    let dealt_with = snapshot.queue_count(&queue)?.unsigned_abs();
    let known = dealt_with + ledger.discarded + ledger.waiting;
    // what was purged while it was on its way into the store counts twice
    Ok((known < ledger.published).then(|| Broken {
        invariant: "every message that was confirmed is dealt with or waits".to_owned(),
        detail: format!(
            "connector {connector}: {} confirmed, {dealt_with} dealt with, {} discarded, {} wait",
            ledger.published, ledger.discarded, ledger.waiting
        ),
    }))
}
