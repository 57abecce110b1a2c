//! The history against the leases: what was written, by which epoch, before and after each change of hands.

use crate::{Problem, Store, error::Result};

/// Invariants: what each says, and a query for what breaks it, as the connector and a number of rows. A change of hands is an event of the kind `granted`, which holds how
/// far everything had come.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "epochs of a lease only grow, one by one",
        "SELECT connector, count(*) FROM (
           SELECT connector, epoch, lag(epoch) OVER (PARTITION BY connector ORDER BY seq) AS before FROM lease_event WHERE kind = 'granted'
         ) WHERE before IS NOT NULL AND epoch <> before + 1 GROUP BY connector",
    ),
    (
        "the lease is the one that was granted last",
        "SELECT l.connector, 1 FROM lease l
         WHERE l.epoch IS NOT (SELECT max(epoch) FROM lease_event WHERE connector = l.connector AND kind = 'granted')",
    ),
    (
        "no state is written by an epoch that has ended",
        "SELECT s.connector, count(*) FROM connector_state s JOIN lease_event g ON g.connector = s.connector AND g.kind = 'granted'
         WHERE s.epoch < g.epoch AND s.version > json_extract(g.detail, '$.state_version') GROUP BY s.connector",
    ),
    (
        "no state is written by an epoch that has not begun",
        "SELECT s.connector, count(*) FROM connector_state s JOIN lease_event g ON g.connector = s.connector AND g.kind = 'granted'
         WHERE s.epoch >= g.epoch AND s.version <= json_extract(g.detail, '$.state_version') GROUP BY s.connector",
    ),
    (
        "no work is begun by an epoch that has ended",
        "SELECT w.connector, count(*) FROM work w JOIN lease_event g ON g.connector = w.connector AND g.kind = 'granted'
         WHERE w.epoch < g.epoch AND w.row > json_extract(g.detail, '$.work_row') GROUP BY w.connector",
    ),
    (
        "no bundle is pushed by an epoch that has ended",
        "SELECT p.connector, count(*) FROM push p JOIN lease_event g ON g.connector = p.connector AND g.kind = 'granted'
         WHERE p.epoch < g.epoch AND p.id > json_extract(g.detail, '$.push_row') GROUP BY p.connector",
    ),
    (
        "no object is written by an epoch that has ended",
        "SELECT g.connector, count(*) FROM origin o
         JOIN lease_event g ON g.connector = json_extract(o.value, '$.connector') AND g.kind = 'granted'
         JOIN history h ON h.origin = o.id
         WHERE json_extract(o.value, '$.epoch') < g.epoch
           AND CASE WHEN json_extract(o.value, '$.push') IS NULL
                 THEN json_extract(o.value, '$.message') > json_extract(g.detail, '$.push_seq')
                 ELSE json_extract(o.value, '$.push') > json_extract(g.detail, '$.push_row') END
         GROUP BY g.connector",
    ),
    (
        "no object is written by an epoch that has not begun",
        "SELECT g.connector, count(*) FROM origin o
         JOIN lease_event g ON g.connector = json_extract(o.value, '$.connector') AND g.kind = 'granted'
         JOIN history h ON h.origin = o.id
         WHERE json_extract(o.value, '$.epoch') >= g.epoch AND h.seq <= json_extract(g.detail, '$.history_seq')
         GROUP BY g.connector",
    ),
    (
        "nothing is discarded while a change of hands is not settled",
        "SELECT connector, count(*) FROM lease_event WHERE kind = 'discarded' AND json_extract(detail, '$.guarded') GROUP BY connector",
    ),
];

impl Store {
    /// Checks what was written by connectors against their leases; an empty list means that everything is right. Reads the whole history.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn check_leases(&self) -> Result<Vec<Problem>> {
        self.read(|snapshot| {
            let mut problems = Vec::new();
            for (invariant, sql) in INVARIANTS {
                let mut statement = snapshot.conn.prepare(sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let (connector, count): (String, i64) = (row.get(0)?, row.get(1)?);
                    problems.push(Problem {
                        invariant,
                        detail: format!("connector {connector}, {count} rows"),
                    });
                }
            }
            Ok(problems)
        })
    }
}
