//! Applying one element, and one object of a bundle with all it consists of and brings along.

use std::sync::Arc;

use ferrocti_access::{Action, Denial, may, names};
use ferrocti_model::{
    Element, Ident, Key,
    merge::{self, MergeContext},
    stix,
};
use ferrocti_store::{Iid, StoreError};
use serde_json::Value;

use super::{
    derived::Derived,
    engine::{Attempt, Engine, Repeats, Source, Stop, settings_capability},
    facts,
    input::Input,
    refused::{Refused, RefusedReason},
    waiting::{Pending, PendingReference},
    withheld::{self, Reason, Told, Withheld},
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
    /// What else there is to tell.
    pub remarks: Remarks,
}

/// What is to be told of an object besides success or failure.
#[derive(Debug, Default)]
pub struct Remarks {
    /// What was left out because of what it says.
    pub notes: Vec<String>,
    /// Elements of which a part was not applied.
    pub partial: Vec<Told>,
    /// What the object brings along and the actor may not make, by key.
    left_out: Vec<(Key, Reason)>,
}

impl Remarks {
    /// Why something that does not exist was not made.
    pub fn left_out(&self, key: &Key) -> Option<&Reason> {
        let mut known = self.left_out.iter();
        known
            .find(|(other, _)| other == key)
            .map(|(_, reason)| reason)
    }
}

impl Engine<'_, '_> {
    /// Applies one object; `raw` is the digest of its text. Only a failure of the store is an error.
    pub(crate) fn object(
        &mut self,
        ready: Ready,
        source: &Source,
        raw: u64,
    ) -> Result<Outcome, Stop> {
        let source = &*self.current(source)?;
        let mut outcome = Outcome {
            remarks: Remarks {
                notes: ready.dropped,
                ..Remarks::default()
            },
            ..Outcome::default()
        };
        // an object that is refused leaves nothing behind
        let welcome = match ready.elements.first() {
            Some(input) => self.welcome(input, source).is_ok(),
            None => true,
        };
        for input in ready.implied.into_iter().filter(|_| welcome) {
            self.implied(input, source, &mut outcome)?;
        }
        let brings_along =
            |refused: &Refused| matches!(refused.reason, RefusedReason::BringsAlong { .. });
        if outcome.refused.iter().any(brings_along) {
            return Ok(outcome);
        }
        // only an object that is one element, and is taken whole, can be recognised by its text
        let whole = outcome.refused.is_empty() && outcome.waits.is_empty();
        let digest = (ready.elements.len() == 1 && whole).then(|| digest(raw, source.rights));
        for input in ready.elements {
            match self.element(input, source, digest, &mut outcome.remarks) {
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
            Some(iid) => only_named || self.repeats(iid, digest, source)? == Repeats::Whole,
            None => false,
        };
        if !known {
            let (id, kind) = (input.element.stix_ids.first().copied(), input.kind());
            let what = match Self::allowed(kind, &source.actor) {
                Ok(()) => String::new(),
                Err(_) => what(&input),
            };
            match self.element(input, source, Some(digest), &mut outcome.remarks) {
                Ok(_) => {}
                // the object is applied, and once more when that is there
                Err(Stop::Waits(missing)) => {
                    outcome.waits.extend(missing);
                    return Ok(());
                }
                // the object goes without it, or not at all
                Err(Stop::Refused(RefusedReason::Forbidden(
                    denial @ Denial::Capability { .. },
                ))) if settings_capability(kind).is_some() => {
                    match kind.name.as_str() {
                        "Kill-Chain-Phase" => outcome.refused.push(Refused {
                            id: None,
                            name: None,
                            reason: RefusedReason::BringsAlong { what, denial },
                        }),
                        _ => outcome
                            .remarks
                            .left_out
                            .push((key, Reason::NotMade { what, denial })),
                    }
                    return Ok(());
                }
                Err(Stop::Refused(reason)) => outcome.refused.push(Refused {
                    id: id.map(|id| id.to_string()),
                    name: Some(kind.name.clone()),
                    reason,
                }),
                Err(store) => return Err(store),
            }
        }
        self.implied.insert(mark);
        Ok(())
    }

    /// Whether the actor may deliver an element of this kind at all.
    fn welcome(&mut self, input: &Input, source: &Source) -> Result<(), Stop> {
        Self::allowed(input.kind(), &source.actor).map_err(RefusedReason::from)?;
        self.has_level(input, &source.actor)
    }

    /// Applies one element: creates it, or merges it into what it is already.
    pub fn element(
        &mut self,
        mut input: Input,
        source: &Source,
        digest: Option<u64>,
        remarks: &mut Remarks,
    ) -> Result<Applied, Stop> {
        let actor = &source.actor;
        let kind = input.kind();
        if let Err(denial) = Self::allowed(kind, actor) {
            return self.kept(&mut input, source, denial, remarks);
        }
        self.has_level(&input, actor)?;
        let derived = Derived::of(&input.element);
        let mut attempt = Attempt {
            source,
            digest,
            withheld: Withheld::default(),
        };
        let mut links = self.links(&input.element, actor, remarks, &mut attempt.withheld)?;
        if input.is_stale(actor) {
            input.as_given();
        }
        if input.fresh.is_none() {
            input.cap_confidence(actor);
        }
        self.vocabularies(&mut input, remarks, &mut attempt)?;
        let standard = self.standard(&input, &links)?;
        let matches = self.matches(&input, standard, &links, actor)?;
        if !matches.same.is_empty() {
            input.as_given();
        }
        let standard = self.settle(&mut input, standard, &matches, actor, &mut remarks.notes)?;
        let level = actor.level(&kind.name).unwrap_or(0);
        let capped = input
            .given_confidence
            .flatten()
            .filter(|given| *given > level);
        if let (Some(given), true) = (capped, matches.same.is_empty()) {
            let reason = Reason::Capped { given, level };
            attempt.withheld.attribute("confidence", reason);
        }
        let mut name = None;
        let applied = match *matches.same.as_slice() {
            [] => {
                if !attempt.withheld.is_empty() {
                    name = withheld::name(&input.element.attributes);
                }
                Applied::Created(self.create(input, standard, &links, &attempt)?)
            }
            [one] => {
                let applied = self.update(one, &input, standard, &mut links, &mut attempt)?;
                if !attempt.withheld.is_empty() {
                    name = withheld::name(&input.element.attributes);
                }
                applied
            }
            _ => self.combine(&matches.same, input, standard, &mut links, &mut attempt)?,
        };
        if !attempt.withheld.is_empty() {
            remarks.partial.push(Told {
                standard: self.head(applied.iid())?.standard,
                kind,
                name,
                actor: Arc::clone(actor),
                withheld: attempt.withheld,
            });
        }
        for (reference, target) in links.missing {
            self.waiting.add(Pending::Reference(PendingReference {
                object: applied.iid(),
                reference,
                target,
                source: source.clone(),
            }));
        }
        if let Some(derived) = derived {
            self.derive(applied.iid(), &derived, source, remarks)?;
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

    /// Something of the platform's own lists that the actor may not change: what is stored stays as it is, what is not there is refused.
    fn kept(
        &mut self,
        input: &mut Input,
        source: &Source,
        denial: Denial,
        remarks: &mut Remarks,
    ) -> Result<Applied, Stop> {
        let kind = input.kind();
        let refused = Stop::Refused(RefusedReason::from(denial.clone()));
        if settings_capability(kind).is_none() {
            return Err(refused);
        }
        input.as_given();
        let mut withheld = Withheld::default();
        let links = self.links(&input.element, &source.actor, remarks, &mut withheld)?;
        let standard = self.standard(input, &links)?;
        let matches = self.matches(input, standard, &links, &source.actor)?;
        let [known] = *matches.same.as_slice() else {
            return Err(refused);
        };
        let stored = self
            .tx
            .load_one(known)?
            .ok_or(StoreError::NoObject(known))?;
        let context = MergeContext {
            now: self.now,
            creator: None,
            confidence: source.actor.level(&kind.name),
            synchronized: false,
        };
        let merged = merge::upsert(
            stored.attributes,
            stored.confidence,
            &input.element,
            &context,
        );
        let changed = merged.changes.iter().map(|change| change.name.as_str());
        for name in changed.filter(|name| !matches!(*name, "created" | "modified")) {
            withheld.attribute(name, Reason::NotAllowed(denial.clone()));
        }
        if !withheld.is_empty() {
            remarks.partial.push(Told {
                standard: stored.standard,
                kind,
                name: withheld::name(&input.element.attributes),
                actor: Arc::clone(&source.actor),
                withheld,
            });
        }
        Ok(Applied::Unchanged(known))
    }

    /// Brings vocabulary values into the form of their entries. Values that are no entries are left out, with a note; those that the actor
    /// may not make an entry are withheld.
    fn vocabularies(
        &mut self,
        input: &mut Input,
        remarks: &mut Remarks,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Stop> {
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
            let denial = may(&attempt.source.actor, Action::Use(names::SET_VOCABULARIES)).err();
            let denial = denial.filter(|_| !facts::is_closed(category));
            for value in unknown.iter().filter_map(Value::as_str) {
                if let Some(denial) = &denial {
                    let reason = Reason::NotMade {
                        what: format!("the entry \"{value}\" of the vocabulary {category}"),
                        denial: denial.clone(),
                    };
                    attempt.withheld.attribute(&attribute.name, reason);
                    continue;
                }
                remarks.notes.push(format!("\"{}\" leaves out \"{value}\": it is not an entry of the vocabulary {category}", attribute.name));
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

/// Something that an object brings along, in words.
fn what(input: &Input) -> String {
    let attributes = &input.element.attributes;
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or("?");
    match input.kind().name.as_str() {
        "Label" => format!("the label \"{}\"", text("value")),
        "Kill-Chain-Phase" => format!(
            "the kill chain phase \"{}: {}\"",
            text("kill_chain_name"),
            text("phase_name")
        ),
        other => format!("{other} \"{}\"", text("name")),
    }
}
