//! The state of one transaction of ingestion: what has been looked up, what waits, and the small look-ups that all rules share.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ferrocti_access::{Action, Actor, Markings, may, names};
use ferrocti_model::{
    Ident, Key, Registry, StixId,
    clock::Millis,
    merge::{self, Marking, RefChange},
    registry::{Category, EntityType, Reference},
};
use ferrocti_store::{Iid, Inputs, StoreError, Tx, Visibility};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{facts, links, refused::RefusedReason, skipped::Skipped, waiting::Waiting};

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
    /// Implied elements that were applied already.
    pub implied: HashSet<(Key, u64)>,
    known: HashMap<Key, Option<Iid>>,
    heads: HashMap<Iid, Head>,
    markings: HashMap<Iid, MarkingFacts>,
    vocabulary: HashMap<(&'static str, String), Option<String>>,
    visibility: HashMap<Uuid, Visibility>,
    accepted: HashMap<(usize, u8), Option<bool>>,
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
            implied: HashSet::new(),
            known: HashMap::new(),
            heads: HashMap::new(),
            markings: HashMap::new(),
            vocabulary: HashMap::new(),
            visibility: HashMap::new(),
            accepted: HashMap::new(),
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
    pub fn repeats(&mut self, iid: Iid, digest: u64, source: &Source) -> Result<bool, StoreError> {
        let inputs = self.tx.inputs(&[iid])?.pop().flatten();
        let repeats = inputs.is_some_and(|inputs| inputs.contains(digest));
        if repeats {
            self.skipped.note(source.delivery(), iid, digest);
        }
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
        let Markings::Only(allowed) = &actor.markings else {
            return Ok(true);
        };
        if actor.bypass() {
            return Ok(true);
        }
        if !self.visibility.contains_key(&actor.user_id) {
            let keys: Vec<Key> = allowed.iter().map(StixId::key).collect();
            let rows: Vec<Iid> = self.tx.resolve(&keys)?.into_iter().flatten().collect();
            let visibility = self.tx.allowed_sets(&rows)?;
            self.visibility.insert(actor.user_id, visibility);
        }
        let Some(set) = self.tx.load_one(iid)?.map(|stored| stored.marking_set) else {
            return Ok(false);
        };
        if self
            .visibility
            .get(&actor.user_id)
            .is_some_and(|visibility| visibility.allows(set))
        {
            return Ok(true);
        }
        // a set that is newer than what was computed
        let members = self.tx.marking_members(set)?;
        for member in members {
            if !actor.may_use_marking(self.marking(member)?.standard) {
                return Ok(false);
            }
        }
        Ok(true)
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
    pub fn allowed(kind: &EntityType, actor: &Actor) -> Result<(), RefusedReason> {
        let capability = match (kind.category, kind.name.as_str()) {
            (Category::Meta, "Marking-Definition") => names::SET_MARKINGS,
            (Category::Meta, "Label") => names::SET_LABELS,
            (Category::Meta, "Kill-Chain-Phase") => names::SET_KILL_CHAIN_PHASES,
            (Category::Meta, "Vocabulary") => names::SET_VOCABULARIES,
            _ => names::KNOWLEDGE_UPDATE,
        };
        Ok(may(actor, Action::Use(capability))?)
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

    /// Forgets the vocabularies: an entry has been added or changed.
    pub fn forget_vocabulary(&mut self) {
        self.vocabulary.clear();
    }
}
