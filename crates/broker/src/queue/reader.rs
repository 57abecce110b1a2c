//! Reading messages: a few connections that only read, used one at a time by whoever needs one.

use std::path::PathBuf;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema;
use super::types::{Message, QueueError};
use crate::properties::EncodedProperties;

/// Connections that are kept open while nobody uses them.
const KEEP_IDLE: usize = 3;

const COLUMNS: &str = "seq, exchange, routing_key, properties, body, size, published_at, epoch";

/// Connections for reading.
pub(crate) struct Readers {
    path: PathBuf,
    /// `None` once the file is closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Some(Vec::new())),
        }
    }

    /// Runs `read` with a connection that sees everything committed so far.
    pub fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, QueueError> {
        let idle = match self.idle.lock().as_mut() {
            Some(idle) => idle.pop(),
            None => return Err(QueueError::Closed),
        };
        let conn = match idle {
            Some(conn) => conn,
            None => schema::connect_reader(&self.path)?,
        };
        let result = read(&conn);
        if let Some(idle) = self
            .idle
            .lock()
            .as_mut()
            .filter(|idle| idle.len() < KEEP_IDLE)
        {
            idle.push(conn);
        }
        Ok(result?)
    }

    /// Closes the idle connections and opens no others.
    pub fn close(&self) {
        self.idle.lock().take();
    }
}

/// Messages of a queue behind `after` in order: at most `max_messages`, and no further one once `max_bytes` are reached.
pub(crate) fn after(
    conn: &Connection,
    queue: i64,
    after: u64,
    max_messages: usize,
    max_bytes: u64,
    first_seq: u64,
) -> rusqlite::Result<Vec<Message>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM message INDEXED BY message_by_queue WHERE queue = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
    ))?;
    let limit = i64::try_from(max_messages).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![queue, after, limit])?;
    let mut messages = Vec::new();
    let mut bytes = 0_u64;
    while let Some(row) = rows.next()? {
        let message = message(row, first_seq)?;
        bytes += message.body.len() as u64;
        messages.push(message);
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(messages)
}

/// One message of a queue.
pub(crate) fn one(
    conn: &Connection,
    queue: i64,
    seq: u64,
    first_seq: u64,
) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM message WHERE seq = ?1 AND queue = ?2"
    ))?
    .query_row(params![seq, queue], |row| message(row, first_seq))
    .optional()
}

fn message(row: &Row<'_>, first_seq: u64) -> rusqlite::Result<Message> {
    let seq = row.get(0)?;
    Ok(Message {
        seq,
        exchange: row.get(1)?,
        routing_key: row.get(2)?,
        properties: EncodedProperties::from_stored(row.get(3)?),
        body: Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?),
        size: row.get(5)?,
        published_at: row.get(6)?,
        redelivered: seq < first_seq,
        epoch: row.get(7)?,
    })
}
