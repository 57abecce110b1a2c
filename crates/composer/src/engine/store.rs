//! What is remembered over a restart. It may be lost: what follows is one try more.

use std::path::{Path, PathBuf};

use crate::{Memory, process::journal};

/// The file of a composer's memory.
fn file(directory: &Path) -> PathBuf {
    directory.join("memory.json")
}

/// What was remembered; nothing when there is no such file or it cannot be read.
pub(super) fn load(directory: &Path) -> Memory {
    journal::read(&file(directory)).map_or_else(
        |error| {
            tracing::warn!(%error, "the composer's memory cannot be read and is begun anew");
            Memory::default()
        },
        Option::unwrap_or_default,
    )
}

/// Writes it as a whole.
pub(super) fn save(directory: &Path, memory: &Memory) -> std::io::Result<()> {
    journal::directory(directory, 0o700)?;
    journal::write(&file(directory), memory)
}
