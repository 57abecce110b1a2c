//! What waits for an identifier within one transaction. What still waits at its end is parked in the store.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use ferrocti_model::{Ident, Key, registry::Reference};
use ferrocti_store::Iid;

use super::engine::Source;

/// Something that waits.
#[derive(Debug, Clone)]
pub enum Pending {
    /// A whole object of a bundle.
    Object(PendingObject),
    /// One reference of a stored object.
    Reference(PendingReference),
}

/// An object of a bundle that waits for an end, a marking or what its identity is made of.
#[derive(Debug, Clone)]
pub struct PendingObject {
    /// The bundle's text, or that of the object.
    pub text: Arc<str>,
    /// Where the object stands in it.
    pub range: Range<usize>,
    /// Digest of the object's text.
    pub digest: u64,
    /// What it waits for.
    pub missing: Vec<Ident>,
    /// On whose behalf.
    pub source: Source,
}

/// A reference of a stored object to something that is not there yet.
#[derive(Debug, Clone)]
pub struct PendingReference {
    /// The object.
    pub object: Iid,
    /// Which reference.
    pub reference: &'static Reference,
    /// What it points to.
    pub target: Ident,
    /// On whose behalf.
    pub source: Source,
}

impl PendingObject {
    /// The object's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }
}

/// What waits within one transaction, and what has been woken.
#[derive(Debug, Default)]
pub struct Waiting {
    slots: Vec<Option<Pending>>,
    by_key: HashMap<Key, Vec<usize>>,
    ready: VecDeque<Pending>,
}

impl Waiting {
    /// Lets something wait.
    pub fn add(&mut self, pending: Pending) {
        let slot = self.slots.len();
        match &pending {
            Pending::Object(object) => {
                for ident in &object.missing {
                    self.by_key.entry(ident.key()).or_default().push(slot);
                }
            }
            Pending::Reference(reference) => self
                .by_key
                .entry(reference.target.key())
                .or_default()
                .push(slot),
        }
        self.slots.push(Some(pending));
    }

    /// Makes ready what waits for a key that an object has now.
    pub fn wake(&mut self, key: &Key) {
        for slot in self.by_key.remove(key).into_iter().flatten() {
            if let Some(pending) = self.slots.get_mut(slot).and_then(Option::take) {
                self.ready.push_back(pending);
            }
        }
    }

    /// Puts something woken from the store in line.
    pub fn push_ready(&mut self, pending: Pending) {
        self.ready.push_back(pending);
    }

    /// The next thing that has been woken.
    pub fn next_ready(&mut self) -> Option<Pending> {
        self.ready.pop_front()
    }

    /// Takes everything that still waits, in the order in which it came.
    pub fn take_all(&mut self) -> Vec<Pending> {
        self.by_key.clear();
        std::mem::take(&mut self.slots)
            .into_iter()
            .flatten()
            .collect()
    }
}
