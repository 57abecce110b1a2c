//! A container engine of the tests' own, and the world of a test: a platform, an engine, and a composer between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ferrocti_composer::{
    ConnectorId, Definition, Failure, Foreign, Instance, Listing, LogPage, LogQuery, Orchestrator,
    Phase, Place, State, Stats, orchestrator::Answer,
};
use ferrocti_model::clock::{Clock, Millis};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::world::{Composer, FakePlatform, Time};

#[derive(Default)]
pub struct Engines {
    pub instances: Vec<Instance>,
    pub logs: BTreeMap<String, Vec<String>>,
    /// What cannot be fetched, by a part of its name, and why; `None`: it never ends.
    pub unfetchable: BTreeMap<String, Option<String>>,
    /// Instances of these revisions end as soon as they are started; by a part of what they run.
    pub die: BTreeSet<String>,
    /// It does not answer.
    pub away: Option<String>,
    /// It takes a question and never answers.
    pub hangs: bool,
    pub lists: usize,
    /// Connectors of which two were alive at once.
    pub twice: BTreeSet<ConnectorId>,
    /// How long a stop takes.
    pub stop: Duration,
    /// Sources by handle.
    sources: BTreeMap<String, String>,
    /// Environments by handle.
    pub environments: BTreeMap<String, Vec<(String, String)>>,
    /// Starts that are under way now, and the most that ever were.
    pub starting: usize,
    pub most_starting: usize,
    /// When which connector came alive.
    pub alive_at: BTreeMap<ConnectorId, Instant>,
}

/// A container engine that needs time for everything.
pub struct FakeEngine {
    pub inner: Mutex<Engines>,
    time: Arc<Time>,
    changes: watch::Sender<u64>,
}

impl FakeEngine {
    pub fn new(time: &Arc<Time>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            time: time.clone(),
            changes: watch::Sender::new(0),
        })
    }

    pub fn get(&self) -> MutexGuard<'_, Engines> {
        self.inner.lock().unwrap()
    }

    /// Something happens to the instances that is none of the composer's doing.
    pub fn happen(&self, event: impl FnOnce(&mut Engines)) {
        event(&mut self.get());
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn live(&self, connector: &str) -> Vec<Instance> {
        let inner = self.get();
        let live = inner.instances.iter();
        live.filter(|i| i.connector == connector && i.is_live())
            .cloned()
            .collect()
    }

    pub fn die(&self, connector: &str) {
        let now = self.time.now();
        self.happen(|engine| {
            let live = engine.instances.iter_mut();
            for instance in live.filter(|i| i.connector == connector && i.is_live()) {
                instance.phase = Phase::Exited {
                    code: Some(1),
                    at: Some(now),
                };
            }
        });
    }

    fn answer(&self) -> Result<MutexGuard<'_, Engines>, Failure> {
        let inner = self.get();
        match &inner.away {
            Some(why) => Err(Failure::Unavailable(why.clone())),
            None => Ok(inner),
        }
    }
}

async fn takes(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

impl Orchestrator for FakeEngine {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn list(&self) -> Answer<'_, Listing> {
        Box::pin(async move {
            takes(10).await;
            if self.get().hangs {
                std::future::pending::<()>().await;
            }
            let mut inner = self.answer()?;
            inner.lists += 1;
            Ok(Listing {
                instances: inner.instances.clone(),
                ..Listing::default()
            })
        })
    }

    fn adoptable(&self) -> Answer<'_, Vec<Foreign>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()> {
        Box::pin(async move {
            takes(5).await;
            let source = definition.source.to_string();
            let trouble = {
                let inner = self.answer()?;
                let mut named = inner.unfetchable.iter();
                let found = named.find(|(part, _)| source.contains(part.as_str()));
                found.map(|(_, why)| why.clone())
            };
            match trouble {
                None => Ok(()),
                Some(Some(why)) => Err(Failure::Refused(why)),
                Some(None) => std::future::pending().await,
            }
        })
    }

    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String> {
        Box::pin(async move {
            takes(20).await;
            let handle = definition.instance_name();
            {
                let mut inner = self.answer()?;
                if inner.instances.iter().all(|i| i.handle != handle) {
                    inner.instances.push(Instance {
                        handle: handle.clone(),
                        place: Place::Containers,
                        connector: definition.connector.clone(),
                        revision: definition.revision.clone(),
                        phase: Phase::Created,
                        started_at: None,
                        restarts: 0,
                        said: None,
                    });
                    let source = definition.source.to_string();
                    inner.sources.insert(handle.clone(), source);
                    let environment = definition.environment.iter();
                    let environment = environment.map(|v| {
                        (
                            v.key.clone(),
                            v.value.expose().unwrap_or_default().to_owned(),
                        )
                    });
                    let environment = environment.collect();
                    inner.environments.insert(handle.clone(), environment);
                }
            }
            self.changed();
            Ok(handle)
        })
    }

    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            {
                let mut inner = self.answer()?;
                inner.starting += 1;
                inner.most_starting = inner.most_starting.max(inner.starting);
            }
            takes(60).await;
            let now = self.time.now();
            let outcome = {
                let mut inner = self.get();
                inner.starting -= 1;
                start(&mut inner, handle, now)
            };
            self.changed();
            outcome
        })
    }

    fn stop<'a>(&'a self, handle: &'a str, _: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let patience = self.answer()?.stop;
            tokio::time::sleep(patience).await;
            let now = self.time.now();
            {
                let mut inner = self.answer()?;
                let found = inner.instances.iter_mut().find(|i| i.handle == handle);
                let Some(instance) = found else {
                    return Err(Failure::NotFound(handle.to_owned()));
                };
                if instance.is_live() {
                    instance.phase = Phase::Exited {
                        code: Some(-9),
                        at: Some(now),
                    };
                }
            }
            self.changed();
            Ok(())
        })
    }

    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            takes(10).await;
            {
                let mut inner = self.answer()?;
                let found = inner.instances.iter().find(|i| i.handle == handle);
                if found.is_some_and(Instance::is_live) {
                    return Err(Failure::Refused("it is alive".to_owned()));
                }
                inner.instances.retain(|i| i.handle != handle);
            }
            self.changed();
            Ok(())
        })
    }

    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage> {
        Box::pin(async move {
            takes(2).await;
            let inner = self.answer()?;
            if inner.instances.iter().all(|i| i.handle != handle) {
                return Err(Failure::NotFound(handle.to_owned()));
            }
            let lines = inner.logs.get(handle).cloned().unwrap_or_default();
            let from = match &query.after {
                Some(place) => place.parse::<usize>().unwrap(),
                None => lines.len().saturating_sub(query.limit),
            };
            let lines: Vec<String> = lines.into_iter().skip(from).take(query.limit).collect();
            let next = Some((from + lines.len()).to_string());
            Ok(LogPage { lines, next })
        })
    }

    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>> {
        Box::pin(async move {
            takes(10).await;
            let figures = handles.iter().map(|handle| {
                let stats = Stats {
                    memory: 5_000_000,
                    cpu_millis: 1,
                    processes: 1,
                };
                (handle.clone(), stats)
            });
            Ok(figures.collect())
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn start(inner: &mut Engines, handle: &str, now: Millis) -> Result<(), Failure> {
    let found = inner.instances.iter().position(|i| i.handle == handle);
    let Some(at) = found else {
        return Err(Failure::NotFound(handle.to_owned()));
    };
    if inner.instances[at].is_live() {
        return Ok(());
    }
    let connector = inner.instances[at].connector.clone();
    let others = inner.instances.iter();
    // a real one refuses; here it is what must not even be tried
    if others
        .filter(|i| i.connector == connector && i.is_live())
        .count()
        > 0
    {
        inner.twice.insert(connector.clone());
    }
    let source = inner.sources.get(handle).cloned().unwrap_or_default();
    let dies = inner.die.iter().any(|part| source.contains(part.as_str()));
    let instance = &mut inner.instances[at];
    instance.started_at = Some(now);
    instance.phase = if dies {
        Phase::Exited {
            code: Some(1),
            at: Some(now),
        }
    } else {
        Phase::Running
    };
    if !dies {
        inner.alive_at.insert(connector, Instant::now());
    }
    Ok(())
}

/// Everything that most tests need.
pub struct World {
    pub directory: tempfile::TempDir,
    pub time: Arc<Time>,
    pub platform: Arc<FakePlatform>,
    pub engine: Arc<FakeEngine>,
}

impl World {
    pub fn new() -> Self {
        Self::at(Time::new())
    }

    /// One in which time is not virtual.
    pub fn real() -> Self {
        let world = Self::at(Time::real());
        world.platform.get().real = true;
        world
    }

    fn at(time: Arc<Time>) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            platform: FakePlatform::new(),
            engine: FakeEngine::new(&time),
            time,
        }
    }

    pub fn compose(&self) -> Composer {
        Composer::start(
            self.directory.path(),
            &self.platform,
            self.engine.clone(),
            &self.time,
        )
    }

    /// Waits until a connector runs and the platform has heard of it and knows.
    pub async fn runs(&self, id: &str) {
        self.platform.until_state(id, State::Starting).await;
        self.platform
            .until(&format!("{id} lives"), |_| !self.engine.live(id).is_empty())
            .await;
        // by more after its start than an answer of the platform takes
        takes(20).await;
        self.platform.hear(id);
        self.platform.until_state(id, State::Running).await;
    }

    /// All of these ping every 40 seconds, as unmodified connectors do, for as long as they live.
    pub fn ping(&self, ids: Vec<String>) -> JoinHandle<()> {
        let (platform, engine) = (self.platform.clone(), self.engine.clone());
        tokio::spawn(async move {
            loop {
                for id in &ids {
                    if engine.live(id).iter().any(|i| i.phase == Phase::Running) {
                        let new = !platform.get().heard.contains_key(id);
                        platform.get().heard.insert(id.clone(), Instant::now());
                        // the first one is news
                        if new {
                            platform.change(|_| {});
                        }
                    }
                }
                tokio::time::sleep(Duration::from_secs(40)).await;
            }
        })
    }
}
