//! From a query to its SQL: where the rows come from, in which order, and where the page starts.

use rusqlite::{params_from_iter, types::Value as Sql};

use super::{ObjectQuery, Page, condition::Sink, cursor::Cursor};
use crate::{Iid, Snapshot, Visibility, error::Result};

impl Snapshot<'_> {
    /// One page of the objects that match.
    pub fn find(&self, query: &ObjectQuery) -> Result<Page> {
        let mut sink = Sink::default();
        let mut conditions = vec![sink.condition(&query.condition)?];
        if !query.types.is_empty() {
            conditions.push(sink.among("o.type", &query.types));
        }
        if let Visibility::Sets(sets) = &query.visible {
            conditions.push(sink.among("o.marking_set", sets));
        }
        let base = conditions.join(" AND ");
        let mut page = base.clone();
        if let Some(cursor) = &query.after
            && let Some(Sql::Integer(iid)) = cursor.values()?.last()
        {
            page = format!("{base} AND o.iid > {iid}");
        }
        let sql = format!(
            "SELECT o.iid FROM object o WHERE {page} ORDER BY o.iid LIMIT {}",
            query.first + 1
        );
        let mut iids: Vec<Iid> = self
            .sql(&sql)?
            .query_map(params_from_iter(&sink.parameters), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let has_next = iids.len() > query.first;
        iids.truncate(query.first);
        let cursors = iids
            .iter()
            .map(|iid| Cursor::of(&[Sql::Integer(*iid)]))
            .collect();
        Ok(Page {
            iids,
            cursors,
            has_next,
            total: None,
        })
    }
}
