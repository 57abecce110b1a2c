//! Durable queues in one SQLite file: publish, read in order, acknowledge, set aside.
//!
//! A message is confirmed after the flush that made it durable, and from then on survives a crash exactly once until it is acknowledged.
//! Consumers inside the platform [`Queues::fetch`] ahead of their acknowledgements; AMQP consumers take leases.

mod dead;
mod declare;
mod fence;
mod lease;
mod ops;
mod reader;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod topology;
mod types;
mod writer;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

pub use dead::ReplayedLetter;
pub use declare::{DeleteConditions, ExchangeDeclaration};
pub use fence::{Hold, Ledger};
pub(crate) use topology::Route;
pub use topology::{
    CONNECTOR_EXCHANGE, ExchangeKind, WORKER_EXCHANGE, listen_queue, listen_routing, push_queue,
    push_routing,
};
pub use types::{
    Clock, DeadLetter, DeadLetterQuery, Depth, Fetched, Message, OpenError, Options, Publish,
    QueueError, QueueInfo, QueueSettings,
};

use ops::{Done, Inbox, Op, PublishOp};
use reader::Readers;
use state::State;
use writer::Tx;

/// What the handles and the writing thread share.
pub(crate) struct Shared {
    path: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Told after every commit, with `state`.
    changed: Condvar,
    inbox: Inbox,
    readers: Readers,
    metrics: QueueMetrics,
    /// Kept for the lock that it holds until the file is closed.
    lock: Mutex<Option<std::fs::File>>,
}

#[derive(Default)]
struct QueueMetrics {
    commits: AtomicU64,
    committed_ops: AtomicU64,
    largest_group: AtomicU64,
    published: AtomicU64,
}

/// Totals since the file was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Transactions, each with one flush to disk.
    pub commits: u64,
    /// Operations in them; divided by `commits` this is the mean size of a group.
    pub committed_ops: u64,
    /// Operations in the largest of them.
    pub largest_group: u64,
    /// Messages published durably.
    pub published: u64,
    /// Dead letters in the file now.
    pub dead_letters: u64,
    /// Bytes of all messages and dead letters in the file now.
    pub bytes: u64,
}

/// A handle to an open queue file; clones share it. The file is closed when the last handle is gone.
#[derive(Clone)]
pub struct Queues {
    shared: Arc<Shared>,
    writer: Arc<WriterHandle>,
}

/// Ends the writing thread with the last handle.
struct WriterHandle {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl WriterHandle {
    fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
        self.shared.inbox.close();
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // the last handle may be dropped by a completion that runs on the writing thread itself
        if thread.thread().id() == std::thread::current().id() {
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the writing thread of the queue file panicked");
        }
        self.shared.readers.close();
        self.shared.lock.lock().take();
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

/// The answer to something that is being written. Await it, or [`Ticket::wait`] for it on a plain thread. Dropping it does not
/// undo anything.
#[derive(Debug)]
#[must_use = "the outcome is only known from the ticket"]
pub struct Ticket<T>(TicketState<T>);

#[derive(Debug)]
enum TicketState<T> {
    Ready(Option<Result<T, QueueError>>),
    Waiting(oneshot::Receiver<Result<T, QueueError>>),
}

impl<T> Ticket<T> {
    fn refused(error: QueueError) -> Self {
        Self(TicketState::Ready(Some(Err(error))))
    }

    fn ready(value: T) -> Self {
        Self(TicketState::Ready(Some(Ok(value))))
    }

    /// Blocks until the answer is there. Panics within an asynchronous task: await the ticket there.
    pub fn wait(self) -> Result<T, QueueError> {
        match self.0 {
            TicketState::Ready(answer) => answer.unwrap_or(Err(QueueError::Closed)),
            TicketState::Waiting(receiver) => {
                receiver.blocking_recv().unwrap_or(Err(QueueError::Closed))
            }
        }
    }
}

impl<T> Unpin for Ticket<T> {}

impl<T> Future for Ticket<T> {
    type Output = Result<T, QueueError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            TicketState::Ready(answer) => {
                Poll::Ready(answer.take().unwrap_or(Err(QueueError::Closed)))
            }
            TicketState::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|answer| answer.unwrap_or(Err(QueueError::Closed))),
        }
    }
}

/// Ownership of a queue by a consumer inside the platform; given up when dropped.
#[derive(Debug)]
pub struct Claim {
    queues: Queues,
    queue: String,
}

impl Claim {
    /// The queue that is claimed.
    pub fn queue(&self) -> &str {
        &self.queue
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Ok(queue) = self.queues.shared.state.lock().queue_mut(&self.queue) {
            queue.claimed = false;
        }
    }
}

impl Queues {
    /// Opens the queue file, creating it when there is none. Only one process at a time may have it open.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let opened = schema::open(path)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            options,
            state: Mutex::new(opened.state),
            changed: Condvar::new(),
            inbox: Inbox::default(),
            readers: Readers::new(path.to_owned()),
            metrics: QueueMetrics::default(),
            lock: Mutex::new(Some(opened.lock)),
        });
        let thread =
            writer::start(opened.writer, Arc::clone(&shared)).map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
        let writer = Arc::new(WriterHandle {
            shared: Arc::clone(&shared),
            thread: Mutex::new(Some(thread)),
        });
        Ok(Self { shared, writer })
    }

    /// Writes everything that has been handed over and closes the file. Later operations answer [`QueueError::Closed`].
    pub fn close(&self) {
        self.writer.close();
    }

    /// Publishes to a queue. The ticket answers with the message's number after the flush that made it durable.
    pub fn publish(&self, queue: &str, publish: Publish) -> Ticket<u64> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answer| drop(sender.send(answer)));
        match self.publish_with(None, &[queue.into()], "", queue, publish, done) {
            Ok(()) => Ticket(TicketState::Waiting(receiver)),
            Err(error) => Ticket::refused(error),
        }
    }

    /// Publishes through an exchange, as an AMQP client would. No binding for the key is [`QueueError::UnknownQueue`].
    pub fn publish_routed(
        &self,
        exchange: &str,
        routing_key: &str,
        publish: Publish,
    ) -> Ticket<u64> {
        let targets = match self.route(exchange, routing_key) {
            Route::Queues(targets) if !targets.is_empty() => targets,
            Route::Queues(_) => {
                return Ticket::refused(QueueError::UnknownQueue(routing_key.to_owned()));
            }
            Route::NoExchange | Route::Internal => {
                return Ticket::refused(QueueError::UnknownExchange(exchange.to_owned()));
            }
        };
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answer| drop(sender.send(answer)));
        match self.publish_with(None, &targets, exchange, routing_key, publish, done) {
            Ok(()) => Ticket(TicketState::Waiting(receiver)),
            Err(error) => Ticket::refused(error),
        }
    }

    /// Hands a message over for all of `targets`, or for none. `author`: the connector that publishes it, and its epoch. `done` is called on the writing
    /// thread after the commit, unless this answers an error.
    pub(crate) fn publish_with(
        &self,
        author: Option<(&str, i64)>,
        targets: &[Arc<str>],
        exchange: &str,
        routing_key: &str,
        publish: Publish,
        done: Done,
    ) -> Result<(), QueueError> {
        let options = &self.shared.options;
        let body_bytes = publish.body.len() as u64;
        if body_bytes > options.max_message_bytes {
            return Err(QueueError::TooLarge {
                bytes: body_bytes,
                limit: options.max_message_bytes,
            });
        }
        let size = publish.size_hint.unwrap_or(0).max(body_bytes);
        let ids = self.shared.state.lock().reserve(
            author,
            targets,
            size,
            options.max_queue_bytes,
            options.max_total_bytes,
        )?;
        let op = Box::new(PublishOp {
            targets: targets.iter().cloned().zip(ids).collect(),
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            publish,
            size,
            published_at: (options.clock)(),
            done,
        });
        match self.shared.inbox.push(Op::Publish(op)) {
            Err(Op::Publish(op)) => {
                self.shared.state.lock().unreserve(&op.targets, size);
                Err(QueueError::Closed)
            }
            _ => Ok(()),
        }
    }

    /// Where a message for that exchange and key would go.
    pub(crate) fn route(&self, exchange: &str, routing_key: &str) -> Route {
        self.shared.state.lock().route(exchange, routing_key)
    }

    /// Reads messages behind `after_seq` in order, without taking them: at most `max_messages`, and no further one once `max_bytes`
    /// of bodies are reached. For the one consumer inside the platform that keeps its position itself.
    pub fn fetch(
        &self,
        queue: &str,
        after_seq: u64,
        max_messages: usize,
        max_bytes: u64,
    ) -> Result<Fetched, QueueError> {
        let (id, first_seq, last_seq) = {
            let state = self.shared.state.lock();
            let found = state.queue(queue)?;
            if found.messages == 0 || found.last_seq <= after_seq {
                return Ok(Vec::new());
            }
            (found.id, state.first_seq, found.last_seq)
        };
        let messages = self
            .shared
            .readers
            .with(|conn| reader::after(conn, id, after_seq, max_messages, max_bytes, first_seq))?;
        if messages.is_empty() && max_messages > 0 {
            // the last messages have been deleted unread: nobody is to be woken for them again
            let mut state = self.shared.state.lock();
            if let Some(found) = state
                .queue_of(queue, id)
                .filter(|found| found.last_seq == last_seq)
            {
                found.last_seq = after_seq;
            }
        }
        Ok(messages)
    }

    /// Deletes messages that have been dealt with. Returns at once; the deletion is made durable with one of the next commits, so
    /// that after a crash a message may be read again. Numbers that are not in the queue are passed over.
    pub fn ack(&self, queue: &str, seqs: &[u64]) -> Result<(), QueueError> {
        if seqs.is_empty() {
            return Ok(());
        }
        let (name, id) = {
            let mut state = self.shared.state.lock();
            let queue = state.queue_mut(queue)?;
            queue.mark_leaving(seqs);
            (Arc::clone(&queue.name), queue.id)
        };
        self.push(Op::Ack {
            name,
            id,
            seqs: seqs.to_vec(),
        })
    }

    /// Like [`Queues::ack`] for every message up to and including `seq`.
    pub fn ack_up_to(&self, queue: &str, seq: u64) -> Result<(), QueueError> {
        let (name, id) = {
            let state = self.shared.state.lock();
            let queue = state.queue(queue)?;
            (Arc::clone(&queue.name), queue.id)
        };
        self.push(Op::AckUpTo { name, id, seq })
    }

    /// Answers when everything handed over before is durable.
    pub fn flush(&self) -> Ticket<()> {
        self.call(|_: &mut Tx<'_>| Ok(((), |_: &mut State| {})))
    }

    /// Makes the caller the only consumer of a queue until the claim is dropped. Refused when the queue has consumers already.
    pub fn claim(&self, queue: &str) -> Result<Claim, QueueError> {
        let mut state = self.shared.state.lock();
        let found = state.queue_mut(queue)?;
        if found.claimed {
            return Err(QueueError::Claimed(queue.to_owned()));
        }
        if found.consumers > 0 {
            return Err(QueueError::InUse(queue.to_owned()));
        }
        found.claimed = true;
        Ok(Claim {
            queues: self.clone(),
            queue: queue.to_owned(),
        })
    }

    /// Blocks until a queue has messages behind the caller's position, or the time is over. `position` tells for each queue up to
    /// which number the caller has read, or `None` for queues that it does not care about. Answers the names of the queues with
    /// work, sorted; empty when the time is over or the file is closed.
    pub fn wait_for_work(
        &self,
        position: impl Fn(&str) -> Option<u64>,
        timeout: Duration,
    ) -> Vec<String> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        loop {
            let mut found: Vec<String> = state
                .queues
                .values()
                .filter(|queue| {
                    queue.messages > 0
                        && position(&queue.name).is_some_and(|seen| queue.last_seq > seen)
                })
                .map(|queue| queue.name.to_string())
                .collect();
            if !found.is_empty() || state.closed {
                found.sort_unstable();
                return found;
            }
            if self
                .shared
                .changed
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                return Vec::new();
            }
        }
    }

    /// Ends a running [`Queues::wait_for_work`] early only if it finds work now; to be called when its `position` answers differently.
    pub fn wake(&self) {
        self.shared.changed.notify_all();
    }

    /// All queues with their counts, sorted by name.
    pub fn list(&self) -> Vec<QueueInfo> {
        let state = self.shared.state.lock();
        let mut list: Vec<QueueInfo> = state.queues.values().map(state::Queue::info).collect();
        drop(state);
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Messages and bytes in a queue; `None` when there is no such queue.
    pub fn depth(&self, queue: &str) -> Option<Depth> {
        self.shared
            .state
            .lock()
            .queues
            .get(queue)
            .map(state::Queue::depth)
    }

    /// Totals since the file was opened.
    pub fn stats(&self) -> QueueStats {
        let metrics = &self.shared.metrics;
        let state = self.shared.state.lock();
        QueueStats {
            commits: metrics.commits.load(Ordering::Relaxed),
            committed_ops: metrics.committed_ops.load(Ordering::Relaxed),
            largest_group: metrics.largest_group.load(Ordering::Relaxed),
            published: metrics.published.load(Ordering::Relaxed),
            dead_letters: state.dead_letters,
            bytes: state.total_bytes,
        }
    }

    /// The limits with which the file was opened.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Checks the file: SQLite's integrity check, then the counts against the rows. Empty when all is well. Reads everything.
    pub fn check(&self) -> Result<Vec<String>, QueueError> {
        self.shared.readers.with(schema::problems)
    }

    fn push(&self, op: Op) -> Result<(), QueueError> {
        self.shared.inbox.push(op).map_err(|_| QueueError::Closed)
    }

    /// Runs `work` in a transaction on the writing thread, and its effect on the state in memory after the commit.
    fn call<T, F, E>(&self, work: F) -> Ticket<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<(T, E), QueueError> + Send + 'static,
        E: FnOnce(&mut State) + Send + 'static,
    {
        let (op, receiver) = ops::call(work);
        match self.push(op) {
            Ok(()) => Ticket(TicketState::Waiting(receiver)),
            Err(error) => Ticket::refused(error),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
