//! The store as its users hold it: opening, snapshots for reading, shared transactions for writing.

use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::JoinHandle,
};

use ferrocti_model::{
    clock::{Clock, Entropy},
    registry::Registry,
};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::{
    Snapshot, StoreError, Tx, connection,
    error::Result,
    lock::{self, DirectoryLock},
    maintenance::{self, Upkeep},
    markings, rights, schema,
    writer::{self, Writer},
};

const FILE: &str = "ferrocti.db";

/// How much a commit guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A commit survives a power cut.
    #[default]
    Full,
    /// A commit survives the end of the process; a power cut may lose the last ones, never damage the file.
    Normal,
    /// Nothing is flushed; for tests and benchmarks.
    Off,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where internal ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// What a commit guarantees.
    pub durability: Durability,
    /// Page cache of the writing connection while it is busy, in MiB; given back when idle.
    pub writer_cache_mib: u32,
    /// Page cache of each reading connection, in KiB.
    pub reader_cache_kib: u32,
    /// Most reading connections at a time; further readers wait.
    pub readers: usize,
    /// Length of the write-ahead log, in MiB, at which a checkpoint starts in the background.
    pub checkpoint_mib: u32,
    /// Length of the write-ahead log, in MiB, at which the writer itself makes room between two commits.
    pub restart_mib: u32,
}

impl Options {
    /// The defaults for a clock and a source of randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            durability: Durability::default(),
            writer_cache_mib: 64,
            reader_cache_kib: 2048,
            readers: 8,
            checkpoint_mib: 64,
            restart_mib: 256,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// The transactional store. Cheap to clone; the file is closed with the last clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    maintenance: Option<JoinHandle<()>>,
}

/// What the store's users and its maintenance thread share.
pub(crate) struct Shared {
    pub path: PathBuf,
    pub options: Options,
    pub marking_ref: u16,
    /// Codes of the types that rights depend on.
    pub marking_kind: u16,
    pub organization_kind: u16,
    pub writer: Mutex<Writer>,
    /// Writers that want the lock but do not have it yet.
    pub waiting: AtomicUsize,
    pub readers: Mutex<Readers>,
    pub reader_free: Condvar,
    pub upkeep: Upkeep,
    /// See [`Snapshot::beside`].
    pub beside: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Whether memory was given back since the last use.
    pub relaxed: AtomicBool,
    // last: the directory is free only when all connections are closed
    _lock: DirectoryLock,
}

#[derive(Default)]
pub(crate) struct Readers {
    pub idle: Vec<Connection>,
    pub open: usize,
}

impl Store {
    /// Opens the store in a directory, creating both when missing, and brings its schema to the newest version.
    ///
    /// Fails when another process has the directory, when the file is not ours, or when it is newer than this program.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| StoreError::Directory {
            path: dir.to_owned(),
            reason: error.to_string(),
        })?;
        let lock = lock::acquire(dir)?;
        let path = dir.join(FILE);
        let mut conn = connection::open_writer(&path, options.durability, writer::IDLE_CACHE_KIB)
            .map_err(|error| foreign(error, &path))?;
        schema::migrate(&mut conn, &path, options.clock.now())?;
        let writer = Writer::new(conn)?;
        let shared = Arc::new(Shared {
            marking_ref: markings::reference_code(),
            marking_kind: type_code(rights::MARKING_DEFINITION)?,
            organization_kind: type_code(rights::ORGANIZATION)?,
            writer: Mutex::new(writer),
            waiting: AtomicUsize::new(0),
            readers: Mutex::default(),
            reader_free: Condvar::new(),
            upkeep: Upkeep::default(),
            beside: OnceLock::new(),
            relaxed: AtomicBool::new(true),
            path,
            options,
            _lock: lock,
        });
        let maintenance = maintenance::start(Arc::clone(&shared))?;
        Ok(Self(Arc::new(Inner {
            shared,
            maintenance: Some(maintenance),
        })))
    }

    /// Runs `body` on a consistent snapshot of everything committed so far.
    pub fn read<T, E: From<StoreError>>(
        &self,
        body: impl FnOnce(&Snapshot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let shared = &self.0.shared;
        let reader = Reader::take(shared)?;
        let conn = reader.conn()?;
        conn.prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute([]))
            .map_err(StoreError::from)?;
        body(&Snapshot::new(conn, shared))
    }

    /// Runs `body` in a transaction and returns after its commit is durable. An error or a panic undoes what `body` did and nothing else.
    ///
    /// Writers that wait together share one commit. `body` runs on the caller's thread; it must not call [`Store::write`] again.
    pub fn write<T, E: From<StoreError>>(
        &self,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        writer::write(&self.0.shared, body)
    }

    /// Where the store's random bytes come from, for layers above that make secrets.
    #[must_use]
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.0.shared.options.entropy)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.shared.path
    }

    /// Copies the write-ahead log into the database file and gives back the memory of caches, as the store does by itself when idle.
    pub fn relax(&self) -> Result<()> {
        maintenance::checkpoint_now(&self.0.shared)?;
        maintenance::relax(&self.0.shared)
    }

    /// Waits for the writers, then copies the whole write-ahead log into the database file and empties it.
    pub fn checkpoint(&self) -> Result<()> {
        let shared = &self.0.shared;
        let mut writer = shared.writer.lock();
        writer.finish_group(shared);
        writer.empty_log()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.shared.path).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.upkeep.stop();
        if let Some(thread) = self.maintenance.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's maintenance thread ended with a panic");
        }
    }
}

/// A reading connection on loan; it goes back to the pool, without its transaction, however the loan ends.
struct Reader<'s> {
    shared: &'s Shared,
    conn: Option<Connection>,
}

impl<'s> Reader<'s> {
    fn take(shared: &'s Shared) -> Result<Self> {
        shared.wake_upkeep();
        let mut readers = shared.readers.lock();
        loop {
            if let Some(conn) = readers.idle.pop() {
                return Ok(Self {
                    shared,
                    conn: Some(conn),
                });
            }
            if readers.open < shared.options.readers.max(1) {
                readers.open += 1;
                break;
            }
            shared.reader_free.wait(&mut readers);
        }
        drop(readers);
        let mut reader = Self { shared, conn: None };
        reader.conn = Some(connection::open_reader(
            &shared.path,
            i64::from(shared.options.reader_cache_kib),
        )?);
        Ok(reader)
    }

    fn conn(&self) -> Result<&Connection> {
        self.conn.as_ref().ok_or(StoreError::Closed)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let conn = self.conn.take().filter(|conn| {
            conn.is_autocommit()
                || conn
                    .prepare_cached("ROLLBACK")
                    .and_then(|mut statement| statement.execute([]))
                    .is_ok()
        });
        let mut readers = self.shared.readers.lock();
        match conn {
            Some(conn) => readers.idle.push(conn),
            None => readers.open -= 1,
        }
        self.shared.reader_free.notify_one();
    }
}

fn foreign(error: StoreError, path: &Path) -> StoreError {
    match &error {
        StoreError::Database(cause)
            if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
        {
            StoreError::ForeignFile(path.to_owned())
        }
        _ => error,
    }
}

fn type_code(name: &str) -> Result<u16> {
    Registry::get()
        .by_name(name)
        .map(|kind| kind.code)
        .ok_or_else(|| StoreError::Corrupt(format!("the registry knows no {name}")))
}
