//! What is done beside: memory is saved, instances are looked at, the platform is asked for what it does not list.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{
    Core, Event,
    looking::{self, Seen},
    store,
};
use crate::{ConnectorId, Listing, Memory, Stats, platform::Health};

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
        let logs = self.looking.logs(&definitions, |id| telling.has_logs(id));
        let figures = self.looking.figures();
        if !logs.is_empty() {
            let orchestrator = self.orchestrator.clone();
            self.spawn(async move { Event::Looked(looking::look(orchestrator, logs).await) });
        }
        if !figures.is_empty() {
            let orchestrator = self.orchestrator.clone();
            self.spawn(
                async move { Event::Figured(looking::measure(orchestrator, figures).await) },
            );
        }
    }

    pub(super) fn looked(&mut self, seen: Seen) {
        for (connector, logs) in self.looking.seen(seen) {
            self.telling.logs(&connector, logs);
        }
    }

    pub(super) fn figured(&mut self, figures: Vec<(ConnectorId, Option<Stats>)>) {
        self.looking.measured();
        for (connector, stats) in figures {
            match stats {
                Some(stats) => self.memories.insert(connector.clone(), stats.memory),
                None => self.memories.remove(&connector),
            };
            let listing = self.listing.as_ref().map(|(_, listing)| listing);
            if let Some(health) = listing.and_then(|listing| self.health(&connector, listing)) {
                self.telling.health(&connector, health);
            }
        }
        let hashes = self.work.as_ref().map(|held| &held.hashes);
        self.memories
            .retain(|id, _| hashes.is_some_and(|hashes| hashes.contains_key(id)));
    }

    /// The figures of a connector that has run, as far as they are known.
    pub(super) fn health(&self, connector: &str, listing: &Listing) -> Option<Health> {
        let there = listing.instances.iter();
        let instance = looking::current(there.filter(|i| i.connector == connector))?;
        let track = self.memory.connectors.get(connector);
        let memory = self.memories.get(connector).copied();
        Some(Health {
            started_at: instance.started_at,
            restarts: track.map_or(0, |track| track.ends) + instance.restarts,
            crash_looping: track.is_some_and(|t| t.failures >= self.settings.policy.crash_loop),
            memory: memory.filter(|_| instance.is_live()),
        })
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
