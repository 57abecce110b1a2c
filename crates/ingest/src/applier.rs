//! The second stage: applies what the reader decoded in batches, each in one transaction, then acknowledges.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use ferrocti_broker::{DeadLetterQuery, QueueError};
use ferrocti_store::{StoreError, Tx};

use crate::{
    Shared, apply,
    message::{self, Reason, Undeliverable},
    metrics::BatchFigures,
    prepare::Delivery,
    reader::{PUSH_PREFIX, ReadError, Reader},
    works,
};

/// How long to wait for the first delivery before looking whether to stop.
const IDLE: Duration = Duration::from_millis(200);

/// Applies until stopped or until the reader is gone.
pub(crate) fn run(shared: &Shared, inbox: &Receiver<Delivery>) {
    while let Err(error) = report_dead_letters(shared) {
        tracing::error!(%error, "cannot look through the dead letters; trying again");
        if shared.budget.pause(shared.options.retry_after) {
            return;
        }
    }
    while !shared.budget.stopped() {
        let first = match inbox.recv_timeout(IDLE) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let batch = gather(shared, inbox, first);
        finish(shared, batch);
    }
}

/// Reads and applies, on the calling thread, everything that is in the queues now.
pub(crate) fn work_off(shared: &Shared) -> Result<(), ReadError> {
    report_dead_letters(shared)?;
    let (out, inbox) = mpsc::channel();
    let mut reader = Reader::new(shared);
    loop {
        let queues = reader.queues_with_work(Duration::ZERO);
        if queues.is_empty() || shared.budget.stopped() {
            return Ok(());
        }
        for queue in queues {
            reader.read(&queue, &out)?;
            let batch: Vec<Delivery> = inbox.try_iter().collect();
            if !batch.is_empty() {
                finish(shared, batch);
            }
        }
    }
}

fn finish(shared: &Shared, mut batch: Vec<Delivery>) {
    let bytes = batch.iter().map(|delivery| delivery.size).sum();
    settle(shared, &mut batch);
    drop(batch);
    let in_flight = shared.budget.give_back(bytes);
    shared.counters.set_in_flight(in_flight);
}

/// What has arrived, up to a batch, waiting a little for more.
fn gather(shared: &Shared, inbox: &Receiver<Delivery>, first: Delivery) -> Vec<Delivery> {
    let until = Instant::now() + shared.options.gather;
    let mut objects = first.objects();
    let mut batch = vec![first];
    while objects < shared.options.batch_objects && batch.len() < shared.options.batch_objects {
        let left = until.saturating_duration_since(Instant::now());
        let next = if left.is_zero() {
            inbox.try_recv().ok()
        } else {
            inbox.recv_timeout(left).ok()
        };
        let Some(next) = next else { break };
        objects += next.objects();
        batch.push(next);
    }
    batch
}

/// Why a batch was not applied.
enum Failure {
    /// The store cannot write now; the batch is in order.
    Later(String),
    /// Something in the batch cannot be applied.
    Broken(String),
}

/// Deals with a batch: applied and acknowledged, or what cannot be applied set aside. Returns early, with everything left in the queue, only when stopped.
///
/// What cannot be imported is dealt with alone, after everything before it: its mark must not pass messages that are not applied.
fn settle(shared: &Shared, batch: &mut [Delivery]) {
    refuse_barred(shared, batch);
    let mut rest = batch;
    while !rest.is_empty() && !shared.budget.stopped() {
        let next = rest.iter().position(|delivery| delivery.parcel.is_err());
        let (part, behind) = rest.split_at_mut(next.map_or(rest.len(), |at| at.max(1)));
        settle_part(shared, part);
        rest = behind;
    }
}

/// Marks the messages on whose behalf nobody may do anything now.
fn refuse_barred(shared: &Shared, batch: &mut [Delivery]) {
    let mut sources = apply::Sources::default();
    let looked = shared.store.read(|snapshot| {
        for delivery in batch {
            let Ok(parcel) = &delivery.parcel else {
                continue;
            };
            let fenced =
                sources.fenced(snapshot, &parcel.connector, delivery.epoch, delivery.seq)?;
            let behalf = match fenced {
                Some(fenced) => Err(fenced),
                None => sources.behalf(snapshot, parcel)?,
            };
            if let Err(reason) = behalf {
                let work_id = parcel.work.as_deref().map(str::to_owned);
                delivery.parcel = Err(Undeliverable { reason, work_id });
            }
        }
        Ok::<(), StoreError>(())
    });
    // what could not be looked up is found out when it is applied
    if let Err(error) = looked {
        tracing::warn!(%error, "cannot look up who the messages come from");
    }
}

/// Deals with messages that can all be imported, or with one that cannot.
fn settle_part(shared: &Shared, batch: &mut [Delivery]) {
    let mut pause = shared.options.retry_after;
    loop {
        let failure = match set_aside(shared, batch).and_then(|()| attempt(shared, batch)) {
            Ok(figures) => {
                acknowledge(shared, batch);
                shared.counters.committed(shared.clock.now(), &figures);
                return;
            }
            Err(failure) => failure,
        };
        match (failure, &mut *batch) {
            (Failure::Later(error), _) => {
                tracing::error!(
                    error,
                    "ingestion is paused: the store or the queues cannot be written; it is tried again"
                );
                if shared.budget.pause(pause) {
                    return;
                }
                pause = (pause * 2).min(shared.options.retry_at_most);
            }
            (Failure::Broken(reason), [single]) if single.parcel.is_err() => {
                // not even its end can be recorded
                tracing::error!(
                    queue = &*single.queue,
                    seq = single.seq,
                    reason,
                    "a dead letter cannot be recorded; it is tried again"
                );
                if shared.budget.pause(shared.options.retry_at_most) {
                    return;
                }
            }
            (Failure::Broken(reason), [single]) => {
                tracing::error!(
                    queue = &*single.queue,
                    seq = single.seq,
                    reason,
                    "a message cannot be applied and becomes a dead letter"
                );
                let work_id = single
                    .parcel
                    .as_ref()
                    .ok()
                    .and_then(|parcel| parcel.work.as_deref())
                    .map(str::to_owned);
                single.parcel = Err(Undeliverable {
                    reason: Reason::Failed(reason),
                    work_id,
                });
            }
            (Failure::Broken(_), several) => {
                let (left, right) = several.split_at_mut(several.len() / 2);
                settle(shared, left);
                if !shared.budget.stopped() {
                    settle(shared, right);
                }
                return;
            }
        }
    }
}

/// Moves what cannot be imported to the dead letters, before the work hears of it: a crash in between is made up for by [`report_dead_letters`].
fn set_aside(shared: &Shared, batch: &[Delivery]) -> Result<(), Failure> {
    let tickets: Vec<_> = batch
        .iter()
        .filter_map(|delivery| {
            let undeliverable = delivery.parcel.as_ref().err()?;
            Some(shared.queues.dead_letter(
                &delivery.queue,
                delivery.seq,
                &undeliverable.reason.to_string(),
            ))
        })
        .collect();
    for ticket in tickets {
        match ticket.wait() {
            // gone: it was set aside in an earlier attempt, or the queue was deleted
            Ok(_) | Err(QueueError::UnknownMessage { .. } | QueueError::UnknownQueue(_)) => {}
            Err(error) => return Err(Failure::Later(error.to_string())),
        }
    }
    Ok(())
}

/// Applies a batch in one transaction.
fn attempt(shared: &Shared, batch: &mut [Delivery]) -> Result<BatchFigures, Failure> {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        shared.store.write(|tx| {
            apply::deliveries(
                tx,
                batch,
                &mut shared.skipped.lock(),
                &mut shared.told.lock(),
            )
        })
    }));
    match outcome {
        Ok(Ok(mut figures)) => {
            let oldest = batch
                .iter()
                .map(|delivery| delivery.published_at)
                .min()
                .unwrap_or_default();
            figures.lag_millis = (shared.clock.now() - oldest).unsigned_abs();
            figures.millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            Ok(figures)
        }
        Ok(Err(error)) if temporary(&error) => Err(Failure::Later(error.to_string())),
        Ok(Err(error)) => Err(Failure::Broken(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Failure::Broken(format!(
                "a bug: {}",
                text.unwrap_or_default()
            )))
        }
    }
}

/// Whether the same batch may succeed later.
fn temporary(error: &StoreError) -> bool {
    error.is_environment()
}

/// Takes what was applied out of the queues. If that fails the messages come again, and are recognised by their numbers.
fn acknowledge(shared: &Shared, batch: &[Delivery]) {
    let mut last = BTreeMap::new();
    for delivery in batch {
        last.insert(&*delivery.queue, delivery.seq);
    }
    for (queue, seq) in last {
        match shared.queues.ack_up_to(queue, seq) {
            Ok(()) | Err(QueueError::UnknownQueue(_)) => {}
            Err(error) => {
                tracing::warn!(queue, seq, %error, "cannot acknowledge messages; they are passed over when they come again");
            }
        }
    }
}

/// Tells the works of those dead letters that were set aside just before a crash.
fn report_dead_letters(shared: &Shared) -> Result<(), ReadError> {
    for queue in shared
        .queues
        .list()
        .into_iter()
        .map(|info| info.name)
        .filter(|name| name.starts_with(PUSH_PREFIX))
    {
        let mark = shared
            .store
            .read(|snapshot| snapshot.queue_mark(&queue))?
            .unsigned_abs();
        let mut unreported = Vec::new();
        let mut query = DeadLetterQuery {
            queue: Some(queue.clone()),
            before: None,
            limit: 100,
        };
        loop {
            let letters = shared.queues.dead_letters(&query)?;
            query.before = letters.last().map(|letter| letter.id);
            let found = letters.len();
            unreported.extend(
                letters
                    .into_iter()
                    .filter(|letter| letter.seq.is_some_and(|seq| seq > mark)),
            );
            if found == 0 || unreported.is_empty() {
                break;
            }
        }
        let next = shared
            .queues
            .fetch(&queue, mark, 1, 1)?
            .first()
            .map_or(u64::MAX, |message| message.seq);
        for letter in unreported
            .into_iter()
            .rev()
            .filter(|letter| letter.seq.is_some_and(|seq| seq < next))
        {
            let body = shared.queues.dead_letter_body_of(letter.id)?;
            let work_id = match message::decode(&body) {
                Ok(message) => message.work_id,
                Err(undeliverable) => undeliverable.work_id,
            };
            let seq = letter.seq.unwrap_or_default();
            shared
                .store
                .write(|tx: &mut Tx<'_>| -> Result<(), StoreError> {
                    if let Some(work) = &work_id
                        && works::belongs(
                            tx,
                            work,
                            queue.strip_prefix(PUSH_PREFIX).unwrap_or(&queue),
                        )?
                    {
                        works::report(tx, work, 1, &[works::Failure::of_message(&letter.reason)])?;
                    }
                    tx.set_queue_mark(&queue, i64::try_from(seq).unwrap_or(i64::MAX))?;
                    tx.count_messages(&queue, 1)
                })?;
        }
    }
    Ok(())
}
