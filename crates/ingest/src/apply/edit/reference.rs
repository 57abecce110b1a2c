//! Adding and removing references between objects.

use ferrocti_access::{Action, may, names};
use ferrocti_model::{
    Ident, StixId,
    list::{fresh, unique},
    registry::{EntityType, Reference},
    stix::{self, RefusalReason, value::ValueError},
};
use ferrocti_store::{Iid, Stored};
use serde_json::Value;

use super::{Comment, EditError, Editor, Linked, Need, Subject, is_exempt, relink};
use crate::apply::{RefusedReason, facts, links::accepts};

impl Editor<'_, '_, '_> {
    /// Adds targets to a reference of an object.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it, or the reference holds one target and has another.
    pub fn link(
        &mut self,
        subject: &Subject<'_>,
        name: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Linked, EditError> {
        let stored = self.subject(subject)?;
        let reference = named(stored.kind, name)?;
        self.may_update(&stored, Need::Update, is_exempt(reference))?;
        let found = self.targets(&stored, reference, targets)?;
        let Some(first) = found.first().copied() else {
            return Err(RefusedReason::MissingReference("no target".to_owned()).into());
        };
        let before = self.linked(stored.iid, reference)?;
        if !reference.multiple && !before.is_empty() && before != found {
            return Err(EditError::Occupied(reference.name.clone()));
        }
        let mut after = before.clone();
        self.unite(reference, &mut after, &found)?;
        self.relink(&stored, reference, &before, &after, comment)?;
        Ok(Linked {
            source: stored.iid,
            reference,
            target: first,
        })
    }

    /// Removes a target of a reference of an object. Nothing changes when it is none.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it, or there is no such target.
    pub fn unlink(
        &mut self,
        subject: &Subject<'_>,
        name: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        let stored = self.subject(subject)?;
        let reference = named(stored.kind, name)?;
        self.may_update(&stored, Need::Update, is_exempt(reference))?;
        self.may_share(reference)?;
        let found = self.found(reference, targets)?;
        let before = self.linked(stored.iid, reference)?;
        let mut after = before.clone();
        after.retain(|iid| !found.contains(iid));
        may_empty(stored.kind, reference, &before, &after)?;
        self.relink(&stored, reference, &before, &after, comment)?;
        Ok(stored.iid)
    }

    fn relink(
        &mut self,
        stored: &Stored,
        reference: &'static Reference,
        before: &[Iid],
        after: &[Iid],
        comment: &Comment,
    ) -> Result<(), EditError> {
        let change = relink(before, after);
        let relinked = if change.is_empty() {
            Vec::new()
        } else {
            vec![(reference, change)]
        };
        self.write(stored, stored.attributes.clone(), &relinked, comment)?;
        Ok(())
    }

    /// The targets that a reference has.
    pub(super) fn linked(
        &mut self,
        iid: Iid,
        reference: &'static Reference,
    ) -> Result<Vec<Iid>, EditError> {
        let mut targets = self.engine.tx.targets(&[iid], reference.code)?;
        Ok(targets.pop().unwrap_or_default())
    }

    /// Objects that a reference of an object may point to, by their identifiers.
    pub(super) fn targets(
        &mut self,
        stored: &Stored,
        reference: &'static Reference,
        idents: &[Ident],
    ) -> Result<Vec<Iid>, EditError> {
        let found = self.found(reference, idents)?;
        if found.contains(&stored.iid) {
            return Err(EditError::Itself(reference.name.clone()));
        }
        self.may_point_to(reference, &found)?;
        Ok(found)
    }

    /// The rows of identifiers, all of which must exist and be visible.
    pub(super) fn found(
        &mut self,
        reference: &Reference,
        idents: &[Ident],
    ) -> Result<Vec<Iid>, EditError> {
        let mut found = Vec::with_capacity(idents.len());
        for ident in idents {
            let iid = match self.engine.resolve(ident.key())? {
                Some(iid) if self.engine.visible(iid, &self.source.actor)? => iid,
                _ if is_user(reference) => return Err(EditError::Users(reference.name.clone())),
                _ => return Err(RefusedReason::MissingReference(ident.to_string()).into()),
            };
            found.push(iid);
        }
        Ok(unique(&found))
    }

    /// Whether a reference may point to these, and the actor may let it.
    fn may_point_to(
        &mut self,
        reference: &'static Reference,
        targets: &[Iid],
    ) -> Result<(), EditError> {
        self.may_share(reference)?;
        let mut markings: Vec<StixId> = Vec::new();
        for target in targets {
            let head = self.engine.head(*target)?;
            if !accepts(reference, head.kind) {
                return Err(RefusedReason::WrongTarget {
                    reference: reference.name.clone(),
                    found: head.kind.name.clone(),
                }
                .into());
            }
            if reference.code == facts::marking_code() {
                markings.push(head.standard);
            }
        }
        let action = Action::Mark {
            markings: &markings,
        };
        Ok(may(&self.source.actor, action)?)
    }

    /// Those targets that the actor may not see: who sets or clears the others does not know of them, and leaves them.
    pub(super) fn hidden(&mut self, targets: &[Iid]) -> Result<Vec<Iid>, EditError> {
        let mut hidden = Vec::new();
        for target in targets {
            if !self.engine.visible(*target, &self.source.actor)? {
                hidden.push(*target);
            }
        }
        Ok(hidden)
    }

    /// Sharing with organizations is a right of its own.
    pub(super) fn may_share(&self, reference: &Reference) -> Result<(), EditError> {
        if reference.name == "objectOrganization" {
            let action = Action::Use(names::ORGANIZATION_RESTRICT);
            may(&self.source.actor, action)?;
        }
        Ok(())
    }

    /// Adds targets to those that a reference has: of the markings of one kind the strictest stay.
    pub(super) fn unite(
        &mut self,
        reference: &'static Reference,
        targets: &mut Vec<Iid>,
        added: &[Iid],
    ) -> Result<(), EditError> {
        if reference.code == facts::marking_code() {
            let change = self.engine.combine_markings(targets, added)?;
            targets.retain(|iid| !change.remove.contains(iid));
            targets.extend(change.add);
        } else if reference.multiple {
            let new = fresh(targets, added);
            targets.extend(new);
        } else if let Some(first) = added.first() {
            *targets = vec![*first];
        }
        Ok(())
    }
}

/// A reference that must have a target keeps one.
pub(super) fn may_empty(
    kind: &EntityType,
    reference: &Reference,
    before: &[Iid],
    after: &[Iid],
) -> Result<(), EditError> {
    if reference.mandatory && after.is_empty() && !before.is_empty() {
        return Err(RefusalReason::MissingProperty {
            property: reference.name.clone(),
            kind: kind.name.clone(),
        }
        .into());
    }
    Ok(())
}

/// The reference of a type by the name of its relationship type, its input name, or its STIX property.
///
/// # Errors
/// [`EditError::UnknownField`] when the type has none of that name.
pub fn named(kind: &'static EntityType, name: &str) -> Result<&'static Reference, EditError> {
    let same = |known: &str| {
        known == name || known.trim_start_matches("obs_") == name || known.replace('_', "-") == name
    };
    let mut references = kind.refs.iter();
    references
        .find(|reference| {
            same(&reference.relationship) || reference.name == name || same(&reference.stix)
        })
        .ok_or_else(|| EditError::UnknownField {
            kind: kind.name.clone(),
            key: name.to_owned(),
        })
}

/// Values of a reference as identifiers; labels may be named by their text.
pub(super) fn idents(reference: &Reference, values: &[Value]) -> Result<Vec<Ident>, EditError> {
    let bad = |error| RefusalReason::BadValue {
        property: reference.name.clone(),
        error,
    };
    let mut found = Vec::with_capacity(values.len());
    for value in values {
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.trim().is_empty() => continue,
            Value::String(text) => text.trim(),
            _ => return Err(bad(ValueError::Text).into()),
        };
        let ident = match Ident::parse(text) {
            Ok(ident) => ident,
            Err(error) => label(reference, text).ok_or(RefusalReason::BadReference {
                property: reference.name.clone(),
                error,
            })?,
        };
        found.push(ident);
    }
    Ok(unique(&found))
}

fn label(reference: &Reference, text: &str) -> Option<Ident> {
    if reference.name != "objectLabel" {
        return None;
    }
    let label = stix::label(text, None)?;
    label.stix_ids.first().copied().map(Ident::Stix)
}

/// Whether a reference points to users of the platform, which are not objects.
fn is_user(reference: &Reference) -> bool {
    !reference.targets.is_empty() && reference.targets.iter().all(|target| target == "User")
}
