//! The integrity check: SQLite's own, then the invariants that the store's writes keep.

use crate::{Store, error::Result};

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which invariant.
    pub invariant: &'static str,
    /// How often, or where.
    pub detail: String,
}

/// Invariants: what each says, and a query for the number of rows that break it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "the counts are those of the objects",
        "SELECT count(*) FROM (
           SELECT type, marking_set, n FROM object_count WHERE n <> 0
           EXCEPT SELECT type, marking_set, count(*) FROM object GROUP BY type, marking_set
         )",
    ),
    (
        "every type and marking set of objects is counted",
        "SELECT count(*) FROM (
           SELECT type, marking_set, count(*) FROM object GROUP BY type, marking_set
           EXCEPT SELECT type, marking_set, n FROM object_count
         )",
    ),
    (
        "both ends of every reference exist",
        "SELECT count(*) FROM edge e
         WHERE NOT EXISTS (SELECT 1 FROM object WHERE iid = e.src) OR NOT EXISTS (SELECT 1 FROM object WHERE iid = e.dst)",
    ),
    (
        "both ends of every relationship exist",
        "SELECT count(*) FROM object o
         WHERE (o.src IS NULL) <> (o.dst IS NULL)
            OR (o.src IS NOT NULL AND NOT EXISTS (SELECT 1 FROM object WHERE iid = o.src))
            OR (o.dst IS NOT NULL AND NOT EXISTS (SELECT 1 FROM object WHERE iid = o.dst))",
    ),
    ("every identifier belongs to an object", "SELECT count(*) FROM ident i WHERE NOT EXISTS (SELECT 1 FROM object WHERE iid = i.iid)"),
    (
        "every object is found by its internal and its standard id",
        "SELECT count(*) FROM object o
         WHERE NOT EXISTS (SELECT 1 FROM ident WHERE key = CAST(x'00' || o.internal AS BLOB) AND iid = o.iid AND extra = 0)
            OR NOT EXISTS (SELECT 1 FROM ident WHERE key = o.standard AND iid = o.iid AND extra = 0)",
    ),
    (
        "only internal and standard ids are not marked as further identifiers",
        "SELECT abs((SELECT count(*) FROM ident WHERE extra = 0) - 2 * (SELECT count(*) FROM object))",
    ),
    (
        "every marking set exists",
        "SELECT count(*) FROM object o WHERE NOT EXISTS (SELECT 1 FROM marking_set WHERE id = o.marking_set)",
    ),
    (
        "every object that has markings carries them in its marking set",
        "SELECT count(*) FROM edge e JOIN object o ON o.iid = e.src JOIN marking_set s ON s.id = o.marking_set
         WHERE e.ref = ?1 AND NOT EXISTS (SELECT 1 FROM json_each(s.members) WHERE value = e.dst)",
    ),
    (
        "every relationship carries the markings of its ends",
        "SELECT count(*) FROM object o JOIN marking_set s ON s.id = o.marking_set
         JOIN object x ON x.iid IN (o.src, o.dst) JOIN marking_set m ON m.id = x.marking_set JOIN json_each(m.members) e
         WHERE o.src IS NOT NULL AND m.id <> o.marking_set AND NOT EXISTS (SELECT 1 FROM json_each(s.members) WHERE value = e.value)",
    ),
    (
        "every indexed text belongs to an object",
        "SELECT count(*) FROM search_docsize d WHERE NOT EXISTS (SELECT 1 FROM object WHERE iid = d.id)",
    ),
    (
        "every object with a name is indexed",
        "SELECT count(*) FROM object o WHERE o.name_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM search_docsize WHERE id = o.iid)",
    ),
    (
        "what is parked waits for something",
        "SELECT count(*) FROM parked p WHERE NOT EXISTS (SELECT 1 FROM parked_key WHERE parked = p.id)",
    ),
    (
        "every parked reference belongs to an object",
        "SELECT count(*) FROM parked p WHERE p.iid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM object WHERE iid = p.iid)",
    ),
    ("every event has a known origin", "SELECT count(*) FROM history h WHERE h.origin IS NOT NULL AND NOT EXISTS (SELECT 1 FROM origin WHERE id = h.origin)"),
    ("every token belongs to a user", "SELECT count(*) FROM token t WHERE NOT EXISTS (SELECT 1 FROM user WHERE id = t.user)"),
    ("every session belongs to a user", "SELECT count(*) FROM session s WHERE NOT EXISTS (SELECT 1 FROM user WHERE id = s.user)"),
    (
        "both ends of every membership exist",
        "SELECT count(*) FROM membership m
         WHERE NOT EXISTS (SELECT 1 FROM user WHERE id = m.user) OR NOT EXISTS (SELECT 1 FROM user_group WHERE id = m.grp)",
    ),
    (
        "groups have roles that exist",
        "SELECT count(*) FROM group_role g
         WHERE NOT EXISTS (SELECT 1 FROM user_group WHERE id = g.grp) OR NOT EXISTS (SELECT 1 FROM role WHERE id = g.role)",
    ),
    (
        "groups are granted markings that exist",
        "SELECT count(*) FROM group_marking g
         WHERE NOT EXISTS (SELECT 1 FROM user_group WHERE id = g.grp) OR NOT EXISTS (SELECT 1 FROM object WHERE iid = g.iid)",
    ),
    (
        "definitions, reports and logs belong to connectors",
        "SELECT count(*) FROM (
           SELECT connector FROM definition UNION SELECT connector FROM connector_report UNION SELECT connector FROM connector_log
           EXCEPT SELECT id FROM connector
         )",
    ),
    (
        "leases belong to connectors",
        "SELECT count(*) FROM lease l WHERE NOT EXISTS (SELECT 1 FROM connector WHERE id = l.connector)",
    ),
    (
        "every managed connector has its definition",
        "SELECT count(*) FROM connector c
         WHERE json_extract(c.manager, '$.number') IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM definition WHERE connector = c.id AND number = json_extract(c.manager, '$.number'))",
    ),
    (
        "users belong to organisations that exist",
        "SELECT count(*) FROM user_organization m
         WHERE NOT EXISTS (SELECT 1 FROM user WHERE id = m.user) OR NOT EXISTS (SELECT 1 FROM object WHERE iid = m.iid)",
    ),
];

impl Store {
    /// Checks the whole database; an empty list means that everything is right. Reads every page: minutes on a large store.
    pub fn check(&self) -> Result<Vec<Problem>> {
        self.read(|snapshot| {
            let mut problems = Vec::new();
            let mut statement = snapshot.conn.prepare("PRAGMA integrity_check")?;
            for line in statement.query_map([], |row| row.get::<_, String>(0))? {
                let line = line?;
                if line != "ok" {
                    problems.push(Problem {
                        invariant: "the file is sound",
                        detail: line,
                    });
                }
            }
            for (invariant, sql) in INVARIANTS {
                let mut statement = snapshot.conn.prepare(sql)?;
                let marking = [snapshot.shared.marking_ref];
                let parameters: &[u16] = if statement.parameter_count() == 1 {
                    &marking
                } else {
                    &[]
                };
                let broken: i64 = statement
                    .query_row(rusqlite::params_from_iter(parameters), |row| row.get(0))?;
                if broken != 0 {
                    problems.push(Problem {
                        invariant,
                        detail: format!("{broken} rows"),
                    });
                }
            }
            Ok(problems)
        })
    }
}
