//! The history of knowledge: an ordered event for every change, written with the change itself.

use ferrocti_model::clock::Millis;
use rusqlite::{Row, params};
use serde_json::Value;

use crate::{
    Iid, Snapshot, StoreError, Tx,
    error::{Result, corrupt},
};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It was stored for the first time.
    Create,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
    /// Another object was merged into it.
    Merge,
    /// It was restored after a deletion.
    Restore,
}

impl Operation {
    const fn code(self) -> u8 {
        match self {
            Self::Create => 0,
            Self::Update => 1,
            Self::Delete => 2,
            Self::Merge => 3,
            Self::Restore => 4,
        }
    }

    fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            0 => Self::Create,
            1 => Self::Update,
            2 => Self::Delete,
            3 => Self::Merge,
            4 => Self::Restore,
            other => {
                return Err(StoreError::Corrupt(format!(
                    "unknown operation {other} in the history"
                )));
            }
        })
    }
}

/// An event to be recorded; its time is the transaction's.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What happened.
    pub operation: Operation,
    /// The object.
    pub iid: Iid,
    /// Its type code.
    pub type_code: u16,
    /// Who did it (`User.row`).
    pub actor: Option<i64>,
    /// JSON: connector, work, message. Events that follow one another with the same origin share it.
    pub origin: Option<&'a str>,
    /// What is needed to go back to the state before: for an update the previous values of what changed, for a deletion the document.
    pub data: Option<&'a Value>,
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its place in the order of all events; gaps are possible.
    pub seq: i64,
    /// When.
    pub at: Millis,
    /// What happened.
    pub operation: Operation,
    /// The object.
    pub iid: Iid,
    /// Its type code.
    pub type_code: u16,
    /// Who did it.
    pub actor: Option<i64>,
    /// Connector, work, message.
    pub origin: Option<Value>,
    /// See [`Event::data`].
    pub data: Option<Value>,
}

const SELECT: &str = "SELECT h.seq, h.at, h.op, h.iid, h.type, h.actor, o.value, h.data FROM history h LEFT JOIN origin o ON o.id = h.origin";

impl Snapshot<'_> {
    /// Events after `seq`, oldest first.
    pub fn history_since(&self, seq: i64, limit: usize) -> Result<Vec<HistoryEntry>> {
        let mut statement = self.sql(&format!(
            "{SELECT} WHERE h.seq > ?1 ORDER BY h.seq LIMIT ?2"
        ))?;
        let mut rows = statement.query(params![seq, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
        Ok(entries)
    }

    /// The events of one object, oldest first.
    pub fn history_of(&self, iid: Iid) -> Result<Vec<HistoryEntry>> {
        let mut statement = self.sql(&format!("{SELECT} WHERE h.iid = ?1 ORDER BY h.seq"))?;
        let mut rows = statement.query([iid])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
        Ok(entries)
    }

    /// Number of the last event; 0 when there is none.
    pub fn history_end(&self) -> Result<i64> {
        Ok(self
            .sql("SELECT coalesce(max(seq), 0) FROM history")?
            .query_row([], |row| row.get(0))?)
    }
}

impl Tx<'_> {
    /// Records an event.
    pub fn history(&mut self, event: &Event<'_>) -> Result<()> {
        let origin = event.origin.map(|origin| self.origin(origin)).transpose()?;
        let data = event
            .data
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| corrupt("history", error))?;
        let now = self.now();
        self.sql("INSERT INTO history(at, op, iid, type, actor, origin, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
            now,
            event.operation.code(),
            event.iid,
            event.type_code,
            event.actor,
            origin,
            data
        ])?;
        if event.type_code == self.shared.marking_kind {
            self.audit_marking(event)?;
        }
        Ok(())
    }

    fn origin(&mut self, value: &str) -> Result<i64> {
        if let Some((_, id)) = self
            .caches
            .origin
            .as_ref()
            .filter(|(last, _)| last == value)
        {
            return Ok(*id);
        }
        self.sql("INSERT INTO origin(value) VALUES (?1)")?
            .execute([value])?;
        let id = self.conn.last_insert_rowid();
        self.caches.origin = Some((value.to_owned(), id));
        Ok(id)
    }
}

fn entry(row: &Row<'_>) -> Result<HistoryEntry> {
    let json = |index: usize| -> Result<Option<Value>> {
        row.get_ref(index)?
            .as_str_or_null()
            .map_err(|error| corrupt("history", error))?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| corrupt("history", error))
    };
    Ok(HistoryEntry {
        seq: row.get(0)?,
        at: row.get(1)?,
        operation: Operation::from_code(row.get(2)?)?,
        iid: row.get(3)?,
        type_code: row.get(4)?,
        actor: row.get(5)?,
        origin: json(6)?,
        data: json(7)?,
    })
}
