//! What the platform has been told and what it has not: changed states at once, figures and logs when there are some, all in one report.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    ConnectorId, Current, State,
    platform::{Health, Logs, Report, Reported},
};

/// The least time between two reports.
const APART: Duration = Duration::from_millis(200);
/// The wait after the first report that failed; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a report that failed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What is said of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub hash: String,
    pub state: State,
    pub reason: String,
    pub current: Option<Current>,
    pub rejected: Option<String>,
}

/// What is said of all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Common {
    held: BTreeSet<ConnectorId>,
    blocked: Option<String>,
}

#[derive(Default)]
pub(super) struct Telling {
    now: BTreeMap<ConnectorId, Status>,
    told: BTreeMap<ConnectorId, Status>,
    common: Common,
    common_told: Common,
    health: BTreeMap<ConnectorId, Health>,
    logs: BTreeMap<ConnectorId, Logs>,
    removed: BTreeSet<ConnectorId>,
    removed_told: BTreeSet<ConnectorId>,
    /// What is on its way.
    sending: Option<Report>,
    not_before: Option<Instant>,
    failures: u32,
}

impl Telling {
    /// What is true now of the connectors that the platform has assigned; what it has not is not told.
    pub fn states(&mut self, states: BTreeMap<ConnectorId, Status>) {
        self.told.retain(|id, _| states.contains_key(id));
        self.health.retain(|id, _| states.contains_key(id));
        self.logs.retain(|id, _| states.contains_key(id));
        self.now = states;
    }

    /// Deletions that are held back, and why; or another trouble of all.
    pub fn common(&mut self, held: BTreeSet<ConnectorId>, blocked: Option<String>) {
        self.common = Common { held, blocked };
    }

    /// The tombstones of which nothing is left.
    pub fn removed(&mut self, removed: BTreeSet<ConnectorId>) {
        self.removed_told.retain(|id| removed.contains(id));
        self.removed = removed;
    }

    /// The state of a connector that was noted last.
    pub fn state(&self, connector: &str) -> Option<State> {
        self.now.get(connector).map(|status| status.state)
    }

    pub fn health(&mut self, connector: &str, health: Health) {
        if self.now.contains_key(connector) {
            self.health.insert(connector.to_owned(), health);
        }
    }

    pub fn logs(&mut self, connector: &str, logs: Logs) {
        if self.now.contains_key(connector) {
            self.logs.insert(connector.to_owned(), logs);
        }
    }

    /// Whether lines of a connector wait to be told.
    pub fn has_logs(&self, connector: &str) -> bool {
        let sending = self.sending.iter().flat_map(|report| &report.connectors);
        self.logs.contains_key(connector)
            || sending
                .into_iter()
                .any(|reported| reported.id == connector && reported.logs.is_some())
    }

    /// The platform may know nothing of what it was told.
    pub fn forget(&mut self) {
        self.told.clear();
        self.removed_told.clear();
        self.common_told = Common::default();
        self.not_before = None;
    }

    fn news(&self) -> bool {
        self.now != self.told
            || self.common != self.common_told
            || !self.health.is_empty()
            || !self.logs.is_empty()
            || self.removed != self.removed_told
    }

    /// When the next report is due; `None`: there is nothing to tell, or one is on its way.
    pub fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        (self.sending.is_none() && self.news()).then(|| self.not_before.unwrap_or(now).max(now))
    }

    /// The report that is due.
    pub fn take(&mut self) -> Report {
        let mut report = Report {
            held: self.common.held.clone(),
            blocked: self.common.blocked.clone(),
            removed: self
                .removed
                .difference(&self.removed_told)
                .cloned()
                .collect(),
            ..Report::default()
        };
        for (id, status) in &self.now {
            let changed = self.told.get(id) != Some(status);
            let (health, logs) = (self.health.remove(id), self.logs.remove(id));
            if changed || health.is_some() || logs.is_some() {
                report.connectors.push(Reported {
                    id: id.clone(),
                    hash: status.hash.clone(),
                    state: status.state,
                    reason: status.reason.clone(),
                    current: status.current,
                    rejected: status.rejected.clone(),
                    changed,
                    health,
                    logs,
                });
            }
        }
        self.sending = Some(report.clone());
        self.not_before = Some(Instant::now() + APART);
        report
    }

    /// What became of it; the cursors of the lines that have arrived.
    pub fn sent(&mut self, arrived: bool) -> Vec<(ConnectorId, String)> {
        let Some(report) = self.sending.take() else {
            return Vec::new();
        };
        if !arrived {
            self.failures = self.failures.saturating_add(1);
            let wait = FIRST_WAIT.saturating_mul(1 << (self.failures - 1).min(10));
            self.not_before = Some(Instant::now() + wait.min(LONGEST_WAIT));
            for reported in report.connectors {
                if let (Some(logs), true) = (reported.logs, self.now.contains_key(&reported.id)) {
                    self.logs.entry(reported.id).or_insert(logs);
                }
            }
            return Vec::new();
        }
        self.failures = 0;
        self.common_told = Common {
            held: report.held,
            blocked: report.blocked,
        };
        self.removed_told.extend(report.removed);
        let mut cursors = Vec::new();
        for reported in report.connectors {
            if let Some(logs) = reported.logs {
                cursors.push((reported.id.clone(), logs.cursor));
            }
            if self.now.contains_key(&reported.id) {
                let status = Status {
                    hash: reported.hash,
                    state: reported.state,
                    reason: reported.reason,
                    current: reported.current,
                    rejected: reported.rejected,
                };
                self.told.insert(reported.id, status);
            }
        }
        cursors
    }
}
