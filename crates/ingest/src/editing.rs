//! Editing through the handle of ingestion: each call is one transaction.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::Origin;
use ferrocti_model::Ident;
use ferrocti_store::Iid;

use crate::{
    Ingest,
    apply::{
        audit::From,
        edit::{self, Comment, EditError, Editor, FieldEdit, Linked, Subject},
        engine::Source,
    },
};

/// Who edits, and from where, for the audit.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Whose rights count.
    pub actor: &'a Arc<Actor>,
    /// Who spoke in the name of the actor (`User.row`), if somebody else did.
    pub applicant: Option<i64>,
    /// From where.
    pub origin: Origin<'a>,
}

/// In one's own name, from the machine itself.
impl<'a> std::convert::From<&'a Arc<Actor>> for By<'a> {
    fn from(actor: &'a Arc<Actor>) -> Self {
        Self {
            actor,
            applicant: None,
            origin: Origin::default(),
        }
    }
}

impl Ingest {
    /// Changes attributes and references of an object by their names; all of it or nothing. Answers its row.
    ///
    /// # Errors
    /// [`EditError`] when a rule or a right is against it.
    pub fn patch<'a>(
        &self,
        by: impl Into<By<'a>>,
        subject: &Subject<'_>,
        edits: &[FieldEdit],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        self.edit(by.into(), |editor| editor.patch(subject, edits, comment))
    }

    /// Adds targets to a reference of an object, which is named by its relationship type, its input name or its STIX property.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn link<'a>(
        &self,
        by: impl Into<By<'a>>,
        subject: &Subject<'_>,
        reference: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Linked, EditError> {
        self.edit(by.into(), |editor| {
            editor.link(subject, reference, targets, comment)
        })
    }

    /// Removes targets of a reference of an object. Answers the object's row.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn unlink<'a>(
        &self,
        by: impl Into<By<'a>>,
        subject: &Subject<'_>,
        reference: &str,
        targets: &[Ident],
        comment: &Comment,
    ) -> Result<Iid, EditError> {
        self.edit(by.into(), |editor| {
            editor.unlink(subject, reference, targets, comment)
        })
    }

    /// Deletes an object with the relationships that end at it.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete<'a>(
        &self,
        by: impl Into<By<'a>>,
        subject: &Subject<'_>,
    ) -> Result<(), EditError> {
        self.edit(by.into(), |editor| editor.delete(subject))
    }

    /// Deletes several objects, all or none.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete_all<'a>(
        &self,
        by: impl Into<By<'a>>,
        subjects: &[Subject<'_>],
    ) -> Result<(), EditError> {
        self.edit(by.into(), |editor| {
            subjects
                .iter()
                .try_for_each(|subject| editor.delete(subject))
        })
    }

    /// Deletes the relationships of one type from one object to another; whether there were any.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn delete_between<'a>(
        &self,
        by: impl Into<By<'a>>,
        from: Ident,
        to: Ident,
        relationship: &str,
    ) -> Result<bool, EditError> {
        self.edit(by.into(), |editor| {
            editor.delete_between(from, to, relationship)
        })
    }

    /// Merges objects into one of the same type; answers its row.
    ///
    /// # Errors
    /// As [`Ingest::patch`].
    pub fn merge<'a>(
        &self,
        by: impl Into<By<'a>>,
        subject: &Subject<'_>,
        sources: &[Ident],
    ) -> Result<Iid, EditError> {
        self.edit(by.into(), |editor| editor.merge(subject, sources))
    }

    fn edit<T>(
        &self,
        by: By<'_>,
        body: impl FnOnce(&mut Editor<'_, '_, '_>) -> Result<T, EditError>,
    ) -> Result<T, EditError> {
        let source = Source {
            rights: by.actor.fingerprint(),
            actor: Arc::clone(by.actor),
            origin: None,
            connector: None,
            work: None,
        };
        let from = From {
            applicant: by.applicant,
            origin: by.origin,
        };
        self.0
            .store
            .write(|tx| edit::run(tx, &source, from, &mut self.0.skipped.lock(), body))
    }
}
