//! What an object is known by after an edit.

use std::collections::HashSet;

use ferrocti_model::{
    Key, StixId, ids,
    registry::{Category, EntityType},
    stix::value::same,
};
use ferrocti_store::{Iid, Stored};
use serde_json::{Map, Value};

use super::{EditError, Editor, changes};
use crate::apply::{RefusedReason, facts, update::STIX_IDS};

/// How the identifiers of an object change.
#[derive(Debug, Default)]
pub struct Identity {
    /// The new standard id.
    pub renamed: Option<StixId>,
    /// Further keys that it gets; the former standard id is among them.
    pub gained: Vec<Key>,
    /// Further keys that it had.
    pub lost: Vec<Key>,
}

impl Editor<'_, '_, '_> {
    /// The identifiers that follow from an object's attributes after an edit. A former standard id stays as a further one, unless the object is an
    /// observable that has become another thing: what it was known by belongs to what it was.
    pub fn identity(
        &mut self,
        stored: &Stored,
        attributes: &mut Map<String, Value>,
    ) -> Result<Identity, EditError> {
        let kind = stored.kind;
        let mut identity = Identity {
            renamed: self.renamed(stored, attributes)?,
            ..Identity::default()
        };
        let current = identity.renamed.unwrap_or(stored.standard);
        let is_other = identity.renamed.is_some()
            && kind.category == Category::Observable
            && !only_adds(kind, &stored.attributes, attributes);
        if is_other {
            leave_out_former_ids(stored, attributes);
        } else if identity.renamed.is_some() && kind.attribute(STIX_IDS).is_some() {
            let list = attributes
                .entry(STIX_IDS)
                .or_insert_with(|| Value::Array(Vec::new()));
            let old = stored.standard.to_string();
            if let Value::Array(items) = list
                && !items.iter().any(|item| item.as_str() == Some(&old))
            {
                items.push(old.into());
            }
        }
        let before = keys(kind, &stored.attributes);
        let after = keys(kind, attributes);
        for key in &after {
            if before.contains(key) || *key == current.key() || *key == stored.standard.key() {
                continue;
            }
            match self.engine.resolve(*key)? {
                None => identity.gained.push(*key),
                Some(owner) if owner != stored.iid => return Err(self.duplicate(owner)?),
                Some(_) => {}
            }
        }
        if identity.renamed.is_some() && !is_other {
            identity.gained.push(stored.standard.key());
        }
        let kept = [current.key(), stored.standard.key()];
        identity.lost = before
            .into_iter()
            .filter(|key| !after.contains(key) && !kept.contains(key))
            .collect();
        Ok(identity)
    }

    /// The standard id after a change of what identifies the object, if that is another one.
    fn renamed(
        &mut self,
        stored: &Stored,
        attributes: &Map<String, Value>,
    ) -> Result<Option<StixId>, EditError> {
        let kind = stored.kind;
        let changed = changes(&stored.attributes, attributes);
        let identifying = |name: &str| {
            let mut contributions = kind.id_rule.ways.iter().flatten();
            contributions.any(|contribution| contribution.property == name)
        };
        if facts::of(kind).needs_targets || !changed.iter().any(|change| identifying(&change.name))
        {
            return Ok(None);
        }
        let new = match ids::standard_id(kind, attributes, &|_| Vec::new()) {
            Ok(Some(new)) if new != stored.standard => new,
            Ok(_) => return Ok(None),
            Err(error) => return Err(RefusedReason::from(error).into()),
        };
        match self.engine.resolve(new.key())? {
            Some(owner) if owner != stored.iid => Err(self.duplicate(owner)?),
            _ => Ok(Some(new)),
        }
    }

    /// That another object is known by what this one would be known by. One that the actor may not see is not named.
    fn duplicate(&mut self, owner: Iid) -> Result<EditError, EditError> {
        if !self.engine.visible(owner, &self.source.actor)? {
            return Ok(RefusedReason::Restricted { relation: false }.into());
        }
        Ok(EditError::Duplicate {
            other: self.engine.head(owner)?.standard.to_string(),
        })
    }
}

/// Whether what identifies an object is there after an edit as before, with more to it at most.
fn only_adds(kind: &EntityType, before: &Map<String, Value>, after: &Map<String, Value>) -> bool {
    let mut contributions = kind.id_rule.ways.iter().flatten();
    contributions.all(|contribution| {
        let values = (
            before.get(&contribution.property),
            after.get(&contribution.property),
        );
        match values {
            (None, _) => true,
            (Some(Value::Object(before)), Some(Value::Object(after))) => before
                .iter()
                .all(|(key, value)| after.get(key) == Some(value)),
            (Some(before), after) => after.is_some_and(|after| same(before, after)),
        }
    })
}

/// Takes out of the list of further STIX ids those that the object had before.
fn leave_out_former_ids(stored: &Stored, attributes: &mut Map<String, Value>) {
    let former = stored.attributes.get(STIX_IDS).and_then(Value::as_array);
    let former = former.map_or(&[][..], Vec::as_slice);
    if let Some(Value::Array(items)) = attributes.get_mut(STIX_IDS) {
        items.retain(|item| !former.contains(item));
        if items.is_empty() {
            attributes.shift_remove(STIX_IDS);
        }
    }
}

/// The further keys that follow from attributes: ids of aliases, hashes, other STIX ids.
fn keys(kind: &EntityType, attributes: &Map<String, Value>) -> HashSet<Key> {
    let given = attributes.get(STIX_IDS).and_then(Value::as_array);
    let given = given
        .into_iter()
        .flatten()
        .filter_map(|id| StixId::parse(id.as_str()?).ok());
    let ids = ids::alias_ids(kind, attributes).into_iter().chain(given);
    ids.map(|id| id.key())
        .chain(ids::hash_keys(kind, attributes))
        .collect()
}
