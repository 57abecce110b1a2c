//! Composers, the definitions of the connectors that they run, and what they report.

use ferrocti_model::clock::Millis;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use crate::{
    Connector, Snapshot, Tx, connectors,
    error::{Result, corrupt},
};

/// Lines of a connector's log that are kept.
const LOG_LINES: i64 = 2000;
/// Bytes of a connector's log that are kept.
const LOG_BYTES: i64 = 1 << 20;
/// Bytes of one line that are kept.
const LOG_LINE: usize = 8 << 10;

/// A program that runs managed connectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Composer {
    /// As it names itself.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// The public half of its key, PEM as given.
    pub public_key: String,
    /// Id of that key.
    pub key_id: String,
    /// Its user (`User.row`).
    pub user: i64,
    /// Whether it speaks our protocol, and not only upstream's.
    pub own: bool,
    /// What it says of itself: version, orchestrators.
    pub about: Option<Value>,
    /// Why it does nothing at all.
    pub blocked: Option<String>,
    /// First registration.
    pub created_at: Millis,
    /// Last sign of life.
    pub last_seen: Millis,
}

/// A definition that a managed connector has or had.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDefinition {
    /// Number, growing per connector.
    pub number: i64,
    /// Since when.
    pub at: Millis,
    /// Who made it (`User.row`).
    pub actor: Option<i64>,
    /// Why, in words.
    pub reason: String,
    /// The definition.
    pub document: Value,
}

/// What a composer said of a connector last.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReport {
    /// When.
    pub at: Millis,
    /// What.
    pub document: Value,
}

/// A line of a connector's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its number, growing per connector.
    pub seq: i64,
    /// When it was reported.
    pub at: Millis,
    /// The line.
    pub line: String,
}

/// A connector that a composer has to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The composer.
    pub composer: String,
    /// The connector.
    pub connector: String,
    /// Since when.
    pub at: Millis,
    /// Whether an operator has confirmed it.
    pub approved: bool,
}

const COMPOSER: &str =
    "id, name, public_key, key_id, user, own, about, blocked, created_at, last_seen";
const DEFINITION: &str = "number, at, actor, reason, document";
const TOMBSTONE: &str = "composer, connector, at, approved";

impl Snapshot<'_> {
    /// The composer of an id.
    pub fn composer(&self, id: &str) -> Result<Option<Composer>> {
        let mut statement = self.sql(&format!("SELECT {COMPOSER} FROM composer WHERE id = ?1"))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(composer).transpose()
    }

    /// The composer that a user is.
    pub fn composer_of(&self, user: i64) -> Result<Option<Composer>> {
        let mut statement =
            self.sql(&format!("SELECT {COMPOSER} FROM composer WHERE user = ?1"))?;
        let mut rows = statement.query([user])?;
        rows.next()?.map(composer).transpose()
    }

    /// All composers, oldest first.
    pub fn composers(&self) -> Result<Vec<Composer>> {
        let mut statement = self.sql(&format!(
            "SELECT {COMPOSER} FROM composer ORDER BY created_at, id"
        ))?;
        let mut rows = statement.query([])?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(composer(row)?);
        }
        Ok(list)
    }

    /// The connectors that have a manager's part, by name.
    pub fn managed_connectors(&self) -> Result<Vec<Connector>> {
        connectors::list(self, "WHERE manager IS NOT NULL")
    }

    /// One definition of a connector.
    pub fn definition(&self, connector: &str, number: i64) -> Result<Option<StoredDefinition>> {
        let mut statement = self.sql(&format!(
            "SELECT {DEFINITION} FROM definition WHERE connector = ?1 AND number = ?2"
        ))?;
        let mut rows = statement.query(params![connector, number])?;
        rows.next()?.map(definition).transpose()
    }

    /// The kept definitions of a connector, newest first.
    pub fn definitions(&self, connector: &str) -> Result<Vec<StoredDefinition>> {
        let mut statement = self.sql(&format!(
            "SELECT {DEFINITION} FROM definition WHERE connector = ?1 ORDER BY number DESC"
        ))?;
        let mut rows = statement.query([connector])?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(definition(row)?);
        }
        Ok(list)
    }

    /// What was said of a connector last.
    pub fn connector_report(&self, connector: &str) -> Result<Option<StoredReport>> {
        let row: Option<(Millis, String)> = self
            .sql("SELECT at, document FROM connector_report WHERE connector = ?1")?
            .query_row([connector], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        row.map(|(at, document)| {
            Ok(StoredReport {
                at,
                document: serde_json::from_str(&document)
                    .map_err(|error| corrupt("report", error))?,
            })
        })
        .transpose()
    }

    /// The newest lines of a connector's log, oldest of them first: at most `limit`, only those before the number `before`, only those that hold
    /// `search` whatever the case of ASCII letters.
    pub fn connector_log(
        &self,
        connector: &str,
        before: Option<i64>,
        search: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LogLine>> {
        let mut statement = self.sql(
            "SELECT seq, at, line FROM connector_log
             WHERE connector = ?1 AND seq < ?2 AND (?3 IS NULL OR instr(lower(line), lower(?3)) > 0)
             ORDER BY seq DESC LIMIT ?4",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(
            params![connector, before.unwrap_or(i64::MAX), search, limit],
            |row| {
                Ok(LogLine {
                    seq: row.get(0)?,
                    at: row.get(1)?,
                    line: row.get(2)?,
                })
            },
        )?;
        let mut lines: Vec<LogLine> = rows.collect::<rusqlite::Result<_>>()?;
        lines.reverse();
        Ok(lines)
    }

    /// What a composer has to remove, oldest first.
    pub fn tombstones(&self, composer: &str) -> Result<Vec<Tombstone>> {
        let mut statement = self.sql(&format!(
            "SELECT {TOMBSTONE} FROM tombstone WHERE composer = ?1 ORDER BY at, connector"
        ))?;
        let rows = statement.query_map([composer], tombstone)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The composers that have to remove a connector.
    pub fn tombstones_of(&self, connector: &str) -> Result<Vec<Tombstone>> {
        let mut statement = self.sql(&format!(
            "SELECT {TOMBSTONE} FROM tombstone WHERE connector = ?1 ORDER BY composer"
        ))?;
        let rows = statement.query_map([connector], tombstone)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Stores a composer, replacing the row of the same id. Fails when its user is another composer.
    pub fn put_composer(&mut self, composer: &Composer) -> Result<()> {
        let about = composer.about.as_ref().map(Value::to_string);
        self.sql(&format!(
            "INSERT INTO composer({COMPOSER}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT(id) DO UPDATE SET name = ?2, public_key = ?3, key_id = ?4, user = ?5, own = ?6, about = ?7, blocked = ?8,
               created_at = ?9, last_seen = ?10"
        ))?
        .execute(params![
            composer.id,
            composer.name,
            composer.public_key,
            composer.key_id,
            composer.user,
            composer.own,
            about,
            composer.blocked,
            composer.created_at,
            composer.last_seen
        ])?;
        Ok(())
    }

    /// Notes a sign of life of a composer.
    pub fn touch_composer(&mut self, id: &str) -> Result<()> {
        let now = self.now();
        self.sql("UPDATE composer SET last_seen = ?2 WHERE id = ?1")?
            .execute(params![id, now])?;
        Ok(())
    }

    /// Deletes a composer with its tombstones; whether there was one.
    pub fn delete_composer(&mut self, id: &str) -> Result<bool> {
        self.sql("DELETE FROM tombstone WHERE composer = ?1")?
            .execute([id])?;
        Ok(self
            .sql("DELETE FROM composer WHERE id = ?1")?
            .execute([id])?
            > 0)
    }

    /// Records a definition of a connector and forgets all but the newest `keep`.
    pub fn add_definition(
        &mut self,
        connector: &str,
        definition: &StoredDefinition,
        keep: u32,
    ) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO definition(connector, {DEFINITION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        ))?
        .execute(params![
            connector,
            definition.number,
            definition.at,
            definition.actor,
            definition.reason,
            definition.document.to_string()
        ])?;
        self.sql("DELETE FROM definition WHERE connector = ?1 AND number <= ?2")?
            .execute(params![
                connector,
                definition.number - i64::from(keep.max(1))
            ])?;
        Ok(())
    }

    /// Stores what a composer says of a connector, in place of what it said before.
    pub fn put_connector_report(&mut self, connector: &str, document: &Value) -> Result<()> {
        let now = self.now();
        self.sql(
            "INSERT OR REPLACE INTO connector_report(connector, at, document) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![connector, now, document.to_string()])?;
        Ok(())
    }

    /// Forgets what was said of a connector.
    pub fn delete_connector_report(&mut self, connector: &str) -> Result<()> {
        self.sql("DELETE FROM connector_report WHERE connector = ?1")?
            .execute([connector])?;
        Ok(())
    }

    /// Adds lines to a connector's log. Long lines are cut, and of a long log the oldest lines are forgotten.
    pub fn append_connector_log<'a>(
        &mut self,
        connector: &str,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<()> {
        let now = self.now();
        let mut seq: i64 = self
            .sql("SELECT coalesce(max(seq), 0) FROM connector_log WHERE connector = ?1")?
            .query_row([connector], |row| row.get(0))?;
        let lines: Vec<&str> = lines.into_iter().collect();
        if lines.is_empty() {
            return Ok(());
        }
        // what would be forgotten at once is only counted
        let kept = usize::try_from(LOG_LINES).unwrap_or(usize::MAX);
        let skipped = lines.len().saturating_sub(kept);
        seq += i64::try_from(skipped).unwrap_or(i64::MAX);
        for line in &lines[skipped..] {
            seq += 1;
            let line = &line[..line.floor_char_boundary(LOG_LINE)];
            self.sql(
                "INSERT INTO connector_log(connector, seq, at, line) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![connector, seq, now, line])?;
        }
        self.sql("DELETE FROM connector_log WHERE connector = ?1 AND seq <= ?2")?
            .execute(params![connector, seq - LOG_LINES])?;
        // the newest line that does not fit any more, and all before it
        self.sql(
            "DELETE FROM connector_log WHERE connector = ?1 AND seq <= (
               SELECT max(seq) FROM (
                 SELECT seq, sum(octet_length(line)) OVER (ORDER BY seq DESC) AS bytes FROM connector_log WHERE connector = ?1
               ) WHERE bytes > ?2)",
        )?
        .execute(params![connector, LOG_BYTES])?;
        Ok(())
    }

    /// Notes that a composer has to remove a connector.
    pub fn put_tombstone(&mut self, composer: &str, connector: &str) -> Result<()> {
        let now = self.now();
        self.sql("INSERT OR IGNORE INTO tombstone(composer, connector, at, approved) VALUES (?1, ?2, ?3, 0)")?
            .execute(params![composer, connector, now])?;
        Ok(())
    }

    /// Notes that an operator has confirmed a removal; whether there was one to confirm.
    pub fn approve_tombstone(&mut self, composer: &str, connector: &str) -> Result<bool> {
        Ok(self
            .sql("UPDATE tombstone SET approved = 1 WHERE composer = ?1 AND connector = ?2")?
            .execute(params![composer, connector])?
            > 0)
    }

    /// Forgets that a composer has to remove a connector; whether it had to.
    pub fn delete_tombstone(&mut self, composer: &str, connector: &str) -> Result<bool> {
        Ok(self
            .sql("DELETE FROM tombstone WHERE composer = ?1 AND connector = ?2")?
            .execute(params![composer, connector])?
            > 0)
    }

    /// Deletes what belongs to a managed connector.
    pub(crate) fn delete_managed_parts(&mut self, connector: &str) -> Result<()> {
        for sql in [
            "DELETE FROM definition WHERE connector = ?1",
            "DELETE FROM connector_report WHERE connector = ?1",
            "DELETE FROM connector_log WHERE connector = ?1",
        ] {
            self.sql(sql)?.execute([connector])?;
        }
        Ok(())
    }
}

fn composer(row: &Row<'_>) -> Result<Composer> {
    let about: Option<String> = row.get(6)?;
    Ok(Composer {
        id: row.get(0)?,
        name: row.get(1)?,
        public_key: row.get(2)?,
        key_id: row.get(3)?,
        user: row.get(4)?,
        own: row.get(5)?,
        about: about
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| corrupt("composer", error))?,
        blocked: row.get(7)?,
        created_at: row.get(8)?,
        last_seen: row.get(9)?,
    })
}

fn definition(row: &Row<'_>) -> Result<StoredDefinition> {
    let document: String = row.get(4)?;
    Ok(StoredDefinition {
        number: row.get(0)?,
        at: row.get(1)?,
        actor: row.get(2)?,
        reason: row.get(3)?,
        document: serde_json::from_str(&document).map_err(|error| corrupt("definition", error))?,
    })
}

fn tombstone(row: &Row<'_>) -> rusqlite::Result<Tombstone> {
    Ok(Tombstone {
        composer: row.get(0)?,
        connector: row.get(1)?,
        at: row.get(2)?,
        approved: row.get(3)?,
    })
}
