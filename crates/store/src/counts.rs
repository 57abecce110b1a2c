//! How many objects there are of each type and marking set, kept exact by every write.

use std::collections::HashMap;

use rusqlite::params;

use crate::{Snapshot, Tx, Visibility, error::Result};

impl Snapshot<'_> {
    /// Number of objects by type that may be seen; types without any are absent.
    pub fn counts(&self, visible: &Visibility) -> Result<HashMap<u16, u64>> {
        let mut totals: HashMap<u16, i64> = HashMap::new();
        let mut statement = self.sql("SELECT type, marking_set, n FROM object_count")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if visible.allows(row.get(1)?) {
                *totals.entry(row.get(0)?).or_default() += row.get::<_, i64>(2)?;
            }
        }
        for ((code, set), n) in self.counts.borrow().iter() {
            if visible.allows(*set) {
                *totals.entry(*code).or_default() += n;
            }
        }
        Ok(totals
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(code, n)| (code, n.unsigned_abs()))
            .collect())
    }
}

impl Tx<'_> {
    /// Notes a change; written once per transaction.
    pub(crate) fn count(&mut self, code: u16, marking_set: i64, change: i64) {
        *self
            .snapshot
            .counts
            .get_mut()
            .entry((code, marking_set))
            .or_default() += change;
    }

    pub(crate) fn flush_counts(&mut self) -> Result<()> {
        let counts = std::mem::take(self.snapshot.counts.get_mut());
        for ((code, set), change) in counts.into_iter().filter(|(_, change)| *change != 0) {
            self.sql(
                "INSERT INTO object_count(type, marking_set, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT(type, marking_set) DO UPDATE SET n = n + excluded.n",
            )?
            .execute(params![code, set, change])?;
        }
        Ok(())
    }
}
