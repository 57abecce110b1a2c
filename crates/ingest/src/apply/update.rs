//! Merging an element into the object that it is already.

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::Scope;
use ferrocti_model::{
    Key, StixId, ids,
    merge::{self, Change, MergeContext, RefChange, Strength},
    registry::Reference,
};
use ferrocti_store::{Event, Iid, ObjectChange, Operation, StoreError, Stored};
use serde_json::{Map, Value, json};

use super::{
    audit,
    create::{confidence, texts},
    engine::{Attempt, Engine, Head, Links, Stop},
    facts,
    input::Input,
    object::Applied,
    withheld::Reason,
};

/// Name of the attribute that lists the other STIX ids of an object.
pub const STIX_IDS: &str = "x_opencti_stix_ids";

/// Name of the reference to the organizations that an object is shared with.
const SHARING: &str = "objectOrganization";

/// Changed references with the change of each.
pub type Relinked = Vec<(&'static Reference, RefChange<Iid>)>;

impl Engine<'_, '_> {
    /// Merges an element into an object. Writes nothing, and records no event, when nothing changes.
    pub fn update(
        &mut self,
        iid: Iid,
        input: &Input,
        standard: StixId,
        links: &mut Links,
        attempt: &mut Attempt<'_>,
    ) -> Result<Applied, Stop> {
        let source = attempt.source;
        let stored = self.tx.load_one(iid)?.ok_or(StoreError::NoObject(iid))?;
        let kind = stored.kind;
        let actor = &source.actor;
        let has = facts::of(kind);
        let creator = (has.creators && actor.is_creator()).then(|| actor.user_id.to_string());
        let context = MergeContext {
            now: self.now,
            creator: creator.as_deref(),
            // without a confidence of their own, inputs count with all that the user may claim
            confidence: if has.confidence {
                confidence(&input.element.attributes)
            } else {
                actor.level(&kind.name)
            },
            synchronized: false,
        };
        let strength = Strength::of(&context, stored.confidence);
        let weaker = Reason::Weaker {
            input: context.confidence.unwrap_or(0),
            level: actor.level(&kind.name).unwrap_or(0),
            stored: stored.confidence.unwrap_or(0),
        };
        let relinked = self.relinked(iid, links, strength, &weaker, attempt)?;
        let Stored {
            attributes,
            standard: old_standard,
            inputs: old_inputs,
            ..
        } = stored;
        let merged = merge::upsert(attributes, stored.confidence, &input.element, &context);
        for name in &merged.withheld {
            attempt.withheld.attribute(name, weaker.clone());
        }
        let inputs = attempt
            .to_remember()
            .map(|digest| self.remembered(iid, old_inputs.as_ref(), digest, source));
        let (mut attributes, mut changes) = (merged.attributes, merged.changes);

        let renamed = self.renamed(iid, &attributes, &changes, old_standard, kind)?;
        let current = renamed.unwrap_or(old_standard);
        let keys = self.new_keys(input, standard, current, renamed.map(|_| old_standard))?;
        self.stix_ids(
            &mut attributes,
            &mut changes,
            input,
            standard,
            current,
            renamed.map(|_| old_standard),
            &keys,
        )?;

        if changes.is_empty() && relinked.is_empty() && keys.is_empty() && renamed.is_none() {
            if let Some(inputs) = inputs.filter(|inputs| Some(inputs) != old_inputs.as_ref()) {
                self.tx.set_inputs(iid, Some(&inputs))?;
            }
            return Ok(Applied::Unchanged(iid));
        }
        let names_changed = changes.iter().any(is_searched);
        let texts = names_changed.then(|| texts(kind, &attributes));
        // written first: a new standard id frees the old one, which becomes a further key
        self.tx.update(
            iid,
            &ObjectChange {
                standard: renamed,
                attributes: (!changes.is_empty()).then_some(&attributes),
                confidence: Some(confidence(&attributes))
                    .filter(|confidence| *confidence != stored.confidence),
                text: texts
                    .as_ref()
                    .map(|(name, body)| (name.as_str(), body.as_str())),
                inputs: inputs.as_ref(),
            },
        )?;
        for (reference, change) in &relinked {
            self.tx.unlink(iid, reference.code, &change.remove)?;
            self.tx.link(iid, reference.code, &change.add)?;
            if reference.code == facts::marking_code() {
                self.forget_marked();
            }
        }
        self.tx.add_keys(iid, &keys)?;
        let previous = previous(&changes, &relinked, renamed.map(|_| old_standard));
        self.tx.history(&Event {
            operation: Operation::Update,
            iid,
            type_code: kind.code,
            actor: Some(source.actor.user_row),
            origin: source.origin.as_deref(),
            data: Some(&previous),
        })?;
        if audit::is_audited(kind, &source.actor)
            && let Some(stored) = self.tx.load_one(iid)?
        {
            let from = audit::From::default();
            audit::tell(
                self.tx,
                source,
                from,
                Scope::Update,
                &stored,
                &values(&changes),
            )?;
        }
        self.remember_head(
            iid,
            Head {
                kind,
                standard: current,
            },
        );
        self.remember(iid, keys.iter().copied().chain([current.key()]));
        self.changed(kind);
        if kind.name == "Marking-Definition" {
            self.forget_marking(iid);
        }
        self.wake(&keys)?;
        Ok(Applied::Updated(iid))
    }

    /// What changes of the references that the input gives. What would change if its confidence were higher is withheld, and not waited for.
    fn relinked(
        &mut self,
        iid: Iid,
        links: &mut Links,
        strength: Strength,
        weaker: &Reason,
        attempt: &mut Attempt<'_>,
    ) -> Result<Relinked, Stop> {
        const STRONGER: Strength = Strength {
            equal: true,
            above: true,
            synchronized: false,
        };
        let Attempt {
            source, withheld, ..
        } = attempt;
        let mut relinked = Vec::new();
        for (reference, targets) in links.refs.iter().filter(|(_, targets)| !targets.is_empty()) {
            let existing = self.existing(iid, reference)?;
            let change = |engine: &mut Self, strength: Strength| {
                if reference.code != facts::marking_code() {
                    Ok(merge::references(reference, &existing, targets, strength))
                } else if existing.is_empty() || strength.equal {
                    engine.combine_markings(&existing, targets)
                } else {
                    Ok(RefChange::default())
                }
            };
            let changed = change(self, strength)?;
            if changed.is_empty() {
                let open = strength.equal && (strength.above || reference.name != "createdBy");
                if !open && !change(self, STRONGER)?.is_empty() {
                    withheld.reference(&reference.name, weaker.clone());
                }
                continue;
            }
            if reference.name == SHARING
                && let Err(denial) = may(&source.actor, Action::Use(names::ORGANIZATION_RESTRICT))
            {
                withheld.reference(&reference.name, Reason::NotAllowed(denial));
                continue;
            }
            relinked.push((*reference, changed));
        }
        let mut missing = std::mem::take(&mut links.missing);
        if !strength.above {
            let mut kept = Vec::with_capacity(missing.len());
            for (reference, target) in missing {
                let asks = if reference.name == "createdBy" {
                    true
                } else {
                    !strength.equal && !merge::is_exempt(reference)
                };
                if asks && !self.existing(iid, reference)?.is_empty() {
                    withheld.reference(&reference.name, weaker.clone());
                } else {
                    kept.push((reference, target));
                }
            }
            missing = kept;
        }
        links.missing = missing;
        Ok(relinked)
    }

    fn existing(&mut self, iid: Iid, reference: &Reference) -> Result<Vec<Iid>, StoreError> {
        let targets = self.tx.targets(&[iid], reference.code)?.pop();
        Ok(targets.unwrap_or_default())
    }

    /// The standard id that an object has after a change of what identifies it, if that is another one and is free.
    fn renamed(
        &mut self,
        iid: Iid,
        attributes: &Map<String, Value>,
        changes: &[Change],
        old: StixId,
        kind: &'static ferrocti_model::EntityType,
    ) -> Result<Option<StixId>, Stop> {
        let identifying = |name: &str| {
            kind.id_rule
                .ways
                .iter()
                .flatten()
                .any(|contribution| contribution.property == name)
        };
        if facts::of(kind).needs_targets || !changes.iter().any(|change| identifying(&change.name))
        {
            return Ok(None);
        }
        let Ok(Some(new)) = ids::standard_id(kind, attributes, &|_| Vec::new()) else {
            return Ok(None);
        };
        let owner = self.resolve(new.key())?;
        Ok((new != old && owner.is_none_or(|owner| owner == iid)).then_some(new))
    }

    /// Keys of the input that the object does not have and nobody else has.
    fn new_keys(
        &mut self,
        input: &Input,
        standard: StixId,
        current: StixId,
        old: Option<StixId>,
    ) -> Result<Vec<Key>, Stop> {
        let mut keys = Vec::new();
        for key in input.keys.iter().copied().chain([standard.key()]) {
            if key != current.key() && !keys.contains(&key) && self.resolve(key)?.is_none() {
                keys.push(key);
            }
        }
        keys.extend(old.map(|old| old.key()));
        Ok(keys)
    }

    /// Adds to the list of other STIX ids what the input was given under and what the standard id was before.
    #[expect(
        clippy::too_many_arguments,
        reason = "the ids of one object, each with its own meaning"
    )]
    fn stix_ids(
        &self,
        attributes: &mut Map<String, Value>,
        changes: &mut Vec<Change>,
        input: &Input,
        standard: StixId,
        current: StixId,
        old: Option<StixId>,
        keys: &[Key],
    ) -> Result<(), Stop> {
        if input.kind().attribute(STIX_IDS).is_none() {
            return Ok(());
        }
        let given = input
            .element
            .stix_ids
            .iter()
            .copied()
            .chain([standard])
            .filter(|id| keys.contains(&id.key()));
        let mut added: Vec<String> = given
            .chain(old)
            .filter(|id| *id != current)
            .map(|id| id.to_string())
            .collect();
        added.dedup();
        let before = attributes.get(STIX_IDS).cloned().unwrap_or(Value::Null);
        let mut list = before.as_array().cloned().unwrap_or_default();
        let length = list.len();
        for id in added {
            if !list.iter().any(|known| known.as_str() == Some(&id)) {
                list.push(id.into());
            }
        }
        if list.len() > length {
            let after = Value::Array(list);
            attributes.insert(STIX_IDS.to_owned(), after.clone());
            changes.push(Change {
                name: STIX_IDS.to_owned(),
                before,
                after,
            });
        }
        Ok(())
    }
}

/// The former values of what has changed.
pub fn values(changes: &[Change]) -> Map<String, Value> {
    let changes = changes.iter();
    changes
        .map(|change| (change.name.clone(), change.before.clone()))
        .collect()
}

/// Whether a change may touch what an object is found by. Times and ids are not.
fn is_searched(change: &Change) -> bool {
    !matches!(
        change.name.as_str(),
        "modified" | "created" | "creator_id" | "confidence" | "revoked" | STIX_IDS
    )
}

/// What the history keeps of an update: previous values of attributes (null: there was none), references added and removed by row
/// numbers, and the previous standard id.
pub fn previous(changes: &[Change], relinked: &Relinked, standard: Option<StixId>) -> Value {
    let mut data = Map::new();
    if !changes.is_empty() {
        data.insert("attributes".to_owned(), Value::Object(values(changes)));
    }
    if !relinked.is_empty() {
        let references: Map<String, Value> = relinked
            .iter()
            .map(|(reference, change)| {
                (
                    reference.name.clone(),
                    json!({"added": change.add, "removed": change.remove}),
                )
            })
            .collect();
        data.insert("references".to_owned(), Value::Object(references));
    }
    if let Some(standard) = standard {
        data.insert("standard_id".to_owned(), standard.to_string().into());
    }
    Value::Object(data)
}
