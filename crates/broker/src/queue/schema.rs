//! The layout of the queue file, how it is opened, and what is counted from it at the start.
//!
//! Bodies are only ever in the file. What is held in memory per queue is its counts and positions; they are computed
//! from the index `message_by_queue`, which covers them, so that opening does not read bodies.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::state::{Queue, State};
use super::topology::{Exchange, ExchangeKind};
use super::types::{OpenError, QueueSettings};

/// Format number of the file, raised when the layout changes.
const FORMAT: i64 = 2;

const LAYOUT: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
  transient INTEGER NOT NULL, auto_delete INTEGER NOT NULL, arguments BLOB NOT NULL,
  published INTEGER NOT NULL DEFAULT 0, discarded INTEGER NOT NULL DEFAULT 0);
CREATE TABLE message (
  seq INTEGER PRIMARY KEY, queue INTEGER NOT NULL, size INTEGER NOT NULL, published_at INTEGER NOT NULL,
  exchange TEXT NOT NULL, routing_key TEXT NOT NULL, properties BLOB NOT NULL, body BLOB NOT NULL, epoch INTEGER);
CREATE INDEX message_by_queue ON message (queue, seq, size);
CREATE TABLE dead_letter (
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, size INTEGER NOT NULL, seq INTEGER, reason TEXT NOT NULL,
  dead_at INTEGER NOT NULL, published_at INTEGER NOT NULL, exchange TEXT NOT NULL, routing_key TEXT NOT NULL,
  properties BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX dead_letter_by_queue ON dead_letter (queue, id, size);
CREATE TABLE exchange (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, transient INTEGER NOT NULL, internal INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE binding (
  exchange TEXT NOT NULL, routing_key TEXT NOT NULL, queue TEXT NOT NULL,
  PRIMARY KEY (exchange, routing_key, queue)) WITHOUT ROWID;
CREATE INDEX binding_by_queue ON binding (queue);
INSERT INTO meta VALUES ('seq_ceiling', 1);
";

/// What brings a file of a format to the next one; the first is for format 1.
const UPGRADES: [&str; 1] = ["ALTER TABLE message ADD COLUMN epoch INTEGER;
     ALTER TABLE queue ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE queue ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;"];

/// Direct exchanges and the like that exist from the start.
pub(crate) const PRESET_EXCHANGES: [(&str, ExchangeKind); 5] = [
    (super::topology::WORKER_EXCHANGE, ExchangeKind::Direct),
    (super::topology::CONNECTOR_EXCHANGE, ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
];

/// An opened file: its lock, the connection that writes, and what is in it.
pub(crate) struct Opened {
    /// Held as long as the file is in use; the operating system releases it with the process.
    pub lock: File,
    pub writer: Connection,
    pub state: State,
}

/// Opens or creates the file, takes its lock, removes transient queues and counts what is there.
pub(crate) fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = take_lock(path)?;
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let writer = connect_writer(path).map_err(sqlite)?;
    let found: i64 = writer
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(sqlite)?;
    if found > FORMAT {
        return Err(OpenError::Format {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    if found == 0 {
        create(&writer).map_err(sqlite)?;
    } else {
        upgrade(&writer, found).map_err(sqlite)?;
    }
    drop_transient(&writer).map_err(sqlite)?;
    let state = load(&writer).map_err(sqlite)?;
    Ok(Opened {
        lock,
        writer,
        state,
    })
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(lock_path))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(64);
    // page size and vacuum mode only take effect before the first table is made.
    // Automatic checkpoints are off: they would run inside a commit that somebody waits for.
    conn.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.execute_batch("PRAGMA cache_size = -2048;")?;
    Ok(conn)
}

/// A connection that moves committed pages from the log into the file.
pub(crate) fn connect_checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256;",
    )?;
    Ok(conn)
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    let tx = conn.unchecked_transaction()?;
    tx.execute_batch(LAYOUT)?;
    for (name, kind) in PRESET_EXCHANGES {
        tx.execute(
            "INSERT INTO exchange VALUES (?1, ?2, 0, 0)",
            (name, kind.name()),
        )?;
    }
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()
}

fn upgrade(conn: &Connection, found: i64) -> rusqlite::Result<()> {
    for (step, format) in UPGRADES
        .iter()
        .zip(2..)
        .filter(|(_, format)| *format > found)
    {
        let tx = conn.unchecked_transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", format)?;
        tx.commit()?;
    }
    Ok(())
}

fn drop_transient(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "BEGIN IMMEDIATE;
         DELETE FROM message WHERE queue IN (SELECT id FROM queue WHERE transient);
         DELETE FROM binding WHERE queue IN (SELECT name FROM queue WHERE transient)
           OR exchange IN (SELECT name FROM exchange WHERE transient);
         DELETE FROM queue WHERE transient;
         DELETE FROM exchange WHERE transient;
         COMMIT;",
    )
}

fn load(conn: &Connection) -> rusqlite::Result<State> {
    let mut state = State {
        first_seq: ceiling(conn)?,
        ..State::default()
    };
    let mut by_id: HashMap<i64, Arc<str>> = HashMap::new();
    let mut statement =
        conn.prepare("SELECT id, name, transient, auto_delete, arguments FROM queue")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let name: Arc<str> = row.get::<_, String>(1)?.into();
        let settings = QueueSettings {
            transient: row.get(2)?,
            auto_delete: row.get(3)?,
            arguments: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        };
        by_id.insert(id, Arc::clone(&name));
        state
            .queues
            .insert(Arc::clone(&name), Queue::new(id, name, settings));
    }
    let mut statement =
        conn.prepare("SELECT queue, count(*), sum(size), max(seq) FROM message INDEXED BY message_by_queue GROUP BY queue")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let Some(queue) = by_id.get(&id).and_then(|name| state.queues.get_mut(name)) else {
            continue;
        };
        queue.messages = row.get(1)?;
        queue.bytes = row.get(2)?;
        queue.last_seq = row.get(3)?;
        state.total_bytes += queue.bytes;
    }
    let (count, bytes): (u64, u64) = conn.query_row(
        "SELECT count(*), coalesce(sum(size), 0) FROM dead_letter INDEXED BY dead_letter_by_queue",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    state.dead_letters = count;
    state.total_bytes += bytes;
    let mut statement = conn.prepare("SELECT name, kind, transient, internal FROM exchange")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        let kind = ExchangeKind::from_name(&kind).unwrap_or(ExchangeKind::Direct);
        state
            .exchanges
            .insert(row.get(0)?, Exchange::new(kind, row.get(2)?, row.get(3)?));
    }
    let mut statement = conn.prepare(
        "SELECT exchange, routing_key, queue FROM binding ORDER BY exchange, routing_key, queue",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let queue: String = row.get(2)?;
        let Some((queue, _)) = state.queues.get_key_value(queue.as_str()) else {
            continue;
        };
        let queue = Arc::clone(queue);
        if let Some(exchange) = state.exchanges.get_mut(&row.get::<_, String>(0)?) {
            exchange.bind(row.get(1)?, queue);
        }
    }
    Ok(state)
}

/// The number from which this run numbers its messages; every message in the file has a smaller one.
pub(crate) fn ceiling(conn: &Connection) -> rusqlite::Result<u64> {
    conn.query_row(
        "SELECT value FROM meta WHERE key = 'seq_ceiling'",
        [],
        |row| row.get(0),
    )
}

/// What is wrong with the file: SQLite's own check, then counts against the rows. Empty when all is well.
pub(crate) fn problems(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut statement = conn.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            problems.push(line);
        }
    }
    let checks = [
        (
            "SELECT count(*) FROM message WHERE queue NOT IN (SELECT id FROM queue)",
            "messages belong to no queue",
        ),
        (
            "SELECT count(*) FROM message WHERE seq >= (SELECT value FROM meta WHERE key = 'seq_ceiling')",
            "messages have numbers that may be used again",
        ),
        (
            "SELECT count(*) FROM message WHERE size < length(body)",
            "messages count as less than their body",
        ),
        (
            "SELECT count(*) FROM binding WHERE exchange NOT IN (SELECT name FROM exchange)",
            "bindings belong to no exchange",
        ),
    ];
    for (sql, text) in checks {
        let count: Option<u64> = conn.query_row(sql, [], |row| row.get(0)).optional()?;
        if let Some(count) = count.filter(|count| *count > 0) {
            problems.push(format!("{count} {text}"));
        }
    }
    Ok(problems)
}
