//! Inputs that a running delivery repeated, so that they are still remembered when another input of that delivery changes the same object.
//!
//! Kept in memory and bounded: what is forgotten costs one merge more on a later sending, nothing else.

use std::collections::{HashMap, HashSet};

use ferrocti_store::Iid;

/// Entries of one generation; two are kept.
const GENERATION: usize = 50_000;

/// Which inputs were recognised as repetitions, by delivery and object.
#[derive(Debug, Default)]
pub struct Skipped {
    young: HashMap<(u64, Iid), Vec<u64>>,
    old: HashMap<(u64, Iid), Vec<u64>>,
}

impl Skipped {
    /// Notes a repetition. Nothing is noted for inputs without a delivery, which remember nothing together.
    pub fn note(&mut self, delivery: u64, iid: Iid, digest: u64) {
        if delivery == 0 {
            return;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let digests = self.young.entry((delivery, iid)).or_default();
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }

    /// Forgets the repetitions for objects that were changed by other means than their inputs.
    pub fn forget(&mut self, changed: &HashSet<Iid>) {
        if changed.is_empty() {
            return;
        }
        for generation in [&mut self.young, &mut self.old] {
            generation.retain(|(_, iid), _| !changed.contains(iid));
        }
    }

    /// The repetitions of a delivery for an object.
    pub fn of(&self, delivery: u64, iid: Iid) -> impl Iterator<Item = u64> + '_ {
        [&self.old, &self.young]
            .into_iter()
            .filter_map(move |generation| generation.get(&(delivery, iid)))
            .flatten()
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_found_by_delivery_and_object() {
        let mut skipped = Skipped::default();
        skipped.note(1, 10, 100);
        skipped.note(1, 10, 100);
        skipped.note(1, 10, 101);
        skipped.note(0, 10, 102);
        assert_eq!(skipped.of(1, 10).collect::<Vec<_>>(), [100, 101]);
        assert_eq!(
            skipped.of(2, 10).count() + skipped.of(1, 11).count() + skipped.of(0, 10).count(),
            0
        );
    }

    #[test]
    fn repetitions_of_a_changed_object_are_forgotten() {
        let mut skipped = Skipped::default();
        skipped.note(1, 10, 100);
        skipped.note(2, 11, 100);
        skipped.forget(&HashSet::from([10]));
        assert_eq!(skipped.of(1, 10).count(), 0);
        assert_eq!(skipped.of(2, 11).count(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_kept() {
        let mut skipped = Skipped::default();
        let last = 3 * i64::try_from(GENERATION).unwrap();
        for iid in 0..last {
            skipped.note(1, iid, 7);
        }
        assert!(skipped.young.len() + skipped.old.len() <= 2 * GENERATION);
        assert_eq!(skipped.of(1, last - 1).count(), 1);
        assert_eq!(skipped.of(1, 0).count(), 0);
    }
}
