//! Editing through the handle of ingestion: each call is one transaction.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_model::Ident;
use ferrocti_store::Iid;

use crate::{
    Ingest,
    apply::{
        edit::{self, Comment, EditError, Editor, FieldEdit, Linked, Subject},
        engine::Source,
    },
};

impl Ingest {
    /// Changes attributes and references of an object by their names; all of it or nothing. Answers its row.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it.
    pub fn patch(
        &self,
        actor: &Arc<Actor>,
        subject: &Subject<'_>,
        edits: &[FieldEdit],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        self.edit(actor, |editor| editor.patch(subject, edits, comment))
    }

    /// Adds targets to a reference of an object, which is named by its relationship type, its input name or its STIX property.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn link(
        &self,
        actor: &Arc<Actor>,
        subject: &Subject<'_>,
        reference: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Linked, EditError> {
        self.edit(actor, |editor| {
            editor.link(subject, reference, targets, comment)
        })
    }

    /// Removes targets of a reference of an object. Answers the object's row.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn unlink(
        &self,
        actor: &Arc<Actor>,
        subject: &Subject<'_>,
        reference: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        self.edit(actor, |editor| {
            editor.unlink(subject, reference, targets, comment)
        })
    }

    /// Deletes an object with the relationships that end at it.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete(&self, actor: &Arc<Actor>, subject: &Subject<'_>) -> Result<(), EditError> {
        self.edit(actor, |editor| editor.delete(subject))
    }

    /// Deletes several objects, all or none.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete_all(
        &self,
        actor: &Arc<Actor>,
        subjects: &[Subject<'_>],
    ) -> Result<(), EditError> {
        self.edit(actor, |editor| {
            subjects
                .iter()
                .try_for_each(|subject| editor.delete(subject))
        })
    }

    /// Deletes the relationships of one type from one object to another; whether there were any.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete_between(
        &self,
        actor: &Arc<Actor>,
        from: Ident,
        to: Ident,
        relationship: &str,
    ) -> Result<bool, EditError> {
        self.edit(actor, |editor| {
            editor.delete_between(from, to, relationship)
        })
    }

    /// Merges objects into one of the same type; answers its row.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn merge(
        &self,
        actor: &Arc<Actor>,
        subject: &Subject<'_>,
        sources: &[Ident],
    ) -> Result<Iid, EditError> {
        self.edit(actor, |editor| editor.merge(subject, sources))
    }

    fn edit<T>(
        &self,
        actor: &Arc<Actor>,
        body: impl FnOnce(&mut Editor<'_, '_, '_>) -> Result<T, EditError>,
    ) -> Result<T, EditError> {
        let source = Source {
            rights: actor.fingerprint(),
            actor: Arc::clone(actor),
            origin: None,
            connector: None,
            work: None,
        };
        self.0
            .store
            .write(|tx| edit::run(tx, &source, &mut self.0.skipped.lock(), body))
    }
}
