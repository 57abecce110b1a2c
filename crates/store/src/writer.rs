//! The writing connection and group commit.
//!
//! A writer takes the lock, joins the open transaction or begins one, and runs its closure. If others wait for the lock it leaves the
//! transaction open for them and waits for its commit; the one that finds nobody waiting, or the group large or old enough, commits for all.
//! The first of a group needs no savepoint: when it fails there is nothing else to keep.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ferrocti_model::{clock::Millis, id::Key};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::{
    Iid, StoreError, Tx,
    connection::{self, BUSY_TIMEOUT},
    error::Result,
    store::Shared,
};

/// Page cache of the writing connection while nothing happens, in KiB.
pub const IDLE_CACHE_KIB: i64 = 1024;
/// A group commits at the latest after so many members …
const GROUP_MEMBERS: usize = 256;
/// … or this long after its first.
const GROUP_AGE: Duration = Duration::from_millis(20);
/// How long the writer waits for readers when it makes room in the write-ahead log.
const RESTART_WAIT: Duration = Duration::from_millis(100);

/// The writing connection with what it remembers between transactions.
pub struct Writer {
    pub conn: Connection,
    pub caches: Caches,
    group: Option<Group>,
    /// Length of the write-ahead log after the last commit, set by SQLite's hook.
    wal_pages: Arc<AtomicU64>,
    /// Length at which the log is restarted next.
    restart_at: u64,
    grown: bool,
}

/// The open transaction.
struct Group {
    ticket: Arc<Ticket>,
    members: usize,
    since: Instant,
}

/// Where the members of a group wait for its commit.
#[derive(Default)]
struct Ticket {
    outcome: Mutex<Option<Result<()>>>,
    known: Condvar,
}

impl Ticket {
    fn settle(&self, outcome: Result<()>) {
        *self.outcome.lock() = Some(outcome);
        self.known.notify_all();
    }

    fn wait(&self) -> Result<()> {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.known.wait(&mut outcome);
        }
    }
}

/// See [`crate::Store::write`].
pub fn write<T, E: From<StoreError>>(
    shared: &Shared,
    body: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    shared.wake_upkeep();
    shared.waiting.fetch_add(1, Ordering::AcqRel);
    let mut writer = shared.writer.lock();
    shared.waiting.fetch_sub(1, Ordering::AcqRel);

    let mut outcome = None;
    if let Err(error) = writer.enter(shared) {
        writer.abort(&error);
        outcome = Some(Ok(Err(error.into())));
    }
    let outcome = outcome.unwrap_or_else(|| {
        let Writer { conn, caches, .. } = &mut *writer;
        catch_unwind(AssertUnwindSafe(|| {
            let mut tx = Tx::new(conn, caches, shared);
            let value = body(&mut tx)?;
            tx.finish()?;
            Ok(value)
        }))
    });
    let ticket = writer.leave(matches!(outcome, Ok(Ok(_))));
    let full = writer
        .group
        .as_ref()
        .is_some_and(|group| group.members >= GROUP_MEMBERS || group.since.elapsed() >= GROUP_AGE);
    if writer.group.is_some() && (full || shared.waiting.load(Ordering::Acquire) == 0) {
        writer.commit(shared);
    }
    drop(writer);
    match outcome {
        Ok(Ok(value)) => match ticket.map_or_else(
            || Err(StoreError::Commit("the transaction was rolled back".into())),
            |ticket| ticket.wait(),
        ) {
            Ok(()) => Ok(value),
            Err(error) => Err(error.into()),
        },
        Ok(Err(error)) => Err(error),
        Err(panic) => resume_unwind(panic),
    }
}

impl Writer {
    /// Takes a connection whose schema is current.
    pub fn new(mut conn: Connection) -> Result<Self> {
        let wal_pages = Arc::new(AtomicU64::new(0));
        let hook = Arc::clone(&wal_pages);
        conn.wal_hook(Some(
            move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
                hook.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
                Ok(())
            },
        ))?;
        let caches = Caches::load(&conn)?;
        Ok(Self {
            conn,
            caches,
            group: None,
            wal_pages,
            restart_at: 0,
            grown: false,
        })
    }

    /// Joins the open transaction or begins one.
    fn enter(&mut self, shared: &Shared) -> Result<()> {
        if !self.grown {
            connection::set_cache(
                &self.conn,
                i64::from(shared.options.writer_cache_mib) * 1024,
            )?;
            self.grown = true;
        }
        if self.group.is_some() {
            self.run("SAVEPOINT member")
        } else {
            self.run("BEGIN IMMEDIATE")?;
            self.group = Some(Group {
                ticket: Arc::default(),
                members: 0,
                since: Instant::now(),
            });
            Ok(())
        }
    }

    /// Keeps or undoes what the closure did. Returns where to wait for the commit if there is something to wait for.
    fn leave(&mut self, keep: bool) -> Option<Arc<Ticket>> {
        let first = self.group.as_ref()?.members == 0;
        if !keep {
            self.caches.forget();
        }
        if self.conn.is_autocommit() {
            // SQLite itself rolled everything back, e.g. on a full disk
            self.abort(&StoreError::Commit(
                "the database rolled the transaction back".into(),
            ));
            return None;
        }
        let result = match (keep, first) {
            (true, true) => Ok(()),
            (true, false) => self.run("RELEASE member"),
            (false, true) => {
                self.group = None;
                return self.run("ROLLBACK").err().and_then(|error| {
                    tracing::error!(%error, "a rollback failed");
                    None
                });
            }
            (false, false) => self
                .run("ROLLBACK TO member")
                .and_then(|()| self.run("RELEASE member")),
        };
        if let Err(error) = result {
            self.abort(&error);
            return None;
        }
        let group = self.group.as_mut()?;
        if keep {
            group.members += 1;
        }
        Some(Arc::clone(&group.ticket))
    }

    /// Ends the group with an error for all its members.
    fn abort(&mut self, error: &StoreError) {
        self.caches.forget();
        if !self.conn.is_autocommit()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::error!(%error, "a rollback failed");
        }
        if let Some(group) = self.group.take() {
            group
                .ticket
                .settle(Err(StoreError::Commit(error.to_string().into())));
        }
    }

    /// Commits for all members, then makes room in the write-ahead log if it has grown too long.
    fn commit(&mut self, shared: &Shared) {
        if let Err(error) = self.run("COMMIT") {
            self.abort(&error);
            return;
        }
        if let Some(group) = self.group.take() {
            group.ticket.settle(Ok(()));
        }
        let pages = self.wal_pages.load(Ordering::Relaxed);
        let limit = shared.checkpoint_pages();
        shared.upkeep.committed(pages, limit);
        let restart = u64::from(shared.options.restart_mib) * 1024 * 1024
            / connection::PAGE_SIZE.unsigned_abs();
        if pages < restart {
            self.restart_at = restart;
        } else if pages >= self.restart_at {
            self.restart_at = pages + limit;
            if let Err(error) = self.restart_log() {
                tracing::warn!(%error, "the write-ahead log could not be restarted; it is tried again later");
            }
        }
    }

    fn restart_log(&self) -> Result<()> {
        self.conn.busy_timeout(RESTART_WAIT)?;
        let result = self
            .conn
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        Ok(result?)
    }

    /// Gives back memory and the space of the write-ahead log; only between groups.
    pub fn relax(&mut self) -> Result<()> {
        if self.group.is_none() {
            self.caches.forget();
            self.conn.flush_prepared_statement_cache();
            connection::set_cache(&self.conn, IDLE_CACHE_KIB)?;
            self.conn.execute_batch("PRAGMA shrink_memory")?;
            self.grown = false;
            self.conn.busy_timeout(Duration::ZERO)?;
            let emptied = self.empty_log();
            self.conn.busy_timeout(BUSY_TIMEOUT)?;
            emptied?;
        }
        Ok(())
    }

    /// Commits what writers have left open for others.
    pub fn finish_group(&mut self, shared: &Shared) {
        if self.group.is_some() {
            self.commit(shared);
        }
    }

    /// Copies the write-ahead log into the database file and empties it, as far as readers allow.
    pub fn empty_log(&self) -> Result<()> {
        Ok(self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// What the writer remembers. All of it may be forgotten at any time except the counters, which only grow.
#[derive(Default)]
pub struct Caches {
    pub keys: KeyCache,
    /// Marking sets by their sorted members.
    pub sets: HashMap<Vec<Iid>, i64>,
    /// Members by set.
    pub members: HashMap<i64, Arc<[Iid]>>,
    /// The last origin of an event and its row.
    pub origin: Option<(String, i64)>,
    /// Whether anything is parked; `None`: not known.
    pub parked: Option<bool>,
    /// Space for documents on their way into the database.
    pub scratch: Vec<u8>,
    next_iid: Iid,
    next_rights: i64,
    last_time: Millis,
}

impl Caches {
    fn load(conn: &Connection) -> Result<Self> {
        let one = |sql: &str| -> Result<i64> {
            Ok(conn
                .query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?
                .unwrap_or(0))
        };
        let last = one("SELECT max(iid) FROM object")?
            .max(one("SELECT max(value) FROM high_water WHERE name = 'iid'")?);
        let last_time = one("SELECT created_at FROM object WHERE iid = (SELECT max(iid) FROM object) UNION ALL SELECT 0")?
            .max(one("SELECT at FROM audit WHERE seq = (SELECT max(seq) FROM audit) UNION ALL SELECT 0")?)
            .max(one("SELECT at FROM history WHERE seq = (SELECT max(seq) FROM history) UNION ALL SELECT 0")?);
        let rights = one("SELECT max(value) FROM high_water WHERE name = 'rights'")?;
        Ok(Self {
            next_iid: last + 1,
            next_rights: rights + 1,
            last_time,
            ..Self::default()
        })
    }

    /// The time of a new transaction.
    pub fn tick(&mut self, now: Millis) -> Millis {
        self.last_time = self.last_time.max(now);
        self.last_time
    }

    /// A row number that was never used.
    pub fn take_iid(&mut self) -> Iid {
        let iid = self.next_iid;
        self.next_iid += 1;
        iid
    }

    /// A version of rights that was never used since the store was opened.
    pub fn take_rights_version(&mut self) -> i64 {
        let version = self.next_rights;
        self.next_rights += 1;
        version
    }

    /// Forgets everything that a rollback may have made wrong.
    pub fn forget(&mut self) {
        self.keys = KeyCache::default();
        self.sets = HashMap::new();
        self.members = HashMap::new();
        self.origin = None;
        self.parked = None;
        self.scratch = Vec::new();
    }
}

/// Bounded memory of which object a key belongs to: two generations, the older is dropped when the younger is full.
#[derive(Default)]
pub struct KeyCache {
    young: HashMap<Key, Iid>,
    old: HashMap<Key, Iid>,
}

impl KeyCache {
    /// Entries per generation; about 3 MB each.
    const GENERATION: usize = 50_000;

    pub fn get(&mut self, key: &Key) -> Option<Iid> {
        if let Some(iid) = self.young.get(key) {
            return Some(*iid);
        }
        let iid = *self.old.get(key)?;
        self.put(*key, iid);
        Some(iid)
    }

    pub fn put(&mut self, key: Key, iid: Iid) {
        if self.young.len() >= Self::GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, iid);
    }

    pub fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }
}
