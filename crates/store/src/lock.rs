//! One process per data directory: a lock file that the operating system frees when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use crate::{StoreError, error::Result};

const FILE: &str = "ferrocti.lock";

/// Holds the directory until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Takes the directory, or tells which process has it.
pub fn acquire(dir: &Path) -> Result<DirectoryLock> {
    let path = dir.join(FILE);
    let failed = |error: std::io::Error| StoreError::Directory {
        path: path.clone(),
        reason: error.to_string(),
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid);
            let pid = if read.is_ok() && !pid.trim().is_empty() {
                pid.trim().to_owned()
            } else {
                "unknown".to_owned()
            };
            return Err(StoreError::DirectoryInUse {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    file.flush().map_err(failed)?;
    Ok(DirectoryLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path()).unwrap();
        let message = acquire(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains(&std::process::id().to_string()),
            "{message}"
        );
        assert!(
            message.contains(&dir.path().display().to_string()),
            "{message}"
        );
        drop(first);
        acquire(dir.path()).unwrap();
    }
}
