//! References of an element that is already known: who wrote it, how it is marked, what it contains.

use std::hash::Hash;

use super::Strength;
use crate::{list, registry::Reference};

/// What to link and what to unlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange<T> {
    /// Targets to link, in the order given.
    pub add: Vec<T>,
    /// Targets to unlink.
    pub remove: Vec<T>,
}

impl<T> RefChange<T> {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl<T> Default for RefChange<T> {
    fn default() -> Self {
        Self {
            add: Vec::new(),
            remove: Vec::new(),
        }
    }
}

/// How the targets of one reference change. An input without targets changes nothing.
///
/// Lists grow when the input is at least as trusted, or the list is empty; labels and external references always grow. A single target is replaced by an input
/// that is at least as trusted; the author only by one that is more trusted.
#[must_use]
pub fn references<T: Copy + Eq + Hash>(
    reference: &Reference,
    existing: &[T],
    input: &[T],
    strength: Strength,
) -> RefChange<T> {
    let mut change = RefChange::default();
    if input.is_empty() {
        return change;
    }
    let fresh = || list::fresh(existing, input);
    let surplus = |kept: &[T]| list::fresh(kept, existing);
    if !reference.multiple {
        let may_replace = if reference.name == "createdBy" {
            strength.above
        } else {
            strength.equal
        };
        if existing.is_empty() || may_replace || strength.synchronized {
            let target = [input[0]];
            change.add = target
                .iter()
                .filter(|target| !existing.contains(target))
                .copied()
                .collect();
            change.remove = surplus(&target);
        }
        return change;
    }
    if strength.synchronized {
        change.add = fresh();
        change.remove = surplus(input);
    } else if existing.is_empty() || strength.equal || is_exempt(reference) {
        change.add = fresh();
    }
    change
}

/// Whether a reference may be added to whatever the confidence.
#[must_use]
pub fn is_exempt(reference: &Reference) -> bool {
    matches!(
        reference.name.as_str(),
        "objectLabel" | "externalReferences"
    )
}

/// A marking with what decides between markings of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marking<'a, T> {
    /// Its number or id.
    pub id: T,
    /// `TLP`, `PAP`, `statement`, …
    pub definition_type: &'a str,
    /// Its rank within the type: the higher, the stricter.
    pub order: i64,
}

/// How the markings of an element change when those of `input` are added: of each type only the highest rank stays, so that a
/// stricter marking replaces and a laxer one is ignored. Markings of equal rank stay side by side, since dropping one would show
/// the element to more people.
#[must_use]
pub fn markings<T: Copy + PartialEq>(
    existing: &[Marking<'_, T>],
    input: &[Marking<'_, T>],
) -> RefChange<T> {
    let highest = |definition_type: &str| {
        let ranks = existing.iter().chain(input).filter(|marking| {
            marking
                .definition_type
                .eq_ignore_ascii_case(definition_type)
        });
        ranks.map(|marking| marking.order).max()
    };
    let stays = |marking: &Marking<'_, T>| Some(marking.order) == highest(marking.definition_type);
    let mut change = RefChange::default();
    for marking in input.iter().filter(|marking| stays(marking)) {
        if !existing.iter().any(|known| known.id == marking.id) && !change.add.contains(&marking.id)
        {
            change.add.push(marking.id);
        }
    }
    change.remove = existing
        .iter()
        .filter(|marking| !stays(marking))
        .map(|marking| marking.id)
        .collect();
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    fn strength(equal: bool, above: bool) -> Strength {
        Strength {
            equal,
            above,
            synchronized: false,
        }
    }

    fn reference(kind: &str, name: &str) -> &'static Reference {
        Registry::get()
            .by_name(kind)
            .unwrap()
            .reference(name)
            .unwrap()
    }

    fn change(add: &[i32], remove: &[i32]) -> RefChange<i32> {
        RefChange {
            add: add.to_vec(),
            remove: remove.to_vec(),
        }
    }

    #[test]
    fn references_change_by_trust() {
        let (weaker, equal, stronger) = (
            strength(false, false),
            strength(true, false),
            strength(true, true),
        );
        let cases = [
            ("objects", vec![1], vec![1, 2, 2], weaker, change(&[], &[])),
            (
                "objects",
                vec![],
                vec![1, 2, 2],
                weaker,
                change(&[1, 2], &[]),
            ),
            ("objects", vec![1], vec![1, 2], equal, change(&[2], &[])),
            ("objects", vec![1], vec![], stronger, change(&[], &[])),
            ("objectLabel", vec![1], vec![2], weaker, change(&[2], &[])),
            (
                "externalReferences",
                vec![1],
                vec![2],
                weaker,
                change(&[2], &[]),
            ),
            ("createdBy", vec![], vec![2], weaker, change(&[2], &[])),
            ("createdBy", vec![1], vec![2], equal, change(&[], &[])),
            ("createdBy", vec![1], vec![2], stronger, change(&[2], &[1])),
            ("createdBy", vec![1], vec![1], stronger, change(&[], &[])),
        ];
        for (name, existing, input, strength, expected) in cases {
            assert_eq!(
                references(reference("Report", name), &existing, &input, strength),
                expected,
                "{name} {existing:?} {input:?} {strength:?}"
            );
        }
        let single = reference("Network-Traffic", "networkSrc");
        assert_eq!(references(single, &[1], &[2], equal), change(&[2], &[1]));
        assert_eq!(references(single, &[1], &[2], weaker), change(&[], &[]));
        let synchronized = Strength {
            synchronized: true,
            ..weaker
        };
        assert_eq!(
            references(
                reference("Report", "objects"),
                &[1, 2],
                &[2, 3],
                synchronized
            ),
            change(&[3], &[1])
        );
    }

    #[test]
    fn the_strictest_marking_of_a_type_stays() {
        let mark = |id, definition_type, order| Marking {
            id,
            definition_type,
            order,
        };
        let (green, red, amber) = (mark(1, "TLP", 2), mark(2, "TLP", 5), mark(3, "TLP", 3));
        let (one, other) = (mark(10, "statement", 0), mark(11, "statement", 0));
        assert_eq!(markings(&[green], &[red]), change(&[2], &[1]));
        assert_eq!(markings(&[red], &[green]), change(&[], &[]));
        assert_eq!(markings(&[], &[green, red, amber]), change(&[2], &[]));
        assert_eq!(
            markings(&[green, one], &[other, amber]),
            change(&[11, 3], &[1])
        );
        assert_eq!(markings(&[green], &[green]), change(&[], &[]));
    }
}
