//! Editing: what somebody changes, deletes or merges by naming it, through the API or by an order in a bundle.
//!
//! An edit is not weighed against what is stored, as an input of a connector is: it is done as asked, or refused as a whole. Who may do it is
//! decided before anything is written. Every edit is one transaction with an event in the history. The rules: `docs/reference/knowledge.md`.

mod attribute;
mod error;
mod identity;
mod merge;
mod order;
mod patch;
mod reference;
mod remove;
mod vocabulary;

use std::collections::HashSet;

use ferrocti_access::{Action, Target, may, names};
use ferrocti_accounts::Scope;
use ferrocti_model::{
    Ident, Key,
    merge::{Change, RefChange},
    registry::{Category, EntityType, Reference},
    stix::value::{is_empty, same},
};
use ferrocti_store::{Event, Iid, ObjectChange, Operation, Stored, Tx};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    audit::{self, From},
    create::{confidence, texts},
    engine::{Engine, Head, Source},
    facts,
    report::Reports,
    skipped::Skipped,
    update::{Relinked, previous, values},
};

pub use error::EditError;

/// What is to be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// One of its identifiers.
    pub id: Ident,
    /// The type, or an ancestor of the type, that it must have; an object of another type is as good as none. Empty: any.
    pub family: &'a str,
}

impl Subject<'_> {
    /// Whatever has this identifier.
    #[must_use]
    pub fn any(id: Ident) -> Self {
        Self { id, family: "" }
    }
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditOperation {
    /// Values are added to a list. A single value is replaced.
    Add,
    /// The values take the place of what was there; none: it is cleared.
    Replace,
    /// Values are taken out of a list. A single value is cleared.
    Remove,
}

/// A change of one attribute or reference.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldEdit {
    /// Name of the attribute or reference, as in inputs of the API.
    pub key: String,
    /// Where inside of an attribute that is an object, as a JSON pointer (RFC 6901) with or without the attribute's own name in front.
    pub path: Option<String>,
    /// What becomes of the values.
    pub operation: EditOperation,
    /// The values as given.
    pub values: Vec<Value>,
}

/// What is said about an edit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comment {
    /// Why, for the history.
    pub message: Option<String>,
    /// External references that are added to the object with the change.
    pub references: Vec<Ident>,
}

/// A reference that was added.
#[derive(Debug, Clone, Copy)]
pub struct Linked {
    /// The object that refers.
    pub source: Iid,
    /// How.
    pub reference: &'static Reference,
    /// The first of the objects referred to.
    pub target: Iid,
}

/// A family of changes, by the capability that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Update,
    Delete,
    Merge,
}

/// Carries out edits within one transaction.
pub struct Editor<'x, 'e, 't> {
    engine: &'x mut Engine<'e, 't>,
    source: &'x Source,
    from: From<'x>,
    /// Rows whose remembered inputs do not hold any more.
    touched: HashSet<Iid>,
}

impl std::fmt::Debug for Editor<'_, '_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").finish_non_exhaustive()
    }
}

impl<'x, 'e, 't> Editor<'x, 'e, 't> {
    /// For edits of `source`'s actor.
    pub fn new(engine: &'x mut Engine<'e, 't>, source: &'x Source, from: From<'x>) -> Self {
        Self {
            engine,
            source,
            from,
            touched: HashSet::new(),
        }
    }

    /// To be called after the edits: inputs of connectors that were applied to what has changed are not passed over when they come again.
    pub fn finish(self) {
        self.engine.skipped.forget(&self.touched);
    }

    /// The subject, if it is there, of the right family, and visible to the actor.
    pub fn subject(&mut self, subject: &Subject<'_>) -> Result<Stored, EditError> {
        let missing = || EditError::NotFound {
            id: subject.id.to_string(),
            family: subject.family.to_owned(),
        };
        let iid = self.engine.resolve(subject.id.key())?.ok_or_else(missing)?;
        let kind = self.engine.head(iid)?.kind;
        if !(subject.family.is_empty() || kind.is_a(subject.family))
            || !self.engine.visible(iid, &self.source.actor)?
        {
            return Err(missing());
        }
        let stored = self.engine.tx.load_one(iid)?.ok_or_else(missing)?;
        if kind.name == "Marking-Definition" {
            // its order and its end decide who sees what carries it: nobody opens that way what is hidden from himself
            let markings = [stored.standard];
            let action = Action::Mark {
                markings: &markings,
            };
            may(&self.source.actor, action)?;
        }
        Ok(stored)
    }

    /// Whether the actor may change objects of a type in this way at all.
    fn may_use(&self, kind: &EntityType, need: Need) -> Result<(), EditError> {
        let capability = match (kind.category, kind.name.as_str(), need) {
            (Category::Meta, "Marking-Definition", _) => names::SET_MARKINGS,
            (Category::Meta, "Label", _) => names::SET_LABELS,
            (Category::Meta, "Kill-Chain-Phase", _) => names::SET_KILL_CHAIN_PHASES,
            (Category::Meta, "Vocabulary", _) => names::SET_VOCABULARIES,
            (_, _, Need::Update) => names::KNOWLEDGE_UPDATE,
            (_, _, Need::Delete) => names::KNOWLEDGE_DELETE,
            (_, _, Need::Merge) => names::KNOWLEDGE_MERGE,
        };
        Ok(may(&self.source.actor, Action::Use(capability))?)
    }

    /// Whether the actor may change this object. `exempt`: only its labels or external references.
    fn may_update(&self, stored: &Stored, need: Need, exempt: bool) -> Result<(), EditError> {
        self.may_use(stored.kind, need)?;
        let creators = creators(stored);
        let target = target(stored, &creators);
        Ok(may(&self.source.actor, Action::Update { target, exempt })?)
    }

    /// Writes an object as it is after an edit, with an event. `false`: nothing has changed.
    fn write(
        &mut self,
        stored: &Stored,
        mut attributes: Map<String, Value>,
        relinked: &Relinked,
        comment: &Comment,
    ) -> Result<bool, EditError> {
        let (iid, kind) = (stored.iid, stored.kind);
        if changes(&stored.attributes, &attributes).is_empty() && relinked.is_empty() {
            return Ok(false);
        }
        touch(kind, &mut attributes, self.engine.now);
        let identity = self.identity(stored, &mut attributes)?;
        let changes = changes(&stored.attributes, &attributes);
        let current = identity.renamed.unwrap_or(stored.standard);
        let searched = texts(kind, &attributes);
        let tx = &mut *self.engine.tx;
        // written first: a new standard id frees the old one, which becomes a further key
        tx.update(
            iid,
            &ObjectChange {
                standard: identity.renamed,
                attributes: (!changes.is_empty()).then_some(&attributes),
                confidence: Some(confidence(&attributes))
                    .filter(|confidence| *confidence != stored.confidence),
                text: (!changes.is_empty()).then_some((searched.0.as_str(), searched.1.as_str())),
                inputs: None,
            },
        )?;
        tx.remove_keys(iid, &identity.lost)?;
        tx.add_keys(iid, &identity.gained)?;
        for (reference, change) in relinked {
            tx.unlink(iid, reference.code, &change.remove)?;
            tx.link(iid, reference.code, &change.add)?;
        }
        let before = identity.renamed.map(|_| stored.standard);
        let mut data = previous(&changes, relinked, before);
        if let Some(message) = &comment.message {
            data["message"] = json!(message);
        }
        self.event(Operation::Update, iid, kind, &data)?;
        if audit::is_audited(kind, &self.source.actor) && !changes.is_empty() {
            let after = Stored {
                attributes,
                ..stored.clone()
            };
            self.tell(Scope::Update, &after, &values(&changes))?;
        }
        self.engine.forget();
        self.engine.remember_head(
            iid,
            Head {
                kind,
                standard: current,
            },
        );
        self.engine.changed(kind);
        let gained: Vec<Key> = identity.gained.into_iter().chain([current.key()]).collect();
        self.engine.wake(&gained)?;
        self.touched.insert(iid);
        Ok(true)
    }

    /// Tells the audit of a change.
    fn tell(
        &mut self,
        scope: Scope,
        stored: &Stored,
        before: &Map<String, Value>,
    ) -> Result<(), EditError> {
        Ok(audit::tell(
            self.engine.tx,
            self.source,
            self.from,
            scope,
            stored,
            before,
        )?)
    }

    fn event(
        &mut self,
        operation: Operation,
        iid: Iid,
        kind: &EntityType,
        data: &Value,
    ) -> Result<(), EditError> {
        self.engine.tx.history(&Event {
            operation,
            iid,
            type_code: kind.code,
            actor: Some(self.source.actor.user_row),
            origin: self.source.origin.as_deref(),
            data: Some(data),
        })?;
        Ok(())
    }
}

/// Carries out edits in a transaction of their own.
///
/// # Errors
/// What `body` says, or that the store failed; the transaction must be given up then.
pub(crate) fn run<T>(
    tx: &mut Tx<'_>,
    source: &Source,
    from: From<'_>,
    skipped: &mut Skipped,
    body: impl FnOnce(&mut Editor<'_, '_, '_>) -> Result<T, EditError>,
) -> Result<T, EditError> {
    let mut engine = Engine::new(tx);
    let mut editor = Editor::new(&mut engine, source, from);
    let done = body(&mut editor)?;
    skipped.forget(&editor.touched);
    let mut reports = Reports::default();
    engine.drain(&mut reports)?;
    engine.park(&mut reports)?;
    reports.write(tx)?;
    Ok(done)
}

/// An object as decisions see it.
fn target<'a>(stored: &'a Stored, creators: &'a [Uuid]) -> Target<'a> {
    Target {
        entity_type: &stored.kind.name,
        has_confidence: facts::of(stored.kind).confidence,
        confidence: stored.confidence,
        creators,
    }
}

/// Who is recorded as creator of an object.
fn creators(stored: &Stored) -> Vec<Uuid> {
    let ids = stored
        .attributes
        .get("creator_id")
        .and_then(Value::as_array);
    ids.into_iter()
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
        .collect()
}

/// Labels and external references may be changed whatever the confidence.
fn is_exempt(reference: &Reference) -> bool {
    matches!(
        reference.relationship.as_str(),
        "object-label" | "external-reference"
    )
}

/// What differs between two states of an object.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Change> {
    let value = |attributes: &Map<String, Value>, name: &str| {
        attributes.get(name).cloned().unwrap_or(Value::Null)
    };
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    after
        .keys()
        .chain(gone)
        .filter_map(|name| {
            let (old, new) = (value(before, name), value(after, name));
            (!same(&old, &new)).then(|| Change {
                name: name.clone(),
                before: old,
                after: new,
            })
        })
        .collect()
}

/// Notes the time of the change on types that have it; observables have none.
fn touch(kind: &EntityType, attributes: &mut Map<String, Value>, now: i64) {
    if kind.category == Category::Observable || kind.attribute("modified").is_none() {
        return;
    }
    if let Some(now) = ferrocti_model::stix::date::format(now) {
        attributes.insert("modified".to_owned(), Value::String(now));
    }
}

/// What has to be added and removed to get from one list of targets to the other.
fn relink(before: &[Iid], after: &[Iid]) -> RefChange<Iid> {
    let without = |list: &[Iid], other: &[Iid]| {
        let other: HashSet<Iid> = other.iter().copied().collect();
        let kept = list.iter().filter(|iid| !other.contains(*iid));
        kept.copied().collect::<Vec<_>>()
    };
    RefChange {
        add: without(after, before),
        remove: without(before, after),
    }
}

/// An attribute that says nothing is not kept.
fn set(attributes: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value.filter(|value| !is_empty(value)) {
        Some(value) => drop(attributes.insert(name.to_owned(), value)),
        None => drop(attributes.shift_remove(name)),
    }
}
