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
    Commands, ConnectorId, Engine, EngineSettings, Orchestrator, Permits, Policy, Requested, State,
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
