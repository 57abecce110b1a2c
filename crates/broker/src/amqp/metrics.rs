//! What the listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Running counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connections: AtomicU64,
    pub channels: AtomicU64,
    pub consumers: AtomicU64,
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub failed_logins: AtomicU64,
    pub published: AtomicU64,
    pub confirmed: AtomicU64,
    pub nacked: AtomicU64,
    pub returned: AtomicU64,
    pub delivered: AtomicU64,
    pub acked: AtomicU64,
    pub requeued: AtomicU64,
}

/// The counters of a listener at one moment. The first three are current numbers, the others totals since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Connections now.
    pub connections: u64,
    /// Open channels now.
    pub channels: u64,
    /// Consumers now.
    pub consumers: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed because there were too many, of those that have logged in or of those that have not.
    pub refused: u64,
    /// Logins that failed.
    pub failed_logins: u64,
    /// Messages received from publishers.
    pub published: u64,
    /// Messages confirmed with basic.ack.
    pub confirmed: u64,
    /// Messages refused with basic.nack, or by closing the channel of a publisher without confirms.
    pub nacked: u64,
    /// Mandatory messages returned because no queue was bound to their key.
    pub returned: u64,
    /// Messages sent to consumers.
    pub delivered: u64,
    /// Deliveries acknowledged by consumers.
    pub acked: u64,
    /// Deliveries given back to their queue.
    pub requeued: u64,
    /// Bytes of bodies that are being received or written.
    pub body_bytes: u64,
}

impl Counters {
    pub fn snapshot(&self, body_bytes: u64) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            connections: read(&self.connections),
            channels: read(&self.channels),
            consumers: read(&self.consumers),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            failed_logins: read(&self.failed_logins),
            published: read(&self.published),
            confirmed: read(&self.confirmed),
            nacked: read(&self.nacked),
            returned: read(&self.returned),
            delivered: read(&self.delivered),
            acked: read(&self.acked),
            requeued: read(&self.requeued),
            body_bytes,
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
