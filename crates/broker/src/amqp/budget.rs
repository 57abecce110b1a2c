//! A limit on the memory that message bodies take while they are being received and written, shared by all connections.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The limit and what is in use.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: Mutex<u64>,
    freed: Notify,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: Mutex::new(0),
            freed: Notify::new(),
        })
    }

    /// Takes a share if there is room. One that is larger than the limit is given when nothing else is in use.
    pub fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let mut used = self.used.lock();
        if *used > 0 && used.saturating_add(bytes) > self.limit {
            return None;
        }
        *used += bytes;
        Some(Share {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// Takes a share, waiting for room at most that long.
    pub async fn take(self: &Arc<Self>, bytes: u64, patience: Duration) -> Option<Share> {
        let waiting = async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                // registered before the look, so that nothing freed in between is missed
                freed.as_mut().enable();
                if let Some(share) = self.try_take(bytes) {
                    return share;
                }
                freed.await;
            }
        };
        if let Some(share) = self.try_take(bytes) {
            return Some(share);
        }
        tokio::time::timeout(patience, waiting).await.ok()
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        *self.used.lock()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.used.lock() -= self.bytes;
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_waits_for_room_and_no_longer_than_told() {
        let budget = Budget::new(100);
        let first = budget.try_take(80).unwrap();
        assert!(budget.try_take(30).is_none());
        assert!(budget.take(30, Duration::ZERO).await.is_none());
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(30, Duration::from_secs(30)).await.is_some() }
        });
        drop(first);
        assert!(waiting.await.unwrap());
        assert_eq!(budget.used(), 0, "the task gave its share back");
    }

    #[test]
    fn a_share_larger_than_the_limit_is_given_alone() {
        let budget = Budget::new(10);
        let share = budget.try_take(50).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(share);
        assert!(budget.try_take(1).is_some());
    }
}
