//! What was applied to an object last, so that the same input is recognised when it comes again.

use crate::error::{Result, corrupt};

/// Most inputs that are remembered of one delivery.
const KEPT: usize = 16;

/// The inputs that one delivery last applied to an object, as 64-bit digests.
///
/// A delivery may describe one object several times (two groups that an alias joins, two relationships that are the same here). Each of them
/// would undo what the other says, on every sending, if only the last one were remembered. Another delivery starts a new list, so that a value
/// that goes back to what it was is not mistaken for a repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The delivery, as a number; 0: none, nothing is ever added to it.
    delivery: u64,
    digests: Vec<u64>,
}

impl Inputs {
    /// One input of a delivery.
    #[must_use]
    pub fn one(delivery: u64, digest: u64) -> Self {
        Self {
            delivery,
            digests: vec![digest],
        }
    }

    /// Whether an input with this digest is among them.
    #[must_use]
    pub fn contains(&self, digest: u64) -> bool {
        self.digests.contains(&digest)
    }

    /// What is remembered after a further input: with the others when it is of the same delivery, alone otherwise.
    #[must_use]
    pub fn then(mut self, delivery: u64, digest: u64) -> Self {
        if delivery == 0 || delivery != self.delivery {
            return Self::one(delivery, digest);
        }
        if !self.contains(digest) {
            if self.digests.len() == KEPT {
                self.digests.remove(0);
            }
            self.digests.push(digest);
        }
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.delivery]
            .iter()
            .chain(&self.digests)
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        match (numbers.next(), rest) {
            (Some(delivery), []) => Ok(Self {
                delivery,
                digests: numbers.collect(),
            }),
            _ => Err(corrupt("inputs", format!("{} bytes", bytes.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_one_delivery_are_remembered_together() {
        let inputs = Inputs::one(7, 1).then(7, 2);
        assert!(inputs.contains(1) && inputs.contains(2));
    }

    #[test]
    fn another_delivery_starts_anew() {
        let inputs = Inputs::one(7, 1).then(8, 2);
        assert!(!inputs.contains(1) && inputs.contains(2));
        let unnamed = Inputs::one(0, 1).then(0, 2);
        assert!(!unnamed.contains(1));
    }

    #[test]
    fn the_list_stays_short() {
        let inputs = (2..=40).fold(Inputs::one(7, 1), |inputs, digest| inputs.then(7, digest));
        assert_eq!(inputs.to_bytes().len(), 8 * (KEPT + 1));
        assert!(inputs.contains(40) && !inputs.contains(1));
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let inputs = Inputs::one(7, 1).then(7, u64::MAX);
        assert_eq!(Inputs::from_bytes(&inputs.to_bytes()).unwrap(), inputs);
        assert!(Inputs::from_bytes(&[1, 2, 3]).is_err());
        assert!(Inputs::from_bytes(&[]).is_err());
    }
}
