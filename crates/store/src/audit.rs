//! The audit log: what was administered, by whom, with what outcome. Changes of knowledge are in the history instead.

use ferrocti_model::clock::Millis;
use rusqlite::params;
use serde_json::Value;

use crate::{
    Snapshot, Tx,
    error::{Result, corrupt},
};

/// An entry to be recorded; its time is the transaction's.
#[derive(Debug, Clone, Copy)]
pub struct NewAudit<'a> {
    /// Who did it (`User.row`).
    pub actor: Option<i64>,
    /// What was done: `login`, `connector.create`, …
    pub event: &'a str,
    /// `success` or `error`.
    pub status: &'a str,
    /// One readable line without secrets.
    pub message: &'a str,
    /// Details.
    pub data: Option<&'a Value>,
}

/// A recorded entry.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub seq: i64,
    /// When.
    pub at: Millis,
    /// Who.
    pub actor: Option<i64>,
    /// What.
    pub event: String,
    /// Outcome.
    pub status: String,
    /// Readable line.
    pub message: String,
    /// Details.
    pub data: Option<Value>,
}

impl Snapshot<'_> {
    /// The newest entries before number `before`, newest first.
    pub fn audit_before(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut statement = self.sql("SELECT seq, at, actor, event, status, message, data FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")?;
        let mut rows = statement.query(params![
            before.unwrap_or(i64::MAX),
            i64::try_from(limit).unwrap_or(i64::MAX)
        ])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let data: Option<String> = row.get(6)?;
            entries.push(AuditEntry {
                seq: row.get(0)?,
                at: row.get(1)?,
                actor: row.get(2)?,
                event: row.get(3)?,
                status: row.get(4)?,
                message: row.get(5)?,
                data: data
                    .map(|text| serde_json::from_str(&text))
                    .transpose()
                    .map_err(|error| corrupt("audit", error))?,
            });
        }
        Ok(entries)
    }
}

impl Tx<'_> {
    /// Records an entry.
    pub fn audit(&mut self, entry: &NewAudit<'_>) -> Result<()> {
        let now = self.now();
        self.sql("INSERT INTO audit(at, actor, event, status, message, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            now,
            entry.actor,
            entry.event,
            entry.status,
            entry.message,
            entry.data.map(Value::to_string)
        ])?;
        Ok(())
    }
}
