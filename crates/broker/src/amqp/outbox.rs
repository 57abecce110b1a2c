//! What is waiting to be sent to one client, and the task that sends it.
//!
//! Anybody may append whole frames: the session, the writing thread of the queue file (confirms), dispatchers (deliveries). The
//! amount is bounded by those who append: deliveries stop above [`HIGH_WATER`], the session stops reading above [`SESSION_WATER`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::codec;

/// Deliveries to a connection stop when this many bytes wait for it.
pub(crate) const HIGH_WATER: usize = 1 << 20;
/// Nothing is read from a client that leaves this many bytes of answers unread.
pub(crate) const SESSION_WATER: usize = 4 << 20;
/// Deliveries stop when this many bytes wait for all connections together.
pub(crate) const TOTAL_WATER: u64 = 256 << 20;
/// Parts of bodies of at least this size are not copied.
const SHARE_FROM: usize = 16 << 10;
/// A client that takes nothing for this long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Frames that wait to be sent.
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    /// Told when something was sent.
    pub drained: Notify,
    /// Milliseconds between heartbeats to the client; 0 for none.
    heartbeat_ms: AtomicU64,
    /// Bytes that wait for all connections.
    total: Arc<AtomicU64>,
}

#[derive(Default)]
struct Inner {
    chunks: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes not handed to the socket yet, including those that the sending task is busy with.
    bytes: usize,
    /// Nothing more may be appended; what waits is still sent.
    finished: bool,
    /// The connection is gone.
    dead: bool,
}

impl Outbox {
    pub fn new(total: Arc<AtomicU64>) -> Self {
        Self {
            inner: Mutex::new(Inner::default()),
            wake: Notify::new(),
            drained: Notify::new(),
            heartbeat_ms: AtomicU64::new(0),
            total,
        }
    }

    /// Appends frames without a large body.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner.lock();
        if inner.finished || inner.dead {
            return;
        }
        let before = inner.tail.len();
        write(&mut inner.tail);
        let added = inner.tail.len() - before;
        self.added(inner, added);
    }

    /// Appends the frames that `write` makes, then a content header and the body in frames of at most `frame_max` octets.
    pub fn push_content(
        &self,
        channel: u16,
        frame_max: usize,
        properties: &[u8],
        body: &Bytes,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut inner = self.inner.lock();
        if inner.finished || inner.dead {
            return;
        }
        let before = inner.tail.len();
        let mut shared = 0;
        write(&mut inner.tail);
        codec::put_header(&mut inner.tail, channel, body.len() as u64, properties);
        let mut rest = body.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(frame_max - codec::FRAME_OVERHEAD));
            codec::put_body_head(&mut inner.tail, channel, part.len());
            if part.len() < SHARE_FROM {
                inner.tail.extend_from_slice(&part);
            } else {
                shared += inner.tail.len() + part.len();
                let head = std::mem::take(&mut inner.tail);
                inner.chunks.push_back(Bytes::from(head));
                inner.chunks.push_back(part);
            }
            codec::put_frame_end(&mut inner.tail);
        }
        let added = shared + inner.tail.len() - before;
        self.added(inner, added);
    }

    fn added(&self, mut inner: parking_lot::MutexGuard<'_, Inner>, bytes: usize) {
        inner.bytes += bytes;
        drop(inner);
        self.total.fetch_add(bytes as u64, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Whether a delivery may be appended.
    pub fn has_room(&self) -> bool {
        self.len() < HIGH_WATER && self.total.load(Ordering::Relaxed) < TOTAL_WATER
    }

    /// Sends what waits and then ends.
    pub fn finish(&self) {
        self.inner.lock().finished = true;
        self.wake.notify_one();
    }

    /// Throws away what waits and ends.
    pub fn kill(&self) {
        let mut inner = self.inner.lock();
        inner.dead = true;
        inner.finished = true;
        inner.chunks.clear();
        inner.tail = Vec::new();
        let bytes = std::mem::take(&mut inner.bytes);
        drop(inner);
        self.total.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.wake.notify_one();
        self.drained.notify_waiters();
    }

    /// Sends heartbeats at that interval when nothing else is sent; zero for none.
    pub fn set_heartbeat(&self, interval: Duration) {
        self.heartbeat_ms.store(
            u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        self.wake.notify_one();
    }

    fn heartbeat(&self) -> Option<Duration> {
        Some(self.heartbeat_ms.load(Ordering::Relaxed))
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis)
    }

    /// What waits, and whether it is the last.
    fn take(&self) -> (VecDeque<Bytes>, bool) {
        let mut inner = self.inner.lock();
        let mut chunks = std::mem::take(&mut inner.chunks);
        if !inner.tail.is_empty() {
            chunks.push_back(Bytes::from(std::mem::take(&mut inner.tail)));
        }
        (chunks, inner.finished)
    }

    fn sent(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        if inner.dead {
            return;
        }
        inner.bytes -= bytes;
        drop(inner);
        self.total.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// Sends what is appended until [`Outbox::finish`] or an error. `after` runs after each round of sending.
pub(crate) async fn send(outbox: Arc<Outbox>, mut socket: OwnedWriteHalf, after: impl Fn()) {
    let mut last_sent = Instant::now();
    'sending: loop {
        let (chunks, last) = outbox.take();
        if chunks.is_empty() {
            if last {
                break;
            }
            match outbox.heartbeat() {
                None => outbox.wake.notified().await,
                Some(interval) => {
                    let due = last_sent + interval;
                    if tokio::time::timeout_at(due, outbox.wake.notified())
                        .await
                        .is_err()
                    {
                        outbox.push(codec::put_heartbeat);
                        last_sent = Instant::now();
                    }
                }
            }
            continue;
        }
        for mut chunk in chunks {
            while !chunk.is_empty() {
                match timeout(STALLED, socket.write_buf(&mut chunk)).await {
                    Ok(Ok(written)) if written > 0 => outbox.sent(written),
                    _ => break 'sending,
                }
            }
        }
        last_sent = Instant::now();
        outbox.drained.notify_waiters();
        after();
    }
    // the peer may be gone already
    drop(socket.shutdown().await);
    outbox.kill();
    after();
}
