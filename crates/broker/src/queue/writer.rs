//! The one thread that writes the queue file, with group commit.
//!
//! Everything that waits when a commit begins goes into that commit: while one flush to disk runs, the next group gathers.
//! A publish is answered after the flush that made it durable. Acknowledgements have nobody who waits for them;
//! when nothing else is to be written they are held back for a moment so that many share one flush.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::Shared;
use super::ops::{AnyCall, Done, Op, PublishOp};
use super::schema;
use super::state::State;
use super::types::{Depth, QueueError};

/// After this long without work the file is tidied up.
const IDLE: Duration = Duration::from_secs(2);
/// Largest number of operations and of body bytes in one commit; the rest waits for the next.
const MAX_GROUP_OPS: usize = 8192;
const MAX_GROUP_BYTES: u64 = 64 << 20;
/// After this much has been written, committed pages are moved from the log into the file beside the commits.
const CHECKPOINT_BYTES: u64 = 8 << 20;
/// After this much the log starts again from its beginning, so that it does not grow under constant load.
const RESTART_BYTES: u64 = 32 << 20;
/// A log larger than this is cut when idle.
const MAX_IDLE_LOG_BYTES: u64 = 64 << 20;
/// Free pages beyond this many are given back to the file system when idle, this many at a time.
const KEEP_FREE_PAGES: u64 = 512;
const VACUUM_STEP_PAGES: u64 = 256;
/// Message numbers are reserved in the file in blocks of this many.
const SEQ_BLOCK: u64 = 1 << 16;

/// What a call may use inside the transaction.
pub(crate) struct Tx<'a> {
    pub conn: &'a Connection,
    pub shared: &'a Shared,
    seqs: &'a mut SeqSource,
    live: &'a mut HashSet<i64>,
}

impl Tx<'_> {
    /// The next message number.
    pub fn next_seq(&mut self) -> rusqlite::Result<u64> {
        self.seqs.next(self.conn)
    }

    /// Notes that a queue exists from here on.
    pub fn queue_created(&mut self, id: i64) {
        self.live.insert(id);
    }

    /// Notes that a queue does not exist any more; publishes that were accepted for it and come later are refused.
    pub fn queue_deleted(&mut self, id: i64) {
        self.live.remove(&id);
    }
}

/// Gives out message numbers. The file holds a ceiling below which all given numbers are, so that none is given twice.
struct SeqSource {
    next: u64,
    ceiling: u64,
}

impl SeqSource {
    fn next(&mut self, conn: &Connection) -> rusqlite::Result<u64> {
        if self.next >= self.ceiling {
            let ceiling = self.next + SEQ_BLOCK;
            conn.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'seq_ceiling'")?
                .execute([ceiling])?;
            self.ceiling = ceiling;
        }
        let seq = self.next;
        self.next += 1;
        Ok(seq)
    }
}

/// What a committed operation changes in memory.
enum Effect {
    Published {
        op: Box<PublishOp>,
        seqs: Vec<u64>,
    },
    /// The queue was deleted between acceptance and writing.
    Refused {
        op: Box<PublishOp>,
        error: QueueError,
    },
    Acked {
        name: Arc<str>,
        id: i64,
        seqs: Vec<u64>,
        gone: Depth,
    },
    Call(Box<dyn AnyCall>),
}

struct Writer {
    conn: Connection,
    shared: Arc<Shared>,
    seqs: SeqSource,
    live: HashSet<i64>,
    /// Messages published in the group that is being written, by queue.
    published: HashMap<i64, u64>,
    checkpoints: SyncSender<()>,
    since_checkpoint: u64,
    since_restart: u64,
    dirty: bool,
}

/// Starts the writing thread and the one that checkpoints beside it. The handle ends when the inbox is closed and empty.
pub(crate) fn start(
    conn: Connection,
    shared: Arc<Shared>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (checkpoints, requests) = sync_channel(1);
    let path = shared.path.clone();
    let checkpointer = std::thread::Builder::new()
        .name("queue-checkpoint".to_owned())
        .spawn(move || run_checkpointer(&path, &requests))?;
    let state = shared.state.lock();
    let next = state.first_seq;
    let live = state.queues.values().map(|queue| queue.id).collect();
    drop(state);
    let mut writer = Writer {
        conn,
        shared,
        seqs: SeqSource {
            next,
            ceiling: next,
        },
        live,
        published: HashMap::new(),
        checkpoints,
        since_checkpoint: 0,
        since_restart: 0,
        dirty: false,
    };
    std::thread::Builder::new()
        .name("queue-writer".to_owned())
        .spawn(move || {
            writer.run();
            drop(writer);
            if checkpointer.join().is_err() {
                tracing::error!("the checkpoint thread of the queue file panicked");
            }
        })
}

fn run_checkpointer(path: &std::path::Path, requests: &Receiver<()>) {
    let conn = match schema::connect_checkpointer(path) {
        Ok(conn) => conn,
        Err(error) => {
            tracing::warn!(%error, "no checkpoints beside the commits of the queue file; they run between commits instead");
            return;
        }
    };
    while requests.recv().is_ok() {
        if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::debug!(%error, "checkpoint of the queue file put off");
        }
    }
}

impl Writer {
    fn run(&mut self) {
        let mut backlog = VecDeque::new();
        let mut idle_deadline = Instant::now() + IDLE;
        loop {
            let shared = Arc::clone(&self.shared);
            let closed = shared.inbox.take(&mut backlog, idle_deadline);
            if backlog.is_empty() {
                if closed {
                    break;
                }
                let more = self.tidy();
                idle_deadline = Instant::now() + if more { Duration::ZERO } else { IDLE };
                continue;
            }
            let mut group = Vec::new();
            let mut bytes = 0;
            while let Some(op) = backlog.pop_front() {
                bytes += op.body_bytes();
                group.push(op);
                if group.len() >= MAX_GROUP_OPS || bytes >= MAX_GROUP_BYTES {
                    break;
                }
            }
            self.commit(group);
            self.checkpoint_if_due();
            idle_deadline = Instant::now() + IDLE;
        }
        if let Err(error) = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::debug!(%error, "the log of the queue file is kept for the next start");
        }
    }

    /// Writes a group in one transaction and tells everybody who waits.
    fn commit(&mut self, group: Vec<Op>) {
        let size = group.len() as u64;
        let mut effects = Vec::with_capacity(group.len());
        match self.write(group, &mut effects) {
            Ok(()) => {
                self.shared.metrics.commits.fetch_add(1, Ordering::Relaxed);
                self.shared
                    .metrics
                    .committed_ops
                    .fetch_add(size, Ordering::Relaxed);
                self.shared
                    .metrics
                    .largest_group
                    .fetch_max(size, Ordering::Relaxed);
                self.apply(effects);
            }
            Err((error, unwritten)) => {
                tracing::error!(%error, operations = size, "the queue file could not be written, nothing of this group was kept");
                self.abandon(&error.into(), effects, unwritten);
            }
        }
    }

    /// On failure gives back the operations that were not reached.
    fn write(
        &mut self,
        group: Vec<Op>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (rusqlite::Error, Vec<Op>)> {
        let mut ops = group.into_iter();
        self.published.clear();
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            return Err((error, ops.collect()));
        }
        while let Some(op) = ops.next() {
            let written = match op {
                Op::Publish(op) => self.publish(op, effects),
                Op::Ack { name, id, seqs } => self.ack(name, id, seqs, effects),
                Op::AckUpTo { name, id, seq } => self.ack_up_to(name, id, seq, effects),
                Op::Call(call) => self.call(call, effects),
            };
            if let Err(error) = written {
                return Err((error, ops.collect()));
            }
        }
        if let Err(error) = self.count_published() {
            return Err((error, Vec::new()));
        }
        self.execute("COMMIT").map_err(|error| (error, Vec::new()))
    }

    /// Adds what was published to what the queues ever got.
    fn count_published(&mut self) -> rusqlite::Result<()> {
        for (queue, messages) in self.published.drain() {
            self.conn
                .prepare_cached("UPDATE queue SET published = published + ?2 WHERE id = ?1")?
                .execute(params![queue, messages])?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn publish(&mut self, op: Box<PublishOp>, effects: &mut Vec<Effect>) -> rusqlite::Result<()> {
        if let Some((name, _)) = op.targets.iter().find(|(_, id)| !self.live.contains(id)) {
            let error = QueueError::UnknownQueue(name.to_string());
            effects.push(Effect::Refused { op, error });
            return Ok(());
        }
        let seqs = Vec::with_capacity(op.targets.len());
        // pushed first, so that it is answered whatever fails below
        effects.push(Effect::Published { op, seqs });
        let Some(Effect::Published { op, seqs }) = effects.last_mut() else {
            return Ok(());
        };
        for (_, id) in &op.targets {
            let seq = self.seqs.next(&self.conn)?;
            self.conn
                .prepare_cached(
                    "INSERT INTO message (seq, queue, size, published_at, exchange, routing_key, properties, body, epoch)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    seq,
                    id,
                    op.size,
                    op.published_at,
                    op.exchange,
                    op.routing_key,
                    op.publish.properties.as_bytes(),
                    &op.publish.body[..],
                    op.publish.epoch,
                ])?;
            seqs.push(seq);
            *self.published.entry(*id).or_default() += 1;
            self.wrote(op.publish.body.len() as u64);
        }
        Ok(())
    }

    fn ack(
        &mut self,
        name: Arc<str>,
        id: i64,
        seqs: Vec<u64>,
        effects: &mut Vec<Effect>,
    ) -> rusqlite::Result<()> {
        let mut gone = Depth::default();
        let mut failure = None;
        for seq in &seqs {
            let deleted = self
                .conn
                .prepare_cached("DELETE FROM message WHERE seq = ?1 AND queue = ?2 RETURNING size")
                .and_then(|mut statement| {
                    statement
                        .query_row(params![seq, id], |row| row.get::<_, u64>(0))
                        .optional()
                });
            match deleted {
                Ok(Some(size)) => {
                    gone.messages += 1;
                    gone.bytes += size;
                }
                Ok(None) => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        self.wrote(0);
        effects.push(Effect::Acked {
            name,
            id,
            seqs,
            gone,
        });
        failure.map_or(Ok(()), Err)
    }

    fn ack_up_to(
        &mut self,
        name: Arc<str>,
        id: i64,
        seq: u64,
        effects: &mut Vec<Effect>,
    ) -> rusqlite::Result<()> {
        let gone = count_range(&self.conn, id, 0, seq)?;
        self.conn
            .prepare_cached("DELETE FROM message WHERE queue = ?1 AND seq <= ?2")?
            .execute(params![id, seq])?;
        self.wrote(gone.messages * 64);
        effects.push(Effect::Acked {
            name,
            id,
            seqs: Vec::new(),
            gone,
        });
        Ok(())
    }

    /// Runs a call in a savepoint of its own: one that fails undoes only itself.
    fn call(
        &mut self,
        mut call: Box<dyn AnyCall>,
        effects: &mut Vec<Effect>,
    ) -> rusqlite::Result<()> {
        self.execute("SAVEPOINT call")?;
        let mut tx = Tx {
            conn: &self.conn,
            shared: &self.shared,
            seqs: &mut self.seqs,
            live: &mut self.live,
        };
        let good = call.run(&mut tx);
        effects.push(Effect::Call(call));
        if self.conn.is_autocommit() {
            // the disk is full or broken: SQLite has undone the whole transaction
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                None,
            ));
        }
        if !good {
            self.execute("ROLLBACK TO call")?;
        }
        self.wrote(0);
        self.execute("RELEASE call")
    }

    fn apply(&self, effects: Vec<Effect>) {
        let mut answers: Vec<(Done, Result<u64, QueueError>)> = Vec::with_capacity(effects.len());
        let mut published = 0;
        let mut state = self.shared.state.lock();
        for effect in effects {
            match effect {
                Effect::Published { op, seqs } => {
                    let PublishOp {
                        targets,
                        size,
                        done,
                        ..
                    } = *op;
                    state.unreserve(&targets, size);
                    for ((name, id), seq) in targets.iter().zip(&seqs) {
                        if let Some(queue) = state.queue_of(name, *id) {
                            queue.messages += 1;
                            queue.bytes += size;
                            queue.last_seq = *seq;
                            queue.signal.notify_one();
                        }
                        state.total_bytes += size;
                    }
                    published += 1;
                    answers.push((done, Ok(seqs.last().copied().unwrap_or_default())));
                }
                Effect::Refused { op, error } => {
                    state.unreserve(&op.targets, op.size);
                    answers.push((op.done, Err(error)));
                }
                Effect::Acked {
                    name,
                    id,
                    seqs,
                    gone,
                } => {
                    if let Some(queue) = state.queue_of(&name, id) {
                        for seq in &seqs {
                            queue.forget_lease(*seq);
                        }
                    }
                    state.subtract(&name, id, gone);
                }
                Effect::Call(call) => call.finish(Ok(&mut state)),
            }
        }
        state.generation += 1;
        drop(state);
        self.shared.changed.notify_all();
        self.shared
            .metrics
            .published
            .fetch_add(published, Ordering::Relaxed);
        for (done, answer) in answers {
            done(answer);
        }
    }

    /// Undoes a group that could not be written. Acknowledgements are tried again with a later group.
    fn abandon(&mut self, error: &QueueError, effects: Vec<Effect>, unwritten: Vec<Op>) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "the transaction on the queue file could not be undone");
        }
        self.seqs.ceiling = self.seqs.next;
        if let Err(error) = self.reload_live() {
            tracing::error!(%error, "the list of queues could not be read again");
        }
        let mut answers: Vec<Done> = Vec::new();
        let mut retry = Vec::new();
        let mut state = self.shared.state.lock();
        let refuse = |op: PublishOp, state: &mut State, answers: &mut Vec<Done>| {
            state.unreserve(&op.targets, op.size);
            answers.push(op.done);
        };
        for effect in effects {
            match effect {
                Effect::Published { op, .. } | Effect::Refused { op, .. } => {
                    refuse(*op, &mut state, &mut answers);
                }
                Effect::Acked { name, id, seqs, .. } => retry.push(Op::Ack { name, id, seqs }),
                Effect::Call(call) => call.finish(Err(error)),
            }
        }
        for op in unwritten {
            match op {
                Op::Publish(op) => refuse(*op, &mut state, &mut answers),
                Op::Call(call) => call.finish(Err(error)),
                op => retry.push(op),
            }
        }
        drop(state);
        for op in retry {
            // when the file is closed meanwhile, the messages are simply delivered again after the next start
            drop(self.shared.inbox.push(op));
        }
        for done in answers {
            done(Err(error.clone()));
        }
    }

    fn reload_live(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare_cached("SELECT id FROM queue")?;
        self.live = statement
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(())
    }

    /// Estimates the pages written to the log, two for each change, to know when a checkpoint is due.
    fn wrote(&mut self, body_bytes: u64) {
        let estimate = body_bytes + 2 * 8192;
        self.since_checkpoint += estimate;
        self.since_restart += estimate;
        self.dirty = true;
    }

    fn checkpoint_if_due(&mut self) {
        if self.since_restart >= RESTART_BYTES {
            if self.checkpoint("PRAGMA wal_checkpoint(RESTART)") {
                self.since_restart = 0;
                self.since_checkpoint = 0;
                return;
            }
            self.since_restart -= CHECKPOINT_BYTES;
        }
        if self.since_checkpoint >= CHECKPOINT_BYTES {
            self.since_checkpoint = 0;
            if let Err(TrySendError::Disconnected(())) = self.checkpoints.try_send(()) {
                self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
            }
        }
    }

    /// Answers whether the checkpoint was complete.
    fn checkpoint(&self, sql: &str) -> bool {
        match self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)) {
            Ok(busy) => busy == 0,
            Err(error) => {
                tracing::debug!(%error, "checkpoint of the queue file put off");
                false
            }
        }
    }

    /// Uses idle time: the log is emptied into the file, free pages are given back. Answers whether there is more to do.
    fn tidy(&mut self) -> bool {
        if self.dirty {
            self.dirty = false;
            let log = std::fs::metadata(super::with_suffix(&self.shared.path, "-wal"))
                .map_or(0, |meta| meta.len());
            let sql = if log > MAX_IDLE_LOG_BYTES {
                "PRAGMA wal_checkpoint(TRUNCATE)"
            } else {
                "PRAGMA wal_checkpoint(RESTART)"
            };
            if self.checkpoint(sql) {
                self.since_checkpoint = 0;
                self.since_restart = 0;
            }
        }
        let free: u64 = self
            .conn
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))
            .unwrap_or(0);
        if free <= KEEP_FREE_PAGES {
            return false;
        }
        let step = VACUUM_STEP_PAGES.min(free - KEEP_FREE_PAGES);
        match self.vacuum(step) {
            Ok(()) => {
                self.dirty = true;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "free pages of the queue file are kept");
                false
            }
        }
    }

    /// Gives that many free pages back. The statement answers a row for each, and stops when nobody asks for the next.
    fn vacuum(&self, pages: u64) -> rusqlite::Result<()> {
        let mut statement = self
            .conn
            .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// Messages and bytes of a queue with `after < seq <= up_to`.
pub(crate) fn count_range(
    conn: &Connection,
    queue: i64,
    after: u64,
    up_to: u64,
) -> rusqlite::Result<Depth> {
    conn.prepare_cached(
        "SELECT count(*), coalesce(sum(size), 0) FROM message INDEXED BY message_by_queue WHERE queue = ?1 AND seq > ?2 AND seq <= ?3",
    )?
    .query_row(params![queue, after, up_to.min(i64::MAX as u64)], |row| Ok(Depth { messages: row.get(0)?, bytes: row.get(1)? }))
}
