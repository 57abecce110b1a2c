//! The yardstick of the benchmarks (feature `yardstick`): the rows of a filled store, written again by nothing but prepared statements.
//!
//! What a program that only knew SQLite could do at best with the same rows in the same layout. The rows are in memory before the clock starts;
//! the last checkpoint is inside of it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ferrocti_model::registry::{EntityType, Registry};
use rusqlite::{Connection, OpenFlags, params, types::Value as Sql};
use serde_json::{Map, Value};

use crate::{
    Durability, connection,
    error::{Result, corrupt},
    schema,
};

/// Main name and other text of an object, as the one who filled the store had it indexed.
pub type Texts<'a> = &'a dyn Fn(&EntityType, &Map<String, Value>) -> (String, String);

/// Everything that belongs to the objects of a store.
#[derive(Debug, Default)]
pub struct Rows {
    objects: Vec<ObjectRows>,
    counts: Vec<(i64, i64, i64)>,
    marking_sets: Vec<(i64, String)>,
    origins: Vec<(i64, String)>,
}

#[derive(Debug)]
struct ObjectRows {
    columns: Vec<Sql>,
    keys: Vec<(Vec<u8>, i64)>,
    edges: Vec<(i64, i64)>,
    texts: (String, String),
    history: Vec<Vec<Sql>>,
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Objects handled.
    pub objects: usize,
    /// From the first row to the end of the last checkpoint.
    pub took: Duration,
}

impl Run {
    /// Objects a second.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of objects are far below 2^52"
    )]
    pub fn rate(&self) -> f64 {
        self.objects as f64 / self.took.as_secs_f64()
    }
}

const OBJECT: &str = "iid, type, internal, standard, created_at, updated_at, marking_set, confidence, name_key, src, dst, inputs, attributes";

impl Rows {
    /// Reads the rows of a store that is closed or idle; at most `limit` objects.
    pub fn read(database: &Path, limit: usize, texts: Texts<'_>) -> Result<Self> {
        let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut rows = Self::default();
        let mut keys = conn.prepare("SELECT key, extra FROM ident WHERE iid = ?1 AND extra = 1")?;
        let mut edges = conn.prepare("SELECT ref, dst FROM edge WHERE src = ?1")?;
        let mut history = conn
            .prepare("SELECT at, op, iid, type, actor, origin, data FROM history WHERE iid = ?1")?;
        let mut objects = conn.prepare(&format!(
            "SELECT {OBJECT} FROM object ORDER BY iid LIMIT ?1"
        ))?;
        let mut found = objects.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        while let Some(row) = found.next()? {
            let columns: Vec<Sql> = (0..13)
                .map(|column| row.get(column))
                .collect::<rusqlite::Result<_>>()?;
            let iid: i64 = row.get(0)?;
            let attributes: Map<String, Value> = serde_json::from_str(&row.get::<_, String>(12)?)
                .map_err(|error| corrupt("attributes", error))?;
            let kind = Registry::get()
                .by_code(row.get(1)?)
                .ok_or_else(|| corrupt("type", "unknown code"))?;
            let mut own = vec![
                ([&[0], row.get::<_, [u8; 16]>(2)?.as_slice()].concat(), 0),
                (row.get::<_, [u8; 17]>(3)?.to_vec(), 0),
            ];
            for key in keys.query_map([iid], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))? {
                own.push(key?);
            }
            rows.objects.push(ObjectRows {
                columns,
                keys: own,
                edges: edges
                    .query_map([iid], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?,
                texts: texts(kind, &attributes),
                history: history
                    .query_map([iid], |row| (0..7).map(|column| row.get(column)).collect())?
                    .collect::<rusqlite::Result<_>>()?,
            });
        }
        let three = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let two = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        rows.counts = conn
            .prepare("SELECT type, marking_set, n FROM object_count")?
            .query_map([], three)?
            .collect::<rusqlite::Result<_>>()?;
        rows.marking_sets = conn
            .prepare("SELECT id, members FROM marking_set WHERE id > 0")?
            .query_map([], two)?
            .collect::<rusqlite::Result<_>>()?;
        rows.origins = conn
            .prepare("SELECT id, value FROM origin")?
            .query_map([], two)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Bytes of the documents.
    #[must_use]
    pub fn document_bytes(&self) -> usize {
        self.objects
            .iter()
            .map(|object| {
                if let Some(Sql::Text(text)) = object.columns.last() {
                    text.len()
                } else {
                    0
                }
            })
            .sum()
    }

    /// Inserts the rows into a new database, `batch` objects a transaction.
    pub fn insert(&self, database: &Path, batch: usize, durability: Durability) -> Result<Run> {
        let mut conn = open(database, durability)?;
        schema::migrate(&mut conn, database, 0)?;
        let start = Instant::now();
        let places = |n: usize| vec!["?"; n].join(",");
        let mut insert_object = conn.prepare(&format!(
            "INSERT INTO object({OBJECT}) VALUES ({})",
            places(13)
        ))?;
        let mut insert_key =
            conn.prepare("INSERT INTO ident(key, iid, extra) VALUES (?1, ?2, ?3)")?;
        let mut insert_edge =
            conn.prepare("INSERT INTO edge(src, ref, dst) VALUES (?1, ?2, ?3)")?;
        let mut insert_text =
            conn.prepare("INSERT INTO search(rowid, name, body) VALUES (?1, ?2, ?3)")?;
        let mut insert_event = conn.prepare("INSERT INTO history(at, op, iid, type, actor, origin, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for chunk in self.objects.chunks(batch.max(1)) {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            for object in chunk {
                let iid = &object.columns[0];
                insert_object.execute(rusqlite::params_from_iter(&object.columns))?;
                for (key, extra) in &object.keys {
                    insert_key.execute(params![key, iid, extra])?;
                }
                for (reference, target) in &object.edges {
                    insert_edge.execute(params![iid, reference, target])?;
                }
                if !(object.texts.0.is_empty() && object.texts.1.is_empty()) {
                    insert_text.execute(params![iid, object.texts.0, object.texts.1])?;
                }
                for event in &object.history {
                    insert_event.execute(rusqlite::params_from_iter(event))?;
                }
            }
            conn.execute_batch("COMMIT")?;
        }
        conn.execute_batch("BEGIN")?;
        for (code, set, n) in &self.counts {
            conn.execute(
                "INSERT INTO object_count(type, marking_set, n) VALUES (?1, ?2, ?3)",
                [code, set, n],
            )?;
        }
        for (id, members) in &self.marking_sets {
            conn.execute(
                "INSERT INTO marking_set(id, members) VALUES (?1, ?2)",
                params![id, members],
            )?;
        }
        for (id, value) in &self.origins {
            conn.execute(
                "INSERT INTO origin(id, value) VALUES (?1, ?2)",
                params![id, value],
            )?;
        }
        conn.execute_batch("COMMIT")?;
        checkpoint(&conn)?;
        Ok(Run {
            objects: self.objects.len(),
            took: start.elapsed(),
        })
    }

    /// Reads, merges and writes the objects against a database that holds them: each is found by its standard id, its document parsed and compared
    /// with the parsed input, and written with its text where it differs. Every `changed`-th input differs (0: none).
    pub fn merge(
        &self,
        database: &Path,
        batch: usize,
        changed: usize,
        durability: Durability,
    ) -> Result<Run> {
        let conn = open(database, durability)?;
        let inputs: Vec<(usize, String)> = self
            .objects
            .iter()
            .enumerate()
            .map(|(place, object)| {
                let Some(Sql::Text(text)) = object.columns.last() else {
                    return (place, String::new());
                };
                if changed > 0 && place % changed == 0 {
                    let head = text.trim_end_matches('}');
                    let comma = if head == "{" { "" } else { "," };
                    return (place, format!("{head}{comma}\"x_revision\":\"{place}\"}}"));
                }
                (place, text.clone())
            })
            .collect();
        let start = Instant::now();
        let mut find = conn.prepare("SELECT o.iid, o.attributes FROM ident i JOIN object o ON o.iid = i.iid WHERE i.key = ?1")?;
        let mut update = conn.prepare(
            "UPDATE object SET attributes = ?2, updated_at = updated_at + 1 WHERE iid = ?1",
        )?;
        let mut delete_text = conn.prepare("DELETE FROM search WHERE rowid = ?1")?;
        let mut insert_text =
            conn.prepare("INSERT INTO search(rowid, name, body) VALUES (?1, ?2, ?3)")?;
        for chunk in inputs.chunks(batch.max(1)) {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            for (place, input) in chunk {
                let object = &self.objects[*place];
                let input: Map<String, Value> =
                    serde_json::from_str(input).map_err(|error| corrupt("input", error))?;
                let (iid, stored): (i64, String) =
                    find.query_row([&object.keys[1].0], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let mut stored: Map<String, Value> =
                    serde_json::from_str(&stored).map_err(|error| corrupt("attributes", error))?;
                let mut differs = false;
                for (name, value) in input {
                    if stored.get(&name) != Some(&value) {
                        stored.insert(name, value);
                        differs = true;
                    }
                }
                if differs {
                    update.execute(params![iid, Value::Object(stored).to_string()])?;
                    delete_text.execute([iid])?;
                    insert_text.execute(params![iid, object.texts.0, object.texts.1])?;
                }
            }
            conn.execute_batch("COMMIT")?;
        }
        checkpoint(&conn)?;
        Ok(Run {
            objects: inputs.len(),
            took: start.elapsed(),
        })
    }
}

fn open(database: &Path, durability: Durability) -> Result<Connection> {
    let conn = connection::open_writer(database, durability, 256 * 1024)?;
    // late checkpoints: the best that one connection can do
    conn.pragma_update(
        None,
        "wal_autocheckpoint",
        256 * 1024 * 1024 / connection::PAGE_SIZE,
    )?;
    Ok(conn)
}

fn checkpoint(conn: &Connection) -> Result<()> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
