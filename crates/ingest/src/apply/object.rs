//! Applying one element, and one object of a bundle with all it consists of and brings along.

use ferrocti_model::{Element, Ident, stix};
use ferrocti_store::Iid;
use serde_json::Value;

use super::{
    derived::Derived,
    engine::{Engine, Source, Stop},
    facts,
    input::Input,
    refused::{Refused, RefusedReason},
    waiting::{Pending, PendingReference},
};
use crate::{digest, prepare::Ready};

/// What became of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created(Iid),
    /// It was there and has changed.
    Updated(Iid),
    /// It was there, just so.
    Unchanged(Iid),
}

impl Applied {
    /// Its row.
    #[must_use]
    pub fn iid(self) -> Iid {
        match self {
            Self::Created(iid) | Self::Updated(iid) | Self::Unchanged(iid) => iid,
        }
    }
}

/// What became of an object of a bundle.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of each element that was applied.
    pub applied: Vec<Applied>,
    /// What it, or something it brings along, waits for as a whole.
    pub waits: Vec<Ident>,
    /// The object itself (without id and name), or things it brings along, that were refused.
    pub refused: Vec<Refused>,
    /// What was left out.
    pub notes: Vec<String>,
}

impl Engine<'_, '_> {
    /// Applies one object. Only a failure of the store is an error.
    pub(crate) fn object(
        &mut self,
        ready: Ready,
        source: &Source,
        digest: Option<u64>,
    ) -> Result<Outcome, Stop> {
        let mut outcome = Outcome {
            notes: ready.dropped,
            ..Outcome::default()
        };
        for input in ready.implied {
            self.implied(input, source, &mut outcome)?;
        }
        // only an object that is one element, and is taken whole, can be recognised by its text
        let whole = outcome.refused.is_empty() && outcome.waits.is_empty();
        let digest = digest.filter(|_| ready.elements.len() == 1 && whole);
        for input in ready.elements {
            match self.element(input, source, digest, &mut outcome.notes) {
                Ok(applied) => outcome.applied.push(applied),
                Err(Stop::Waits(missing)) => outcome.waits.extend(missing),
                Err(Stop::Refused(reason)) => outcome.refused.push(Refused {
                    id: None,
                    name: None,
                    reason,
                }),
                Err(store) => return Err(store),
            }
        }
        Ok(outcome)
    }

    /// Applies something that an object brings along. The same thing comes with many objects, and is applied once.
    fn implied(
        &mut self,
        input: Input,
        source: &Source,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let Some(key) = input.element.stix_ids.first().map(|id| id.key()) else {
            return Ok(());
        };
        if input.kind().name == "Vocabulary"
            && input.element.text("category").is_some_and(facts::is_closed)
        {
            return Ok(());
        }
        let mark = (key, input.fingerprint);
        if self.implied.contains(&mark) {
            return Ok(());
        }
        // a name and nothing else cannot change what is there
        let only_named = matches!(
            input.kind().name.as_str(),
            "Label" | "Kill-Chain-Phase" | "Vocabulary"
        ) && input.element.attributes.len() <= 2;
        let stored = self.resolve(key)?;
        // several objects of one delivery may bring along one thing in different words
        let digest = digest(input.fingerprint, source.rights);
        let known = match stored {
            Some(iid) => only_named || self.repeats(iid, digest, source)?,
            None => false,
        };
        if !known {
            let (id, name) = (
                input.element.stix_ids.first().copied(),
                input.kind().name.clone(),
            );
            match self.element(input, source, Some(digest), &mut outcome.notes) {
                Ok(_) => {}
                // the object is applied, and once more when that is there
                Err(Stop::Waits(missing)) => {
                    outcome.waits.extend(missing);
                    return Ok(());
                }
                Err(Stop::Refused(reason)) => outcome.refused.push(Refused {
                    id: id.map(|id| id.to_string()),
                    name: Some(name),
                    reason,
                }),
                Err(store) => return Err(store),
            }
        }
        self.implied.insert(mark);
        Ok(())
    }

    /// Applies one element: creates it, or merges it into what it is already.
    pub fn element(
        &mut self,
        mut input: Input,
        source: &Source,
        digest: Option<u64>,
        notes: &mut Vec<String>,
    ) -> Result<Applied, Stop> {
        let actor = &source.actor;
        let derived = Derived::of(&input.element);
        Self::allowed(input.kind(), actor).map_err(Stop::Refused)?;
        let links = self.links(&input.element, actor, notes)?;
        if input.is_stale(actor) {
            input.as_given();
        }
        if input.fresh.is_none() {
            input.cap_confidence(actor);
        }
        self.vocabularies(&mut input, notes)?;
        let standard = self.standard(&input, &links)?;
        let matches = self.matches(&input, standard, &links, actor)?;
        if !matches.same.is_empty() {
            input.as_given();
        }
        let standard = self.settle(&mut input, standard, &matches, actor, notes)?;
        let applied = match *matches.same.as_slice() {
            [] => Applied::Created(self.create(input, standard, &links, source, digest)?),
            [one] => self.update(one, &input, standard, &links, source, digest)?,
            _ => self.combine(&matches.same, input, standard, &links, source, digest)?,
        };
        for (reference, target) in links.missing {
            self.waiting.add(Pending::Reference(PendingReference {
                object: applied.iid(),
                reference,
                target,
                source: source.clone(),
            }));
        }
        if let Some(derived) = derived {
            self.derive(applied.iid(), &derived, source, notes)?;
        }
        Ok(applied)
    }

    /// Makes the entries of open vocabularies that an element uses and nobody has made, as the decoder of bundles asks for them.
    pub fn entries(
        &mut self,
        element: &Element,
        source: &Source,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        for (attribute, category) in &facts::of(element.kind).vocabularies {
            let values = match element.attributes.get(&attribute.name) {
                Some(Value::Array(items)) => items.as_slice(),
                Some(single) => std::slice::from_ref(single),
                None => &[],
            };
            for entry in values
                .iter()
                .filter_map(Value::as_str)
                .filter_map(|name| stix::vocabulary(category, name))
            {
                self.implied(Input::new(entry), source, outcome)?;
            }
        }
        Ok(())
    }

    /// Brings vocabulary values into the form of their entries. Values that are no entries are left out, with a note.
    fn vocabularies(&mut self, input: &mut Input, notes: &mut Vec<String>) -> Result<(), Stop> {
        for (attribute, category) in &facts::of(input.kind()).vocabularies {
            let Some(value) = input.element.attributes.get_mut(&attribute.name) else {
                continue;
            };
            let list = match &mut *value {
                Value::Array(items) => items.as_mut_slice(),
                single => std::slice::from_mut(single),
            };
            let mut unknown = Vec::new();
            for item in list.iter_mut() {
                let Value::String(text) = item else { continue };
                match self.vocabulary_entry(category, text)? {
                    Some(entry) if entry == *text => continue,
                    Some(entry) => *text = entry,
                    None => unknown.push(std::mem::take(item)),
                }
                if let Some(fresh) = &mut input.fresh {
                    fresh.texts = None;
                }
            }
            let Some(first) = unknown.first().and_then(Value::as_str) else {
                continue;
            };
            if attribute.mandatory {
                return Err(Stop::Refused(RefusedReason::NotInVocabulary {
                    category: (*category).to_owned(),
                    value: first.to_owned(),
                }));
            }
            for value in unknown.iter().filter_map(Value::as_str) {
                notes.push(format!("\"{}\" leaves out \"{value}\": it is not an entry of the vocabulary {category}", attribute.name));
            }
            match value {
                Value::Array(items) => items.retain(|item| !item.is_null()),
                _ => {
                    input.element.attributes.shift_remove(&attribute.name);
                    if let Some(fresh) = &mut input.fresh {
                        fresh.given_removed();
                    }
                }
            }
        }
        Ok(())
    }
}
