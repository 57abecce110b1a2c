//! What is known of containers, so that a listing asks again only for those that something has happened to: an engine with a hundred containers
//! would else be asked a hundred questions after every event.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::Instance;

/// What is known, by the engine's id. It counts only while events are listened to, and only as long as the engine's word for the state, which
/// every listing brings along, is the same.
#[derive(Default)]
pub struct Seen(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    listening: bool,
    /// Counts events.
    now: u64,
    containers: BTreeMap<String, Known>,
}

#[derive(Default)]
struct Known {
    /// When something has happened to it.
    happened: u64,
    /// When it was looked at, what its state was called, and what was seen.
    looked: Option<(u64, String, Instance)>,
}

impl Seen {
    /// From now on every event is heard.
    pub fn listening(&self) {
        let mut inner = self.0.lock();
        inner.listening = true;
        inner.containers.clear();
    }

    /// Events are missed from now on.
    pub fn deaf(&self) {
        self.0.lock().listening = false;
    }

    /// Something has happened to a container.
    pub fn changed(&self, id: &str) {
        let mut inner = self.0.lock();
        inner.now += 1;
        let now = inner.now;
        inner.containers.entry(id.to_owned()).or_default().happened = now;
    }

    /// The present, to be told to [`Seen::note`] after a look.
    pub fn now(&self) -> u64 {
        self.0.lock().now
    }

    /// What is known of a container whose state has this name.
    pub fn get(&self, id: &str, state: &str) -> Option<Instance> {
        let inner = self.0.lock();
        let known = inner.containers.get(id).filter(|_| inner.listening)?;
        let (at, name, instance) = known.looked.as_ref()?;
        (*at >= known.happened && name == state).then(|| instance.clone())
    }

    /// Notes what a look that was begun at `at` has shown.
    pub fn note(&self, id: &str, at: u64, state: &str, instance: &Instance) {
        let mut inner = self.0.lock();
        inner.containers.entry(id.to_owned()).or_default().looked =
            Some((at, state.to_owned(), instance.clone()));
    }

    /// Forgets all others.
    pub fn keep(&self, ids: &[&str]) {
        let mut inner = self.0.lock();
        inner.containers.retain(|id, _| ids.contains(&id.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Phase, Place};

    fn instance() -> Instance {
        Instance {
            handle: "h".to_owned(),
            place: Place::Containers,
            connector: "c".to_owned(),
            revision: "1".to_owned(),
            phase: Phase::Running,
            started_at: Some(1),
            restarts: 0,
            said: None,
        }
    }

    #[test]
    fn what_was_seen_counts_until_something_happens_to_it() {
        let seen = Seen::default();
        seen.note("a", seen.now(), "running", &instance());
        assert_eq!(seen.get("a", "running"), None, "no events are heard yet");
        seen.listening();
        seen.note("a", seen.now(), "running", &instance());
        assert_eq!(seen.get("a", "running"), Some(instance()));
        assert_eq!(seen.get("a", "exited"), None);
        let before = seen.now();
        seen.changed("b");
        assert_eq!(seen.get("a", "running"), Some(instance()));
        seen.changed("a");
        assert_eq!(seen.get("a", "running"), None);
        // a look that was begun before the event says nothing of what came after it
        seen.note("a", before, "running", &instance());
        assert_eq!(seen.get("a", "running"), None);
        seen.note("a", seen.now(), "running", &instance());
        assert_eq!(seen.get("a", "running"), Some(instance()));
        seen.keep(&["b"]);
        assert_eq!(seen.get("a", "running"), None);
        seen.note("a", seen.now(), "running", &instance());
        seen.deaf();
        assert_eq!(seen.get("a", "running"), None);
    }
}
