//! Works: what a connector has announced and what has become of it, with exact counts, messages and errors.

use std::fmt::Write as _;

use ferrocti_model::clock::Millis;
use rusqlite::{OptionalExtension, Row, params, params_from_iter, types::Value as Sql};

use crate::{Snapshot, StoreError, Tx, error::Result};

/// Where a work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkStatus {
    /// Made by the platform, not yet taken by the connector.
    Wait,
    /// Running.
    Progress,
    /// Done.
    Complete,
}

impl WorkStatus {
    const fn code(self) -> u8 {
        match self {
            Self::Wait => 0,
            Self::Progress => 1,
            Self::Complete => 2,
        }
    }

    fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            0 => Self::Wait,
            1 => Self::Progress,
            2 => Self::Complete,
            other => return Err(StoreError::Corrupt(format!("unknown work status {other}"))),
        })
    }
}

/// One work. Counters are kept here; when a work is complete is not decided here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Row number, growing; 0 before it is stored.
    pub row: i64,
    /// Public id.
    pub id: String,
    /// The connector.
    pub connector: String,
    /// Who asked for it (`User.row`).
    pub user: Option<i64>,
    /// Readable name.
    pub name: String,
    /// Type of the connector.
    pub event_type: String,
    /// What it is about: the connector itself, an object, a file.
    pub event_source: Option<String>,
    /// Where it stands.
    pub status: WorkStatus,
    /// When it was made.
    pub created_at: Millis,
    /// Last sign of life.
    pub updated_at: Millis,
    /// When the connector took it.
    pub received_at: Option<Millis>,
    /// When the connector said it was done.
    pub processed_at: Option<Millis>,
    /// When it was complete.
    pub completed_at: Option<Millis>,
    /// Number of objects at completion.
    pub completed_number: Option<i64>,
    /// Objects announced.
    pub expected: i64,
    /// Objects applied or refused.
    pub processed: i64,
    /// When the last object was reported.
    pub last_processed: Option<Millis>,
    /// More bundles may follow until the connector says it is done.
    pub multipart: bool,
    /// The connector of a multipart work said it is done.
    pub processed_flag: bool,
    /// Draft it writes into.
    pub draft_context: Option<String>,
    /// Messages received, kept or not.
    pub messages: i64,
    /// Errors counted, kept or not.
    pub errors: i64,
    /// Objects of which a part was not applied, told or not.
    pub partial: i64,
}

/// Which notes of a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoteKind {
    /// Progress messages.
    Message,
    /// Errors.
    Error,
    /// Objects of which a part was not applied.
    Partial,
}

impl NoteKind {
    const fn code(self) -> u8 {
        match self {
            Self::Message => 0,
            Self::Error => 1,
            Self::Partial => 2,
        }
    }
}

/// A message or an error of a work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number among those of its kind, from 1.
    pub sequence: i64,
    /// When.
    pub at: Millis,
    /// What.
    pub message: String,
    /// About which object or part.
    pub source: String,
}

/// How a list of works is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkOrder {
    /// By the time they were made.
    #[default]
    Created,
    /// By status, then by time.
    Status,
    /// By name, then by time.
    Name,
}

/// Which works to list. Empty lists mean no condition.
#[derive(Debug, Clone, Default)]
pub struct WorkQuery {
    /// Of these connectors.
    pub connectors: Vec<String>,
    /// In these states.
    pub statuses: Vec<WorkStatus>,
    /// Of these users.
    pub users: Vec<i64>,
    /// About these sources.
    pub sources: Vec<String>,
    /// Whose name contains this, whatever the case.
    pub search: Option<String>,
    /// Made before.
    pub before: Option<Millis>,
    /// Order.
    pub order: WorkOrder,
    /// Newest, or last, first.
    pub descending: bool,
    /// How many to skip.
    pub offset: usize,
    /// How many to return.
    pub limit: usize,
}

const COLUMNS: &str = "row, id, connector, user, name, event_type, event_source, status, created_at, updated_at, received_at, processed_at, completed_at, \
     completed_number, expected, processed, last_processed, multipart, processed_flag, draft_context, messages, errors, partial";

impl Snapshot<'_> {
    /// The work of an id.
    pub fn work(&self, id: &str) -> Result<Option<Work>> {
        let mut statement = self.sql(&format!("SELECT {COLUMNS} FROM work WHERE id = ?1"))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(work).transpose()
    }

    /// Whether a work exists.
    pub fn work_exists(&self, id: &str) -> Result<bool> {
        Ok(self.sql("SELECT 1 FROM work WHERE id = ?1")?.exists([id])?)
    }

    /// A page of works, and how many there are in all.
    pub fn works(&self, query: &WorkQuery) -> Result<(Vec<Work>, u64)> {
        let (condition, parameters) = work_condition(query);
        let total: i64 = self
            .sql(&format!("SELECT count(*) FROM work WHERE {condition}"))?
            .query_row(params_from_iter(&parameters), |row| row.get(0))?;
        let direction = if query.descending { "DESC" } else { "ASC" };
        let order = match query.order {
            WorkOrder::Created => format!("created_at {direction}, row {direction}"),
            WorkOrder::Status => {
                format!("status {direction}, created_at {direction}, row {direction}")
            }
            WorkOrder::Name => {
                format!("fold(name) {direction}, created_at {direction}, row {direction}")
            }
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM work WHERE {condition} ORDER BY {order} LIMIT {} OFFSET {}",
            query.limit, query.offset
        );
        let mut statement = self.sql(&sql)?;
        let mut rows = statement.query(params_from_iter(&parameters))?;
        let mut works = Vec::new();
        while let Some(row) = rows.next()? {
            works.push(work(row)?);
        }
        Ok((works, total.unsigned_abs()))
    }

    /// The kept notes of a work, oldest first.
    pub fn work_notes(&self, row: i64, kind: NoteKind) -> Result<Vec<Note>> {
        let mut statement = self.sql("SELECT sequence, at, message, source FROM work_note WHERE work = ?1 AND kind = ?2 ORDER BY sequence")?;
        let rows = statement.query_map(params![row, kind.code()], |row| {
            Ok(Note {
                sequence: row.get(0)?,
                at: row.get(1)?,
                message: row.get(2)?,
                source: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Stores a new work under the epoch of its connector's lease, and sets its row number. Fails when the id is taken.
    pub fn insert_work(&mut self, work: &mut Work) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO work({COLUMNS}, epoch) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
               coalesce((SELECT epoch FROM lease WHERE connector = ?2), 0))"
        ))?
        .execute(params![
            work.id,
            work.connector,
            work.user,
            work.name,
            work.event_type,
            work.event_source,
            work.status.code(),
            work.created_at,
            work.updated_at,
            work.received_at,
            work.processed_at,
            work.completed_at,
            work.completed_number,
            work.expected,
            work.processed,
            work.last_processed,
            work.multipart,
            work.processed_flag,
            work.draft_context,
            work.messages,
            work.errors,
            work.partial
        ])?;
        work.row = self.conn.last_insert_rowid();
        Ok(())
    }

    /// Writes back everything of a work that may change after it was made; its id, connector and time of making stay.
    pub fn update_work(&mut self, work: &Work) -> Result<()> {
        self.sql(
            "UPDATE work SET name = ?2, status = ?3, updated_at = ?4, received_at = ?5, processed_at = ?6, completed_at = ?7, completed_number = ?8,
             expected = ?9, processed = ?10, last_processed = ?11, multipart = ?12, processed_flag = ?13, draft_context = ?14, messages = ?15, errors = ?16, partial = ?17
             WHERE row = ?1",
        )?
        .execute(params![
            work.row,
            work.name,
            work.status.code(),
            work.updated_at,
            work.received_at,
            work.processed_at,
            work.completed_at,
            work.completed_number,
            work.expected,
            work.processed,
            work.last_processed,
            work.multipart,
            work.processed_flag,
            work.draft_context,
            work.messages,
            work.errors,
            work.partial
        ])?;
        Ok(())
    }

    /// Appends a note. It is always counted, in the row and in `work`; it is kept while there are fewer than `keep` of its kind.
    pub fn add_work_note(
        &mut self,
        work: &mut Work,
        kind: NoteKind,
        message: &str,
        source: &str,
        keep: i64,
    ) -> Result<()> {
        let count = match kind {
            NoteKind::Message => &mut work.messages,
            NoteKind::Error => &mut work.errors,
            NoteKind::Partial => &mut work.partial,
        };
        *count += 1;
        let sequence = *count;
        let column = match kind {
            NoteKind::Message => "messages",
            NoteKind::Error => "errors",
            NoteKind::Partial => "partial",
        };
        self.sql(&format!("UPDATE work SET {column} = ?2 WHERE row = ?1"))?
            .execute([work.row, sequence])?;
        if sequence <= keep {
            let now = self.now();
            self.sql("INSERT INTO work_note(work, kind, sequence, at, message, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![work.row, kind.code(), sequence, now, message, source])?;
        }
        Ok(())
    }

    /// Deletes a work with its notes; whether there was one.
    pub fn delete_work(&mut self, id: &str) -> Result<bool> {
        let row: Option<i64> = self
            .sql("SELECT row FROM work WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(row) = row else { return Ok(false) };
        self.sql("DELETE FROM work_note WHERE work = ?1")?
            .execute([row])?;
        self.sql("DELETE FROM work WHERE row = ?1")?
            .execute([row])?;
        Ok(true)
    }

    /// Deletes all works of a connector; how many there were.
    pub fn delete_works_of(&mut self, connector: &str) -> Result<usize> {
        self.sql(
            "DELETE FROM work_note WHERE work IN (SELECT row FROM work WHERE connector = ?1)",
        )?
        .execute([connector])?;
        Ok(self
            .sql("DELETE FROM work WHERE connector = ?1")?
            .execute([connector])?)
    }
}

fn work_condition(query: &WorkQuery) -> (String, Vec<Sql>) {
    let mut sql = String::from("1");
    let mut parameters: Vec<Sql> = Vec::new();
    let mut any = |column: &str, values: Vec<Sql>| {
        if !values.is_empty() {
            let _ = write!(
                sql,
                " AND {column} IN ({})",
                vec!["?"; values.len()].join(",")
            );
            parameters.extend(values);
        }
    };
    any(
        "connector",
        query.connectors.iter().cloned().map(Sql::Text).collect(),
    );
    any(
        "status",
        query
            .statuses
            .iter()
            .map(|status| Sql::Integer(status.code().into()))
            .collect(),
    );
    any(
        "user",
        query.users.iter().copied().map(Sql::Integer).collect(),
    );
    any(
        "event_source",
        query.sources.iter().cloned().map(Sql::Text).collect(),
    );
    if let Some(before) = query.before {
        sql.push_str(" AND created_at < ?");
        parameters.push(Sql::Integer(before));
    }
    if let Some(search) = &query.search {
        sql.push_str(" AND instr(fold(name), fold(?)) > 0");
        parameters.push(Sql::Text(search.clone()));
    }
    (sql, parameters)
}

fn work(row: &Row<'_>) -> Result<Work> {
    Ok(Work {
        row: row.get(0)?,
        id: row.get(1)?,
        connector: row.get(2)?,
        user: row.get(3)?,
        name: row.get(4)?,
        event_type: row.get(5)?,
        event_source: row.get(6)?,
        status: WorkStatus::from_code(row.get(7)?)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
        received_at: row.get(10)?,
        processed_at: row.get(11)?,
        completed_at: row.get(12)?,
        completed_number: row.get(13)?,
        expected: row.get(14)?,
        processed: row.get(15)?,
        last_processed: row.get(16)?,
        multipart: row.get(17)?,
        processed_flag: row.get(18)?,
        draft_context: row.get(19)?,
        messages: row.get(20)?,
        errors: row.get(21)?,
        partial: row.get(22)?,
    })
}
