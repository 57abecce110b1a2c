//! An element that several stored objects claim to be.
//!
//! Hashed observables that turn out to be the same file are merged into one. For other types nothing stored is merged: a wrong alias must not destroy
//! what is known; the best match is updated, and identifiers and aliases of the others stay with them.

use ferrocti_model::{
    StixId, ids,
    registry::{EntityType, Preset},
};
use ferrocti_store::{
    Event, Iid, ObjectChange, Operation, RelationshipQuery, Side, StoreError, Stored, Visibility,
};
use serde_json::{Map, Value, json};

use super::{
    create::{confidence, texts},
    engine::{Attempt, Engine, Links, Source, Stop},
    facts,
    input::Input,
    object::Applied,
    update::STIX_IDS,
};

impl Engine<'_, '_> {
    /// Applies an element that several objects match.
    pub fn combine(
        &mut self,
        matches: &[Iid],
        mut input: Input,
        standard: StixId,
        links: &mut Links,
        attempt: &mut Attempt<'_>,
    ) -> Result<Applied, Stop> {
        let owner = self
            .resolve(standard.key())?
            .filter(|owner| matches.contains(owner));
        if !facts::of(input.kind()).hashed {
            let given = input.element.stix_ids.first().map(StixId::key);
            let named = match given {
                Some(key) => self.resolve(key)?.filter(|owner| matches.contains(owner)),
                None => None,
            };
            let oldest = matches.iter().min().copied();
            let Some(target) = owner.or(named).or(oldest) else {
                return Err(Stop::Store(StoreError::NoObject(0)));
            };
            self.leave_to_others(&mut input, target)?;
            return self.update(target, &input, standard, links, attempt);
        }
        let Some(target) = owner.or_else(|| matches.iter().min().copied()) else {
            return Err(Stop::Store(StoreError::NoObject(0)));
        };
        for other in matches.iter().filter(|other| **other != target) {
            self.absorb(target, *other, attempt.source)?;
        }
        match self.update(target, &input, standard, links, attempt)? {
            Applied::Unchanged(iid) => Ok(Applied::Updated(iid)),
            applied => Ok(applied),
        }
    }

    /// Takes out of an input the aliases that are names or aliases of other objects.
    fn leave_to_others(&mut self, input: &mut Input, target: Iid) -> Result<(), Stop> {
        let kind = input.kind();
        let Some(name) = kind.alias_attribute.as_deref() else {
            return Ok(());
        };
        let Some(Value::Array(aliases)) = input.element.attributes.get(name).cloned() else {
            return Ok(());
        };
        let mut kept = Vec::with_capacity(aliases.len());
        for alias in aliases {
            let mut single = input.element.attributes.clone();
            single.insert(name.to_owned(), Value::Array(vec![alias.clone()]));
            let mut elsewhere = false;
            for id in ids::alias_ids(kind, &single) {
                elsewhere |= self.resolve(id.key())?.is_some_and(|owner| owner != target);
            }
            if !elsewhere {
                kept.push(alias);
            }
        }
        input
            .element
            .attributes
            .insert(name.to_owned(), Value::Array(kept));
        Ok(())
    }

    /// Merges one object into another of the same type: its relationships, references and identifiers go over, its attributes fill gaps.
    pub fn absorb(&mut self, target: Iid, other: Iid, source: &Source) -> Result<(), Stop> {
        let into = self
            .tx
            .load_one(target)?
            .ok_or(StoreError::NoObject(target))?;
        let from = self
            .tx
            .load_one(other)?
            .ok_or(StoreError::NoObject(other))?;
        let kind = into.kind;
        let before = into.attributes.clone();
        let mut attributes = into.attributes;
        united(kind, &mut attributes, &from);

        // a reference with one target keeps the one it has
        for reference in kind.refs.iter().filter(|reference| !reference.multiple) {
            if self
                .tx
                .targets(&[target], reference.code)?
                .iter()
                .any(|targets| !targets.is_empty())
            {
                let surplus = self
                    .tx
                    .targets(&[other], reference.code)?
                    .pop()
                    .unwrap_or_default();
                self.tx.unlink(other, reference.code, &surplus)?;
            }
        }
        let moved = self.tx.relationships_of(&RelationshipQuery {
            iid: other,
            side: Side::Both,
            types: &[],
            visible: &Visibility::All,
            after: 0,
            limit: usize::MAX,
        })?;
        let edges = self.tx.refs_of(&[other])?;
        self.tx.move_ends(other, target)?;
        self.tx.move_edges(other, target)?;
        self.tx.move_keys(other, target)?;
        self.tx.move_parked(other, target)?;
        self.tx.delete(other)?;
        self.forget();

        let markings = self
            .tx
            .targets(&[target], facts::marking_code())?
            .pop()
            .unwrap_or_default();
        let lax = self.combine_markings(&markings, &[])?.remove;
        self.tx.unlink(target, facts::marking_code(), &lax)?;
        self.forget_marked();
        let changed: Map<String, Value> = attributes
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(*value))
            .map(|(name, _)| {
                (
                    name.clone(),
                    before.get(name).cloned().unwrap_or(Value::Null),
                )
            })
            .collect();
        let (name, body) = texts(kind, &attributes);
        self.tx.update(
            target,
            &ObjectChange {
                attributes: Some(&attributes),
                confidence: Some(confidence(&attributes)),
                text: Some((&name, &body)),
                ..ObjectChange::default()
            },
        )?;
        let data = json!({
            "attributes": changed,
            "merged": {
                "id": from.internal,
                "standard_id": from.standard.to_string(),
                "attributes": from.attributes,
                "references": edges.iter().map(|edge| (edge.reference, edge.target)).collect::<Vec<_>>(),
                "relationships": moved,
            },
        });
        self.event(Operation::Merge, target, kind, source, &data)?;
        for relationship in moved {
            self.moved(relationship, source)?;
        }
        Ok(())
    }

    /// A relationship that one of its ends was merged away from: it may be one that exists already, or point to itself now.
    fn moved(&mut self, iid: Iid, source: &Source) -> Result<(), Stop> {
        let Some(stored) = self.tx.load_one(iid)? else {
            return Ok(());
        };
        let Some((from, to)) = stored.ends else {
            return Ok(());
        };
        if from == to {
            return self.remove(&stored, source);
        }
        let twin = self
            .tx
            .between(from, to, stored.kind.code)?
            .into_iter()
            .find(|other| *other != iid);
        if let Some(twin) = twin {
            let (older, younger) = (twin.min(iid), twin.max(iid));
            let dates = ["start_time", "stop_time", "first_seen", "last_seen"];
            let other = self.tx.load_one(twin)?.ok_or(StoreError::NoObject(twin))?;
            if dates
                .iter()
                .all(|name| other.attributes.get(*name) == stored.attributes.get(*name))
            {
                return self.absorb(older, younger, source);
            }
        }
        let standard = self.standard_after_move(&stored, from, to)?;
        let free = self.resolve(standard.key())?.is_none();
        if standard != stored.standard && free {
            self.tx.update(
                iid,
                &ObjectChange {
                    standard: Some(standard),
                    ..ObjectChange::default()
                },
            )?;
            self.tx.add_keys(iid, &[stored.standard.key()])?;
            self.remember(iid, [standard.key(), stored.standard.key()]);
            let data = json!({"standard_id": stored.standard.to_string()});
            self.event(Operation::Update, iid, stored.kind, source, &data)?;
        }
        Ok(())
    }

    /// The standard id of a relationship for its new ends. Dates that were only preset did not enter the old one.
    fn standard_after_move(&mut self, stored: &Stored, from: Iid, to: Iid) -> Result<StixId, Stop> {
        let (from, to) = (self.head(from)?.standard, self.head(to)?.standard);
        let mut attributes = stored.attributes.clone();
        for (attribute, preset) in stored.kind.presets() {
            if let Preset::Value(value) = preset
                && attributes.get(&attribute.name) == Some(value)
            {
                attributes.shift_remove(&attribute.name);
            }
        }
        let targets = |name: &str| vec![if name == "from" { from } else { to }];
        match ids::standard_id(stored.kind, &attributes, &targets) {
            Ok(Some(standard)) => Ok(standard),
            Ok(None) => Ok(stored.standard),
            Err(error) => Err(Stop::Refused(error.into())),
        }
    }

    /// Deletes a relationship that has become meaningless, and those that end at it.
    fn remove(&mut self, stored: &Stored, source: &Source) -> Result<(), Stop> {
        let above = self.tx.relationships_of(&RelationshipQuery {
            iid: stored.iid,
            side: Side::Both,
            types: &[],
            visible: &Visibility::All,
            after: 0,
            limit: usize::MAX,
        })?;
        for iid in above {
            if let Some(relationship) = self.tx.load_one(iid)? {
                self.remove(&relationship, source)?;
            }
        }
        self.tx.delete(stored.iid)?;
        self.forget();
        let data = json!({"id": stored.internal, "standard_id": stored.standard.to_string(), "ends": stored.ends, "attributes": stored.attributes});
        self.event(Operation::Delete, stored.iid, stored.kind, source, &data)
    }

    fn event(
        &mut self,
        operation: Operation,
        iid: Iid,
        kind: &EntityType,
        source: &Source,
        data: &Value,
    ) -> Result<(), Stop> {
        self.tx.history(&Event {
            operation,
            iid,
            type_code: kind.code,
            actor: Some(source.actor.user_row),
            origin: source.origin.as_deref(),
            data: Some(data),
        })?;
        Ok(())
    }
}

/// Fills the gaps of one object's attributes with those of another: lists and hashes are united, single values stay.
fn united(kind: &EntityType, attributes: &mut Map<String, Value>, from: &Stored) {
    let own_name = attributes
        .get("name")
        .and_then(Value::as_str)
        .map(str::to_owned);
    for (name, value) in &from.attributes {
        match (attributes.get_mut(name), value) {
            (None | Some(Value::Null), _) => drop(attributes.insert(name.clone(), value.clone())),
            (Some(Value::Array(own)), Value::Array(others)) => {
                for other in others {
                    if !own.contains(other) {
                        own.push(other.clone());
                    }
                }
            }
            (Some(Value::Object(own)), Value::Object(others)) => {
                for (key, value) in others {
                    own.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {}
        }
    }
    let mut add = |name: &str, text: String| {
        if kind.attribute(name).is_none() {
            return;
        }
        let list = attributes
            .entry(name)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(items) = list
            && !items.iter().any(|item| item.as_str() == Some(&text))
        {
            items.push(text.into());
        }
    };
    add(STIX_IDS, from.standard.to_string());
    let Some(name) = from.attributes.get("name").and_then(Value::as_str) else {
        return;
    };
    if kind.name == "StixFile" {
        add("x_opencti_additional_names", name.to_owned());
    }
    if let Some(aliases) = kind.alias_attribute.as_deref()
        && own_name
            .as_deref()
            .is_none_or(|own| ids::normalise_name(own) != ids::normalise_name(name))
    {
        add(aliases, name.to_owned());
        if let Some(Value::Array(items)) = attributes.get_mut(aliases) {
            items.retain(|item| item.as_str() != own_name.as_deref());
        }
    }
}
