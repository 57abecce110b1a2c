//! Vocabularies: values that must be entries, and entries that change their names.

use ferrocti_model::{
    Element, Registry,
    filter::{AttributeKey, Expression, Operand, Test},
    merge::Change,
    registry::{Attribute, EntityType},
};
use ferrocti_store::{ObjectQuery, Operation, Stored, Visibility};
use serde_json::{Map, Value, json};

use super::{EditError, Editor, changes};
use crate::apply::{RefusedReason, create::texts, facts, object::Outcome};

/// Objects whose values are rewritten together.
const PAGE: usize = 500;

/// An entry stays in its vocabulary, and the platform's own keep their names.
pub fn check(changed: &[Change], attributes: &Map<String, Value>) -> Result<(), EditError> {
    for change in changed {
        let is_closed = || {
            attributes
                .get("category")
                .and_then(Value::as_str)
                .is_some_and(facts::is_closed)
        };
        if change.name == "category" || (change.name == "name" && is_closed()) {
            return Err(EditError::NotEditable(change.name.clone()));
        }
    }
    Ok(())
}

impl Editor<'_, '_, '_> {
    /// Brings the values of an attribute into the form of their entries, which are made where the actor may.
    pub(super) fn entries(
        &mut self,
        kind: &'static EntityType,
        attributes: &mut Map<String, Value>,
        attribute: &'static Attribute,
    ) -> Result<(), EditError> {
        let (Some(category), Some(value)) = (
            attribute.vocabulary.as_deref(),
            attributes.get_mut(&attribute.name),
        ) else {
            return Ok(());
        };
        let mut element = Element::new(kind);
        element
            .attributes
            .insert(attribute.name.clone(), value.clone());
        self.engine
            .entries(&element, self.source, &mut Outcome::default())?;
        let list = match value {
            Value::Array(items) => items.as_mut_slice(),
            single => std::slice::from_mut(single),
        };
        for item in list {
            let Value::String(text) = item else { continue };
            match self.engine.vocabulary_entry(category, text)? {
                Some(entry) => *text = entry,
                None => {
                    return Err(RefusedReason::NotInVocabulary {
                        category: category.to_owned(),
                        value: text.clone(),
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// After an entry has got another name: the objects that have the old one as a value get the new one.
    pub(super) fn rename_values(
        &mut self,
        before: &Stored,
        after: Option<&str>,
    ) -> Result<(), EditError> {
        let text = |name: &str| before.attributes.get(name).and_then(Value::as_str);
        let (Some(old), Some(new), Some(category)) = (text("name"), after, text("category")) else {
            return Ok(());
        };
        if old == new {
            return Ok(());
        }
        for kind in Registry::get().types() {
            for attribute in &kind.attributes {
                if attribute.vocabulary.as_deref() == Some(category) {
                    self.rename_in(kind, attribute, old, new)?;
                }
            }
        }
        Ok(())
    }

    fn rename_in(
        &mut self,
        kind: &'static EntityType,
        attribute: &'static Attribute,
        old: &str,
        new: &str,
    ) -> Result<(), EditError> {
        let key = AttributeKey {
            name: attribute.name.clone(),
            inner: None,
            kind: attribute.kind,
            multiple: attribute.multiple,
        };
        let test = Test::Equals(Operand::Text(old.to_owned()));
        let mut query = ObjectQuery {
            condition: Expression::Value(key, test),
            ..ObjectQuery::new(vec![kind.code], Visibility::All, PAGE)
        };
        loop {
            let page = self.engine.tx.find(&query)?;
            for iid in &page.iids {
                let Some(stored) = self.engine.tx.load_one(*iid)? else {
                    continue;
                };
                let mut attributes = stored.attributes.clone();
                let Some(value) = attributes.get_mut(&attribute.name) else {
                    continue;
                };
                let list = match value {
                    Value::Array(items) => items.as_mut_slice(),
                    single => std::slice::from_mut(single),
                };
                for item in list {
                    // found without regard to case; only the entry's own spelling is stored
                    if item.as_str() == Some(old) {
                        *item = new.into();
                    }
                }
                let changed = changes(&stored.attributes, &attributes);
                if changed.is_empty() {
                    continue;
                }
                let searched = texts(kind, &attributes);
                self.engine.tx.update(
                    *iid,
                    &ferrocti_store::ObjectChange {
                        attributes: Some(&attributes),
                        text: Some((&searched.0, &searched.1)),
                        ..ferrocti_store::ObjectChange::default()
                    },
                )?;
                let data = json!({"attributes": {attribute.name.as_str(): changed[0].before}});
                self.event(Operation::Update, *iid, kind, &data)?;
                self.touched.insert(*iid);
            }
            match page.cursors.last() {
                Some(cursor) if page.has_next => query.after = Some(cursor.clone()),
                _ => return Ok(()),
            }
        }
    }
}
