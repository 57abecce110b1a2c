//! Telling files, artifacts and certificates apart that share a hash and disagree about another.
//!
//! Files can be made that share a weak hash, and feeds contain wrong ones. The strongest hash that two of them have decides whether they are the same; nothing that
//! is stored is overwritten by a contradiction.

use ferrocti_access::Actor;
use ferrocti_model::{
    StixId,
    ids::{self, CommonHash},
};
use ferrocti_store::{Iid, StoreError};
use serde_json::{Map, Value};

use super::{
    engine::{Engine, Stop},
    facts,
    find::Matches,
    input::Input,
    refused::RefusedReason,
};

/// A stored object that shares an id or a hash with an element and is another thing.
#[derive(Debug)]
pub struct Other {
    /// Its row.
    pub iid: Iid,
    /// The strongest hash that both have.
    pub algorithm: String,
    /// The element's value.
    pub given: String,
    /// The stored object's value.
    pub stored: String,
}

impl Other {
    fn of(iid: Iid, hash: &CommonHash<'_>) -> Self {
        Self {
            iid,
            algorithm: hash.algorithm.to_owned(),
            given: hash.one.to_owned(),
            stored: hash.other.to_owned(),
        }
    }
}

impl Engine<'_, '_> {
    /// Whether a stored object is another thing than an element that names it.
    pub fn other(&mut self, iid: Iid, input: &Input) -> Result<Option<Other>, Stop> {
        if !facts::of(input.kind()).hashed || !input.element.attributes.contains_key("hashes") {
            return Ok(None);
        }
        let stored = self.attributes(iid)?;
        let common = ids::common_hashes(input.kind(), &input.element.attributes, &stored);
        Ok(common
            .first()
            .filter(|hash| !hash.agrees())
            .map(|hash| Other::of(iid, hash)))
    }

    /// Of several objects that an element seems to be, leaves those that agree with each other, the ones with the strongest tie to the element first.
    pub fn agreeing(&mut self, input: &Input, matches: &mut Matches) -> Result<(), Stop> {
        if matches.same.len() < 2 || !facts::of(input.kind()).hashed {
            return Ok(());
        }
        let kind = input.kind();
        let mut ranked = Vec::with_capacity(matches.same.len());
        for iid in std::mem::take(&mut matches.same) {
            let stored = self.attributes(iid)?;
            let common = ids::common_hashes(kind, &input.element.attributes, &stored);
            ranked.push((
                common.first().map_or(usize::MAX, CommonHash::rank),
                iid,
                stored,
            ));
        }
        ranked.sort_by_key(|(rank, ..)| *rank);
        let mut kept: Vec<Map<String, Value>> = Vec::new();
        for (_, iid, stored) in ranked {
            let against = kept.iter().find_map(|kept| {
                let common = ids::common_hashes(kind, kept, &stored);
                Some(Other::of(
                    iid,
                    common.first().filter(|hash| !hash.agrees())?,
                ))
            });
            match against {
                Some(other) => matches.others.push(other),
                None => {
                    matches.same.push(iid);
                    kept.push(stored);
                }
            }
        }
        Ok(())
    }

    /// Takes contradictions out of an element: weaker hashes than the one that tells what it is, and what belongs to other things. Answers its standard id.
    pub fn settle(
        &mut self,
        input: &mut Input,
        standard: StixId,
        matches: &Matches,
        actor: &Actor,
        notes: &mut Vec<String>,
    ) -> Result<StixId, Stop> {
        if !facts::of(input.kind()).hashed {
            return Ok(standard);
        }
        let left_out = self.leave_out(input, &matches.same, notes)?;
        if !left_out && matches.others.is_empty() {
            return Ok(standard);
        }
        let own = self.free_standard(input, matches, actor)?;
        for other in &matches.others {
            if !self.visible(other.iid, actor)? {
                continue;
            }
            let known = self.head(other.iid)?.standard;
            let Other {
                algorithm,
                given,
                stored,
                ..
            } = other;
            notes.push(format!(
                "{own} is kept apart from {known}: {algorithm} is {given} of the one and {stored} of the other; hashes and ids that both have lead to {known}"
            ));
        }
        Ok(own)
    }

    /// Takes out of an element the hashes that contradict the object it is. Answers whether there were any.
    fn leave_out(
        &mut self,
        input: &mut Input,
        same: &[Iid],
        notes: &mut Vec<String>,
    ) -> Result<bool, Stop> {
        let kind = input.kind();
        let mut wrong: Vec<String> = Vec::new();
        for iid in same {
            let stored = self.attributes(*iid)?;
            let common = ids::common_hashes(kind, &input.element.attributes, &stored);
            for hash in common.iter().filter(|hash| !hash.agrees()) {
                let known = self.head(*iid)?.standard;
                let CommonHash {
                    algorithm,
                    one,
                    other,
                } = hash;
                notes.push(format!(
                    "\"hashes\" of {known} leaves out {algorithm} {one}: it is {other}, and a stronger hash is the same"
                ));
                wrong.push((*algorithm).to_owned());
            }
        }
        if wrong.is_empty() {
            return Ok(false);
        }
        let before = ids::hash_keys(kind, &input.element.attributes);
        if let Some(Value::Object(hashes)) = input.element.attributes.get_mut("hashes") {
            hashes.retain(|algorithm, _| !wrong.contains(algorithm));
        }
        let after = ids::hash_keys(kind, &input.element.attributes);
        input
            .keys
            .retain(|key| !before.contains(key) || after.contains(key));
        Ok(true)
    }

    /// The standard id by the hashes that do not belong to other things. A new object needs one that is free.
    fn free_standard(
        &mut self,
        input: &Input,
        matches: &Matches,
        actor: &Actor,
    ) -> Result<StixId, Stop> {
        let kind = input.kind();
        let mut own = input.element.attributes.clone();
        for other in &matches.others {
            let stored = self.attributes(other.iid)?;
            let shared: Vec<String> = ids::common_hashes(kind, &own, &stored)
                .iter()
                .filter(|hash| hash.agrees())
                .map(|hash| hash.algorithm.to_owned())
                .collect();
            if let Some(Value::Object(hashes)) = own.get_mut("hashes") {
                hashes.retain(|algorithm, _| !shared.contains(algorithm));
            }
        }
        let standard = ids::standard_id(kind, &own, &|_| Vec::new()).ok().flatten();
        if let Some(same) = matches.same.first() {
            return match standard {
                Some(standard) => Ok(standard),
                None => Ok(self.head(*same)?.standard),
            };
        }
        let Some(other) = matches.others.first() else {
            return Err(Stop::Store(StoreError::NoObject(0)));
        };
        match standard {
            Some(standard) if self.resolve(standard.key())?.is_none() => Ok(standard),
            _ if !self.visible(other.iid, actor)? => {
                Err(Stop::Refused(RefusedReason::Restricted { relation: false }))
            }
            _ => Err(Stop::Refused(RefusedReason::HashCollision {
                known: self.head(other.iid)?.standard.to_string(),
                algorithm: other.algorithm.clone(),
                given: other.given.clone(),
                stored: other.stored.clone(),
            })),
        }
    }

    fn attributes(&mut self, iid: Iid) -> Result<Map<String, Value>, Stop> {
        let stored = self.tx.load_one(iid)?.ok_or(StoreError::NoObject(iid))?;
        Ok(stored.attributes)
    }
}
