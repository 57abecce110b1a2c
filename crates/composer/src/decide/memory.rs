//! What a decision remembers of earlier ones. It may be lost: what follows is one try more, never a second instance or a deletion.

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize};

use super::{Action, Policy};
use crate::{ConnectorId, Instance, Listing, Place, Requested};

/// What is remembered of all connectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// By connector.
    pub connectors: BTreeMap<ConnectorId, Track>,
    /// When the removal of which connector was begun.
    pub removing: BTreeMap<ConnectorId, Millis>,
    /// The places that have been listed completely since this memory began: what is not remembered there is not there.
    pub known: BTreeSet<Place>,
}

/// What is remembered of one connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    /// What was last asked for, and with which definition.
    pub asked: Option<(Requested, String)>,
    /// The revision that was pulled.
    pub prepared: Option<String>,
    /// The revision that the platform was last seen to hear from.
    pub verified: Option<String>,
    /// The revision that was given up, and why.
    pub rejected: Option<(String, String)>,
    /// Failed tries and ends in a row.
    pub failures: u32,
    /// What failed last.
    pub error: Option<String>,
    /// No start, pull or create before.
    pub not_before: Option<Millis>,
    /// No stop or removal before, after one that failed; and how many failed in a row.
    pub cleanup_not_before: Option<(Millis, u32)>,
    /// The run whose end was counted: the instance and when it was started.
    pub counted: Option<(String, Option<Millis>)>,
    /// The instance that was started last; times alone do not tell it when a clock was set back.
    pub started: Option<String>,
    /// How often it has ended by itself since it was asked for.
    pub ends: u32,
    /// The revisions that are there and have ended by themselves.
    pub ended: BTreeSet<String>,
    /// Where instances of it were last seen.
    pub places: BTreeSet<Place>,
}

impl Memory {
    /// Notes the outcome of an action. An error's text is shown to operators.
    pub fn record(
        &mut self,
        connector: &str,
        action: &Action,
        outcome: Result<(), String>,
        policy: &Policy,
        now: Millis,
    ) {
        let track = self.connectors.entry(connector.to_owned()).or_default();
        // also when it failed: the answer may be lost and the deed done
        if let Action::Start { handle } = action {
            track.started = Some(handle.clone());
        }
        match (action, outcome) {
            (Action::Pull { revision }, Ok(())) => {
                track.prepared = Some(revision.clone());
                track.error = None;
            }
            (Action::Stop { .. } | Action::Remove { .. }, Ok(())) => {
                track.cleanup_not_before = None;
            }
            (_, Ok(())) => track.error = None,
            (Action::Stop { .. } | Action::Remove { .. }, Err(why)) => {
                let failures = track.cleanup_not_before.map_or(0, |(_, n)| n) + 1;
                track.cleanup_not_before = Some((now + policy.wait(failures), failures));
                track.error = Some(why);
            }
            (action, Err(why)) => {
                if matches!(action, Action::Create { .. }) {
                    track.prepared = None;
                }
                track.fail(why, policy, now);
            }
        }
    }
}

impl Track {
    /// Notes where instances of it are; where the listing is incomplete, what was seen before still counts.
    pub(super) fn see(&mut self, listing: &Listing, there: &[&Instance]) {
        self.places
            .retain(|place| listing.incomplete.contains_key(place));
        self.places
            .extend(there.iter().map(|instance| instance.place));
    }

    pub(super) fn fail(&mut self, why: String, policy: &Policy, now: Millis) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + policy.wait(self.failures));
        self.error = Some(why);
    }

    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.error = None;
    }

    /// When the next start, pull or create is due; `None`: now. A clock that was set back does not make it wait for ever.
    pub(super) fn due(&self, policy: &Policy, now: Millis) -> Option<Millis> {
        later(self.not_before?, policy, now)
    }

    /// When the next stop or removal is due; `None`: now.
    pub(super) fn cleanup_due(&self, policy: &Policy, now: Millis) -> Option<Millis> {
        later(self.cleanup_not_before?.0, policy, now)
    }
}

fn later(at: Millis, policy: &Policy, now: Millis) -> Option<Millis> {
    (at > now && at - now <= policy.longest_wait).then_some(at)
}
