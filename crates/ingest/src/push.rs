//! Bundles pushed through the API: kept in the store with their expectations, and queued as a pointer.

use std::collections::HashSet;

use ferrocti_accounts::Acting;
use ferrocti_broker::{Publish, QueueError, queue::push_queue};
use ferrocti_model::{bundle::BundleError, clock::format_date};
use ferrocti_store::{Fenced, NewPush, StoreError, Tx, WorkStatus};

use crate::{
    Shared, message, prepare,
    reader::PUSH_PREFIX,
    works::{self, ExpectError, NewWork},
};

/// A bundle that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The work that hears of it: the one given, or one that was begun for it.
    pub work: String,
    /// Objects in it, announced to the work.
    pub objects: usize,
}

/// Why a bundle was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is not a STIX bundle.
    #[error("Invalid bundle: {0}")]
    Bundle(#[from] BundleError),
    /// The connector is not registered.
    #[error("Invalid bundle: the connector {0} is not registered")]
    UnknownConnector(String),
    /// Somebody else acts as the connector.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The work has been deleted.
    #[error("the work {0} does not exist any more")]
    WorkNotAlive(String),
    /// The work would expect too much.
    #[error(transparent)]
    TooManyObjects(ExpectError),
    /// The queue does not take it now.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread cannot be started.
    #[error("cannot start a thread of ingestion: {0}")]
    Thread(String),
}

/// See [`crate::Ingest::push_bundle`].
pub(crate) fn push(
    shared: &Shared,
    acting: &Acting<'_>,
    connector: &str,
    bundle: &str,
    work: Option<&str>,
) -> Result<Pushed, PushError> {
    let objects = prepare::items(bundle)?.0.len();
    let queue = push_queue(connector);
    // refused before anything is kept, as the queue would refuse the message itself
    let limit = shared.queues.options().max_queue_bytes;
    let bytes = shared.queues.depth(&queue).map_or(0, |depth| depth.bytes);
    if bytes.saturating_add(bundle.len() as u64) > limit {
        return Err(QueueError::QueueFull {
            queue,
            bytes,
            limit,
        }
        .into());
    }
    let (push, work) = shared
        .store
        .write(|tx| keep(tx, acting, connector, bundle, work, objects))?;
    let message = Publish {
        body: message::pointer(push, &work).into(),
        size_hint: Some(bundle.len() as u64),
        ..Publish::default()
    };
    if let Err(error) = shared.queues.publish(&queue, message).wait() {
        shared.store.write(|tx| -> Result<(), StoreError> {
            tx.delete_push(push)?;
            works::retract(tx, &work, objects)
        })?;
        return Err(error.into());
    }
    Ok(Pushed { work, objects })
}

/// Keeps the bundle and announces its objects, beginning a work if none was given.
fn keep(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    connector: &str,
    bundle: &str,
    work: Option<&str>,
    objects: usize,
) -> Result<(i64, String), PushError> {
    tx.admit::<PushError>(connector, acting.token)?;
    let registered = tx
        .connector(connector)?
        .ok_or_else(|| PushError::UnknownConnector(connector.to_owned()))?;
    let work = match work {
        // a work of another connector is none of this one's business
        Some(work) if works::belongs(tx, work, connector)? => work.to_owned(),
        Some(work) => return Err(PushError::WorkNotAlive(work.to_owned())),
        None => {
            let name = format!("{} run @ {}", registered.name, format_date(tx.now()));
            let new = NewWork {
                connector,
                connector_type: &registered.kind,
                name: &name,
                multipart: false,
                event_source: None,
                status: WorkStatus::Progress,
            };
            works::add(tx, acting.actor, &new)?.id
        }
    };
    let expected = works::expect(tx, &work, i64::try_from(objects).unwrap_or(i64::MAX));
    expected.map_err(|error| match error {
        ExpectError::Store(error) => PushError::Store(error),
        too_many @ ExpectError::TooMany { .. } => PushError::TooManyObjects(too_many),
    })?;
    let push = tx.insert_push(&NewPush {
        connector,
        work: Some(&work),
        user: acting.actor.user_row,
        bundle: bundle.as_bytes(),
    })?;
    Ok((push, work))
}

/// Queues pointers to kept bundles that no queue holds: those between whose commit and whose publication the process ended.
pub(crate) fn restore(shared: &Shared) -> Result<(), PushError> {
    let kept = shared.store.read(|snapshot| snapshot.pushes())?;
    if kept.is_empty() {
        return Ok(());
    }
    let queued = queued(shared)?;
    for (push, connector) in kept.into_iter().filter(|(push, _)| !queued.contains(push)) {
        let Some(found) = shared.store.read(|snapshot| snapshot.push(push))? else {
            continue;
        };
        let message = Publish {
            body: message::pointer(push, found.work.as_deref().unwrap_or_default()).into(),
            size_hint: Some(found.bundle.len() as u64),
            ..Publish::default()
        };
        match shared
            .queues
            .publish(&push_queue(&connector), message)
            .wait()
        {
            Ok(_) => {}
            Err(QueueError::UnknownQueue(_)) => {
                tracing::warn!(
                    push,
                    connector,
                    "a pushed bundle is dropped: its connector was deleted"
                );
                shared.store.write(|tx| tx.delete_push(push))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The kept bundles that messages in the queues point to.
fn queued(shared: &Shared) -> Result<HashSet<i64>, QueueError> {
    let mut found = HashSet::new();
    for queue in shared
        .queues
        .list()
        .into_iter()
        .map(|info| info.name)
        .filter(|name| name.starts_with(PUSH_PREFIX))
    {
        let mut after = 0;
        loop {
            let messages = shared.queues.fetch(&queue, after, 1000, 4 << 20)?;
            let Some(last) = messages.last() else { break };
            after = last.seq;
            found.extend(
                messages
                    .iter()
                    .filter_map(|message| message::pointed(&message.body)),
            );
        }
    }
    Ok(found)
}
