//! The directory of an instance: its definition and its last run, each written as a whole and before the deed.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Definition, Options};

/// What an instance is started from, whatever has become of its definition since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    pub connector: String,
    pub revision: String,
    pub argv: Vec<String>,
    pub directory: Option<std::path::PathBuf>,
    pub venv: Option<std::path::PathBuf>,
    /// With its secrets: the file is readable by its owner only.
    pub environment: Vec<(String, String)>,
    pub options: Options,
}

impl Spec {
    pub fn environment_of(definition: &Definition) -> Vec<(String, String)> {
        definition
            .environment
            .iter()
            .filter_map(|v| Some((v.key.clone(), v.value.expose()?.to_owned())))
            .collect()
    }
}

/// The last run of an instance. Written before the process is spawned, then with its number, then with its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    pub number: u64,
    pub boot: String,
    pub begun_at: Millis,
    /// Number and start ticks of the process; `None`: the composer died between the note and the deed, or has not got there yet.
    pub process: Option<(i32, u64)>,
    pub ended: Option<End>,
}

/// How a run ended, as far as it was seen.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct End {
    pub code: Option<i32>,
    pub at: Option<Millis>,
}

/// Makes a directory, with its parents.
pub fn directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

/// Replaces a file as a whole: after a crash it holds the old or the new content.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(&draft, path)
}

/// Reads such a file; `None`: there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
