//! What a closure gets: [`Snapshot`] to read, [`Tx`] to read and write. Their methods are in the files of their subjects.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ops::Deref,
};

use ferrocti_model::clock::Millis;
use rusqlite::{CachedStatement, Connection};

use crate::{Iid, error::Result, search::HeldText, store::Shared, writer::Caches};

/// A consistent view of the store. Every reading method is on it; [`Tx`] dereferences to it.
pub struct Snapshot<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) shared: &'c Shared,
    /// Changes of `object_count` that are not written yet; always empty outside of a [`Tx`].
    pub(crate) counts: RefCell<HashMap<(u16, i64), i64>>,
    /// Whether this is what a transaction sees, which may be undone.
    writing: bool,
}

impl<'c> Snapshot<'c> {
    pub(crate) fn new(conn: &'c Connection, shared: &'c Shared) -> Self {
        Self {
            conn,
            shared,
            counts: RefCell::default(),
            writing: false,
        }
    }

    /// Whether this shows what is not committed yet: what follows from row numbers seen here must not be kept.
    #[must_use]
    pub fn is_uncommitted(&self) -> bool {
        self.writing
    }

    /// What a layer above keeps about this store in memory, for as long as the store is open. There is room for one thing; whoever asks
    /// for another type gets a fresh one each time.
    pub fn beside<T: std::any::Any + Clone + Default + Send + Sync>(&self) -> T {
        self.shared
            .beside
            .get_or_init(|| Box::new(T::default()))
            .downcast_ref::<T>()
            .cloned()
            .unwrap_or_default()
    }

    /// The current time. Within a transaction [`Tx::now`] is the time that counts.
    #[must_use]
    pub fn clock_now(&self) -> Millis {
        self.shared.options.clock.now()
    }

    pub(crate) fn sql(&self, sql: &str) -> Result<CachedStatement<'c>> {
        Ok(self.conn.prepare_cached(sql)?)
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

/// One writer's part of a transaction: everything it does is undone when its closure fails.
pub struct Tx<'c> {
    pub(crate) snapshot: Snapshot<'c>,
    pub(crate) caches: &'c mut Caches,
    /// Changes of the text index that are not written yet.
    pub(crate) texts: BTreeMap<Iid, HeldText>,
    now: Millis,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(conn: &'c Connection, caches: &'c mut Caches, shared: &'c Shared) -> Self {
        let now = caches.tick(shared.options.clock.now());
        Self {
            snapshot: Snapshot {
                writing: true,
                ..Snapshot::new(conn, shared)
            },
            caches,
            texts: BTreeMap::new(),
            now,
        }
    }

    /// The time of this transaction: fixed for its duration and never before that of an earlier one.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// A new time-ordered internal id.
    #[must_use]
    pub fn new_uuid(&self) -> uuid::Uuid {
        self.snapshot.shared.options.entropy.uuid_at(self.now)
    }

    /// Writes what was held back; the last step of a closure that succeeded.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.flush_texts()?;
        self.flush_counts()
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = Snapshot<'c>;

    fn deref(&self) -> &Self::Target {
        &self.snapshot
    }
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
