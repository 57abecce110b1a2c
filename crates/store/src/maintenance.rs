//! What happens beside the commits: checkpoints in the background, and giving memory back when nothing happens.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::{StoreError, connection, error::Result, store::Shared};

/// Without a commit for so long, what is left of the write-ahead log is copied.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(1);
/// Without any use for so long, caches are given back.
const IDLE_RELAX: Duration = Duration::from_secs(5);

/// What the writers tell the maintenance thread.
#[derive(Default)]
pub struct Upkeep {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// Pages in the write-ahead log, and at the last checkpoint.
    wal_pages: u64,
    copied_pages: u64,
    last_use: Option<Instant>,
}

impl Upkeep {
    /// After a commit: how long the log is now. Wakes the thread when it has become too long.
    pub fn committed(&self, wal_pages: u64, limit: u64) {
        let mut state = self.state.lock();
        if wal_pages < state.wal_pages {
            // the log was started anew
            state.copied_pages = 0;
        }
        state.wal_pages = wal_pages;
        let sleeping = state.last_use.replace(Instant::now()).is_none();
        if sleeping || wal_pages.saturating_sub(state.copied_pages) >= limit {
            self.changed.notify_one();
        }
    }

    /// Notes that the store is in use.
    pub fn used(&self) {
        self.state.lock().last_use = Some(Instant::now());
        self.changed.notify_one();
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }
}

impl Shared {
    /// Called at every use: cheap unless the store was idle.
    pub fn wake_upkeep(&self) {
        if self.relaxed.load(Ordering::Relaxed) && self.relaxed.swap(false, Ordering::AcqRel) {
            self.upkeep.used();
        }
    }

    pub fn checkpoint_pages(&self) -> u64 {
        u64::from(self.options.checkpoint_mib) * 1024 * 1024 / connection::PAGE_SIZE.unsigned_abs()
    }
}

enum Task {
    Checkpoint,
    Relax,
}

/// Starts the thread; it ends after [`Upkeep::stop`].
pub fn start(shared: Arc<Shared>) -> Result<JoinHandle<()>> {
    let failed = |path: &std::path::Path, error: &std::io::Error| StoreError::Directory {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let path = shared.path.clone();
    let conn = connection::open_checkpointer(&shared.path, shared.options.durability)?;
    std::thread::Builder::new()
        .name("store-upkeep".to_owned())
        .spawn(move || {
            while let Some(task) = next(&shared) {
                let result = match task {
                    Task::Checkpoint => checkpoint(&shared, &conn),
                    Task::Relax => relax(&shared),
                };
                if let Err(error) = result {
                    tracing::warn!(%error, "upkeep of the store failed; it is tried again later");
                }
            }
        })
        .map_err(|error| failed(&path, &error))
}

/// Waits for something to do; `None` when the store is closed.
fn next(shared: &Shared) -> Option<Task> {
    let mut state = shared.upkeep.state.lock();
    loop {
        if state.stop {
            return None;
        }
        let uncopied = state.wal_pages.saturating_sub(state.copied_pages);
        if uncopied >= shared.checkpoint_pages() {
            return Some(Task::Checkpoint);
        }
        let Some(last_use) = state.last_use else {
            shared.upkeep.changed.wait(&mut state);
            continue;
        };
        let idle = last_use.elapsed();
        if idle >= IDLE_RELAX {
            state.last_use = None;
            return Some(Task::Relax);
        }
        if uncopied > 0 && idle >= IDLE_CHECKPOINT {
            return Some(Task::Checkpoint);
        }
        let until = if uncopied > 0 {
            IDLE_CHECKPOINT
        } else {
            IDLE_RELAX
        };
        shared
            .upkeep
            .changed
            .wait_for(&mut state, until.saturating_sub(idle));
    }
}

fn checkpoint(shared: &Shared, conn: &Connection) -> Result<()> {
    let (log, copied): (i64, i64) =
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })?;
    let mut state = shared.upkeep.state.lock();
    // what a reader still needs is left for the next time: it counts as copied so that the thread does not spin on it
    state.copied_pages = log.max(copied).max(0).unsigned_abs();
    Ok(())
}

/// A checkpoint from the caller's thread.
pub fn checkpoint_now(shared: &Shared) -> Result<()> {
    let conn = connection::open_checkpointer(&shared.path, shared.options.durability)?;
    checkpoint(shared, &conn)
}

/// Gives back the memory of page caches and spare connections.
pub fn relax(shared: &Shared) -> Result<()> {
    {
        let mut readers = shared.readers.lock();
        let spare = readers.idle.len();
        readers.idle.clear();
        readers.open -= spare;
    }
    if let Some(mut writer) = shared.writer.try_lock() {
        writer.relax()?;
    }
    shared.relaxed.store(true, Ordering::Release);
    Ok(())
}
