//! The audit log: what was administered and who logged in, by whom, from where, with what outcome. Changes of knowledge are in the history instead.

use std::ops::RangeInclusive;

use ferrocti_model::clock::Millis;
use rusqlite::{Row, ToSql, params_from_iter};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Snapshot, Tx,
    error::{Result, corrupt},
};

/// An entry to be recorded; its time is the transaction's.
#[derive(Debug, Clone, Copy)]
pub struct NewAudit<'a> {
    /// In whose name (`User.row`).
    pub actor: Option<i64>,
    /// Who spoke in the name of the actor (`User.row`), if somebody else did.
    pub applicant: Option<i64>,
    /// `authentication`, `read`, `mutation`, `file`, `command`.
    pub event_type: &'a str,
    /// `login`, `logout`, `read`, `create`, `update`, `delete`, `unauthorized`, …
    pub event_scope: &'a str,
    /// `administration` or `extended`.
    pub event_access: &'a str,
    /// `success` or `error`.
    pub status: &'a str,
    /// On what: entity type, id and name.
    pub entity: Option<(&'a str, &'a str, &'a str)>,
    /// Network address of the client.
    pub address: Option<&'a str>,
    /// The client, as it names itself.
    pub agent: Option<&'a str>,
    /// One readable line without secrets.
    pub message: &'a str,
    /// Details without secrets.
    pub data: Option<&'a Value>,
}

/// A recorded entry. The fields are those of [`NewAudit`].
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place in the log, growing with time.
    pub seq: i64,
    /// Public id.
    pub id: Uuid,
    /// When.
    pub at: Millis,
    /// In whose name (`User.row`).
    pub actor: Option<i64>,
    /// Who spoke in that name (`User.row`).
    pub applicant: Option<i64>,
    /// Kind of event.
    pub event_type: String,
    /// What was done.
    pub event_scope: String,
    /// Whether it is always recorded.
    pub event_access: String,
    /// Outcome.
    pub status: String,
    /// Type of what it was done to.
    pub entity_type: Option<String>,
    /// Id of what it was done to.
    pub entity_id: Option<String>,
    /// Name of what it was done to.
    pub entity_name: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// By what program.
    pub agent: Option<String>,
    /// Readable line.
    pub message: String,
    /// Details.
    pub data: Option<Value>,
}

/// Which entries; an empty list allows everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditQuery {
    /// Within these times, both included.
    pub at: Option<RangeInclusive<Millis>>,
    /// By these users (`User.row`).
    pub actors: Vec<i64>,
    /// Of these types.
    pub types: Vec<String>,
    /// Of these scopes.
    pub scopes: Vec<String>,
    /// With these outcomes.
    pub statuses: Vec<String>,
    /// To entities of these types.
    pub entity_types: Vec<String>,
    /// To these entities.
    pub entities: Vec<String>,
    /// Whose message or entity name holds this text, whatever the case of ASCII letters.
    pub search: Option<String>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
    /// Behind the entry of this number in the order asked for.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

const ENTRY: &str = "seq, uuid, at, actor, applicant, event_type, event_scope, event_access, status, entity_type, entity_id, entity_name, address, agent, \
     message, data";

/// A condition with its parameters.
struct Condition {
    sql: String,
    parameters: Vec<Box<dyn ToSql>>,
}

impl Condition {
    fn of(query: &AuditQuery) -> Self {
        let mut condition = Self {
            sql: "1".to_owned(),
            parameters: Vec::new(),
        };
        if let Some(range) = &query.at {
            condition.and("at >= ?", [*range.start()]);
            condition.and("at <= ?", [*range.end()]);
        }
        condition.one_of("actor", &query.actors);
        condition.one_of("event_type", &query.types);
        condition.one_of("event_scope", &query.scopes);
        condition.one_of("status", &query.statuses);
        condition.one_of("entity_type", &query.entity_types);
        condition.one_of("entity_id", &query.entities);
        if let Some(text) = query.search.as_deref().filter(|text| !text.is_empty()) {
            condition.and(
                "(instr(lower(message), lower(?)) > 0 OR instr(lower(entity_name), lower(?)) > 0)",
                [text.to_owned(), text.to_owned()],
            );
        }
        condition
    }

    fn and<const N: usize>(&mut self, sql: &str, parameters: [impl ToSql + 'static; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        for parameter in parameters {
            self.parameters.push(Box::new(parameter));
        }
    }

    fn one_of<T: ToSql + Clone + 'static>(&mut self, column: &str, values: &[T]) {
        if values.is_empty() {
            return;
        }
        let marks = vec!["?"; values.len()].join(", ");
        self.sql.push_str(&format!(" AND {column} IN ({marks})"));
        for value in values {
            self.parameters.push(Box::new(value.clone()));
        }
    }
}

impl Snapshot<'_> {
    /// The entries that a query finds, in its order.
    pub fn audits(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>> {
        let mut condition = Condition::of(query);
        let (compare, order) = if query.ascending {
            ("seq > ?", "ASC")
        } else {
            ("seq < ?", "DESC")
        };
        if let Some(after) = query.after {
            condition.and(compare, [after]);
        }
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        condition.parameters.push(Box::new(limit));
        let mut statement = self.conn.prepare(&format!(
            "SELECT {ENTRY} FROM audit WHERE {} ORDER BY seq {order} LIMIT ?",
            condition.sql
        ))?;
        let mut rows = statement.query(params_from_iter(&condition.parameters))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
        Ok(entries)
    }

    /// How many entries a query finds on all pages.
    pub fn audit_count(&self, query: &AuditQuery) -> Result<u64> {
        let condition = Condition::of(query);
        let mut statement = self.conn.prepare(&format!(
            "SELECT count(*) FROM audit WHERE {}",
            condition.sql
        ))?;
        let count: i64 =
            statement.query_row(params_from_iter(&condition.parameters), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The entry of a public id.
    pub fn audit_entry(&self, id: Uuid) -> Result<Option<AuditEntry>> {
        let mut statement = self.sql(&format!("SELECT {ENTRY} FROM audit WHERE uuid = ?1"))?;
        let mut rows = statement.query([id.as_bytes()])?;
        rows.next()?.map(entry).transpose()
    }
}

impl Tx<'_> {
    /// Records an entry.
    pub fn audit(&mut self, entry: &NewAudit<'_>) -> Result<()> {
        let (now, id) = (self.now(), self.new_uuid());
        self.sql(
            "INSERT INTO audit(uuid, at, actor, applicant, event_type, event_scope, event_access, status, entity_type, entity_id, entity_name, address,
             agent, message, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(rusqlite::params![
            id.as_bytes(),
            now,
            entry.actor,
            entry.applicant,
            entry.event_type,
            entry.event_scope,
            entry.event_access,
            entry.status,
            entry.entity.map(|entity| entity.0),
            entry.entity.map(|entity| entity.1),
            entry.entity.map(|entity| entity.2),
            entry.address,
            entry.agent,
            entry.message,
            entry.data.map(Value::to_string)
        ])?;
        Ok(())
    }

    /// Forgets entries that are older than `before`, at most `limit` at a time; how many.
    pub fn prune_audit(&mut self, before: Millis, limit: usize) -> Result<usize> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(self
            .sql("DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ?1 ORDER BY seq LIMIT ?2)")?
            .execute([before, limit])?)
    }
}

fn entry(row: &Row<'_>) -> Result<AuditEntry> {
    let data: Option<String> = row.get(15)?;
    Ok(AuditEntry {
        seq: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        at: row.get(2)?,
        actor: row.get(3)?,
        applicant: row.get(4)?,
        event_type: row.get(5)?,
        event_scope: row.get(6)?,
        event_access: row.get(7)?,
        status: row.get(8)?,
        entity_type: row.get(9)?,
        entity_id: row.get(10)?,
        entity_name: row.get(11)?,
        address: row.get(12)?,
        agent: row.get(13)?,
        message: row.get(14)?,
        data: data
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| corrupt("audit", error))?,
    })
}
