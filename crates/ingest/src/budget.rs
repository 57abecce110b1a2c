//! A bound on the bytes that are being worked on, and a way to stop waiting threads.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
struct State {
    used: u64,
    stopped: bool,
}

/// Bytes in flight between the reader and the applier.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until something may be taken and answers how much. `None`: stopped. A message that is larger than what is left may be
    /// taken when nothing else is in flight.
    pub(crate) fn available(&self) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            // a sliver would make for tiny fetches
            if state.used == 0 || state.used < self.limit - self.limit / 8 {
                return Some(self.limit - state.used.min(self.limit));
            }
            self.changed.wait(&mut state);
        }
    }

    /// Counts bytes as in flight and answers how many are.
    pub(crate) fn take(&self, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        state.used += bytes;
        state.used
    }

    /// Counts bytes as done and answers how many are still in flight.
    pub(crate) fn give_back(&self, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(bytes);
        self.changed.notify_all();
        state.used
    }

    /// Waits; answers early, with `true`, when stopped.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut state = self.state.lock();
        while !state.stopped {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.stopped
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.state.lock().stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_is_admitted_when_nothing_else_is_in_flight() {
        let budget = Budget::new(100);
        assert_eq!(budget.available(), Some(100));
        assert_eq!(budget.take(1000), 1000);
        assert_eq!(budget.give_back(1000), 0);
        assert_eq!(budget.available(), Some(100));
    }

    #[test]
    fn a_waiting_reader_continues_when_bytes_are_given_back() {
        let budget = Budget::new(100);
        budget.take(100);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| budget.available());
            budget.give_back(60);
            assert_eq!(reader.join().unwrap(), Some(60));
        });
    }

    #[test]
    fn stopping_ends_every_wait() {
        let budget = Budget::new(1);
        budget.take(1);
        budget.stop();
        assert_eq!(budget.available(), None);
        assert!(budget.pause(Duration::from_secs(3600)));
    }
}
