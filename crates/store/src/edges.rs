//! References between objects (author, markings, labels, objects of a container, …): pairs of row numbers with a reference code.

use rusqlite::params;

use crate::{Iid, Snapshot, Tx, error::Result};

/// One reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// The object that refers.
    pub source: Iid,
    /// Reference code.
    pub reference: u16,
    /// The object referred to.
    pub target: Iid,
}

impl Snapshot<'_> {
    /// The targets of one reference of each object, in order of row numbers.
    pub fn targets(&self, sources: &[Iid], reference: u16) -> Result<Vec<Vec<Iid>>> {
        self.pairs(
            "SELECT dst FROM edge WHERE src = ?1 AND ref = ?2 ORDER BY dst",
            sources,
            reference,
        )
    }

    /// The objects that refer to each object by one reference, in order of row numbers.
    pub fn sources(&self, targets: &[Iid], reference: u16) -> Result<Vec<Vec<Iid>>> {
        self.pairs(
            "SELECT src FROM edge WHERE dst = ?1 AND ref = ?2 ORDER BY src",
            targets,
            reference,
        )
    }

    /// At most `limit` objects that refer to `target` by one reference, with row numbers above `after`.
    pub fn sources_page(
        &self,
        target: Iid,
        reference: u16,
        after: Iid,
        limit: usize,
    ) -> Result<Vec<Iid>> {
        let mut statement = self.sql(
            "SELECT src FROM edge WHERE dst = ?1 AND ref = ?2 AND src > ?3 ORDER BY src LIMIT ?4",
        )?;
        let rows = statement.query_map(
            params![
                target,
                reference,
                after,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| row.get(0),
        )?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// All references of these objects.
    pub fn refs_of(&self, sources: &[Iid]) -> Result<Vec<Edge>> {
        let mut statement =
            self.sql("SELECT ref, dst FROM edge WHERE src = ?1 ORDER BY ref, dst")?;
        let mut edges = Vec::new();
        for source in sources {
            let rows = statement.query_map([source], |row| {
                Ok(Edge {
                    source: *source,
                    reference: row.get(0)?,
                    target: row.get(1)?,
                })
            })?;
            for edge in rows {
                edges.push(edge?);
            }
        }
        Ok(edges)
    }

    /// How many objects refer to `target`, by one reference or by any.
    pub fn count_sources(&self, target: Iid, reference: Option<u16>) -> Result<u64> {
        let n: i64 = match reference {
            Some(reference) => self
                .sql("SELECT count(*) FROM edge WHERE dst = ?1 AND ref = ?2")?
                .query_row(params![target, reference], |row| row.get(0))?,
            None => self
                .sql("SELECT count(*) FROM edge WHERE dst = ?1")?
                .query_row([target], |row| row.get(0))?,
        };
        Ok(n.unsigned_abs())
    }

    fn pairs(&self, sql: &str, iids: &[Iid], reference: u16) -> Result<Vec<Vec<Iid>>> {
        let mut statement = self.sql(sql)?;
        iids.iter()
            .map(|iid| {
                Ok(statement
                    .query_map(params![iid, reference], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?)
            })
            .collect()
    }
}

impl Tx<'_> {
    /// Adds references; those that exist are left. Returns the targets that are new.
    pub fn link(&mut self, source: Iid, reference: u16, targets: &[Iid]) -> Result<Vec<Iid>> {
        let changed = self.change_edges(
            "INSERT INTO edge(src, ref, dst) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            source,
            reference,
            targets,
        )?;
        if !changed.is_empty() && reference == self.shared.marking_ref {
            self.refresh_set(source)?;
        }
        Ok(changed)
    }

    /// Removes references. Returns the targets that were there.
    pub fn unlink(&mut self, source: Iid, reference: u16, targets: &[Iid]) -> Result<Vec<Iid>> {
        let changed = self.change_edges(
            "DELETE FROM edge WHERE src = ?1 AND ref = ?2 AND dst = ?3",
            source,
            reference,
            targets,
        )?;
        if !changed.is_empty() && reference == self.shared.marking_ref {
            self.refresh_set(source)?;
        }
        Ok(changed)
    }

    /// Moves all references of one object, in both directions, to another. References between the two are dropped.
    pub fn move_edges(&mut self, from: Iid, to: Iid) -> Result<()> {
        self.sql("INSERT INTO edge(src, ref, dst) SELECT ?2, ref, dst FROM edge WHERE src = ?1 AND dst <> ?2 ON CONFLICT DO NOTHING")?
            .execute([from, to])?;
        let touched = self
            .sources(&[from], self.shared.marking_ref)?
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        self.sql("INSERT INTO edge(src, ref, dst) SELECT src, ref, ?2 FROM edge WHERE dst = ?1 AND src <> ?2 ON CONFLICT DO NOTHING")?
            .execute([from, to])?;
        self.delete_edges(from)?;
        self.refresh_set(from)?;
        self.refresh_set(to)?;
        for source in touched {
            self.refresh_set(source)?;
        }
        Ok(())
    }

    pub(crate) fn insert_edges(&mut self, source: Iid, edges: &[(u16, Iid)]) -> Result<()> {
        let mut statement =
            self.sql("INSERT INTO edge(src, ref, dst) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        for (reference, target) in edges {
            statement.execute(params![source, reference, target])?;
        }
        Ok(())
    }

    pub(crate) fn delete_edges(&mut self, iid: Iid) -> Result<()> {
        self.sql("DELETE FROM edge WHERE src = ?1")?
            .execute([iid])?;
        self.sql("DELETE FROM edge WHERE dst = ?1")?
            .execute([iid])?;
        Ok(())
    }

    fn change_edges(
        &mut self,
        sql: &str,
        source: Iid,
        reference: u16,
        targets: &[Iid],
    ) -> Result<Vec<Iid>> {
        let mut statement = self.sql(sql)?;
        let mut changed = Vec::new();
        for target in targets {
            if statement.execute(params![source, reference, target])? > 0 {
                changed.push(*target);
            }
        }
        Ok(changed)
    }
}
