//! What every orchestrator can do. One contract suite holds them all to it (`tests/it/contract`).

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use ferrocti_model::clock::Millis;
use tokio::sync::{mpsc, watch};

use crate::{ConnectorId, Definition, Listing, Mount, Secret, Source};

/// The future of an operation; boxed, so that orchestrators can be chosen at run time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Why an operation was not done. The texts are for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The engine or the host does not answer; try again later.
    #[error("{0}")]
    Unavailable(String),
    /// There is no instance of ours with that handle.
    #[error("there is no instance {0} of this composer; list the instances again")]
    NotFound(String),
    /// It cannot be done as it is asked: the definition, or the state of things, has to change.
    #[error("{0}")]
    Refused(String),
    /// This orchestrator cannot do that at all.
    #[error("{0}")]
    Unsupported(String),
}

/// Runs instances of connectors. All operations may be repeated: what is done already succeeds and changes nothing.
pub trait Orchestrator: Send + Sync {
    /// `process`, `docker`, …
    fn kind(&self) -> &'static str;

    /// All instances that carry this composer's mark, running or not, and no others.
    fn list(&self) -> Answer<'_, Listing>;

    /// Running or stopped connectors of others, known by a `CONNECTOR_ID` in their environment; nothing here ever changes them.
    fn adoptable(&self) -> Answer<'_, Vec<Foreign>>;

    /// Fetches what an instance is made of.
    fn prepare<'a>(&'a self, definition: &'a Definition) -> Answer<'a, ()>;

    /// Makes an instance without starting it, and answers with its handle. One for each connector and revision.
    fn create<'a>(&'a self, definition: &'a Definition) -> Answer<'a, String>;

    /// Starts an instance. Refused while another instance of the same connector is alive.
    fn start<'a>(&'a self, handle: &'a str) -> Answer<'a, ()>;

    /// Asks an instance to end, kills it after `grace`, and answers when nothing of it is alive.
    fn stop<'a>(&'a self, handle: &'a str, grace: Duration) -> Answer<'a, ()>;

    /// Removes an instance; refused while it is alive.
    fn remove<'a>(&'a self, handle: &'a str) -> Answer<'a, ()>;

    /// What an instance has written.
    fn logs<'a>(&'a self, handle: &'a str, query: &'a LogQuery) -> Answer<'a, LogPage>;

    /// What live instances use, by handle; of one that cannot be looked at there is nothing.
    fn stats<'a>(&'a self, handles: &'a [String]) -> Answer<'a, BTreeMap<String, Stats>>;

    /// Changes whenever an instance may have started, ended or gone.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Which part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only what came after the place that an earlier page gave as `next`.
    pub after: Option<String>,
    /// At most so many lines: the last ones without `after`, else the first ones; 0 stands for 1,000.
    pub limit: usize,
}

/// Some lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, oldest first, without line ends; bytes that are not UTF-8 are replaced.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: Option<String>,
}

/// What an instance uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Resident memory in bytes.
    pub memory: u64,
    /// Processor time since its start in milliseconds.
    pub cpu_millis: u64,
    /// Processes.
    pub processes: u64,
}

/// A connector that somebody else runs here, with everything that is needed to take it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The engine's id, or the process number.
    pub handle: String,
    /// Its name there.
    pub name: String,
    /// The `CONNECTOR_ID` that it runs with.
    pub connector: ConnectorId,
    /// Whether it runs.
    pub running: bool,
    /// What it runs.
    pub source: Source,
    /// The exact content of its image.
    pub digest: Option<String>,
    /// Its environment; any value may be a secret.
    pub environment: Vec<(String, Secret)>,
    /// What it sees of the host.
    pub mounts: Vec<Mount>,
    /// The networks it is in.
    pub networks: Vec<String>,
    /// Who starts it again, in the engine's word.
    pub restart: Option<String>,
    /// Since when it runs.
    pub started_at: Option<Millis>,
}

/// Sends the lines of a log as they come, from `query` on, until the instance is removed or the receiver is dropped.
#[must_use]
pub fn follow(
    orchestrator: Arc<dyn Orchestrator>,
    handle: String,
    mut query: LogQuery,
) -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        loop {
            match orchestrator.logs(&handle, &query).await {
                Ok(page) => {
                    let idle = page.lines.is_empty();
                    query.after = page.next.or(query.after);
                    for line in page.lines {
                        if lines.send(line).await.is_err() {
                            return;
                        }
                    }
                    if !idle {
                        continue;
                    }
                }
                Err(Failure::Unavailable(_)) => {}
                Err(_) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
                () = lines.closed() => return,
            }
        }
    });
    receiver
}
