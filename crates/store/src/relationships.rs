//! Relationships as seen from their ends.

use std::fmt::Write as _;

use ferrocti_model::filter::Side;
use rusqlite::params_from_iter;

use crate::{Iid, Snapshot, Tx, Visibility, error::Result, find::sql_list};

/// Which relationships of an object to list.
#[derive(Debug, Clone, Copy)]
pub struct RelationshipQuery<'a> {
    /// The object.
    pub iid: Iid,
    /// Which end it is.
    pub side: Side,
    /// Type codes of the relationships; empty: all.
    pub types: &'a [u16],
    /// What may be seen.
    pub visible: &'a Visibility,
    /// Row number after which to go on; 0 at the start.
    pub after: Iid,
    /// Most rows to return.
    pub limit: usize,
}

impl Snapshot<'_> {
    /// The relationships of an object, in order of row numbers.
    pub fn relationships_of(&self, query: &RelationshipQuery<'_>) -> Result<Vec<Iid>> {
        let branch = |column: &str| {
            let mut sql = format!("SELECT iid FROM object WHERE {column} = ?1 AND iid > ?2");
            if !query.types.is_empty() {
                let _ = write!(sql, " AND type IN ({})", sql_list(query.types));
            }
            if let Visibility::Sets(sets) = query.visible {
                let _ = write!(sql, " AND marking_set IN ({})", sql_list(sets));
            }
            sql
        };
        let sql = match query.side {
            Side::Source => branch("src"),
            Side::Target => branch("dst"),
            Side::Both => format!("{} UNION {}", branch("src"), branch("dst")),
        };
        let mut statement = self.sql(&format!("{sql} ORDER BY iid LIMIT ?3"))?;
        let parameters = [
            query.iid,
            query.after,
            i64::try_from(query.limit).unwrap_or(i64::MAX),
        ];
        let rows = statement.query_map(params_from_iter(parameters), |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The relationships of one type from `source` to `target`.
    pub fn between(&self, source: Iid, target: Iid, code: u16) -> Result<Vec<Iid>> {
        let mut statement = self
            .sql("SELECT iid FROM object INDEXED BY object_pair WHERE src = ?1 AND dst = ?3 AND type = ?2 ORDER BY iid")?;
        let rows = statement.query_map([source, i64::from(code), target], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Makes every relationship that ends at `from` end at `to` instead.
    pub fn move_ends(&mut self, from: Iid, to: Iid) -> Result<()> {
        let moved = self.relationships_of(&RelationshipQuery {
            iid: from,
            side: Side::Both,
            types: &[],
            visible: &Visibility::All,
            after: 0,
            limit: usize::MAX,
        })?;
        self.sql("UPDATE object SET src = ?2 WHERE src = ?1")?
            .execute([from, to])?;
        self.sql("UPDATE object SET dst = ?2 WHERE dst = ?1")?
            .execute([from, to])?;
        for relationship in moved {
            self.refresh_set(relationship)?;
        }
        Ok(())
    }
}
