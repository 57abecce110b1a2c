//! The rules of works: how they begin, count, and when they are complete. Functions over a transaction; the store only keeps the rows.
//!
//! A work is complete when as many objects were reported as were expected; a multi-part work also needs its connector to say that it is done.
//! Completion is not the end: late expectations and reports are counted on, the status stays.

use ferrocti_access::Actor;
use ferrocti_model::clock::{Millis, format_date};
use ferrocti_store::{NoteKind, StoreError, Tx, Work, WorkOrder, WorkQuery, WorkStatus};

use crate::partial::Partial;

/// Notes of each kind that are kept per work; further ones are only counted.
pub const KEPT_NOTES: i64 = 100;
/// How long complete works are kept.
pub const KEPT_FOR: Millis = 7 * 24 * 3600 * 1000;
/// Bytes of an object that are kept as the source of an error; longer ones are named only.
const SOURCE_BYTES: usize = 50_000;

/// Most objects that a work expects in all: far more than any delivery has, and few enough that neither counts nor their sums overflow.
pub const MAX_EXPECTED: i64 = 100_000_000;

/// Why a work does not take an announcement.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// It would expect more than [`MAX_EXPECTED`].
    #[error(
        "a work takes at most {MAX_EXPECTED} expectations; it has {expected}, {added} more were announced: announce what is really sent, or divide it among several works"
    )]
    TooMany {
        /// What it expects already.
        expected: i64,
        /// What was announced on top.
        added: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One object, or one message, that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, with the object's id and name.
    pub error: String,
    /// The object's JSON, or what stands for it.
    pub source: String,
}

impl Failure {
    /// An object that was refused.
    #[must_use]
    pub fn of_object(id: Option<&str>, name: Option<&str>, reason: &str, json: &str) -> Self {
        let subject = match (id, name) {
            (Some(id), Some(name)) => format!("{id} ({name}): "),
            (Some(text), None) | (None, Some(text)) => format!("{text}: "),
            (None, None) => String::new(),
        };
        let source = if json.len() < SOURCE_BYTES {
            json.to_owned()
        } else {
            "Bundle too large".to_owned()
        };
        Self {
            error: format!("{subject}{reason}"),
            source,
        }
    }

    /// A message that could not be imported as a whole.
    #[must_use]
    pub fn of_message(reason: &str) -> Self {
        Self {
            error: reason.to_owned(),
            source: "The message is kept among the dead letters".to_owned(),
        }
    }
}

/// What a connector wants to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewWork<'a> {
    /// The connector.
    pub connector: &'a str,
    /// Its type.
    pub connector_type: &'a str,
    /// Readable name.
    pub name: &'a str,
    /// Whether several bundles follow, so that only the connector's own word completes it.
    pub multipart: bool,
    /// What it is about; `None`: the connector itself.
    pub event_source: Option<&'a str>,
    /// `Progress` for works that connectors begin, `Wait` for jobs that the platform gives out.
    pub status: WorkStatus,
}

/// Begins a work and answers it. Its id is `work_<connector>_<time>`; works of the same millisecond get a suffix.
pub fn add(tx: &mut Tx<'_>, actor: &Actor, new: &NewWork<'_>) -> Result<Work, StoreError> {
    let now = tx.now();
    let base = format!("work_{}_{}", new.connector, format_date(now));
    let mut id = base.clone();
    let mut suffix = 1;
    while tx.work_exists(&id)? {
        suffix += 1;
        id = format!("{base}-{suffix}");
    }
    let mut work = Work {
        row: 0,
        id,
        connector: new.connector.to_owned(),
        user: Some(actor.user_row),
        name: new.name.to_owned(),
        event_type: new.connector_type.to_owned(),
        event_source: Some(new.event_source.unwrap_or(new.connector).to_owned()),
        status: new.status,
        created_at: now,
        updated_at: now,
        received_at: (new.status == WorkStatus::Progress).then_some(now),
        processed_at: None,
        completed_at: None,
        completed_number: None,
        expected: 0,
        processed: 0,
        last_processed: None,
        multipart: new.multipart,
        processed_flag: false,
        draft_context: None,
        messages: 0,
        errors: 0,
        partial: 0,
    };
    tx.insert_work(&mut work)?;
    Ok(work)
}

/// Whether a work exists. Completion does not end its life, deletion does.
pub fn is_alive(tx: &Tx<'_>, id: &str) -> Result<bool, StoreError> {
    tx.work_exists(id)
}

/// Whether a work exists and is one of this connector.
pub(crate) fn belongs(tx: &Tx<'_>, id: &str, connector: &str) -> Result<bool, StoreError> {
    Ok(tx.work(id)?.is_some_and(|work| work.connector == connector))
}

/// Announces objects. `false`: there is no such work.
///
/// # Errors
/// More than [`MAX_EXPECTED`] in all change nothing.
pub fn expect(tx: &mut Tx<'_>, id: &str, objects: i64) -> Result<bool, ExpectError> {
    let Some(mut work) = tx.work(id)? else {
        return Ok(false);
    };
    let added = objects.max(0);
    let total = work.expected.saturating_add(added);
    if total > MAX_EXPECTED && added > 0 {
        return Err(ExpectError::TooMany {
            expected: work.expected,
            added,
        });
    }
    work.expected = total;
    work.updated_at = tx.now();
    tx.update_work(&work)?;
    Ok(true)
}

/// Takes back an announcement of objects that will not come after all.
pub(crate) fn retract(tx: &mut Tx<'_>, id: &str, objects: usize) -> Result<(), StoreError> {
    change(tx, id, |work, _| {
        work.expected = (work.expected - i64::try_from(objects).unwrap_or(i64::MAX)).max(0);
    })?;
    Ok(())
}

/// Reports objects as dealt with, with those that failed, and completes the work if it was the last. `false`: there is no such work.
pub fn report(
    tx: &mut Tx<'_>,
    id: &str,
    objects: i64,
    failures: &[Failure],
) -> Result<bool, StoreError> {
    record(
        tx,
        id,
        &Progress {
            processed: objects,
            failures,
            ..Progress::default()
        },
    )
}

/// Several steps of a work at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress<'a> {
    /// Objects announced.
    pub expected: i64,
    /// Objects dealt with.
    pub processed: i64,
    /// Those of them that failed.
    pub failures: &'a [Failure],
    /// What else is to be told: what waits for what, what was left out.
    pub messages: &'a [String],
    /// Objects of which a part was not applied.
    pub partial: &'a [Partial],
    /// How many more there were.
    pub untold: i64,
}

/// Records several steps at once. `false`: there is no such work.
pub fn record(tx: &mut Tx<'_>, id: &str, progress: &Progress<'_>) -> Result<bool, StoreError> {
    let Some(mut work) = tx.work(id)? else {
        return Ok(false);
    };
    let now = tx.now();
    for failure in progress.failures {
        tx.add_work_note(
            &mut work,
            NoteKind::Error,
            &failure.error,
            &failure.source,
            KEPT_NOTES,
        )?;
    }
    for message in progress.messages {
        tx.add_work_note(&mut work, NoteKind::Message, message, "", KEPT_NOTES)?;
    }
    for partial in progress.partial {
        let (message, source) = (partial.message(), partial.source());
        tx.add_work_note(&mut work, NoteKind::Partial, &message, &source, KEPT_NOTES)?;
    }
    work.partial += progress.untold;
    work.updated_at = now;
    work.expected = work.expected.saturating_add(progress.expected.max(0));
    if progress.processed > 0 {
        work.processed = work.processed.saturating_add(progress.processed);
        work.last_processed = Some(now);
        if work.processed >= work.expected && (!work.multipart || work.processed_flag) {
            complete(&mut work, now);
        }
    }
    tx.update_work(&work)?;
    Ok(true)
}

/// The connector has taken the work. `false`: there is no such work.
pub fn to_received(tx: &mut Tx<'_>, id: &str, message: &str) -> Result<bool, StoreError> {
    let Some(mut work) = tx.work(id)? else {
        return Ok(false);
    };
    note(tx, &mut work, message, false)?;
    work.updated_at = tx.now();
    work.received_at = Some(work.updated_at);
    if work.status != WorkStatus::Complete {
        work.status = WorkStatus::Progress;
    }
    tx.update_work(&work)?;
    Ok(true)
}

/// The connector is done with its part. `false`: there is no such work.
pub fn to_processed(
    tx: &mut Tx<'_>,
    id: &str,
    message: &str,
    in_error: bool,
) -> Result<bool, StoreError> {
    let Some(mut work) = tx.work(id)? else {
        return Ok(false);
    };
    note(tx, &mut work, message, in_error)?;
    let now = tx.now();
    work.updated_at = now;
    work.processed_at = Some(now);
    if work.processed >= work.expected {
        work.expected = work.processed;
        complete(&mut work, now);
        // a run that had nothing to send counts as one thing done, as clients expect; objects that come late are not counted on top of it
        work.completed_number = Some(work.processed.max(1));
    } else if work.multipart {
        work.processed_flag = true;
    }
    tx.update_work(&work)?;
    Ok(true)
}

/// A sign of life. `false`: there is no such work.
pub fn ping(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    change(tx, id, |_, _| {})
}

/// Notes the draft that the work writes into. `false`: there is no such work.
pub fn add_draft_context(tx: &mut Tx<'_>, id: &str, draft: &str) -> Result<bool, StoreError> {
    change(tx, id, |work, _| {
        work.draft_context = Some(draft.to_owned()).filter(|draft| !draft.is_empty());
    })
}

/// Deletes a work; what is still queued for it is dropped. `false`: there was none.
pub fn delete(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    tx.delete_work(id)
}

/// Deletes all works of a connector; how many there were.
pub fn delete_all(tx: &mut Tx<'_>, connector: &str) -> Result<usize, StoreError> {
    tx.delete_works_of(connector)
}

/// What housekeeping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Works that were forced to complete.
    pub completed: usize,
    /// Complete works that were deleted.
    pub deleted: usize,
}

/// To be done every minute: completes works that a later work of the same connector has overtaken, and deletes old complete ones.
pub fn housekeeping(tx: &mut Tx<'_>, now: Millis) -> Result<Housekeeping, StoreError> {
    let mut done = Housekeeping::default();
    let mut open = all(
        tx,
        &WorkQuery {
            statuses: vec![WorkStatus::Wait, WorkStatus::Progress],
            ..WorkQuery::default()
        },
    )?;
    open.sort_by(|one, other| one.connector.cmp(&other.connector));
    for works in open.chunk_by_mut(|one, other| one.connector == other.connector) {
        let Some(connector) = works.first().map(|work| work.connector.clone()) else {
            continue;
        };
        let Some(newest) = newest_reported(tx, connector)? else {
            continue;
        };
        for work in works.iter_mut().filter(|work| work.created_at < newest) {
            complete(work, now);
            work.updated_at = now;
            tx.update_work(work)?;
            done.completed += 1;
        }
    }
    let old = WorkQuery {
        statuses: vec![WorkStatus::Complete],
        before: Some(now - KEPT_FOR),
        ..WorkQuery::default()
    };
    for work in all(tx, &old)? {
        tx.delete_work(&work.id)?;
        done.deleted += 1;
    }
    Ok(done)
}

/// The messages of a connector were discarded: its open works will hear of nothing more, so they are complete with what was processed.
/// Returns how many there were.
pub fn close_all(tx: &mut Tx<'_>, connector: &str, reason: &str) -> Result<usize, StoreError> {
    let open = WorkQuery {
        connectors: vec![connector.to_owned()],
        statuses: vec![WorkStatus::Wait, WorkStatus::Progress],
        ..WorkQuery::default()
    };
    let now = tx.now();
    let mut works = all(tx, &open)?;
    for work in &mut works {
        note(tx, work, reason, false)?;
        work.expected = work.processed;
        work.updated_at = now;
        complete(work, now);
        tx.update_work(work)?;
    }
    Ok(works.len())
}

/// When the newest work of a connector that had a report was made.
fn newest_reported(tx: &Tx<'_>, connector: String) -> Result<Option<Millis>, StoreError> {
    let mut query = WorkQuery {
        connectors: vec![connector],
        order: WorkOrder::Created,
        descending: true,
        limit: 100,
        ..WorkQuery::default()
    };
    loop {
        let (works, _) = tx.works(&query)?;
        if works.is_empty() {
            return Ok(None);
        }
        if let Some(found) = works.iter().find(|work| work.last_processed.is_some()) {
            return Ok(Some(found.created_at));
        }
        query.offset += works.len();
    }
}

fn all(tx: &Tx<'_>, query: &WorkQuery) -> Result<Vec<Work>, StoreError> {
    const EVERY: usize = i64::MAX as usize;
    Ok(tx
        .works(&WorkQuery {
            limit: EVERY,
            ..query.clone()
        })?
        .0)
}

fn change(
    tx: &mut Tx<'_>,
    id: &str,
    edit: impl FnOnce(&mut Work, Millis),
) -> Result<bool, StoreError> {
    let Some(mut work) = tx.work(id)? else {
        return Ok(false);
    };
    let now = tx.now();
    work.updated_at = now;
    edit(&mut work, now);
    tx.update_work(&work)?;
    Ok(true)
}

fn note(tx: &mut Tx<'_>, work: &mut Work, message: &str, in_error: bool) -> Result<(), StoreError> {
    let kind = if in_error {
        NoteKind::Error
    } else {
        NoteKind::Message
    };
    tx.add_work_note(work, kind, message, "", KEPT_NOTES)
}

/// A work that is complete already keeps the time of its completion; the number follows late reports.
fn complete(work: &mut Work, now: Millis) {
    if work.status != WorkStatus::Complete {
        work.status = WorkStatus::Complete;
        work.completed_at = Some(now);
    }
    work.completed_number = Some(work.processed);
}
