//! Ingestion: queue message → bundle → dependency order → resolve → merge → one commit; parked references; work accounting.
//!
//! [`Ingest`] is the handle: [`Ingest::start`] begins to take messages from the push queues, [`Ingest::push_bundle`] queues what comes through the
//! API, [`Ingest::upsert`] adds single elements at once. The rules of works are in [`works`]. How it all fits: `docs/development/ingestion.md`.

pub mod actors;
mod applier;
mod apply;
pub mod boot;
mod budget;
mod editing;
pub mod message;
mod metrics;
pub mod partial;
mod prepare;
mod push;
mod reader;
pub mod works;

use std::{
    collections::HashSet,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use ferrocti_access::Actor;
use ferrocti_accounts::Acting;
use ferrocti_broker::Queues;
use ferrocti_model::{Element, clock::Clock};
use ferrocti_store::{Store, StoreError};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use apply::{
    Refused, RefusedReason, Upserted,
    edit::{Comment, EditError, EditOperation, FieldEdit, Linked, Subject},
};
pub use editing::By;
pub use metrics::{Metrics, Tally};
pub use push::{PushError, Pushed};
pub use reader::ReadError;

use apply::{engine::Stop, skipped::Skipped};
use budget::Budget;
use metrics::Counters;

/// How ingestion uses the machine.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Objects after which a batch is not waited for any more.
    pub batch_objects: usize,
    /// How long to wait for more messages before a batch is applied.
    pub gather: Duration,
    /// Bytes of messages that may be worked on at a time. A larger message is worked on alone.
    pub bytes_in_flight: u64,
    /// Most bytes that are read from one queue before the next one has its turn.
    pub turn_bytes: u64,
    /// Most messages that are read from one queue before the next one has its turn.
    pub turn_messages: usize,
    /// How long to wait after the store or the queues failed; doubled each time …
    pub retry_after: Duration,
    /// … up to this.
    pub retry_at_most: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_objects: 10_000,
            gather: Duration::from_millis(20),
            bytes_in_flight: 32 << 20,
            turn_bytes: 4 << 20,
            turn_messages: 2_000,
            retry_after: Duration::from_millis(200),
            retry_at_most: Duration::from_secs(10),
        }
    }
}

/// What the threads of ingestion and its handles share.
pub(crate) struct Shared {
    pub store: Store,
    pub queues: Queues,
    pub clock: Arc<dyn Clock>,
    pub options: Options,
    pub budget: Budget,
    pub counters: Counters,
    /// Only the applying thread takes it.
    pub skipped: Mutex<Skipped>,
    /// Senders whose wish to run as somebody else has been told. Only the applying thread takes it.
    pub told: Mutex<HashSet<apply::Sender>>,
}

/// The handle of ingestion. Clones share it.
#[derive(Clone)]
pub struct Ingest(Arc<Shared>);

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// Why an element was not added.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The element is refused; nothing of the call was stored.
    #[error(transparent)]
    Refused(#[from] RefusedReason),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Stop> for IngestError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(reason) => Self::Refused(reason),
            Stop::Waits(missing) => Self::Refused(RefusedReason::MissingReference(
                missing.first().map(ToString::to_string).unwrap_or_default(),
            )),
            Stop::Store(error) => Self::Store(error),
        }
    }
}

/// The running threads; they end when this is dropped or stopped.
#[derive(Debug)]
pub struct Running {
    ingest: Ingest,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends the threads after the batch that is being applied. What was not applied stays in the queues.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ingest.0.budget.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of ingestion ended with a panic");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Ingest {
    /// A handle that does nothing by itself yet.
    #[must_use]
    pub fn new(store: Store, queues: Queues, clock: Arc<dyn Clock>, options: Options) -> Self {
        Self(Arc::new(Shared {
            store,
            queues,
            clock,
            budget: Budget::new(options.bytes_in_flight),
            counters: Counters::default(),
            skipped: Mutex::default(),
            told: Mutex::default(),
            options,
        }))
    }

    /// Queues pushed bundles whose pointers were lost in a crash, then starts to take messages from the push queues. To be called once.
    ///
    /// # Errors
    /// [`PushError`] when the lost pointers cannot be queued or the threads cannot be started.
    pub fn start(&self) -> Result<Running, PushError> {
        push::restore(&self.0)?;
        let (out, inbox) = mpsc::channel();
        let (reading, applying) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let threads = vec![
            thread("ingest-read", move || reader::run(&reading, &out))?,
            thread("ingest-apply", move || applier::run(&applying, &inbox))?,
        ];
        Ok(Running {
            ingest: self.clone(),
            threads,
        })
    }

    /// Reads and applies, on the calling thread, everything that is in the queues now. Not while the threads are running.
    ///
    /// # Errors
    /// [`ReadError`] when the queues or the store cannot be read.
    pub fn work_off(&self) -> Result<(), ReadError> {
        applier::work_off(&self.0)
    }

    /// Adds one element at once: creates it or merges it into what it is already.
    ///
    /// # Errors
    /// [`IngestError::Refused`] when a rule is against it or an end or marking does not exist; other references wait for their targets.
    pub fn upsert(&self, actor: &Arc<Actor>, element: Element) -> Result<Upserted, IngestError> {
        let mut upserted = self.upsert_all(actor, vec![element])?;
        upserted.pop().ok_or_else(|| StoreError::Closed.into())
    }

    /// Adds several elements in the order given, all or none.
    ///
    /// # Errors
    /// As [`Ingest::upsert`].
    pub fn upsert_all(
        &self,
        actor: &Arc<Actor>,
        elements: Vec<Element>,
    ) -> Result<Vec<Upserted>, IngestError> {
        self.0
            .store
            .write(|tx| Ok(apply::direct(tx, actor, elements)?))
    }

    /// Keeps a bundle that came through the API and queues it for its connector.
    ///
    /// # Errors
    /// [`PushError`] when it is not a bundle, the connector is unknown, somebody else acts as it, or the queue is full; nothing is kept then.
    pub fn push_bundle<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        connector: &str,
        bundle: &str,
        work: Option<&str>,
    ) -> Result<Pushed, PushError> {
        push::push(&self.0, &acting.into(), connector, bundle, work)
    }

    /// What has been done since the start.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.counters.read(self.0.clock.now())
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, PushError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| PushError::Thread(error.to_string()))
}

/// Under which an input is remembered that was applied in part.
pub(crate) fn digest_in_part(digest: u64) -> u64 {
    xxh3_64_with_seed(&digest.to_le_bytes(), 2)
}

/// Digest of an input as stored with the object: of its text, and of who says it with which rights ([`Actor::fingerprint`]).
pub(crate) fn digest(text: u64, rights: u64) -> u64 {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&text.to_le_bytes());
    key[8..].copy_from_slice(&rights.to_le_bytes());
    xxh3_64_with_seed(&key, 1)
}
