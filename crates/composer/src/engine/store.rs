//! What is remembered over a restart. It may be lost: what follows is one try more.

use std::path::{Path, PathBuf};

use crate::{Memory, Place, keys, process::journal};

/// The file of a composer's memory.
fn file(directory: &Path) -> PathBuf {
    directory.join("memory.json")
}

/// What was remembered; nothing when there is no such file or it cannot be read. A composer that has not even a key is new: nothing of it
/// can be anywhere, whether a place can be asked or not.
pub(super) fn load(directory: &Path) -> Memory {
    match journal::read(&file(directory)) {
        Ok(Some(memory)) => memory,
        Ok(None) if !keys::key_file(directory).exists() => Memory {
            known: Place::ALL.into(),
            ..Memory::default()
        },
        Ok(None) => Memory::default(),
        Err(error) => {
            tracing::warn!(%error, "the composer's memory cannot be read and is begun anew");
            Memory::default()
        }
    }
}

/// Writes it as a whole.
pub(super) fn save(directory: &Path, memory: &Memory) -> std::io::Result<()> {
    journal::directory(directory, 0o700)?;
    journal::write(&file(directory), memory)
}
