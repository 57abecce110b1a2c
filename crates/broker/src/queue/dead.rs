//! Dead letters: messages that could not be dealt with, kept with the reason until somebody replays or discards them.

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use super::state::State;
use super::types::{DeadLetter, DeadLetterQuery, Depth, QueueError};
use super::writer::Tx;
use super::{Queues, Ticket};
use crate::properties::EncodedProperties;

/// Where a replayed dead letter went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedLetter {
    /// Its queue.
    pub queue: String,
    /// Its new number, at the end of the queue.
    pub seq: u64,
}

impl Queues {
    /// Moves a message out of its queue to the dead letters in one transaction. Answers the dead letter's id.
    pub fn dead_letter(&self, queue: &str, seq: u64, reason: &str) -> Ticket<i64> {
        let (name, reason) = (queue.to_owned(), reason.to_owned());
        let dead_at = (self.shared.options.clock)();
        let id = match self.shared.state.lock().queue(queue) {
            Ok(queue) => queue.id,
            Err(error) => return Ticket::refused(error),
        };
        self.call(move |tx: &mut Tx<'_>| {
            let size: Option<u64> = tx
                .conn
                .prepare_cached(
                    "INSERT INTO dead_letter (queue, size, seq, reason, dead_at, published_at, exchange, routing_key, properties, body)
                     SELECT ?1, size, seq, ?2, ?3, published_at, exchange, routing_key, properties, body
                     FROM message WHERE seq = ?4 AND queue = ?5 RETURNING size",
                )?
                .query_row(params![name, reason, dead_at, seq, id], |row| row.get(0))
                .optional()?;
            let Some(size) = size else { return Err(QueueError::UnknownMessage { queue: name, seq }) };
            let dead_id = tx.conn.last_insert_rowid();
            tx.conn.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq])?;
            Ok((dead_id, move |state: &mut State| {
                state.subtract(&name, id, Depth { messages: 1, bytes: size });
                state.total_bytes += size;
                state.dead_letters += 1;
                if let Some(queue) = state.queue_of(&name, id) {
                    queue.forget_lease(seq);
                    queue.returned.remove(&seq);
                }
            }))
        })
    }

    /// Keeps a body as a dead letter of a queue although it is no message of its own there: a part of a message that was refused.
    pub fn dead_letter_body(
        &self,
        queue: &str,
        publish: super::Publish,
        reason: &str,
    ) -> Ticket<i64> {
        let (name, reason) = (queue.to_owned(), reason.to_owned());
        let now = (self.shared.options.clock)();
        let size = publish
            .size_hint
            .unwrap_or(0)
            .max(publish.body.len() as u64);
        let limit = self.shared.options.max_total_bytes;
        let bytes = {
            let state = self.shared.state.lock();
            state.total_bytes + state.pending_bytes
        };
        if bytes.saturating_add(size) > limit {
            return Ticket::refused(QueueError::StoreFull { bytes, limit });
        }
        self.call(move |tx: &mut Tx<'_>| {
            tx.conn
                .prepare_cached(
                    "INSERT INTO dead_letter (queue, size, seq, reason, dead_at, published_at, exchange, routing_key, properties, body)
                     VALUES (?1, ?2, NULL, ?3, ?4, ?4, '', ?1, ?5, ?6)",
                )?
                .execute(params![name, size, reason, now, publish.properties.as_bytes(), &publish.body[..]])?;
            Ok((tx.conn.last_insert_rowid(), move |state: &mut State| {
                state.total_bytes += size;
                state.dead_letters += 1;
            }))
        })
    }

    /// Lists dead letters, newest first, without their bodies.
    pub fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, QueueError> {
        let limit = if query.limit == 0 { 100 } else { query.limit };
        let before = query.before.unwrap_or(i64::MAX);
        self.shared.readers.with(|conn| {
            conn.prepare_cached(
                "SELECT id, queue, seq, reason, dead_at, published_at, exchange, routing_key, properties, length(body)
                 FROM dead_letter WHERE id < ?1 AND (?2 IS NULL OR queue = ?2) ORDER BY id DESC LIMIT ?3",
            )?
            .query_map(params![before, query.queue, limit], |row| {
                Ok(DeadLetter {
                    id: row.get(0)?,
                    queue: row.get(1)?,
                    seq: row.get(2)?,
                    reason: row.get(3)?,
                    dead_at: row.get(4)?,
                    published_at: row.get(5)?,
                    exchange: row.get(6)?,
                    routing_key: row.get(7)?,
                    properties: EncodedProperties::from_stored(row.get(8)?),
                    body_bytes: row.get(9)?,
                })
            })?
            .collect()
        })
    }

    /// The body of a dead letter.
    pub fn dead_letter_body_of(&self, id: i64) -> Result<Bytes, QueueError> {
        self.shared
            .readers
            .with(|conn| {
                conn.prepare_cached("SELECT body FROM dead_letter WHERE id = ?1")?
                    .query_row([id], |row| Ok(Bytes::from(row.get::<_, Vec<u8>>(0)?)))
                    .optional()
            })?
            .ok_or(QueueError::UnknownDeadLetter(id))
    }

    /// Puts a dead letter back at the end of its queue, in one transaction, whatever the queue's limit. The queue must exist.
    pub fn replay(&self, id: i64) -> Ticket<ReplayedLetter> {
        self.call(move |tx: &mut Tx<'_>| {
            let found: Option<(String, u64)> = tx
                .conn
                .prepare_cached("SELECT queue, size FROM dead_letter WHERE id = ?1")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (name, size) = found.ok_or(QueueError::UnknownDeadLetter(id))?;
            let queue_id: Option<i64> =
                tx.conn.prepare_cached("SELECT id FROM queue WHERE name = ?1")?.query_row([&name], |row| row.get(0)).optional()?;
            let queue_id = queue_id.ok_or_else(|| QueueError::UnknownQueue(name.clone()))?;
            let seq = tx.next_seq()?;
            tx.conn
                .prepare_cached(
                    "INSERT INTO message (seq, queue, size, published_at, exchange, routing_key, properties, body)
                     SELECT ?1, ?2, size, published_at, exchange, routing_key, properties, body FROM dead_letter WHERE id = ?3",
                )?
                .execute(params![seq, queue_id, id])?;
            tx.conn.prepare_cached("UPDATE queue SET published = published + 1 WHERE id = ?1")?.execute([queue_id])?;
            tx.conn.prepare_cached("DELETE FROM dead_letter WHERE id = ?1")?.execute([id])?;
            let answer = ReplayedLetter { queue: name.clone(), seq };
            Ok((answer, move |state: &mut State| {
                state.dead_letters = state.dead_letters.saturating_sub(1);
                if let Some(queue) = state.queue_of(&name, queue_id) {
                    queue.messages += 1;
                    queue.bytes += size;
                    queue.last_seq = seq;
                    queue.signal.notify_one();
                }
            }))
        })
    }

    /// Deletes a dead letter for good.
    pub fn discard(&self, id: i64) -> Ticket<()> {
        self.call(move |tx: &mut Tx<'_>| {
            let size: Option<u64> = tx
                .conn
                .prepare_cached("DELETE FROM dead_letter WHERE id = ?1 RETURNING size")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let size = size.ok_or(QueueError::UnknownDeadLetter(id))?;
            Ok(((), move |state: &mut State| {
                state.dead_letters = state.dead_letters.saturating_sub(1);
                state.total_bytes = state.total_bytes.saturating_sub(size);
            }))
        })
    }
}
