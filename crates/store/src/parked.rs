//! What waits for an identifier: single references of stored objects, and whole elements. Nothing is dropped silently.

use ferrocti_model::{clock::Millis, id::Key};
use rusqlite::{Row, params};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Iid, Snapshot, StoreError, Tx,
    error::{Result, corrupt},
};

/// What waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// One reference of a stored object.
    Reference {
        /// The object.
        source: Iid,
        /// Reference code.
        reference: u16,
    },
    /// A whole element that must not be stored before all its keys are there; in the caller's own form.
    Element(Value),
}

/// Something to be parked.
#[derive(Debug, Clone, Copy)]
pub struct NewParked<'a> {
    /// What waits.
    pub waiting: &'a Waiting,
    /// The keys that are missing.
    pub keys: &'a [Key],
    /// The connector that sent it.
    pub connector: Option<&'a str>,
    /// Its work.
    pub work: Option<&'a str>,
    /// Who sent it (`User.row`).
    pub actor: Option<i64>,
}

/// Something that is parked.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// Its number, growing.
    pub id: i64,
    /// Since when.
    pub at: Millis,
    /// What waits.
    pub waiting: Waiting,
    /// The keys that were missing when it was parked.
    pub keys: Vec<Key>,
    /// The connector that sent it.
    pub connector: Option<String>,
    /// Its work.
    pub work: Option<String>,
    /// Who sent it.
    pub actor: Option<i64>,
}

const SELECT: &str = "SELECT id, at, iid, ref, document, connector, work, actor FROM parked";

impl Snapshot<'_> {
    /// What waits for any of these keys, oldest first, each once.
    pub fn parked_by(&self, keys: &[Key]) -> Result<Vec<Parked>> {
        let mut statement = self.sql("SELECT parked FROM parked_key WHERE key = ?1")?;
        let mut ids: Vec<i64> = Vec::new();
        for key in keys {
            for id in statement.query_map([key.as_bytes()], |row| row.get(0))? {
                ids.push(id?);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .filter_map(|id| self.parked_one(id).transpose())
            .collect()
    }

    /// One parked thing.
    pub fn parked_one(&self, id: i64) -> Result<Option<Parked>> {
        let mut statement = self.sql(&format!("{SELECT} WHERE id = ?1"))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(|row| self.parked(row)).transpose()
    }

    /// Parked things after number `after`, oldest first; of one connector or of all.
    pub fn parked_list(
        &self,
        connector: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Parked>> {
        let mut statement = self.sql(&format!(
            "{SELECT} WHERE id > ?1 AND (?2 IS NULL OR connector = ?2) ORDER BY id LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![
            after,
            connector,
            i64::try_from(limit).unwrap_or(i64::MAX)
        ])?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(self.parked(row)?);
        }
        Ok(list)
    }

    /// How many single references and how many whole elements wait.
    pub fn parked_counts(&self) -> Result<(u64, u64)> {
        let (all, elements): (i64, i64) = self
            .sql("SELECT count(*), count(*) FILTER (WHERE iid IS NULL) FROM parked")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(((all - elements).unsigned_abs(), elements.unsigned_abs()))
    }

    fn parked(&self, row: &Row<'_>) -> Result<Parked> {
        let id = row.get(0)?;
        let waiting = match (
            row.get::<_, Option<Iid>>(2)?,
            row.get::<_, Option<u16>>(3)?,
            row.get::<_, Option<String>>(4)?,
        ) {
            (Some(source), Some(reference), _) => Waiting::Reference { source, reference },
            (None, None, Some(document)) => Waiting::Element(
                serde_json::from_str(&document)
                    .map_err(|error| corrupt("parked element", error))?,
            ),
            _ => return Err(StoreError::Corrupt(format!("parked row {id}"))),
        };
        let mut statement = self.sql("SELECT key FROM parked_key WHERE parked = ?1")?;
        let keys = statement
            .query_map([id], |row| row.get(0).map(Key))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Parked {
            id,
            at: row.get(1)?,
            waiting,
            keys,
            connector: row.get(5)?,
            work: row.get(6)?,
            actor: row.get(7)?,
        })
    }
}

impl Tx<'_> {
    /// Parks something. The same reference of the same object waiting for the same keys is parked once.
    pub fn park(&mut self, parked: &NewParked<'_>) -> Result<i64> {
        let mut keys = parked.keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let fingerprint = fingerprint(parked.waiting, &keys);
        if let Some(id) = self.parked_already(parked.waiting, &keys, fingerprint)? {
            return Ok(id);
        }
        let (source, reference, document) = match parked.waiting {
            Waiting::Reference { source, reference } => (Some(*source), Some(*reference), None),
            Waiting::Element(document) => (None, None, Some(document.to_string())),
        };
        let now = self.now();
        self.sql("INSERT INTO parked(at, iid, ref, document, connector, work, actor, fingerprint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            now,
            source,
            reference,
            document,
            parked.connector,
            parked.work,
            parked.actor,
            fingerprint
        ])?;
        let id = self.conn.last_insert_rowid();
        let mut statement =
            self.sql("INSERT INTO parked_key(key, parked) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        for key in &keys {
            statement.execute(params![key.as_bytes(), id])?;
        }
        self.caches.parked = Some(true);
        Ok(id)
    }

    /// Takes out what waits for any of these keys, oldest first; to be called with the keys of every new object. Costs nothing while nothing is
    /// parked. What still misses other keys must be parked again.
    pub fn unpark(&mut self, keys: &[Key]) -> Result<Vec<Parked>> {
        let any = match self.caches.parked {
            Some(any) => any,
            None => {
                let any = self
                    .sql("SELECT EXISTS (SELECT 1 FROM parked_key)")?
                    .query_row([], |row| row.get(0))?;
                self.caches.parked = Some(any);
                any
            }
        };
        if !any {
            return Ok(Vec::new());
        }
        let found = self.parked_by(keys)?;
        for parked in &found {
            self.delete_parked(parked.id)?;
        }
        Ok(found)
    }

    /// Gives up waiting.
    pub fn delete_parked(&mut self, id: i64) -> Result<()> {
        self.sql("DELETE FROM parked_key WHERE parked = ?1")?
            .execute([id])?;
        self.sql("DELETE FROM parked WHERE id = ?1")?
            .execute([id])?;
        self.caches.parked = None;
        Ok(())
    }

    /// Lets the references of one object wait for another: the two are merged.
    pub fn move_parked(&mut self, from: Iid, to: Iid) -> Result<()> {
        self.sql("UPDATE parked SET iid = ?2 WHERE iid = ?1")?
            .execute([from, to])?;
        Ok(())
    }

    /// Gives up the references of one object; of one kind or of all.
    pub(crate) fn unpark_object(&mut self, iid: Iid) -> Result<()> {
        let mut statement = self.sql("SELECT id FROM parked WHERE iid = ?1")?;
        let ids: Vec<i64> = statement
            .query_map([iid], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in ids {
            self.delete_parked(id)?;
        }
        Ok(())
    }

    /// The same thing waiting for the same keys (sorted), if there is one.
    fn parked_already(
        &self,
        waiting: &Waiting,
        keys: &[Key],
        fingerprint: i64,
    ) -> Result<Option<i64>> {
        if self.caches.parked == Some(false) {
            return Ok(None);
        }
        let mut statement = self.sql("SELECT id FROM parked WHERE fingerprint = ?1")?;
        let ids: Vec<i64> = statement
            .query_map([fingerprint], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in ids {
            if let Some(mut other) = self.parked_one(id)? {
                other.keys.sort_unstable();
                if other.keys == keys && other.waiting == *waiting {
                    return Ok(Some(id));
                }
            }
        }
        Ok(None)
    }
}

/// A number that is the same for the same thing waiting for the same keys. After a merge of objects it may be stale, which costs one row more.
fn fingerprint(waiting: &Waiting, keys: &[Key]) -> i64 {
    let mut text = match waiting {
        Waiting::Reference { source, reference } => format!("{source} {reference}").into_bytes(),
        Waiting::Element(document) => document.to_string().into_bytes(),
    };
    for key in keys {
        text.extend_from_slice(key.as_bytes());
    }
    xxh3_64(&text).cast_signed()
}
