//! Connectors as processes of this host. They outlive the composer and are found again by their mark and by their start time.
//!
//! Each instance has a directory: `spec.json` (what to run), `run.json` (the last run), `log`, and `work`, where it runs unless it is told otherwise.
//! A run is noted before its process is spawned and the process carries a mark in its environment, so that one that was spawned by a composer
//! that died at that very moment is found too. The process leads a group of its own, and when it ends what is left of the group is killed.

mod host;
pub(crate) mod journal;
mod log;
mod proc_fs;
mod spawn;
mod venv;

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use ferrocti_model::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::host::Host;
use crate::{
    Definition, Listing,
    orchestrator::{Answer, Failure, Foreign, LogPage, LogQuery, Orchestrator, Stats},
};

/// How often logs are looked at for their length.
const ROTATE_EVERY: Duration = Duration::from_secs(2);
/// How often a stopping instance is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the directory's lock is waited for.
const LOCKED_FOR: Duration = Duration::from_secs(1);
/// How long a killed process may take to go.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// Where and as whom a process orchestrator works.
#[derive(Clone)]
pub struct ProcessSettings {
    /// Its directory; one orchestrator at a time.
    pub directory: PathBuf,
    /// The composer's id: letters, digits, `-`, `_` and `.`.
    pub composer: String,
    /// A log that is longer is moved aside; two that were moved aside are kept.
    pub log_bytes: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Runs connectors as processes of this host.
pub struct ProcessOrchestrator(Arc<Host>);

impl ProcessOrchestrator {
    /// Opens the directory, and takes care again of the processes that an earlier composer started from it. Needs a tokio runtime.
    pub fn open(settings: ProcessSettings) -> Result<Self, Failure> {
        let acceptable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if settings.composer.is_empty() || !settings.composer.chars().all(acceptable) {
            return Err(Failure::Refused(format!(
                "{:?} cannot be a composer's id; use letters, digits, - _ and .",
                settings.composer
            )));
        }
        let directory = settings.directory.clone();
        let disk = |error: std::io::Error| {
            Failure::Unavailable(format!("{} cannot be used: {error}", directory.display()))
        };
        journal::directory(&directory.join("instances"), 0o711).map_err(disk)?;
        let lock = File::create(directory.join("composer.lock")).map_err(disk)?;
        let patience = std::time::Instant::now() + LOCKED_FOR;
        while lock.try_lock().is_err() {
            // a process that a killed composer was just starting holds it for a moment
            if std::time::Instant::now() < patience {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            return Err(Failure::Refused(format!(
                "another composer works in {}; give this one a directory of its own",
                directory.display()
            )));
        }
        let host = Arc::new(Host {
            instances: directory.join("instances"),
            venvs: directory.join("venvs"),
            settings,
            gate: Mutex::new(()),
            logs: Mutex::new(()),
            making: Mutex::default(),
            changes: watch::Sender::new(0),
            _lock: lock,
        });
        host.adopt_own()?;
        tokio::spawn(rotate(Arc::downgrade(&host)));
        Ok(Self(host))
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Host>) -> Result<T, Failure> + Send + 'static,
    ) -> Answer<'static, T> {
        let host = self.0.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&host))
                .await
                .unwrap_or_else(|error| Err(Failure::Unavailable(error.to_string())))
        })
    }
}

async fn rotate(host: Weak<Host>) {
    loop {
        tokio::time::sleep(ROTATE_EVERY).await;
        let Some(host) = host.upgrade() else { return };
        let _ = tokio::task::spawn_blocking(move || host.rotate_logs()).await;
    }
}

impl Orchestrator for ProcessOrchestrator {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn list(&self) -> Answer<'_, Listing> {
        self.blocking(|host| host.list())
    }

    fn adoptable(&self) -> Answer<'_, Vec<Foreign>> {
        self.blocking(|host| host.adoptable())
    }

    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()> {
        let definition = definition.clone();
        self.blocking(move |host| host.prepare(&definition))
    }

    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String> {
        let definition = definition.clone();
        self.blocking(move |host| host.create(&definition))
    }

    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        let handle = handle.to_owned();
        self.blocking(move |host| host.start(&handle))
    }

    fn stop<'a>(&'a self, handle: &'a str, grace: Duration) -> Answer<'a, ()> {
        let name = handle.to_owned();
        let signal = move |kill| {
            let name = name.clone();
            self.blocking(move |host| host.signal(&name, kill))
        };
        let name = handle.to_owned();
        let gone = move || {
            let name = name.clone();
            self.blocking(move |host| host.settle(&name))
        };
        Box::pin(async move {
            for (kill, patience) in [(false, grace), (true, KILLED_WITHIN)] {
                let end = tokio::time::Instant::now() + patience;
                let mut left = signal(kill).await?;
                loop {
                    if left.is_empty() {
                        if gone().await? {
                            return Ok(());
                        }
                        // a process that was forked meanwhile carries the mark too
                        left = signal(kill).await?;
                    }
                    if tokio::time::Instant::now() >= end {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                    left.retain(|process| {
                        proc_fs::look_up(process.pid).is_some_and(|now| now.ticks == process.ticks)
                    });
                }
            }
            Err(Failure::Unavailable(format!(
                "{handle} does not end although it was killed; look at the host"
            )))
        })
    }

    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        let handle = handle.to_owned();
        self.blocking(move |host| host.remove(&handle))
    }

    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage> {
        let (handle, query) = (handle.to_owned(), query.clone());
        self.blocking(move |host| host.read_log(&handle, &query))
    }

    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>> {
        let handles = handles.to_vec();
        self.blocking(move |host| host.stats(&handles))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}
