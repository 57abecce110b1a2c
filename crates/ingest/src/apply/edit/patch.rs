//! Changing attributes and references of an object by their names.

use ferrocti_model::{
    registry::{Attribute, EntityType, Reference},
    stix::{self, RefusalReason},
};
use ferrocti_store::{Iid, Stored};
use serde_json::{Map, Value};

use super::{
    Comment, EditError, EditOperation, Editor, FieldEdit, Need, Subject, attribute, changes,
    is_exempt, reference::may_empty, relink, vocabulary,
};
use crate::apply::{facts, update::Relinked};

/// What a key names.
enum Field {
    Attribute(&'static Attribute),
    Reference(&'static Reference),
    /// A property outside of the data model.
    Custom,
}

/// The targets of a reference before and after the edits.
struct Targets {
    reference: &'static Reference,
    before: Vec<Iid>,
    after: Vec<Iid>,
}

impl Editor<'_, '_, '_> {
    /// Does all edits of one object, or none.
    ///
    /// # Errors
    /// [`EditError`] with the first reason against it.
    pub fn patch(
        &mut self,
        subject: &Subject<'_>,
        edits: &[FieldEdit],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        let stored = self.subject(subject)?;
        let kind = stored.kind;
        let fields = edits
            .iter()
            .map(|edit| Ok((field(kind, &edit.key)?, edit)))
            .collect::<Result<Vec<_>, EditError>>()?;
        let exempt = fields
            .iter()
            .all(|(field, _)| matches!(field, Field::Reference(reference) if is_exempt(reference)));
        self.may_update(&stored, Need::Update, exempt)?;

        let mut attributes = stored.attributes.clone();
        let mut targets: Vec<Targets> = Vec::new();
        for (field, edit) in fields {
            match field {
                Field::Attribute(attribute) => {
                    self.edit_attribute(&mut attributes, attribute, edit)?;
                }
                Field::Custom => attribute::custom(&mut attributes, edit),
                Field::Reference(reference) => {
                    let entry = self.entry(&stored, &mut targets, reference)?;
                    self.edit_reference(&stored, entry, edit)?;
                }
            }
        }
        if let (false, Some(reference)) = (
            comment.references.is_empty(),
            kind.reference("externalReferences"),
        ) {
            let found = self.targets(&stored, reference, &comment.references)?;
            let entry = self.entry(&stored, &mut targets, reference)?;
            let new: Vec<Iid> = found
                .into_iter()
                .filter(|iid| !entry.after.contains(iid))
                .collect();
            entry.after.extend(new);
        }
        if !exempt {
            self.claim(&stored, &mut attributes);
        }
        self.complete(&stored, &mut attributes)?;
        let relinked: Relinked = targets
            .into_iter()
            .map(|targets| (targets.reference, relink(&targets.before, &targets.after)))
            .filter(|(_, change)| !change.is_empty())
            .collect();
        let named = attributes.get("name").cloned();
        self.write(&stored, attributes, &relinked, comment)?;
        if kind.name == "Vocabulary" {
            self.rename_values(&stored, named.as_ref().and_then(Value::as_str))?;
        }
        Ok(stored.iid)
    }

    /// The targets of a reference, read when it is edited for the first time.
    fn entry<'l>(
        &mut self,
        stored: &Stored,
        all: &'l mut Vec<Targets>,
        reference: &'static Reference,
    ) -> Result<&'l mut Targets, EditError> {
        let known = all
            .iter()
            .position(|targets| targets.reference.code == reference.code);
        let index = match known {
            Some(index) => index,
            None => {
                let before = self.linked(stored.iid, reference)?;
                all.push(Targets {
                    reference,
                    after: before.clone(),
                    before,
                });
                all.len() - 1
            }
        };
        all.get_mut(index)
            .ok_or(EditError::Store(ferrocti_store::StoreError::Closed))
    }

    fn edit_attribute(
        &mut self,
        attributes: &mut Map<String, Value>,
        attribute: &'static Attribute,
        edit: &FieldEdit,
    ) -> Result<(), EditError> {
        if !attribute.editable {
            return Err(EditError::NotEditable(edit.key.clone()));
        }
        if attribute.name == "confidence" {
            // what is claimed is limited later; whoever clears it claims nothing
            if let Some(value) = attribute::confidence(attribute, edit)? {
                attributes.insert(edit.key.clone(), value.into());
            }
            return Ok(());
        }
        attribute::edit(attributes, attribute, edit)
    }

    fn edit_reference(
        &mut self,
        stored: &Stored,
        targets: &mut Targets,
        edit: &FieldEdit,
    ) -> Result<(), EditError> {
        let reference = targets.reference;
        let idents = super::reference::idents(reference, &edit.values)?;
        if edit.operation == EditOperation::Remove {
            self.may_share(reference)?;
            let found = self.found(reference, &idents)?;
            targets.after.retain(|iid| !found.contains(iid));
        } else {
            let found = self.targets(stored, reference, &idents)?;
            if edit.operation == EditOperation::Replace || !reference.multiple {
                let hidden = self.hidden(&targets.after)?;
                // a single target that another one takes the place of is gone, whoever sees it
                let kept = reference.multiple || found.is_empty();
                targets.after = if kept { hidden } else { Vec::new() };
            }
            self.unite(reference, &mut targets.after, &found)?;
        }
        may_empty(stored.kind, reference, &targets.before, &targets.after)
    }

    /// What the edit says about the object's confidence: what was given, at most the actor's level; the level where nothing is known.
    fn claim(&self, stored: &Stored, attributes: &mut Map<String, Value>) {
        let kind = stored.kind;
        let Some(level) = self.source.actor.level(&kind.name) else {
            return;
        };
        if !facts::of(kind).confidence {
            return;
        }
        let now = attributes.get("confidence").and_then(Value::as_u64);
        let claimed = match now.and_then(|now| u8::try_from(now).ok()) {
            Some(now) if stored.confidence == Some(now) => return,
            Some(now) => now.min(level),
            None => level,
        };
        attributes.insert("confidence".to_owned(), claimed.into());
    }

    /// Brings the attributes in line with each other and checks them, as those of a new object.
    fn complete(
        &mut self,
        stored: &Stored,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), EditError> {
        let kind = stored.kind;
        if changes(&stored.attributes, attributes).is_empty() {
            return Ok(());
        }
        stix::finish(kind, attributes)?;
        let changed = changes(&stored.attributes, attributes);
        for change in &changed {
            let Some(attribute) = kind.attribute(&change.name) else {
                continue;
            };
            if attribute.mandatory && stix::value::is_empty(&change.after) {
                return Err(RefusalReason::MissingProperty {
                    property: attribute.name.clone(),
                    kind: kind.name.clone(),
                }
                .into());
            }
            if attribute.vocabulary.is_some() {
                self.entries(kind, attributes, attribute)?;
            }
        }
        if kind.name == "Indicator" {
            attribute::settle_indicator(attributes, &changed, self.engine.now);
        }
        if kind.name == "Vocabulary" {
            vocabulary::check(&changed, attributes)?;
        }
        Ok(())
    }
}

/// What a key names in a type.
fn field(kind: &'static EntityType, key: &str) -> Result<Field, EditError> {
    if let Some(reference) = kind.reference(key) {
        return Ok(Field::Reference(reference));
    }
    if let Some(attribute) = kind.attribute(key) {
        return Ok(Field::Attribute(attribute));
    }
    if stix::is_custom(kind, key) {
        return Ok(Field::Custom);
    }
    Err(EditError::UnknownField {
        kind: kind.name.clone(),
        key: key.to_owned(),
    })
}
