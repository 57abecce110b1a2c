//! The state of one transaction of ingestion: what has been looked up, what waits, and the small look-ups that all rules share.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ferrocti_access::{Action, Actor, Denial, Markings, may, names};
use ferrocti_model::{
    Ident, Key, Registry, StixId,
    clock::Millis,
    merge::{self, Marking, RefChange},
    registry::{Category, EntityType, Reference},
};
use ferrocti_store::{Iid, Inputs, StoreError, Tx};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    facts, input::Input, links, refused::RefusedReason, skipped::Skipped, waiting::Waiting,
    withheld::Withheld,
};
use crate::{actors, digest_in_part};

/// Why an element was not applied.
#[derive(Debug)]
pub enum Stop {
    /// It is refused.
    Refused(RefusedReason),
    /// It waits for these identifiers.
    Waits(Vec<Ident>),
    /// The store failed; the transaction must be given up.
    Store(StoreError),
}

impl From<RefusedReason> for Stop {
    fn from(reason: RefusedReason) -> Self {
        Self::Refused(reason)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// On whose behalf, and from where, something is applied.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who.
    pub actor: Arc<Actor>,
    /// Fingerprint of its rights, which decides with the text of an input whether it was applied before.
    pub rights: u64,
    /// JSON that the history keeps: connector, work, message.
    pub origin: Option<Arc<str>>,
    /// The connector whose message it came with.
    pub connector: Option<Arc<str>>,
    /// The work that hears of it.
    pub work: Option<Arc<str>>,
}

impl Source {
    /// The delivery that something belongs to, as a number: the work; 0 where there is none.
    pub fn delivery(&self) -> u64 {
        self.work
            .as_deref()
            .map_or(0, |work| xxh3_64(work.as_bytes()))
    }
}

/// One element on its way into the store.
#[derive(Debug)]
pub struct Attempt<'s> {
    /// On whose behalf.
    pub source: &'s Source,
    /// Digest of the input, if it can be recognised by that when it comes again.
    pub digest: Option<u64>,
    /// What is not applied of it.
    pub withheld: Withheld,
}

impl Attempt<'_> {
    /// The digest under which the input is remembered, if it is: one that is applied in part must not pass for one that was applied, and
    /// what is left out for a reason outside of the object may be applied the next time.
    pub fn to_remember(&self) -> Option<u64> {
        let digest = self.digest?;
        if self.withheld.is_empty() {
            Some(digest)
        } else {
            self.withheld.lasts().then(|| digest_in_part(digest))
        }
    }
}

/// What decides between markings of one kind.
#[derive(Debug, Clone)]
pub struct MarkingFacts {
    /// `definition_type`: `TLP`, `PAP`, `statement`, …
    pub definition_type: Arc<str>,
    /// `x_opencti_order`: the higher, the stricter.
    pub order: i64,
    /// Its standard id.
    pub standard: StixId,
}

/// What is known about a row without its document.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// What it is.
    pub kind: &'static EntityType,
    /// Its standard id.
    pub standard: StixId,
}

/// What an element points to, resolved.
#[derive(Debug, Default)]
pub struct Links {
    /// References with their targets, in the order given.
    pub refs: Vec<(&'static Reference, Vec<Iid>)>,
    /// References to what does not exist yet.
    pub missing: Vec<(&'static Reference, Ident)>,
    /// Source and target of a relationship.
    pub ends: Option<(Iid, Iid)>,
}

/// The state of one transaction of ingestion.
pub struct Engine<'e, 't> {
    /// The transaction.
    pub tx: &'e mut Tx<'t>,
    /// Its time.
    pub now: Millis,
    /// What waits within this transaction.
    pub waiting: Waiting,
    /// Inputs that were recognised as repetitions, in this and earlier transactions.
    pub skipped: Skipped,
    /// What waited and is given up, with the work that hears of it.
    pub lost: Vec<(Option<Arc<str>>, String)>,
    /// Implied elements that were applied already.
    pub implied: HashSet<(Key, u64)>,
    known: HashMap<Key, Option<Iid>>,
    heads: HashMap<Iid, Head>,
    markings: HashMap<Iid, MarkingFacts>,
    vocabulary: HashMap<(&'static str, String), Option<String>>,
    /// The sets of markings of rows.
    sets: HashMap<Iid, i64>,
    /// Whether a user may see what carries a set of markings.
    seen: HashMap<(i64, i64), bool>,
    accepted: HashMap<(usize, u8), Option<bool>>,
    /// Actors by user, as their rights are since a marking definition was changed in this transaction.
    actors: Option<HashMap<i64, Arc<Actor>>>,
}

impl std::fmt::Debug for Engine<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'e, 't> Engine<'e, 't> {
    /// A fresh state for a transaction.
    pub fn new(tx: &'e mut Tx<'t>) -> Self {
        let now = tx.now();
        Self {
            tx,
            now,
            waiting: Waiting::default(),
            skipped: Skipped::default(),
            lost: Vec::new(),
            implied: HashSet::new(),
            known: HashMap::new(),
            heads: HashMap::new(),
            markings: HashMap::new(),
            vocabulary: HashMap::new(),
            sets: HashMap::new(),
            seen: HashMap::new(),
            accepted: HashMap::new(),
            actors: None,
        }
    }

    /// The row of a key.
    pub fn resolve(&mut self, key: Key) -> Result<Option<Iid>, StoreError> {
        if let Some(found) = self.known.get(&key) {
            return Ok(*found);
        }
        let found = self.tx.resolve_one(&key)?;
        self.known.insert(key, found);
        Ok(found)
    }

    /// Remembers what keys a row has got.
    pub fn remember(&mut self, iid: Iid, keys: impl IntoIterator<Item = Key>) {
        self.known
            .extend(keys.into_iter().map(|key| (key, Some(iid))));
    }

    /// Remembers kind and standard id of a row.
    pub fn remember_head(&mut self, iid: Iid, head: Head) {
        self.heads.insert(iid, head);
    }

    /// Forgets every look-up: identifiers have moved between rows.
    pub fn forget(&mut self) {
        self.known.clear();
        self.heads.clear();
        self.markings.clear();
        self.sets.clear();
    }

    /// Kind and standard id of a row.
    pub fn head(&mut self, iid: Iid) -> Result<Head, StoreError> {
        if let Some(head) = self.heads.get(&iid) {
            return Ok(*head);
        }
        let (kind, standard) = self.tx.head(iid)?.ok_or(StoreError::NoObject(iid))?;
        let head = Head { kind, standard };
        self.heads.insert(iid, head);
        Ok(head)
    }

    /// What decides about a marking definition.
    pub fn marking(&mut self, iid: Iid) -> Result<MarkingFacts, StoreError> {
        if let Some(found) = self.markings.get(&iid) {
            return Ok(found.clone());
        }
        let stored = self.tx.load_one(iid)?.ok_or(StoreError::NoObject(iid))?;
        let found = MarkingFacts {
            definition_type: stored
                .attributes
                .get("definition_type")
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .into(),
            order: stored
                .attributes
                .get("x_opencti_order")
                .and_then(|value| value.as_i64())
                .unwrap_or(0),
            standard: stored.standard,
        };
        self.markings.insert(iid, found.clone());
        Ok(found)
    }

    /// How the markings of an object change when others are added.
    pub fn combine_markings(
        &mut self,
        existing: &[Iid],
        input: &[Iid],
    ) -> Result<RefChange<Iid>, StoreError> {
        let mut known = Vec::with_capacity(existing.len() + input.len());
        for iid in existing.iter().chain(input) {
            known.push((*iid, self.marking(*iid)?));
        }
        let all: Vec<Marking<'_, Iid>> = known
            .iter()
            .map(|(iid, facts)| Marking {
                id: *iid,
                definition_type: &facts.definition_type,
                order: facts.order,
            })
            .collect();
        let (existing, input) = all.split_at(existing.len());
        Ok(merge::markings(existing, input))
    }

    /// Forgets what is known about a marking definition: it has changed.
    pub fn forget_marking(&mut self, iid: Iid) {
        self.markings.remove(&iid);
    }

    /// Whether an input was applied to an object already, and nothing has changed the object since.
    pub fn repeats(
        &mut self,
        iid: Iid,
        digest: u64,
        source: &Source,
    ) -> Result<Repeats, StoreError> {
        let Some(inputs) = self.tx.inputs(&[iid])?.pop().flatten() else {
            return Ok(Repeats::No);
        };
        let in_part = digest_in_part(digest);
        let (repeats, digest) = if inputs.contains(digest) {
            (Repeats::Whole, digest)
        } else if inputs.contains(in_part) {
            (Repeats::InPart, in_part)
        } else {
            return Ok(Repeats::No);
        };
        self.skipped.note(source.delivery(), iid, digest);
        Ok(repeats)
    }

    /// What is remembered of an object after a further input: also what the same delivery repeated before.
    pub fn remembered(
        &self,
        iid: Iid,
        before: Option<&Inputs>,
        digest: u64,
        source: &Source,
    ) -> Inputs {
        let delivery = source.delivery();
        let then = |inputs: Option<Inputs>, digest| match inputs {
            Some(inputs) => Some(inputs.then(delivery, digest)),
            None => Some(Inputs::one(delivery, digest)),
        };
        self.skipped
            .of(delivery, iid)
            .fold(before.cloned(), then)
            .map_or_else(
                || Inputs::one(delivery, digest),
                |inputs| inputs.then(delivery, digest),
            )
    }

    /// Whether the actor may see a row.
    pub fn visible(&mut self, iid: Iid, actor: &Actor) -> Result<bool, StoreError> {
        if actor.markings == Markings::All || actor.bypass() {
            return Ok(true);
        }
        let set = match self.sets.get(&iid) {
            Some(set) => *set,
            None => {
                let set = self.tx.marking_set_of(iid)?;
                self.sets.insert(iid, set);
                set
            }
        };
        if let Some(seen) = self.seen.get(&(actor.user_row, set)) {
            return Ok(*seen);
        }
        let mut markings = Vec::new();
        for member in self.tx.marking_members(set)? {
            markings.push(self.marking(member)?.standard);
        }
        let action = Action::See {
            markings: &markings,
        };
        let seen = may(actor, action).is_ok();
        self.seen.insert((actor.user_row, set), seen);
        Ok(seen)
    }

    /// Whether a reference may point to objects of a STIX type; `None`: it depends on the type of the object.
    pub fn accepted(&mut self, reference: &'static Reference, stix_code: u8) -> Option<bool> {
        *self
            .accepted
            .entry((std::ptr::from_ref(reference).addr(), stix_code))
            .or_insert_with(|| {
                let registry = Registry::get();
                let kinds = registry.by_stix(registry.stix_type_name(stix_code));
                let mut allowed = kinds.iter().map(|kind| links::accepts(reference, kind));
                let first = allowed.next()?;
                allowed.all(|other| other == first).then_some(first)
            })
    }

    /// Whether the actor may write objects of a kind at all.
    pub fn allowed(kind: &EntityType, actor: &Actor) -> Result<(), Denial> {
        may(
            actor,
            Action::Use(settings_capability(kind).unwrap_or(names::KNOWLEDGE_UPDATE)),
        )
    }

    /// Whether the actor has a confidence level, without which it writes nothing.
    pub fn has_level(&mut self, input: &Input, actor: &Actor) -> Result<(), Stop> {
        let entity_type = &input.kind().name;
        let Err(create) = may(actor, Action::Create { entity_type }) else {
            return Ok(());
        };
        let standard = input.standard.as_ref().and_then(|rule| rule.as_ref().ok());
        let standard = standard.copied().flatten().map(|id| id.key());
        for key in standard.into_iter().chain(input.keys.iter().copied()) {
            if self.resolve(key)?.is_some() {
                may(actor, Action::Upsert { entity_type }).map_err(RefusedReason::from)?;
            }
        }
        Err(RefusedReason::from(create).into())
    }

    /// The stored form of a vocabulary value: the name of its entry. `None`: there is no such entry.
    pub fn vocabulary_entry(
        &mut self,
        category: &'static str,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        let memo = (category, value.to_owned());
        if let Some(found) = self.vocabulary.get(&memo) {
            return Ok(found.clone());
        }
        let found = match facts::vocabulary_key(category, value) {
            Some(key) => match self.resolve(key)? {
                Some(iid) => self
                    .tx
                    .load_one(iid)?
                    .and_then(|stored| Some(stored.attributes.get("name")?.as_str()?.to_owned())),
                None => None,
            },
            None => None,
        };
        self.vocabulary.insert(memo, found.clone());
        Ok(found)
    }

    /// A source with the rights of now: who brings a marking definition may use it at once, if its groups get new ones.
    pub fn current<'s>(&mut self, source: &'s Source) -> Result<Cow<'s, Source>, StoreError> {
        let Some(actors) = &mut self.actors else {
            return Ok(Cow::Borrowed(source));
        };
        let row = source.actor.user_row;
        let actor = match actors.get(&row) {
            Some(actor) => Arc::clone(actor),
            None => {
                let actor = actors::of_row(self.tx, row)?;
                let actor = actor.unwrap_or_else(|| Arc::clone(&source.actor));
                actors.insert(row, Arc::clone(&actor));
                actor
            }
        };
        Ok(Cow::Owned(Source {
            rights: actor.fingerprint(),
            actor,
            ..source.clone()
        }))
    }

    /// Forgets which markings rows have: those of one, and with them those of the relationships at it, have changed.
    pub fn forget_marked(&mut self) {
        self.sets.clear();
    }

    /// Forgets what follows from marking definitions: one has been added or changed, and with it what users may see.
    pub fn forget_rights(&mut self) {
        self.seen.clear();
        self.actors = Some(HashMap::new());
    }

    /// Forgets the vocabularies: an entry has been added or changed.
    pub fn forget_vocabulary(&mut self) {
        self.vocabulary.clear();
    }
}

/// What a repetition of an input comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// It is none.
    No,
    /// All of it is stored.
    Whole,
    /// What of it may be applied is stored.
    InPart,
}

/// The capability that the platform's own lists ask for, instead of the one for knowledge.
#[must_use]
pub fn settings_capability(kind: &EntityType) -> Option<&'static str> {
    match (kind.category, kind.name.as_str()) {
        (Category::Meta, "Marking-Definition") => Some(names::SET_MARKINGS),
        (Category::Meta, "Label") => Some(names::SET_LABELS),
        (Category::Meta, "Kill-Chain-Phase") => Some(names::SET_KILL_CHAIN_PHASES),
        (Category::Meta, "Vocabulary") => Some(names::SET_VOCABULARIES),
        _ => None,
    }
}
