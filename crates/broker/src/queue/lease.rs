//! Leases: messages handed to AMQP consumers, in order, until they are acknowledged or given back.
//!
//! A position per queue separates what was handed out from what was not, so that a backlog costs no memory. Messages that
//! come back are handed out again before all others, in their old order.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Queues;
use super::reader;
use super::state::Lease;
use super::types::{Message, QueueError};

impl Queues {
    /// Hands out the next messages in order: at most `max_messages`, and no further one once `max_bytes` are reached. Reads the
    /// disk, so not for asynchronous tasks.
    pub(crate) fn lease(
        &self,
        name: &str,
        max_messages: usize,
        max_bytes: u64,
    ) -> Result<Vec<Message>, QueueError> {
        let (id, lock) = {
            let state = self.shared.state.lock();
            let queue = state.queue(name)?;
            if queue.ready() == 0 || state.paused.contains(name) {
                return Ok(Vec::new());
            }
            (queue.id, Arc::clone(&queue.lease_lock))
        };
        let _one_at_a_time = lock.lock();
        let (returned, cursor, first_seq) = {
            let state = self.shared.state.lock();
            let queue = state.queue(name)?;
            let returned: Vec<(u64, bool)> = queue
                .returned
                .iter()
                .take(max_messages)
                .map(|(seq, seen)| (*seq, *seen))
                .collect();
            (returned, queue.cursor, state.first_seq)
        };
        let messages = self.shared.readers.with(|conn| {
            let mut messages = Vec::new();
            let mut bytes = 0;
            for (seq, seen) in &returned {
                if let Some(mut message) = reader::one(conn, id, *seq, first_seq)? {
                    message.redelivered |= seen;
                    bytes += message.body.len() as u64;
                    messages.push(message);
                }
                if bytes >= max_bytes {
                    return Ok(messages);
                }
            }
            if messages.len() < max_messages {
                let rest = max_messages - messages.len();
                messages.extend(reader::after(
                    conn,
                    id,
                    cursor,
                    rest,
                    max_bytes - bytes,
                    first_seq,
                )?);
            }
            Ok(messages)
        })?;
        let mut state = self.shared.state.lock();
        // paused while the disk was read
        if state.paused.contains(name) {
            return Ok(Vec::new());
        }
        let Some(queue) = state.queue_of(name, id) else {
            return Err(QueueError::UnknownQueue(name.to_owned()));
        };
        for (seq, _) in &returned {
            // what could not be read has been deleted meanwhile; what was not reached stays
            if messages.last().is_none_or(|last| *seq <= last.seq) {
                queue.returned.remove(seq);
            }
        }
        for message in &messages {
            queue.leases.insert(
                message.seq,
                Lease {
                    size: message.size,
                    seen: message.redelivered,
                    leaving: false,
                },
            );
            queue.cursor = queue.cursor.max(message.seq);
        }
        Ok(messages)
    }

    /// Gives leased messages back, to be handed out again before all others. `seen_by_client`: mark them as redelivered then.
    pub(crate) fn release(&self, name: &str, seqs: &[u64], seen_by_client: bool) {
        if let Ok(queue) = self.shared.state.lock().queue_mut(name) {
            queue.release(seqs, seen_by_client);
        }
    }

    /// Registers an AMQP consumer. Answers what is told when messages arrive.
    pub(crate) fn attach_consumer(&self, name: &str) -> Result<Arc<Notify>, QueueError> {
        let mut state = self.shared.state.lock();
        let queue = state.queue_mut(name)?;
        if queue.claimed {
            return Err(QueueError::Claimed(name.to_owned()));
        }
        queue.consumers += 1;
        Ok(Arc::clone(&queue.signal))
    }

    /// The counterpart of [`Queues::attach_consumer`]. Answers whether the queue is to be deleted because that was its last consumer.
    pub(crate) fn detach_consumer(&self, name: &str) -> bool {
        let mut state = self.shared.state.lock();
        let Ok(queue) = state.queue_mut(name) else {
            return false;
        };
        queue.consumers = queue.consumers.saturating_sub(1);
        queue.consumers == 0 && queue.settings.auto_delete
    }

    /// Messages that could be handed out now and consumers, as AMQP counts them.
    pub(crate) fn ready_and_consumers(&self, name: &str) -> Result<(u64, u32), QueueError> {
        let state = self.shared.state.lock();
        let queue = state.queue(name)?;
        Ok((queue.ready(), queue.info().consumers))
    }

    /// Messages that could be handed out now, if the queue still is the one with that signal.
    pub(crate) fn ready_of(&self, name: &str, signal: &Arc<Notify>) -> Result<u64, QueueError> {
        let state = self.shared.state.lock();
        let queue = state.queue(name)?;
        if Arc::ptr_eq(&queue.signal, signal) {
            Ok(queue.ready())
        } else {
            Err(QueueError::UnknownQueue(name.to_owned()))
        }
    }

    /// Whether a consumer inside the platform owns the queue.
    pub(crate) fn is_claimed(&self, name: &str) -> bool {
        self.shared
            .state
            .lock()
            .queues
            .get(name)
            .is_some_and(|queue| queue.claimed)
    }
}
