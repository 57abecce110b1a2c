//! Opening SQLite connections: pragmas, limits and the SQL functions that queries use.

use std::{path::Path, time::Duration};

use ferrocti_model::Registry;
use rusqlite::{
    Connection, OpenFlags, config::DbConfig, functions::FunctionFlags, types::ValueRef,
};

use crate::{Durability, error::Result, fold::fold};

/// Bytes of one database page.
pub const PAGE_SIZE: i64 = 8192;

/// How long a statement waits for another connection; only checkpoints make one wait.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements kept by the writing connection: about as many as there are in this crate.
const WRITER_STATEMENTS: usize = 150;
/// Prepared statements kept by each reading connection; those of lists are large.
const READER_STATEMENTS: usize = 60;

/// Opens the connection that writes; creates the file when it is missing.
pub fn open_writer(path: &Path, durability: Durability, cache_kib: i64) -> Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "page_size", PAGE_SIZE)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
        Durability::Off => "OFF",
    };
    conn.pragma_update(None, "synchronous", synchronous)?;
    common(&conn, cache_kib, WRITER_STATEMENTS)?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub fn open_reader(path: &Path, cache_kib: i64) -> Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    common(&conn, cache_kib, READER_STATEMENTS)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Opens the connection of the background checkpoints.
pub fn open_checkpointer(path: &Path, durability: Durability) -> Result<Connection> {
    let conn = open_writer(path, durability, 256)?;
    conn.busy_timeout(Duration::ZERO)?;
    Ok(conn)
}

/// Sets the page cache of a connection in KiB.
pub fn set_cache(conn: &Connection, kib: i64) -> Result<()> {
    conn.pragma_update(None, "cache_size", -kib)?;
    Ok(())
}

fn common(conn: &Connection, cache_kib: i64, statements: usize) -> Result<()> {
    set_cache(conn, cache_kib)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.set_prepared_statement_cache_capacity(statements);
    // plans must not depend on the values that are bound: a statement would be compiled again at each use
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // fold(x): text without case and accents, anything else unchanged
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("fold", 1, flags, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                rusqlite::types::Value::Text(fold(&text).into_owned())
            }
            other => other.try_into().unwrap_or(rusqlite::types::Value::Null),
        })
    })?;
    // type_name(code): the name of a type, folded, for ordering
    conn.create_scalar_function("type_name", 1, flags, |context| {
        let kind = Registry::get().by_code(context.get(0)?);
        Ok(kind.map(|kind| kind.name.to_lowercase()))
    })?;
    Ok(())
}
