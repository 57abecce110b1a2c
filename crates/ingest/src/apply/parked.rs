//! Waking what waits when an identifier appears, and parking what still waits at the end.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_model::{Ident, Key, Registry, merge, registry::Reference};
use ferrocti_store::{
    Event, NewParked, ObjectChange, Operation, Parked, StoreError, Stored, Waiting as Parking,
};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    engine::{Engine, Source, Stop},
    report::Reports,
    waiting::{Pending, PendingObject, PendingReference},
    withheld::{self, Reason, Told, Withheld},
};
use crate::{actors, prepare, works::Failure};

impl Engine<'_, '_> {
    /// Makes ready what waits for keys that an object has now: in this transaction, and from earlier ones.
    pub fn wake(&mut self, keys: &[Key]) -> Result<(), StoreError> {
        for key in keys {
            self.waiting.wake(key);
        }
        for parked in self.tx.unpark(keys)? {
            if let Some(pending) = self.pending(parked)? {
                self.waiting.push_ready(pending);
            }
        }
        Ok(())
    }

    /// Applies everything that has been made ready, and what that makes ready in turn.
    pub fn drain(&mut self, reports: &mut Reports) -> Result<(), StoreError> {
        while let Some(pending) = self.waiting.next_ready() {
            match pending {
                Pending::Object(object) => self.retry(object, reports)?,
                Pending::Reference(reference) => self.link_late(&reference, reports)?,
            }
        }
        for (work, error) in self.lost.drain(..) {
            let source = String::new();
            reports.failure(work.as_deref(), Failure { error, source });
        }
        Ok(())
    }

    /// Applies an object again that waited.
    fn retry(&mut self, object: PendingObject, reports: &mut Reports) -> Result<(), StoreError> {
        let work = object.source.work.clone();
        let outcome = match prepare::decode(object.json()) {
            Ok(ready) => match self.object(*ready, &object.source, object.digest) {
                Ok(outcome) => outcome,
                Err(Stop::Store(error)) => return Err(error),
                Err(_) => return Ok(()),
            },
            Err(refusal) => {
                let failure = Failure::of_object(
                    refusal.id.as_deref(),
                    refusal.name.as_deref(),
                    &refusal.to_string(),
                    object.json(),
                );
                reports.failure(work.as_deref(), failure);
                return Ok(());
            }
        };
        reports.outcome(work.as_deref(), &outcome, object.json());
        if !outcome.waits.is_empty() {
            self.waiting.add(Pending::Object(PendingObject {
                missing: outcome.waits,
                ..object
            }));
        }
        Ok(())
    }

    /// Adds a reference whose target has arrived.
    fn link_late(
        &mut self,
        pending: &PendingReference,
        reports: &mut Reports,
    ) -> Result<(), StoreError> {
        let (Some(target), Some(stored)) = (
            self.resolve(pending.target.key())?,
            self.tx.load_one(pending.object)?,
        ) else {
            return Ok(());
        };
        let reference = pending.reference;
        let allowed = match self.may_point(reference, &pending.target, target) {
            Ok(allowed) => allowed,
            Err(Stop::Store(error)) => return Err(error),
            Err(_) => false,
        };
        if !allowed {
            let found = &self.head(target)?.kind.name;
            let note = format!(
                "\"{}\" of {} leaves out {}: it must not point to an object of type {found}",
                reference.stix, stored.standard, pending.target
            );
            reports.note(pending.source.work.as_deref(), note);
            return Ok(());
        }
        let actor = &self.current(&pending.source)?.actor.clone();
        let mut withheld = Withheld::default();
        if !self.visible(target, actor)? {
            withheld.reference(&reference.name, Reason::Hidden(pending.target));
        } else if let Some(weaker) = self.weaker(&stored, reference, actor)? {
            withheld.reference(&reference.name, weaker);
        }
        if !withheld.is_empty() {
            let told = Told {
                standard: stored.standard,
                kind: stored.kind,
                name: withheld::name(&stored.attributes),
                actor: Arc::clone(actor),
                withheld,
            };
            reports.partial(pending.source.work.as_deref(), &told);
            return Ok(());
        }
        // what others have set meanwhile is not replaced; a long list is not read for each of its members
        if !reference.multiple {
            let existing = self.tx.targets(&[pending.object], reference.code)?.concat();
            if !existing.is_empty() {
                if !existing.contains(&target) {
                    let note = format!(
                        "\"{}\" of {} leaves out {}: another one was set meanwhile",
                        reference.stix, stored.standard, pending.target
                    );
                    reports.note(pending.source.work.as_deref(), note);
                }
                return Ok(());
            }
        }
        let added = self.tx.link(pending.object, reference.code, &[target])?;
        if added.is_empty() {
            return Ok(());
        }
        self.tx.update(
            pending.object,
            &ObjectChange {
                inputs: stored.inputs.as_ref(),
                ..ObjectChange::default()
            },
        )?;
        let data =
            json!({"references": {reference.name.as_str(): {"added": added, "removed": []}}});
        self.tx.history(&Event {
            operation: Operation::Update,
            iid: pending.object,
            type_code: stored.kind.code,
            actor: Some(pending.source.actor.user_row),
            origin: pending.source.origin.as_deref(),
            data: Some(&data),
        })
    }

    /// Why a reference that was waited for is not added any more: somebody who may claim more has raised the confidence meanwhile.
    fn weaker(
        &mut self,
        stored: &Stored,
        reference: &Reference,
        actor: &Actor,
    ) -> Result<Option<Reason>, StoreError> {
        let level = actor.level(&stored.kind.name).unwrap_or(0);
        let confidence = stored.confidence.unwrap_or(0);
        if level >= confidence || merge::is_exempt(reference) {
            return Ok(None);
        }
        let existing = self.tx.targets(&[stored.iid], reference.code)?.concat();
        Ok((!existing.is_empty()).then_some(Reason::Weaker {
            input: level,
            level,
            stored: confidence,
        }))
    }

    /// Parks what still waits; each work is told what waits for what. Answers how many whole objects wait.
    pub fn park(&mut self, reports: &mut Reports) -> Result<u64, StoreError> {
        let mut objects = 0;
        for pending in self.waiting.take_all() {
            let (waiting, keys, source) = match &pending {
                Pending::Object(object) => {
                    objects += 1;
                    reports.note(object.source.work.as_deref(), waits(object));
                    let document = json!({
                        "object": object.json(),
                        "origin": object.source.origin.as_deref(),
                    });
                    (
                        Parking::Element(document),
                        object.missing.iter().map(Ident::key).collect(),
                        &object.source,
                    )
                }
                Pending::Reference(reference) => {
                    let standard = self.head(reference.object)?.standard;
                    let note = format!(
                        "\"{}\" of {standard} waits for {}",
                        reference.reference.stix, reference.target
                    );
                    reports.note(reference.source.work.as_deref(), note);
                    let waiting = Parking::Reference {
                        source: reference.object,
                        reference: reference.reference.code,
                    };
                    (waiting, vec![reference.target.key()], &reference.source)
                }
            };
            self.tx.park(&NewParked {
                waiting: &waiting,
                keys: &keys,
                connector: source.connector.as_deref(),
                work: source.work.as_deref(),
                actor: Some(source.actor.user_row),
            })?;
        }
        Ok(objects)
    }

    /// What was parked in an earlier transaction, as it waits in this one. `None`: its user is gone or not let in, and with it its rights.
    fn pending(&mut self, parked: Parked) -> Result<Option<Pending>, StoreError> {
        let actor = match parked.actor {
            Some(row) => actors::of_row(self.tx, row)?,
            None => None,
        };
        let Some(actor) = actor else {
            tracing::warn!(
                parked = parked.id,
                "what was parked is dropped: its user does not exist any more, or is not let in"
            );
            let first = parked.keys.first().and_then(Key::ident);
            let first = first.map_or_else(String::new, |ident| format!(" for {ident}"));
            self.lost.push((
                parked.work.as_deref().map(Arc::from),
                format!("what waited{first} is dropped: its user does not exist any more, or is not let in"),
            ));
            return Ok(None);
        };
        let mut source = Source {
            rights: actor.fingerprint(),
            actor,
            origin: None,
            connector: parked.connector.as_deref().map(Arc::from),
            work: parked.work.as_deref().map(Arc::from),
        };
        Ok(match parked.waiting {
            Parking::Element(document) => {
                source.origin = document
                    .get("origin")
                    .and_then(Value::as_str)
                    .map(Arc::from);
                let text: Arc<str> = document
                    .get("object")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .into();
                Some(Pending::Object(PendingObject {
                    range: 0..text.len(),
                    digest: xxh3_64(prepare::without_dependency_count(&text).as_bytes()),
                    missing: parked.keys.iter().filter_map(Key::ident).collect(),
                    text,
                    source,
                }))
            }
            Parking::Reference {
                source: object,
                reference,
            } => {
                let Some(kind) = self.tx.head(object)?.map(|(kind, _)| kind) else {
                    return Ok(None);
                };
                let target = parked.keys.first().and_then(Key::ident);
                reference_of(kind, reference)
                    .zip(target)
                    .map(|(reference, target)| {
                        Pending::Reference(PendingReference {
                            object,
                            reference,
                            target,
                            source,
                        })
                    })
            }
        })
    }
}

fn reference_of(
    kind: &'static ferrocti_model::EntityType,
    code: u16,
) -> Option<&'static Reference> {
    kind.refs
        .iter()
        .find(|reference| reference.code == code)
        .or_else(|| Registry::get().reference_by_code(code)?.definitions.first())
}

fn waits(object: &PendingObject) -> String {
    let missing: Vec<String> = object
        .missing
        .iter()
        .take(5)
        .map(ToString::to_string)
        .collect();
    let subject = serde_json::from_str::<Value>(object.json())
        .ok()
        .and_then(|value| Some(value.get("id")?.as_str()?.chars().take(120).collect()));
    format!(
        "{} waits for {}",
        subject.unwrap_or_else(|| "an object".to_owned()),
        missing.join(", ")
    )
}
