//! Lists without repetitions, in time that grows with their length and not with its square: what comes from outside may be long.

use std::{collections::HashSet, hash::Hash};

/// Up to this many items a look through the list is faster than a table.
const SHORT: usize = 16;

/// The items of `input` that are not in `known`, each once, in the order given.
#[must_use]
pub fn fresh<T: Copy + Eq + Hash>(known: &[T], input: &[T]) -> Vec<T> {
    let mut fresh = Vec::new();
    if known.len() + input.len() <= SHORT {
        for item in input {
            if !known.contains(item) && !fresh.contains(item) {
                fresh.push(*item);
            }
        }
        return fresh;
    }
    let mut seen: HashSet<T> = known.iter().copied().collect();
    fresh.extend(input.iter().copied().filter(|item| seen.insert(*item)));
    fresh
}

/// Each item once, in the order given.
#[must_use]
pub fn unique<T: Copy + Eq + Hash>(items: &[T]) -> Vec<T> {
    fresh(&[], items)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_fresh_is_what_a_plain_search_finds(
            known in proptest::collection::vec(0_u8..40, 0..30),
            input in proptest::collection::vec(0_u8..40, 0..30)
        ) {
            let mut plain = Vec::new();
            for item in &input {
                if !known.contains(item) && !plain.contains(item) {
                    plain.push(*item);
                }
            }
            proptest::prop_assert_eq!(fresh(&known, &input), plain);
        }
    }
}
