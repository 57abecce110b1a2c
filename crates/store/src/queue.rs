//! What makes applying messages exact: the last applied message of each queue, and bundles pushed through the API until they are applied.

use ferrocti_model::clock::Millis;
use rusqlite::{OptionalExtension, Row, params};

use crate::{Snapshot, Tx, error::Result};

/// A bundle to be kept until it is applied.
#[derive(Debug, Clone, Copy)]
pub struct NewPush<'a> {
    /// The connector it was pushed for.
    pub connector: &'a str,
    /// Its work.
    pub work: Option<&'a str>,
    /// Who pushed it (`User.row`).
    pub user: i64,
    /// The bundle as it came.
    pub bundle: &'a [u8],
}

/// A bundle that is not yet applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its number, growing, never reused.
    pub id: i64,
    /// When it was pushed.
    pub at: Millis,
    /// The connector it was pushed for.
    pub connector: String,
    /// Its work.
    pub work: Option<String>,
    /// Who pushed it.
    pub user: i64,
    /// The bundle as it came.
    pub bundle: Vec<u8>,
    /// Epoch of the lease under which it was pushed.
    pub epoch: i64,
}

impl Snapshot<'_> {
    /// Number of the last applied message of a queue; 0 when none was.
    pub fn queue_mark(&self, queue: &str) -> Result<i64> {
        let mark = self
            .sql("SELECT mark FROM queue_mark WHERE queue = ?1")?
            .query_row([queue], |row| row.get(0))
            .optional()?;
        Ok(mark.unwrap_or(0))
    }

    /// How many messages of a queue were applied, dropped or set aside.
    pub fn queue_count(&self, queue: &str) -> Result<i64> {
        let count = self
            .sql("SELECT dealt_with FROM queue_mark WHERE queue = ?1")?
            .query_row([queue], |row| row.get(0))
            .optional()?;
        Ok(count.unwrap_or(0))
    }

    /// All marks by queue.
    pub fn queue_marks(&self) -> Result<Vec<(String, i64)>> {
        let mut statement = self.sql("SELECT queue, mark FROM queue_mark ORDER BY queue")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A pushed bundle; `None` when it was applied.
    pub fn push(&self, id: i64) -> Result<Option<Push>> {
        Ok(self
            .sql("SELECT id, at, connector, work, user, bundle, epoch FROM push WHERE id = ?1")?
            .query_row([id], push)
            .optional()?)
    }

    /// Numbers and connectors of the bundles that are not yet applied, oldest first.
    pub fn pushes(&self) -> Result<Vec<(i64, String)>> {
        let mut statement = self.sql("SELECT id, connector FROM push ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Moves the mark of a queue forward; it never goes back.
    pub fn set_queue_mark(&mut self, queue: &str, mark: i64) -> Result<()> {
        self.sql("INSERT INTO queue_mark(queue, mark) VALUES (?1, ?2) ON CONFLICT(queue) DO UPDATE SET mark = max(mark, excluded.mark)")?
            .execute(params![queue, mark])?;
        Ok(())
    }

    /// Counts messages of a queue that were applied, dropped or set aside.
    pub fn count_messages(&mut self, queue: &str, messages: i64) -> Result<()> {
        self.sql("UPDATE queue_mark SET dealt_with = dealt_with + ?2 WHERE queue = ?1")?
            .execute(params![queue, messages])?;
        Ok(())
    }

    /// Forgets the mark of a queue that was deleted and whose numbers will start anew.
    pub fn delete_queue_mark(&mut self, queue: &str) -> Result<()> {
        self.sql("DELETE FROM queue_mark WHERE queue = ?1")?
            .execute([queue])?;
        Ok(())
    }

    /// Keeps a pushed bundle; returns its number.
    pub fn insert_push(&mut self, push: &NewPush<'_>) -> Result<i64> {
        let now = self.now();
        self.sql(
            "INSERT INTO push(at, connector, work, user, bundle, epoch)
             VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT epoch FROM lease WHERE connector = ?2), 0))",
        )?
        .execute(params![
            now,
            push.connector,
            push.work,
            push.user,
            push.bundle
        ])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Forgets a bundle that is applied; whether it was still there.
    pub fn delete_push(&mut self, id: i64) -> Result<bool> {
        Ok(self.sql("DELETE FROM push WHERE id = ?1")?.execute([id])? > 0)
    }

    /// Forgets all bundles of a connector; how many there were.
    pub fn delete_pushes_of(&mut self, connector: &str) -> Result<usize> {
        Ok(self
            .sql("DELETE FROM push WHERE connector = ?1")?
            .execute([connector])?)
    }
}

fn push(row: &Row<'_>) -> rusqlite::Result<Push> {
    Ok(Push {
        id: row.get(0)?,
        at: row.get(1)?,
        connector: row.get(2)?,
        work: row.get(3)?,
        user: row.get(4)?,
        bundle: row.get(5)?,
        epoch: row.get(6)?,
    })
}
