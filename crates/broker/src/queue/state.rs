//! What is known in memory about the queues: counts, positions, leases and limits. Bodies are not here.
//!
//! Counts are those of the last commit; `pending` is what has been accepted for writing and is not committed yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::topology::Exchange;
use super::types::{Depth, QueueError, QueueInfo, QueueSettings};

/// Everything known in memory.
#[derive(Default)]
pub(crate) struct State {
    pub queues: HashMap<Arc<str>, Queue>,
    pub exchanges: HashMap<String, Exchange>,
    /// Committed bytes of all messages and dead letters.
    pub total_bytes: u64,
    pub pending_bytes: u64,
    pub dead_letters: u64,
    /// Messages with a smaller number were published before this run and may have been delivered then.
    pub first_seq: u64,
    /// Raised with every commit that added messages.
    pub generation: u64,
    pub closed: bool,
    /// Connectors that changed hands.
    pub fences: HashMap<String, Fence>,
    /// Queues of which nothing is handed out for now.
    pub paused: HashSet<String>,
}

/// Who may publish as a connector.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fence {
    /// Older epochs are refused.
    pub floor: i64,
    /// Changes of hands that are going on; nobody may publish meanwhile.
    pub holds: u32,
}

/// A message that was handed to an AMQP consumer.
pub(crate) struct Lease {
    pub size: u64,
    /// A client may have seen it before this lease.
    pub seen: bool,
    /// Acknowledged, its deletion is not committed yet.
    pub leaving: bool,
}

/// One queue in memory.
pub(crate) struct Queue {
    pub id: i64,
    pub name: Arc<str>,
    pub settings: QueueSettings,
    pub messages: u64,
    pub bytes: u64,
    pub pending_bytes: u64,
    /// Highest number ever committed to the queue in this run, or found in it at the start.
    pub last_seq: u64,
    /// Messages up to here were handed out once; those that came back are in `returned`.
    pub cursor: u64,
    /// Handed out and given back, by number; true when a client may have seen it.
    pub returned: BTreeMap<u64, bool>,
    pub leases: HashMap<u64, Lease>,
    leaving: Depth,
    /// Makes taking leases from one queue a matter of one at a time.
    pub lease_lock: Arc<Mutex<()>>,
    /// Told when messages arrive or come back, and when the queue is deleted.
    pub signal: Arc<Notify>,
    pub consumers: u32,
    pub claimed: bool,
}

impl Queue {
    pub fn new(id: i64, name: Arc<str>, settings: QueueSettings) -> Self {
        Self {
            id,
            name,
            settings,
            messages: 0,
            bytes: 0,
            pending_bytes: 0,
            last_seq: 0,
            cursor: 0,
            returned: BTreeMap::new(),
            leases: HashMap::new(),
            leaving: Depth::default(),
            lease_lock: Arc::new(Mutex::new(())),
            signal: Arc::new(Notify::new()),
            consumers: 0,
            claimed: false,
        }
    }

    /// Messages and bytes in the queue, leased ones included, acknowledged ones excluded.
    pub fn depth(&self) -> Depth {
        Depth {
            messages: self.messages.saturating_sub(self.leaving.messages),
            bytes: self.bytes.saturating_sub(self.leaving.bytes),
        }
    }

    /// Leased and not acknowledged.
    pub fn unacked(&self) -> u64 {
        (self.leases.len() as u64).saturating_sub(self.leaving.messages)
    }

    /// Messages that could be handed out now.
    pub fn ready(&self) -> u64 {
        self.depth().messages.saturating_sub(self.unacked())
    }

    /// Notes that leased messages were acknowledged; their deletion follows. Answers those that were leased.
    pub fn mark_leaving(&mut self, seqs: &[u64]) -> Vec<u64> {
        let mut known = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some(lease) = self.leases.get_mut(seq).filter(|lease| !lease.leaving) {
                lease.leaving = true;
                self.leaving.messages += 1;
                self.leaving.bytes += lease.size;
                known.push(*seq);
            }
        }
        known
    }

    /// Forgets a lease because its message has been deleted.
    pub fn forget_lease(&mut self, seq: u64) {
        if let Some(lease) = self.leases.remove(&seq)
            && lease.leaving
        {
            self.leaving.messages = self.leaving.messages.saturating_sub(1);
            self.leaving.bytes = self.leaving.bytes.saturating_sub(lease.size);
        }
    }

    /// Forgets all leases with numbers in the range because the messages have been purged.
    pub fn forget_leases(&mut self, after: u64, up_to: u64) {
        let gone: Vec<u64> = self
            .leases
            .keys()
            .copied()
            .filter(|seq| *seq > after && *seq <= up_to)
            .collect();
        for seq in gone {
            self.forget_lease(seq);
        }
    }

    /// Gives leased messages back, to be handed out again before all others.
    pub fn release(&mut self, seqs: &[u64], seen_by_client: bool) {
        for seq in seqs {
            if let Some(lease) = self.leases.get(seq).filter(|lease| !lease.leaving) {
                self.returned.insert(*seq, seen_by_client || lease.seen);
                self.leases.remove(seq);
            }
        }
        self.signal.notify_one();
    }

    /// Subtracts deleted messages from the committed counts.
    pub fn subtract(&mut self, gone: Depth) {
        self.messages = self.messages.saturating_sub(gone.messages);
        self.bytes = self.bytes.saturating_sub(gone.bytes);
    }

    pub fn info(&self) -> QueueInfo {
        let depth = self.depth();
        QueueInfo {
            name: self.name.to_string(),
            messages: depth.messages,
            bytes: depth.bytes,
            consumers: if self.claimed { 1 } else { self.consumers },
            unacked: self.unacked(),
            settings: self.settings.clone(),
        }
    }
}

impl State {
    pub fn queue(&self, name: &str) -> Result<&Queue, QueueError> {
        self.queues
            .get(name)
            .ok_or_else(|| QueueError::UnknownQueue(name.to_owned()))
    }

    pub fn queue_mut(&mut self, name: &str) -> Result<&mut Queue, QueueError> {
        self.queues
            .get_mut(name)
            .ok_or_else(|| QueueError::UnknownQueue(name.to_owned()))
    }

    /// The queue of that name, if it still is the one with that id.
    pub fn queue_of(&mut self, name: &str, id: i64) -> Option<&mut Queue> {
        self.queues.get_mut(name).filter(|queue| queue.id == id)
    }

    /// Subtracts deleted messages from a queue and from the total.
    pub fn subtract(&mut self, name: &str, id: i64, gone: Depth) {
        self.total_bytes = self.total_bytes.saturating_sub(gone.bytes);
        if let Some(queue) = self.queue_of(name, id) {
            queue.subtract(gone);
        }
    }

    /// Refuses who does not publish as a connector any more, or not for now.
    pub fn check_author(&self, connector: &str, epoch: i64) -> Result<(), QueueError> {
        let connector_name = || connector.to_owned();
        match self.fences.get(connector) {
            Some(fence) if epoch < fence.floor => Err(QueueError::Fenced {
                connector: connector_name(),
            }),
            Some(fence) if fence.holds > 0 => Err(QueueError::Held {
                connector: connector_name(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes note of bytes that will be written to each of the queues, or refuses them all. Answers the queues' ids.
    pub fn reserve(
        &mut self,
        author: Option<(&str, i64)>,
        targets: &[Arc<str>],
        size: u64,
        queue_limit: u64,
        total_limit: u64,
    ) -> Result<Vec<i64>, QueueError> {
        if self.closed {
            return Err(QueueError::Closed);
        }
        if let Some((connector, epoch)) = author {
            self.check_author(connector, epoch)?;
        }
        let mut ids = Vec::with_capacity(targets.len());
        for name in targets {
            let queue = self.queue(name)?;
            let bytes = queue.bytes + queue.pending_bytes;
            if bytes.saturating_add(size) > queue_limit {
                return Err(QueueError::QueueFull {
                    queue: name.to_string(),
                    bytes,
                    limit: queue_limit,
                });
            }
            ids.push(queue.id);
        }
        let bytes = self.total_bytes + self.pending_bytes;
        let needed = size.saturating_mul(targets.len() as u64);
        if bytes.saturating_add(needed) > total_limit {
            return Err(QueueError::StoreFull {
                bytes,
                limit: total_limit,
            });
        }
        self.pending_bytes += needed;
        for name in targets {
            if let Some(queue) = self.queues.get_mut(name) {
                queue.pending_bytes += size;
            }
        }
        Ok(ids)
    }

    /// The counterpart of [`State::reserve`], after the write or its failure.
    pub fn unreserve(&mut self, targets: &[(Arc<str>, i64)], size: u64) {
        self.pending_bytes = self
            .pending_bytes
            .saturating_sub(size.saturating_mul(targets.len() as u64));
        for (name, id) in targets {
            if let Some(queue) = self.queue_of(name, *id) {
                queue.pending_bytes = queue.pending_bytes.saturating_sub(size);
            }
        }
    }
}
