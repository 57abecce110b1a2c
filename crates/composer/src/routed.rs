//! Several places to run connectors as one: what a definition asks for decides where it runs, and a place that is away does not hold up the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    ConnectorId, Definition, Instance, Listing, Place,
    orchestrator::{Answer, Failure, Foreign, LogPage, LogQuery, Orchestrator, Stats},
};

/// How long a place may take to list what it has before the others go on without it.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take after it has exhausted that.
const LITTLE_PATIENCE: Duration = Duration::from_millis(300);
/// When it is given the whole time again.
const AGAIN: Duration = Duration::from_secs(60);

/// An orchestrator for each place. Its handles are those of the parts with the part's kind before them: `docker/ferrocti-…`.
pub struct Routed {
    parts: BTreeMap<Place, Arc<dyn Orchestrator>>,
    /// Places that have not answered in time, and when they are given the whole time again.
    slow: Mutex<BTreeMap<Place, Instant>>,
    /// The connector of each handle, of what was listed last and what was made since; `None`: not everything has been listed yet.
    seen: Mutex<Option<BTreeMap<String, ConnectorId>>>,
    changes: watch::Sender<u64>,
    listeners: Vec<JoinHandle<()>>,
}

impl Routed {
    /// Joins the orchestrators; a second one for the same place replaces the first. Needs a tokio runtime.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = (Place, Arc<dyn Orchestrator>)>) -> Self {
        let parts: BTreeMap<_, _> = parts.into_iter().collect();
        let changes = watch::Sender::new(0);
        let listeners = parts.values().map(|part| {
            let (mut from, to) = (part.changes(), changes.clone());
            tokio::spawn(async move {
                while from.changed().await.is_ok() {
                    from.borrow_and_update();
                    to.send_modify(|count| *count += 1);
                }
            })
        });
        Self {
            listeners: listeners.collect(),
            parts,
            slow: Mutex::default(),
            seen: Mutex::default(),
            changes,
        }
    }

    /// What connectors run on here: `process`, `docker`.
    #[must_use]
    pub fn kinds(&self) -> Vec<String> {
        self.parts.values().map(|p| p.kind().to_owned()).collect()
    }

    /// The part that a definition belongs to.
    fn at(&self, place: Place) -> Result<&Arc<dyn Orchestrator>, Failure> {
        self.parts.get(&place).ok_or_else(|| {
            Failure::Unsupported(match place {
                Place::Containers => "this composer has no container engine; give it one (the setting composer.docker), or assign the connector to a composer that has one".to_owned(),
                Place::Processes => "this composer starts no processes; assign the connector to another, or give an image".to_owned(),
            })
        })
    }

    fn patience(&self, place: Place) -> Duration {
        let mut slow = self.slow.lock();
        match slow.get(&place) {
            Some(again) if *again > Instant::now() => LITTLE_PATIENCE,
            Some(_) => {
                slow.remove(&place);
                PATIENCE
            }
            None => PATIENCE,
        }
    }

    /// Whether the connector of a handle may have instances in another place too.
    fn may_be_elsewhere(&self, handle: &str) -> bool {
        let kind = |handle: &str| handle.split_once('/').map(|(kind, _)| kind.to_owned());
        let seen = self.seen.lock();
        let Some((seen, connector)) = seen.as_ref().and_then(|s| Some((s, s.get(handle)?))) else {
            return self.parts.len() > 1;
        };
        seen.iter()
            .any(|(other, id)| id == connector && kind(other) != kind(handle))
    }

    /// The part that a handle is of, and its handle there.
    fn of<'a>(&self, handle: &'a str) -> Result<(&Arc<dyn Orchestrator>, &'a str), Failure> {
        let missing = || Failure::NotFound(handle.to_owned());
        let (kind, rest) = handle.split_once('/').ok_or_else(missing)?;
        let part = self.parts.values().find(|part| part.kind() == kind);
        Ok((part.ok_or_else(missing)?, rest))
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

/// A part knows its handles without its kind.
fn named<T>(outcome: Result<T, Failure>, handle: &str) -> Result<T, Failure> {
    outcome.map_err(|failure| match failure {
        Failure::NotFound(_) => Failure::NotFound(handle.to_owned()),
        other => other,
    })
}

fn join(part: &Arc<dyn Orchestrator>, handle: &str) -> String {
    format!("{}/{handle}", part.kind())
}

impl Orchestrator for Routed {
    fn kind(&self) -> &'static str {
        "routed"
    }

    fn list(&self) -> Answer<'_, Listing> {
        Box::pin(async move {
            let mut asked = Vec::new();
            for (place, part) in &self.parts {
                let (place, part) = (*place, part.clone());
                let patience = self.patience(place);
                asked.push((
                    place,
                    join(&part, ""),
                    tokio::spawn(async move { tokio::time::timeout(patience, part.list()).await }),
                ));
            }
            let mut all = Listing::default();
            for (place, prefix, answer) in asked {
                let mut listing = match answer.await {
                    Ok(Ok(Ok(listing))) => {
                        self.slow.lock().remove(&place);
                        listing
                    }
                    Ok(Ok(Err(failure))) => Listing::failed(place, failure.to_string()),
                    Ok(Err(_)) => {
                        let again = Instant::now() + AGAIN;
                        self.slow.lock().entry(place).or_insert(again);
                        Listing::failed(place, format!("{prefix} does not answer"))
                    }
                    Err(error) => Listing::failed(place, error.to_string()),
                };
                for instance in &mut listing.instances {
                    instance.handle.insert_str(0, &prefix);
                }
                all.instances.append(&mut listing.instances);
                all.incomplete.append(&mut listing.incomplete);
            }
            let known = all.instances.iter();
            let known = known.map(|i| (i.handle.clone(), i.connector.clone()));
            let mut seen = self.seen.lock();
            if all.incomplete.is_empty() {
                *seen = Some(known.collect());
            } else if let Some(seen) = seen.as_mut() {
                // what a place that is away had may still be there
                seen.extend(known);
            }
            drop(seen);
            Ok(all)
        })
    }

    fn adoptable(&self) -> Answer<'_, Vec<Foreign>> {
        Box::pin(async move {
            let mut all = Vec::new();
            let mut trouble = None;
            for part in self.parts.values() {
                match part.adoptable().await {
                    Ok(found) => all.extend(found),
                    Err(failure) => trouble = Some(failure),
                }
            }
            // what the others have is worth more than that one is away
            match trouble {
                Some(failure) if all.is_empty() => Err(failure),
                _ => Ok(all),
            }
        })
    }

    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()> {
        Box::pin(async move {
            self.at(definition.source.place())?
                .prepare(definition)
                .await
        })
    }

    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String> {
        Box::pin(async move {
            let part = self.at(definition.source.place())?;
            let handle = join(part, &part.create(definition).await?);
            if let Some(seen) = self.seen.lock().as_mut() {
                seen.insert(handle.clone(), definition.connector.clone());
            }
            Ok(handle)
        })
    }

    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (part, inner) = self.of(handle)?;
            // the part itself looks after its own; what other places have alive only this place can tell
            if self.may_be_elsewhere(handle) {
                let listing = self.list().await?;
                let of = |instance: &&Instance| instance.handle == handle;
                let own = listing.instances.iter().find(of);
                let own = own.ok_or_else(|| Failure::NotFound(handle.to_owned()))?;
                let alive = listing.instances.iter().find(|other| {
                    other.is_live() && other.connector == own.connector && other.handle != handle
                });
                if let Some(alive) = alive {
                    return Err(Failure::Refused(format!(
                        "the instance {} of this connector is alive; stop it first",
                        alive.handle
                    )));
                }
            }
            named(part.start(inner).await, handle)
        })
    }

    fn stop<'a>(&'a self, handle: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let (part, inner) = self.of(handle)?;
            named(part.stop(inner, grace).await, handle)
        })
    }

    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (part, handle) = match self.of(handle) {
                Ok(found) => found,
                Err(_) => return Ok(()),
            };
            part.remove(handle).await
        })
    }

    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage> {
        Box::pin(async move {
            let (part, inner) = self.of(handle)?;
            named(part.logs(inner, query).await, handle)
        })
    }

    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>> {
        Box::pin(async move {
            let mut all = BTreeMap::new();
            for part in self.parts.values() {
                let own = handles.iter().filter_map(|handle| self.of(handle).ok());
                let own: Vec<String> = own
                    .filter(|(other, _)| other.kind() == part.kind())
                    .map(|(_, handle)| handle.to_owned())
                    .collect();
                if own.is_empty() {
                    continue;
                }
                // one that is away has no figures; the listing says why
                let figures = part.stats(&own).await.unwrap_or_default();
                all.extend(
                    figures
                        .into_iter()
                        .map(|(handle, stats)| (join(part, &handle), stats)),
                );
            }
            Ok(all)
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
