//! A composer for the tests that kill it: runs the engine against a platform that is a file, and dies at a chosen step.
//! Usage: `engine_host DIRECTORY KILL_AT [DOCKER_SOCKET IMAGE]`, with `work.json` in the directory; `KILL_AT` 0 never dies.
//! It ends with success when everything is as `work.json` asks, and with 9 at the step.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ferrocti_catalog::launch::{Launch, Runtime};
use ferrocti_composer::{
    Commands, ConnectorId, Definition, DockerOrchestrator, DockerSettings, Engine, EngineSettings,
    Foreign, Listing, LogPage, LogQuery, Orchestrator, Permits, Policy, ProcessOrchestrator,
    ProcessSettings, Requested, State, Stats,
    orchestrator::Answer,
    platform::{Assigned, Platform, Registration, Reply, Report, Trouble, Work},
};
use ferrocti_model::clock::{Clock, Millis, SeededEntropy};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }
}

#[derive(Deserialize)]
struct Wish {
    id: String,
    hash: String,
    running: bool,
}

/// The platform: `work.json`. It hears from everything at once.
struct File {
    wishes: Vec<Wish>,
    deleted: BTreeSet<ConnectorId>,
    image: Option<String>,
    done: Arc<Notify>,
}

impl Platform for File {
    fn register<'a>(&'a self, _: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn alive<'a>(&'a self, _: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn work(&self) -> Reply<'_, Work> {
        Box::pin(async move {
            let connectors = self.wishes.iter().map(|wish| Assigned {
                id: wish.id.clone(),
                name: wish.id.clone(),
                requested: match wish.running {
                    true => Requested::Running,
                    false => Requested::Stopped,
                },
                hash: wish.hash.clone(),
                launch: match &self.image {
                    Some(image) => Launch::Image {
                        image: image.clone(),
                    },
                    None => Launch::Command {
                        command: ["/bin/sh", "-c", "sleep 600 & wait"]
                            .map(str::to_owned)
                            .to_vec(),
                        working_directory: None,
                        requirements: None,
                    },
                },
                runtime: Runtime {
                    networks: self.image.iter().map(|_| "none".to_owned()).collect(),
                    ..Runtime::default()
                },
                configuration: Vec::new(),
                last_seen: Some(Duration::ZERO),
                log_cursor: None,
                fault: None,
            });
            Ok(Work {
                connectors: connectors.collect(),
                tombstones: self.deleted.clone(),
                ..Work::default()
            })
        })
    }

    fn changed<'a>(&'a self, _: &'a str, _: Duration) -> Reply<'a, bool> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(true)
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()> {
        // everything that is told is told again until it is as it shall be: told states are never believed
        Box::pin(async move {
            let told: BTreeMap<&str, State> = report
                .connectors
                .iter()
                .map(|told| (told.id.as_str(), told.state))
                .collect();
            let as_wished = self.wishes.iter().all(|wish| {
                let wanted = if wish.running {
                    State::Running
                } else {
                    State::Stopped
                };
                told.get(wish.id.as_str()) == Some(&wanted)
            });
            if as_wished && self.deleted.iter().all(|id| report.removed.contains(id)) {
                self.done.notify_one();
                return Ok(());
            }
            Err(Trouble::Away("it is not as it shall be yet".to_owned()))
        })
    }

    fn gone<'a>(&'a self, _: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>> {
        Box::pin(async { Ok(BTreeSet::new()) })
    }

    fn alive_every(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// An orchestrator in which the composer dies before or after the deed of a chosen number.
struct Deadly {
    inner: Arc<dyn Orchestrator>,
    kill_at: u64,
    steps: AtomicU64,
}

impl Deadly {
    fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.kill_at {
            std::process::exit(9);
        }
    }

    fn around<'a, T: Send + 'a>(&'a self, deed: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            self.step();
            let outcome = deed.await;
            self.step();
            outcome
        })
    }
}

impl Orchestrator for Deadly {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn list(&self) -> Answer<'_, Listing> {
        self.inner.list()
    }

    fn adoptable(&self) -> Answer<'_, Vec<Foreign>> {
        self.inner.adoptable()
    }

    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()> {
        self.around(self.inner.prepare(definition))
    }

    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String> {
        self.around(self.inner.create(definition))
    }

    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        self.around(self.inner.start(handle))
    }

    fn stop<'a>(&'a self, handle: &'a str, grace: Duration) -> Answer<'a, ()> {
        self.around(self.inner.stop(handle, grace))
    }

    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        self.around(self.inner.remove(handle))
    }

    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage> {
        self.inner.logs(handle, query)
    }

    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>> {
        self.inner.stats(handles)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory: PathBuf = arguments.next().ok_or("name a directory")?.into();
    let kill_at = arguments.next().ok_or("name a step")?.parse()?;
    let docker = arguments.next().zip(arguments.next());
    let work = std::fs::read(directory.join("work.json"))?;
    let (wishes, deleted) = serde_json::from_slice(&work)?;
    let composer = std::fs::read_to_string(directory.join("composer"))?;
    let (image, inner): (_, Arc<dyn Orchestrator>) = match docker {
        Some((socket, image)) => {
            let settings = DockerSettings {
                socket: socket.into(),
                composer: composer.clone(),
                registries: Vec::new(),
            };
            (Some(image), Arc::new(DockerOrchestrator::open(settings)?))
        }
        None => {
            let settings = ProcessSettings {
                directory: directory.join("processes"),
                composer: composer.clone(),
                log_bytes: 1 << 20,
                clock: Arc::new(Wall),
            };
            (None, Arc::new(ProcessOrchestrator::open(settings)?))
        }
    };
    let done = Arc::new(Notify::new());
    let platform = File {
        wishes,
        deleted,
        image,
        done: done.clone(),
    };
    let orchestrator = Deadly {
        inner,
        kill_at,
        steps: AtomicU64::new(0),
    };
    let settings = EngineSettings {
        id: composer.clone(),
        name: composer,
        version: "0".to_owned(),
        orchestrators: Vec::new(),
        directory,
        program: "/bin/false".into(),
        connector_url: "http://127.0.0.1".to_owned(),
        container_url: Ok("http://127.0.0.1".to_owned()),
        proxy: None,
        permits: Permits {
            commands: Commands::Any,
            ..Permits::default()
        },
        policy: Policy {
            first_wait: 50,
            max_removals: 100,
            ..Policy::default()
        },
        grace: Duration::from_secs(1),
    };
    let engine = Engine::new(
        settings,
        Arc::new(platform),
        Arc::new(orchestrator),
        Arc::new(Wall),
        Arc::new(SeededEntropy::new(1)),
    );
    engine.run(done.notified()).await;
    Ok(())
}
