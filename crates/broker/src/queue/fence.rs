//! Connectors that change hands: who may publish as one, and queues of which nothing is handed out for a while.

use super::state::State;
use rusqlite::{OptionalExtension, params};

use super::types::QueueError;
use super::writer::Tx;
use super::{Queues, Ticket};

/// What became of everything that a queue ever got, since it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Messages that were confirmed, those that were replayed included.
    pub published: u64,
    /// Messages that were purged.
    pub discarded: u64,
    /// Messages that wait behind a position.
    pub waiting: u64,
}

/// Holds back what is published as a connector until it is dropped.
#[derive(Debug)]
pub struct Hold {
    queues: Queues,
    connector: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.queues.shared.state.lock();
        if let Some(fence) = state.fences.get_mut(&self.connector) {
            fence.holds = fence.holds.saturating_sub(1);
        }
    }
}

impl Queues {
    /// From now on refuses what earlier epochs of a connector publish over AMQP. Not kept in the file: to be said again at each start.
    /// Answers the epoch that it was before.
    pub fn set_floor(&self, connector: &str, epoch: i64) -> i64 {
        let mut state = self.shared.state.lock();
        let fence = state.fences.entry(connector.to_owned()).or_default();
        std::mem::replace(&mut fence.floor, epoch)
    }

    /// Refuses for now whatever is published as a connector over AMQP; its client sends it again.
    #[must_use = "what is published is taken again when the hold is dropped"]
    pub fn hold(&self, connector: &str) -> Hold {
        let mut state = self.shared.state.lock();
        state.fences.entry(connector.to_owned()).or_default().holds += 1;
        Hold {
            queues: self.clone(),
            connector: connector.to_owned(),
        }
    }

    /// Whether an author may still act as its connector. The platform always may.
    pub(crate) fn is_current(&self, author: Option<(&str, i64)>) -> bool {
        let Some((connector, epoch)) = author else {
            return true;
        };
        let state = self.shared.state.lock();
        let refused = state.check_author(connector, epoch);
        !matches!(refused, Err(QueueError::Fenced { .. }))
    }

    /// A message number behind everything that was handed over before, and before everything that will be.
    pub fn barrier(&self) -> Ticket<u64> {
        self.call(|tx: &mut Tx<'_>| Ok((tx.next_seq()?, |_: &mut State| {})))
    }

    /// Hands out nothing more of a queue to AMQP consumers until [`Queues::resume`]; what they have they may acknowledge. Ends with the process.
    pub fn pause(&self, queue: &str) {
        self.shared.state.lock().paused.insert(queue.to_owned());
    }

    /// Ends [`Queues::pause`].
    pub fn resume(&self, queue: &str) {
        let mut state = self.shared.state.lock();
        state.paused.remove(queue);
        if let Ok(queue) = state.queue(queue) {
            queue.signal.notify_one();
        }
    }

    /// Whether a queue is paused.
    #[must_use]
    pub fn is_paused(&self, queue: &str) -> bool {
        self.shared.state.lock().paused.contains(queue)
    }

    /// What became of everything that a queue ever got; `after`: the position of its consumer. `None`: there is no such queue.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn ledger(&self, queue: &str, after: u64) -> Result<Option<Ledger>, QueueError> {
        self.shared.readers.with(|conn| {
            conn.prepare_cached(
                "SELECT published, discarded, (SELECT count(*) FROM message WHERE queue = q.id AND seq > ?2) FROM queue q WHERE name = ?1",
            )?
            .query_row(params![queue, after], |row| {
                Ok(Ledger {
                    published: row.get(0)?,
                    discarded: row.get(1)?,
                    waiting: row.get(2)?,
                })
            })
            .optional()
        })
    }
}
