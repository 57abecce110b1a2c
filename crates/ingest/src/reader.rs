//! The first stage: takes messages from the push queues in turn, cuts and decodes them, and hands them on in order.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use ferrocti_broker::{Claim, Message, QueueError};
use ferrocti_model::{Key, clock::Millis};
use ferrocti_store::{Snapshot, StoreError};

use crate::{
    Shared, actors, digest, digest_in_part,
    message::{self, Content, Reason, Undeliverable},
    prepare::{self, Delivery, Parcel},
};

/// What every push queue's name begins with.
pub(crate) const PUSH_PREFIX: &str = "push_";
/// How long to wait for messages before looking whether to stop.
const IDLE: Duration = Duration::from_millis(200);
/// Objects of one message that are decoded ahead; those behind are decoded when their turn comes, so that a huge bundle does not
/// fill the memory.
const DECODE_AHEAD: usize = 20_000;

/// Reads until stopped or until nobody takes the deliveries any more.
pub(crate) fn run(shared: &Shared, out: &Sender<Delivery>) {
    let mut reader = Reader::new(shared);
    let mut turn = 0_usize;
    while !shared.budget.stopped() {
        let mut queues = reader.queues_with_work(IDLE);
        if queues.is_empty() {
            continue;
        }
        // each queue is first once in a while
        let first = turn % queues.len();
        queues.rotate_left(first);
        turn = turn.wrapping_add(1);
        for queue in &queues {
            match reader.read(queue, out) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(queue, %error, "cannot read from a queue; trying again");
                    if shared.budget.pause(shared.options.retry_after) {
                        return;
                    }
                }
            }
        }
    }
}

/// Why messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The queues failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) struct Reader<'s> {
    shared: &'s Shared,
    /// Up to which message each queue has been read.
    positions: HashMap<String, u64>,
    claims: HashMap<String, Claim>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(shared: &'s Shared) -> Self {
        Self {
            shared,
            positions: HashMap::new(),
            claims: HashMap::new(),
        }
    }

    /// The push queues with messages that were not read yet, waiting for some if there are none.
    pub(crate) fn queues_with_work(&self, patience: Duration) -> Vec<String> {
        let position = |name: &str| {
            name.starts_with(PUSH_PREFIX)
                .then(|| self.positions.get(name).copied().unwrap_or(0))
        };
        let started = Instant::now();
        let queues = self.shared.queues.wait_for_work(position, patience);
        if queues.is_empty() {
            // a closed queue file answers at once
            self.shared
                .budget
                .pause(patience.saturating_sub(started.elapsed()));
        }
        queues
    }

    /// Reads some messages of one queue. `false`: stopped.
    pub(crate) fn read(&mut self, queue: &str, out: &Sender<Delivery>) -> Result<bool, ReadError> {
        let Some(available) = self.shared.budget.available() else {
            return Ok(false);
        };
        if !self.claims.contains_key(queue) {
            match self.shared.queues.claim(queue) {
                Ok(claim) => drop(self.claims.insert(queue.to_owned(), claim)),
                Err(QueueError::UnknownQueue(_)) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        let position = self.positions.get(queue).copied().unwrap_or(0);
        let options = &self.shared.options;
        let messages = match self.shared.queues.fetch(
            queue,
            position,
            options.turn_messages,
            available.min(options.turn_bytes),
        ) {
            Ok(messages) => messages,
            Err(QueueError::UnknownQueue(_)) => {
                // deleted since; a new queue of the name is claimed anew
                self.claims.remove(queue);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(last) = messages.last().map(|message| message.seq) else {
            return Ok(true);
        };
        let bytes = messages
            .iter()
            .map(|message| message.body.len() as u64)
            .sum();
        let in_flight = self.shared.budget.take(bytes);
        self.shared.counters.set_in_flight(in_flight);
        let deliveries = match self
            .shared
            .store
            .read(|snapshot| deliveries(snapshot, queue, messages, self.shared.clock.now()))
        {
            Ok(deliveries) => deliveries,
            Err(error) => {
                self.shared.budget.give_back(bytes);
                return Err(error);
            }
        };
        self.positions.insert(queue.to_owned(), last);
        for delivery in deliveries {
            if out.send(delivery).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Decodes messages of one queue, in order.
fn deliveries(
    snapshot: &Snapshot<'_>,
    queue: &str,
    messages: Vec<Message>,
    now: Millis,
) -> Result<Vec<Delivery>, ReadError> {
    let name: Arc<str> = queue.into();
    let connector: Arc<str> = queue.strip_prefix(PUSH_PREFIX).unwrap_or(queue).into();
    let mut deliveries = Vec::with_capacity(messages.len());
    for message in messages {
        let parcel = match open(snapshot, &connector, &message)? {
            Ok(mut parcel) => {
                decode_changed(snapshot, &mut parcel, now)?;
                Ok(parcel)
            }
            Err(undeliverable) => Err(undeliverable),
        };
        deliveries.push(Delivery {
            queue: Arc::clone(&name),
            seq: message.seq,
            size: message.body.len() as u64,
            published_at: message.published_at,
            epoch: message.epoch,
            parcel,
        });
    }
    Ok(deliveries)
}

/// Opens the envelope of one message and cuts its bundle.
fn open(
    snapshot: &Snapshot<'_>,
    connector: &Arc<str>,
    message: &Message,
) -> Result<Result<Parcel, Undeliverable>, StoreError> {
    let decoded = match message::decode(&message.body) {
        Ok(decoded) => decoded,
        Err(undeliverable) => return Ok(Err(undeliverable)),
    };
    let pushed = match decoded.content {
        Content::Bundle(_) => None,
        Content::Pushed(id) => match snapshot.push(id)? {
            // a connector must not point to what another one pushed
            Some(push) if push.connector != **connector => {
                return Ok(Err(Undeliverable {
                    reason: Reason::NoContent,
                    work_id: decoded.work_id,
                }));
            }
            push => push.map(|push| {
                let text = String::from_utf8_lossy(&push.bundle).into_owned();
                (text, push.user, push.epoch)
            }),
        },
    };
    Ok(prepare::parcel(connector, decoded, pushed, message.epoch))
}

/// Decodes the objects that are not known to be unchanged.
fn decode_changed(
    snapshot: &Snapshot<'_>,
    parcel: &mut Parcel,
    now: Millis,
) -> Result<(), StoreError> {
    let Ok(behalf) = actors::of_parcel(snapshot, parcel)? else {
        return Ok(());
    };
    let actor = behalf.actor;
    let rights = actor.fingerprint();
    let keys: Vec<Key> = parcel.items.iter().filter_map(|item| item.key).collect();
    let stored = snapshot.resolve(&keys)?;
    let known: Vec<_> = stored.iter().copied().flatten().collect();
    let applied: HashMap<_, _> = known
        .iter()
        .copied()
        .zip(snapshot.inputs(&known)?)
        .collect();
    let mut stored = stored.into_iter();
    let mut left = DECODE_AHEAD;
    for index in 0..parcel.items.len() {
        let item = &parcel.items[index];
        let iid = item.key.and_then(|_| stored.next().flatten());
        let unchanged = iid.is_some_and(|iid| {
            let digest = digest(item.digest, rights);
            matches!(applied.get(&iid), Some(Some(inputs)) if inputs.contains(digest) || inputs.contains(digest_in_part(digest)))
        });
        if !unchanged && left > 0 && item.decoded.is_none() {
            left -= 1;
            let mut decoded = parcel.decode(index);
            if let (None, Ok(ready)) = (iid, &mut decoded) {
                for input in &mut ready.elements {
                    input.complete(&actor, now);
                }
            }
            parcel.items[index].decoded = Some(decoded);
        }
    }
    Ok(())
}
