//! Handing messages to consumers: one task per queue that has consumers.
//!
//! The task takes as many messages from the queue as its consumers have room for and gives them out in turn. A consumer has room
//! while its prefetch count allows and its client keeps reading; nothing is buffered for one that does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::channel::Consumer;
use super::connection::Command;
use super::metrics::Counters;
use crate::queue::{Message, QueueError, Queues};

/// Most messages and bytes that are read at a time.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: u64 = 1 << 20;

/// All dispatchers.
pub(crate) struct Dispatchers {
    queues: Queues,
    counters: Arc<Counters>,
    rosters: Mutex<HashMap<Arc<str>, Roster>>,
    /// Few messages are read at the same time, because each may be large.
    reads: tokio::sync::Semaphore,
}

/// The consumers of one queue, in turn.
struct Roster {
    consumers: Vec<Arc<Consumer>>,
    next: usize,
    signal: Arc<Notify>,
}

/// Why a consumer was refused.
pub(crate) enum Refused {
    /// There is an exclusive consumer, or the new one wants to be and there are others.
    Exclusive,
    Queue(QueueError),
}

impl Dispatchers {
    pub fn new(queues: Queues, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            queues,
            counters,
            rosters: Mutex::default(),
            reads: tokio::sync::Semaphore::new(4),
        })
    }

    /// Adds a consumer to a queue; `make` makes it from the queue's signal. `started` runs before its first delivery can be sent.
    pub fn add(
        self: &Arc<Self>,
        queue: &str,
        exclusive: bool,
        make: impl FnOnce(Arc<Notify>) -> Arc<Consumer>,
        started: impl FnOnce(&Arc<Consumer>),
    ) -> Result<Arc<Consumer>, Refused> {
        let mut rosters = self.rosters.lock();
        if let Some(roster) = rosters.get(queue)
            && !roster.consumers.is_empty()
            && (exclusive || roster.consumers.iter().any(|consumer| consumer.exclusive))
        {
            return Err(Refused::Exclusive);
        }
        let signal = self.queues.attach_consumer(queue).map_err(Refused::Queue)?;
        let consumer = make(Arc::clone(&signal));
        started(&consumer);
        consumer.port.connection.add_consumer(Arc::clone(&consumer));
        self.counters.consumers.fetch_add(1, Ordering::Relaxed);
        match rosters.get_mut(queue) {
            // a queue that was deleted and made again has another signal; its old dispatcher is about to end
            Some(roster) if Arc::ptr_eq(&roster.signal, &signal) => {
                roster.consumers.push(Arc::clone(&consumer));
            }
            _ => {
                let roster = Roster {
                    consumers: vec![Arc::clone(&consumer)],
                    next: 0,
                    signal: Arc::clone(&signal),
                };
                if let Some(old) = rosters.insert(queue.into(), roster) {
                    cancel_all(&old.consumers);
                }
                tokio::spawn(Arc::clone(self).run(queue.into(), Arc::clone(&signal)));
            }
        }
        drop(rosters);
        signal.notify_one();
        Ok(consumer)
    }

    /// Takes a consumer away; nothing is sent to it afterwards. Answers whether its queue is to be deleted now.
    pub fn remove(&self, consumer: &Arc<Consumer>) -> bool {
        if !consumer.cancel() {
            return false;
        }
        self.counters.consumers.fetch_sub(1, Ordering::Relaxed);
        consumer.port.connection.remove_consumer(consumer);
        if let Some(roster) = self.rosters.lock().get_mut(&consumer.queue) {
            roster
                .consumers
                .retain(|known| !Arc::ptr_eq(known, consumer));
        }
        consumer.signal.notify_one();
        self.queues.detach_consumer(&consumer.queue)
    }

    async fn run(self: Arc<Self>, queue: Arc<str>, signal: Arc<Notify>) {
        loop {
            let room = {
                let mut rosters = self.rosters.lock();
                let Some(roster) = rosters
                    .get(&queue)
                    .filter(|roster| Arc::ptr_eq(&roster.signal, &signal))
                else {
                    return;
                };
                if roster.consumers.is_empty() {
                    rosters.remove(&queue);
                    return;
                }
                roster.room()
            };
            let leased = if room == 0 {
                Ok(Vec::new())
            } else {
                self.lease(&queue, &signal, room).await
            };
            match leased {
                Ok(messages) if messages.is_empty() => signal.notified().await,
                Ok(messages) => self.hand_out(&queue, messages),
                Err(QueueError::UnknownQueue(_)) => return self.queue_is_gone(&queue, &signal),
                Err(QueueError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, queue = &*queue, "messages could not be read for consumers; tried again when something changes");
                    signal.notified().await;
                }
            }
        }
    }

    async fn lease(
        &self,
        queue: &Arc<str>,
        signal: &Arc<Notify>,
        room: usize,
    ) -> Result<Vec<Message>, QueueError> {
        if self.queues.ready_of(queue, signal)? == 0 {
            return Ok(Vec::new());
        }
        let _turn = self.reads.acquire().await.map_err(|_| QueueError::Closed)?;
        let (queues, queue) = (self.queues.clone(), Arc::clone(queue));
        let read = tokio::task::spawn_blocking(move || queues.lease(&queue, room, BATCH_BYTES));
        read.await.map_err(|_| QueueError::Closed)?
    }

    fn hand_out(&self, queue: &Arc<str>, messages: Vec<Message>) {
        let mut not_sent = Vec::new();
        let mut done = Vec::new();
        let mut sent = 0;
        for message in messages {
            // one message that found no consumer must not be overtaken
            let receiver = if not_sent.is_empty() {
                self.give(queue, &message)
            } else {
                None
            };
            match receiver {
                Some(consumer) => {
                    sent += 1;
                    if consumer.no_ack {
                        done.push(message.seq);
                    }
                }
                None => not_sent.push(message.seq),
            }
        }
        self.counters.delivered.fetch_add(sent, Ordering::Relaxed);
        // a failure to delete means a later redelivery, which is all that can be done about it
        drop(self.queues.ack(queue, &done));
        if !not_sent.is_empty() {
            self.queues.release(queue, &not_sent, false);
        }
    }

    /// Sends a message to the next consumer in turn that has room.
    fn give(&self, queue: &Arc<str>, message: &Message) -> Option<Arc<Consumer>> {
        let mut rosters = self.rosters.lock();
        let roster = rosters.get_mut(queue)?;
        for _ in 0..roster.consumers.len() {
            let index = roster.next % roster.consumers.len();
            roster.next = index + 1;
            let consumer = &roster.consumers[index];
            if consumer.room() > 0 && consumer.send(message) {
                return Some(Arc::clone(consumer));
            }
        }
        None
    }

    fn queue_is_gone(&self, queue: &Arc<str>, signal: &Arc<Notify>) {
        let mut rosters = self.rosters.lock();
        let Some(roster) = rosters
            .get(queue)
            .filter(|roster| Arc::ptr_eq(&roster.signal, signal))
        else {
            return;
        };
        cancel_all(&roster.consumers);
        rosters.remove(queue);
    }
}

/// Their queue is gone: asks their sessions to tell the clients.
fn cancel_all(consumers: &[Arc<Consumer>]) {
    for consumer in consumers {
        consumer
            .port
            .connection
            .command(Command::CancelConsumer(Arc::clone(consumer)));
    }
}

impl Roster {
    fn room(&self) -> usize {
        self.consumers
            .iter()
            .fold(0, |room: usize, consumer| {
                room.saturating_add(consumer.room())
            })
            .min(BATCH_MESSAGES)
    }
}
