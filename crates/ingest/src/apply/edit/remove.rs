//! Deleting objects, and with them the relationships that end at them.

use ferrocti_access::{Action, may};
use ferrocti_accounts::Scope;
use ferrocti_model::{Ident, Registry};
use ferrocti_store::{Iid, Operation, RelationshipQuery, Side, StoreError, Stored, Visibility};
use serde_json::{Map, Value, json};

use super::{EditError, Editor, Need, Subject, creators, target};
use crate::apply::{audit::is_audited, facts};

/// Objects that refer to a deleted one, looked at together.
const PAGE: usize = 1000;

impl Editor<'_, '_, '_> {
    /// Deletes an object. Its relationships go with it, whatever their confidence, and so do references to it.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it.
    pub fn delete(&mut self, subject: &Subject<'_>) -> Result<(), EditError> {
        let stored = self.subject(subject)?;
        self.may_delete(&stored)?;
        self.remove(&stored)
    }

    /// Deletes the relationships of one type from one object to another; whether there were any.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it.
    pub fn delete_between(
        &mut self,
        from: Ident,
        to: Ident,
        relationship: &str,
    ) -> Result<bool, EditError> {
        let from = self.subject(&Subject::any(from))?.iid;
        let to = self.subject(&Subject::any(to))?.iid;
        let kinds = Registry::get().descendants(relationship);
        let mut deleted = false;
        for kind in kinds.iter().filter(|kind| kind.is_relationship()) {
            for iid in self.engine.tx.between(from, to, kind.code)? {
                if !self.engine.visible(iid, &self.source.actor)? {
                    continue;
                }
                if let Some(stored) = self.engine.tx.load_one(iid)? {
                    self.may_delete(&stored)?;
                    self.remove(&stored)?;
                    deleted = true;
                }
            }
        }
        Ok(deleted)
    }

    /// Whether an object may be deleted, by this actor and at all.
    fn may_delete(&mut self, stored: &Stored) -> Result<(), EditError> {
        self.may_use(stored.kind, Need::Delete)?;
        self.may_vanish(stored)
    }

    /// Whether an object may be gone afterwards, whatever capability that asks for.
    pub(super) fn may_vanish(&mut self, stored: &Stored) -> Result<(), EditError> {
        let creators = creators(stored);
        let target = target(stored, &creators);
        may(&self.source.actor, Action::Delete { target })?;
        let text = |name: &str| stored.attributes.get(name).and_then(Value::as_str);
        match stored.kind.name.as_str() {
            "Individual" => {
                let address = text("contact_information").unwrap_or_default().trim();
                if !address.is_empty() && self.engine.tx.user_by_email(address)?.is_some() {
                    return Err(EditError::LinkedToUser(address.to_owned()));
                }
            }
            "Vocabulary" if text("category").is_some_and(facts::is_closed) => {
                return Err(EditError::BuiltIn(
                    text("name").unwrap_or_default().to_owned(),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// Deletes an object and, before it, the relationships that end at it.
    fn remove(&mut self, stored: &Stored) -> Result<(), EditError> {
        // not recursive: relationships may end at relationships as deep as somebody likes
        let mut open = vec![(stored.iid, false)];
        while let Some((iid, is_free)) = open.pop() {
            if is_free {
                if let Some(stored) = self.engine.tx.load_one(iid)? {
                    self.remove_one(&stored)?;
                }
                continue;
            }
            open.push((iid, true));
            let above = self.engine.tx.relationships_of(&RelationshipQuery {
                iid,
                side: Side::Both,
                types: &[],
                visible: &Visibility::All,
                after: 0,
                limit: usize::MAX,
            })?;
            open.extend(above.into_iter().map(|iid| (iid, false)));
        }
        self.engine.forget();
        self.engine.changed(stored.kind);
        Ok(())
    }

    fn remove_one(&mut self, stored: &Stored) -> Result<(), EditError> {
        self.forget_inputs_of_sources(stored.iid)?;
        let references = self.engine.tx.refs_of(&[stored.iid])?;
        let references: Vec<_> = references
            .iter()
            .map(|edge| (edge.reference, edge.target))
            .collect();
        self.engine.tx.delete(stored.iid)?;
        let data = json!({
            "id": stored.internal,
            "standard_id": stored.standard.to_string(),
            "ends": stored.ends,
            "attributes": stored.attributes,
            "references": references,
        });
        self.event(Operation::Delete, stored.iid, stored.kind, &data)?;
        if is_audited(stored.kind, &self.source.actor) {
            self.tell(Scope::Delete, stored, &Map::new())?;
        }
        Ok(())
    }

    /// Objects that refer to one that is deleted are not any more as their last inputs made them: when these come again they count.
    fn forget_inputs_of_sources(&mut self, iid: Iid) -> Result<(), StoreError> {
        for reference in Registry::get().reference_types() {
            let mut after = 0;
            loop {
                let sources = self
                    .engine
                    .tx
                    .sources_page(iid, reference.code, after, PAGE)?;
                let Some(last) = sources.last() else { break };
                after = *last;
                for source in &sources {
                    self.engine.tx.set_inputs(*source, None)?;
                }
                self.touched.extend(sources);
            }
        }
        Ok(())
    }
}
