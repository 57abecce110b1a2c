//! What is done beside: memory is saved, instances are looked at, the platform is asked for what it does not list.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{
    Core, Event,
    looking::{self, Seen},
    store,
};
use crate::{ConnectorId, Instance, Memory, platform::Health};

/// How often it is asked whether connectors that are not listed exist.
const GONE_APART: Duration = Duration::from_secs(60);
/// How long a listing of the platform has to be empty until that is asked.
const EMPTY_FOR: Duration = Duration::from_secs(600);

impl Core {
    pub(super) fn save(&mut self) {
        self.save_at = None;
        if self.memory == self.saved {
            return;
        }
        self.saving = true;
        let (directory, memory) = (self.settings.directory.clone(), self.memory.clone());
        self.spawn(async move {
            let saved = tokio::task::spawn_blocking(move || {
                let outcome = store::save(&directory, &memory);
                (memory, outcome)
            });
            match saved.await {
                Ok((memory, outcome)) => Event::Saved(memory, outcome),
                Err(error) => Event::Saved(Memory::default(), Err(std::io::Error::other(error))),
            }
        });
    }

    pub(super) fn look(&mut self) {
        let Some(held) = &self.work else { return };
        let definitions = held.wanted.definitions.iter();
        let definitions = definitions.map(|d| (d.connector.as_str(), d)).collect();
        let telling = &self.telling;
        let looks = self.looking.take(&definitions, |id| telling.has_logs(id));
        let orchestrator = self.orchestrator.clone();
        self.spawn(async move { Event::Looked(looking::look(orchestrator, looks).await) });
    }

    pub(super) fn looked(&mut self, mut seen: Seen) {
        for (connector, stats) in std::mem::take(&mut seen.figures) {
            let of = |i: &&Instance| i.connector == connector;
            let there = self
                .listing
                .iter()
                .flat_map(|(_, listing)| &listing.instances);
            let Some(instance) = looking::current(there.filter(of)) else {
                continue;
            };
            let track = self.memory.connectors.get(&connector);
            let health = Health {
                started_at: instance.started_at,
                restarts: track.map_or(0, |track| track.ends) + instance.restarts,
                crash_looping: track.is_some_and(|t| t.failures >= self.settings.policy.crash_loop),
                memory: stats.map(|stats| stats.memory),
            };
            self.telling.health(&connector, health);
        }
        for (connector, logs) in self.looking.seen(seen) {
            self.telling.logs(&connector, logs);
        }
    }

    /// Asks one by one for connectors that have instances here and that the platform does not list.
    pub(super) fn ask_for_gone(&mut self, now: Instant) {
        let recent = |at: Instant| now - at < GONE_APART;
        if self.gone_asked.is_some_and(recent) {
            return;
        }
        // a platform that lists nothing at all may be another one, or one that is being restored
        if self
            .empty_since
            .is_some_and(|since| now - since < EMPTY_FOR)
        {
            return;
        }
        let (Some(held), Some((_, listing))) = (&self.work, &self.listing) else {
            return;
        };
        let ids = listing.instances.iter().map(|i| &i.connector);
        let missing: BTreeSet<ConnectorId> = ids
            .filter(|id| !held.hashes.contains_key(*id))
            .filter(|id| !held.wanted.tombstones.contains(*id) && !self.gone.contains(*id))
            .cloned()
            .collect();
        if missing.is_empty() {
            return;
        }
        self.gone_asked = Some(now);
        let (platform, ids) = (self.platform.clone(), Vec::from_iter(missing));
        self.spawn(async move { Event::Gone(platform.gone(&ids).await.ok()) });
    }
}
