//! A platform and an orchestrator of the tests' own, and time that passes only when everybody waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ferrocti_catalog::{
    Entry,
    launch::{Launch, Runtime},
};
use ferrocti_composer::{
    Commands, ConnectorId, Definition, Engine, EngineSettings, Failure, Foreign, Instance, Listing,
    LogPage, LogQuery, Orchestrator, Permits, Phase, Place, Policy, Requested, State, Stats,
    orchestrator::Answer,
    platform::{Assigned, Platform, Registration, Reply, Report, Reported, Trouble, Work},
};
use ferrocti_model::clock::{Clock, Millis, SeededEntropy};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

pub const KEY: &str = include_str!("../../../../catalog/tests/vectors/test-key.pem");
pub const START: Millis = 1_800_000_000_000;

/// The wall clock of the composer: virtual time, which can be set.
pub struct Time {
    begun: Instant,
    set: AtomicI64,
}

impl Time {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            set: AtomicI64::new(START),
        })
    }

    /// The host's own time, for what does not follow virtual time.
    pub fn real() -> Arc<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Arc::new(Self {
            begun: Instant::now(),
            set: AtomicI64::new(now.unwrap().as_millis() as Millis),
        })
    }

    /// Somebody sets the clock.
    pub fn jump(&self, by: Millis) {
        self.set.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for Time {
    fn now(&self) -> Millis {
        self.set.load(Ordering::SeqCst) + self.begun.elapsed().as_millis() as Millis
    }
}

/// A connector that runs for as long as it is let.
pub fn assigned(id: &str, hash: &str) -> Assigned {
    Assigned {
        id: id.to_owned(),
        name: format!("Connector {id}"),
        requested: Requested::Running,
        hash: hash.to_owned(),
        launch: Launch::Image {
            image: format!("example/{id}:{hash}"),
        },
        runtime: Runtime::default(),
        configuration: vec![Entry::plain("CONNECTOR_ID", id)],
        last_seen: None,
        log_cursor: None,
        fault: None,
    }
}

#[derive(Default)]
pub struct Platforms {
    pub connectors: BTreeMap<ConnectorId, Assigned>,
    pub tombstones: BTreeSet<ConnectorId>,
    pub approved: BTreeSet<ConnectorId>,
    /// Connectors that it would say not to exist, when it is asked one by one.
    pub nowhere: BTreeSet<ConnectorId>,
    /// When it has heard of which, in virtual time.
    pub heard: BTreeMap<ConnectorId, Instant>,
    pub away: bool,
    /// Time is not virtual in this test.
    pub real: bool,
    /// There is a lot to do.
    pub patient: bool,
    /// Answers to reports get lost.
    pub deaf: bool,
    pub registrations: Vec<Registration>,
    pub forgot: bool,
    /// Every question that reached it.
    pub questions: usize,
    pub reports: Vec<(Instant, Report)>,
    /// What it was told last.
    pub told: BTreeMap<ConnectorId, Reported>,
    pub lines: BTreeMap<ConnectorId, Vec<String>>,
    pub removed: BTreeSet<ConnectorId>,
    /// It goes back to the definition before one that was given up.
    pub before: BTreeMap<ConnectorId, Assigned>,
}

/// A platform as Ferrocti's own.
pub struct FakePlatform {
    pub inner: Mutex<Platforms>,
    version: watch::Sender<u64>,
    reported: watch::Sender<u64>,
}

impl FakePlatform {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            version: watch::Sender::new(0),
            reported: watch::Sender::new(0),
        })
    }

    pub fn get(&self) -> MutexGuard<'_, Platforms> {
        self.inner.lock().unwrap()
    }

    /// Changes something that the composer must see.
    pub fn change(&self, change: impl FnOnce(&mut Platforms)) {
        change(&mut self.get());
        self.version.send_modify(|version| *version += 1);
    }

    pub fn assign(&self, assigned: Assigned) {
        self.change(|platform| {
            platform.connectors.insert(assigned.id.clone(), assigned);
        });
    }

    /// A connector pings.
    pub fn hear(&self, id: &str) {
        self.change(|platform| {
            platform.heard.insert(id.to_owned(), Instant::now());
        });
    }

    fn question(&self) -> Result<MutexGuard<'_, Platforms>, Trouble> {
        let mut inner = self.get();
        inner.questions += 1;
        if inner.away {
            return Err(Trouble::Away("the platform is away".to_owned()));
        }
        Ok(inner)
    }

    /// Waits until what was told fulfils a condition.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&Platforms) -> bool) {
        let mut reported = self.reported.subscribe();
        let wait = async {
            while !condition(&self.get()) {
                reported.changed().await.unwrap();
            }
        };
        let real = self.get().real;
        let patient = self.get().patient;
        // of virtual time there is plenty
        let patience = Duration::from_secs(match (real, patient) {
            (true, false) => 60,
            (true, true) => 240,
            (false, _) => 4 * 3600,
        });
        let outcome = tokio::time::timeout(patience, wait).await;
        let told = &self.get().told;
        assert!(outcome.is_ok(), "never: {what}; told: {told:#?}");
    }

    pub async fn until_state(&self, id: &str, state: State) -> Reported {
        self.until(&format!("{id} is {state}"), |platform| {
            platform
                .told
                .get(id)
                .is_some_and(|told| told.state == state)
        })
        .await;
        self.get().told[id].clone()
    }
}

impl Platform for FakePlatform {
    fn register<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async move {
            let mut inner = self.question()?;
            inner.registrations.push(composer.clone());
            inner.forgot = false;
            Ok(())
        })
    }

    fn alive<'a>(&'a self, _: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async move {
            match self.question()?.forgot {
                true => Err(Trouble::Unregistered("who are you".to_owned())),
                false => Ok(()),
            }
        })
    }

    fn work(&self) -> Reply<'_, Work> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let inner = self.question()?;
            if inner.forgot {
                return Err(Trouble::Unregistered("who are you".to_owned()));
            }
            let connectors = inner.connectors.values().cloned().map(|mut assigned| {
                let heard = inner.heard.get(&assigned.id);
                assigned.last_seen = heard.map(|at| at.elapsed());
                assigned
            });
            Ok(Work {
                version: self.version.borrow().to_string(),
                connectors: connectors.collect(),
                tombstones: inner.tombstones.clone(),
                approved: inner.approved.clone(),
            })
        })
    }

    fn changed<'a>(&'a self, version: &'a str, wait: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            drop(self.question()?);
            let mut changes = self.version.subscribe();
            let differs = changes.wait_for(|now| now.to_string() != version);
            let answer = tokio::time::timeout(wait, differs).await.is_ok();
            if self.get().away {
                return Err(Trouble::Away("the platform is away".to_owned()));
            }
            Ok(answer)
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut rolled_back = false;
            {
                let mut inner = self.question()?;
                if inner.deaf {
                    return Err(Trouble::Away("no answer".to_owned()));
                }
                inner.reports.push((Instant::now(), report.clone()));
                for reported in &report.connectors {
                    let id = reported.id.clone();
                    if let Some(logs) = &reported.logs {
                        let lines = inner.lines.entry(id.clone()).or_default();
                        lines.extend(logs.lines.iter().cloned());
                        if let Some(assigned) = inner.connectors.get_mut(&id) {
                            assigned.log_cursor = Some(logs.cursor.clone());
                        }
                    }
                    let current = inner.connectors.get(&id).map(|c| c.hash.clone());
                    if reported.rejected.is_some()
                        && reported.rejected == current
                        && let Some(before) = inner.before.remove(&id)
                    {
                        inner.connectors.insert(id.clone(), before);
                        rolled_back = true;
                    }
                    inner.told.insert(id, reported.clone());
                }
                for id in &report.removed {
                    inner.tombstones.remove(id);
                }
                inner.removed.extend(report.removed.iter().cloned());
            }
            if rolled_back {
                self.version.send_modify(|version| *version += 1);
            }
            self.reported.send_modify(|count| *count += 1);
            Ok(())
        })
    }

    fn gone<'a>(&'a self, connectors: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>> {
        Box::pin(async move {
            let inner = self.question()?;
            let gone = connectors.iter().filter(|id| inner.nowhere.contains(*id));
            Ok(gone.cloned().collect())
        })
    }

    fn alive_every(&self) -> Duration {
        Duration::from_secs(60)
    }
}

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

/// A composer that runs until it is dropped, which is as sudden as a kill.
pub struct Composer(JoinHandle<()>);

impl Composer {
    pub fn start(
        directory: &Path,
        platform: &Arc<FakePlatform>,
        orchestrator: Arc<dyn Orchestrator>,
        time: &Arc<Time>,
    ) -> Self {
        let settings = settings(directory);
        Self::start_with(settings, platform, orchestrator, time)
    }

    pub fn start_with(
        settings: EngineSettings,
        platform: &Arc<FakePlatform>,
        orchestrator: Arc<dyn Orchestrator>,
        time: &Arc<Time>,
    ) -> Self {
        let entropy = Arc::new(SeededEntropy::new(7));
        let engine = Engine::new(
            settings,
            platform.clone(),
            orchestrator,
            time.clone(),
            entropy,
        );
        Self(tokio::spawn(engine.run(std::future::pending())))
    }

    /// Ends it at once.
    pub async fn kill(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Settings of a composer whose key is there.
pub fn settings(directory: &Path) -> EngineSettings {
    use std::os::unix::fs::PermissionsExt;
    let key = directory.join("key.pem");
    if !key.exists() {
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    }
    EngineSettings {
        id: "composer-1".to_owned(),
        name: "Test composer".to_owned(),
        version: "1.2.3".to_owned(),
        orchestrators: vec!["fake".to_owned()],
        directory: directory.to_path_buf(),
        program: "/opt/ferrocti".into(),
        connector_url: "http://platform:8080".to_owned(),
        container_url: Ok("http://platform:8080".to_owned()),
        proxy: None,
        permits: Permits {
            commands: Commands::Any,
            ..Permits::default()
        },
        policy: Policy::default(),
        grace: Duration::from_secs(10),
    }
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
