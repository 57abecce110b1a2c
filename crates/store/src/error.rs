//! What can go wrong in the store, in words that tell the operator what to do.

use std::{path::PathBuf, sync::Arc};

use crate::Iid;

/// An error of the store. Cheap to clone: every writer of a group gets the error of its commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data directory.
    #[error("the data directory {dir} is in use by process {pid}; stop that process or choose another directory", dir = .dir.display())]
    DirectoryInUse {
        /// The directory.
        dir: PathBuf,
        /// The process, as it wrote itself into the lock file; "unknown" when it could not be read.
        pid: String,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot use {path}: {reason}", path = .path.display())]
    Directory {
        /// What was accessed.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The file is a database of another program.
    #[error("{path} is not a Ferrocti database; move it away or choose another data directory", path = .0.display())]
    ForeignFile(PathBuf),
    /// The file was written by a newer Ferrocti.
    #[error(
        "the database has schema version {found}, this Ferrocti knows versions up to {known}; use the newer Ferrocti that wrote it, or restore a backup"
    )]
    NewerSchema {
        /// Version in the file.
        found: i64,
        /// Highest version of this program.
        known: i64,
    },
    /// A migration in the file is not the one that this program knows under that number.
    #[error(
        "migration {version} of the database differs from the one this Ferrocti knows; the database was changed by a development version and must be restored from a backup"
    )]
    ChangedMigration {
        /// Number of the migration.
        version: i64,
    },
    /// A cursor of paging was not made by this store or belongs to another order.
    #[error("the paging cursor does not belong to this list; ask again without \"after\"")]
    BadCursor,
    /// A filter cannot be executed.
    #[error("{0}")]
    BadFilter(String),
    /// There is no object of that row number.
    #[error("there is no object {0}")]
    NoObject(Iid),
    /// An identifier belongs to another object already.
    #[error("the identifier {key} belongs to object {owner} already")]
    KeyTaken {
        /// The identifier, readable.
        key: String,
        /// The object that has it.
        owner: Iid,
    },
    /// An object cannot be deleted while relationships end at it.
    #[error("object {0} is an end of relationships; delete these first")]
    StillReferenced(Iid),
    /// A value in the database cannot be read.
    #[error("the database holds a value that cannot be read: {0}; run the integrity check")]
    Corrupt(String),
    /// The group of writers that this one shared a commit with could not be committed; nothing of it was stored.
    #[error("the commit failed, nothing was stored: {0}")]
    Commit(Arc<str>),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
    /// SQLite's own error.
    #[error("database error: {0}")]
    Database(Arc<rusqlite::Error>),
}

impl StoreError {
    /// Whether the cause lies outside of what was asked (disk, memory, another process, the closing store), so that the same may succeed later.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull,
            FileLockingProtocolFailed, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        match self {
            Self::DirectoryInUse { .. }
            | Self::Directory { .. }
            | Self::Commit(_)
            | Self::Closed => true,
            Self::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    CannotOpen
                        | DatabaseBusy
                        | DatabaseCorrupt
                        | DatabaseLocked
                        | DiskFull
                        | FileLockingProtocolFailed
                        | OutOfMemory
                        | PermissionDenied
                        | ReadOnly
                        | SystemIoFailure
                )
            ),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A stored JSON text that does not parse.
pub(crate) fn corrupt(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {error}"))
}
