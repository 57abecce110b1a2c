//! Connectors as containers of a Docker engine, over its unix socket.
//!
//! Containers are found by labels with the composer's and the connector's id, and a container without this composer's label is never touched.
//! The composer restarts what ends, so that one place counts and decides, unless the definition leaves that to the engine.

mod client;
mod container;
mod image;
mod log;
mod seen;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use hyper::Method;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use self::{client::Client, seen::Seen};
use crate::{
    Definition, Listing, Secret,
    orchestrator::{Answer, Failure, Foreign, LogPage, LogQuery, Orchestrator, Stats},
};

/// Which composer a container belongs to.
pub const COMPOSER: &str = "io.ferrocti.composer";
/// Which connector it is of.
pub const CONNECTOR: &str = "io.ferrocti.connector";
/// Which revision of the definition it was made from.
pub const REVISION: &str = "io.ferrocti.revision";

/// The wait before events are asked for again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Which engine, and as whom.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// The engine's unix socket, usually `/var/run/docker.sock`.
    pub socket: PathBuf,
    /// The composer's id.
    pub composer: String,
    /// Registries that want a login.
    pub registries: Vec<Registry>,
}

/// A login at a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its host as in image references; `docker.io` for references without one.
    pub server: String,
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: Secret,
}

/// Runs connectors as containers of a Docker engine.
pub struct DockerOrchestrator {
    docker: Arc<Docker>,
    listener: JoinHandle<()>,
}

/// What the parts of this module share.
struct Docker {
    settings: DockerSettings,
    client: Client,
    seen: Seen,
    changes: watch::Sender<u64>,
}

impl DockerOrchestrator {
    /// Speaks to the engine from now on; whether it answers is seen with the first operation. Needs a tokio runtime.
    pub fn open(settings: DockerSettings) -> Result<Self, Failure> {
        if settings.composer.trim().is_empty() {
            return Err(Failure::Refused(
                "a composer needs an id, by which its containers are found".to_owned(),
            ));
        }
        let docker = Arc::new(Docker {
            client: Client {
                socket: settings.socket.clone(),
            },
            settings,
            seen: Seen::default(),
            changes: watch::Sender::new(0),
        });
        let listener = tokio::spawn(listen(Arc::downgrade(&docker)));
        Ok(Self { docker, listener })
    }
}

impl Drop for DockerOrchestrator {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Passes the engine's events on, and asks for them again when they break off.
async fn listen(docker: Weak<Docker>) {
    loop {
        let Some(docker) = docker.upgrade() else {
            return;
        };
        let label = format!("{COMPOSER}={}", docker.settings.composer);
        let filters = json!({"type": ["container"], "label": [label]}).to_string();
        let path = format!("/events?filters={}", client::encode(&filters));
        if let Ok(response) = docker.client.open(Method::GET, &path, None, None).await {
            let mut stream = response.into_body();
            let mut rest = Vec::new();
            docker.seen.listening();
            loop {
                // also once when it begins: what happened before was missed
                docker.changed();
                match client::next(&mut stream).await {
                    Ok(Some(piece)) => docker.heard(&mut rest, &piece),
                    Ok(None) | Err(_) => break,
                }
            }
            docker.seen.deaf();
            docker.changed();
        }
        drop(docker);
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

impl Docker {
    /// What is known of the containers that events are about has to be asked for again.
    fn heard(&self, rest: &mut Vec<u8>, piece: &[u8]) {
        rest.extend_from_slice(piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event = serde_json::from_slice::<serde_json::Value>(&line).unwrap_or_default();
            if let Some(id) = event.pointer("/Actor/ID").and_then(|id| id.as_str()) {
                self.seen.changed(id);
            }
        }
        if rest.len() > client::LONGEST {
            rest.clear();
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Orchestrator for DockerOrchestrator {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn list(&self) -> Answer<'_, Listing> {
        Box::pin(self.docker.list())
    }

    fn adoptable(&self) -> Answer<'_, Vec<Foreign>> {
        Box::pin(self.docker.adoptable())
    }

    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()> {
        Box::pin(async move {
            let (reference, _) = container::image(definition)?;
            self.docker.fetch(reference).await
        })
    }

    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String> {
        Box::pin(self.docker.create(definition))
    }

    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(self.docker.start(handle))
    }

    fn stop<'a>(&'a self, handle: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(self.docker.stop(handle, grace))
    }

    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()> {
        Box::pin(self.docker.remove(handle))
    }

    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage> {
        Box::pin(async move {
            self.docker.own(handle).await?;
            tokio::time::timeout(client::SOON, self.docker.read_log(handle, query))
                .await
                .unwrap_or_else(|_| {
                    Err(Failure::Unavailable(
                        "the engine did not give the log in time".to_owned(),
                    ))
                })
        })
    }

    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>> {
        Box::pin(self.docker.stats(handles))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.docker.changes.subscribe()
    }
}
