//! Schema versions: an ordered list of migrations, each applied once and recorded with its checksum.

use std::path::Path;

use ferrocti_model::clock::Millis;
use rusqlite::{Connection, params};

use crate::{StoreError, error::Result};

/// Marks the file as ours ("FCTI").
const APPLICATION_ID: i64 = 0x4643_5449;

/// The migrations in order; number n is at index n-1. Never edit one that was released: add another.
const MIGRATIONS: &[(&str, &str)] = &[
    ("initial", include_str!("../schema/0001_initial.sql")),
    (
        "former_users",
        include_str!("../schema/0002_former_users.sql"),
    ),
    ("composer", include_str!("../schema/0003_composer.sql")),
    ("lease", include_str!("../schema/0004_lease.sql")),
];

/// Brings the database to the newest version, in one transaction per migration.
pub fn migrate(conn: &mut Connection, path: &Path, now: Millis) -> Result<()> {
    migrate_with(conn, path, now, MIGRATIONS)
}

fn migrate_with(
    conn: &mut Connection,
    path: &Path,
    now: Millis,
    migrations: &[(&str, &str)],
) -> Result<()> {
    let not_a_database = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::ForeignFile(path.to_owned()),
        _ => error.into(),
    };
    let application_id: i64 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(not_a_database)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(not_a_database)?;
    if application_id != APPLICATION_ID && (application_id != 0 || tables != 0) {
        return Err(StoreError::ForeignFile(path.to_owned()));
    }
    if tables == 0 {
        let tx = conn.transaction()?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.execute_batch(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
        )?;
        tx.commit()?;
    }
    let applied: Vec<(i64, String)> = conn
        .prepare("SELECT version, checksum FROM schema_version ORDER BY version")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if let Some((found, _)) = applied.last().filter(|(version, _)| *version > known) {
        return Err(StoreError::NewerSchema {
            found: *found,
            known,
        });
    }
    for ((name, sql), version) in migrations.iter().zip(1_i64..) {
        let checksum = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(sql.as_bytes()));
        match applied.iter().find(|(found, _)| *found == version) {
            Some((_, found)) if *found == checksum => {}
            Some(_) => return Err(StoreError::ChangedMigration { version }),
            None => {
                let tx = conn.transaction()?;
                tx.execute_batch(sql)?;
                tx.execute(
                    "INSERT INTO schema_version(version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                    params![version, name, checksum, now],
                )?;
                tx.commit()?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(conn: &mut Connection, migrations: &[(&str, &str)]) -> Result<()> {
        migrate_with(conn, Path::new("test.db"), 0, migrations)
    }

    const ONE: (&str, &str) = ("one", "CREATE TABLE a (x INTEGER)");
    const TWO: (&str, &str) = ("two", "CREATE TABLE b (x INTEGER)");

    #[test]
    fn migrations_are_applied_once_and_in_order() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &[ONE]).unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        let versions: i64 = conn
            .query_row("SELECT count(*) FROM schema_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(versions, 2);
    }

    #[test]
    fn newer_file_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &[ONE, TWO]).unwrap();
        assert!(matches!(
            run(&mut conn, &[ONE]),
            Err(StoreError::NewerSchema { found: 2, known: 1 })
        ));
    }

    #[test]
    fn changed_migration_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &[ONE]).unwrap();
        assert!(matches!(
            run(&mut conn, &[TWO]),
            Err(StoreError::ChangedMigration { version: 1 })
        ));
    }

    #[test]
    fn failed_migration_leaves_nothing() {
        let mut conn = Connection::open_in_memory().unwrap();
        assert!(
            run(
                &mut conn,
                &[(
                    "broken",
                    "CREATE TABLE c (x INTEGER); CREATE TABLE c (x INTEGER)"
                )]
            )
            .is_err()
        );
        let left: i64 = conn
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'c'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn foreign_database_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE theirs (x INTEGER)")
            .unwrap();
        assert!(matches!(
            run(&mut conn, &[ONE]),
            Err(StoreError::ForeignFile(_))
        ));
    }
}
