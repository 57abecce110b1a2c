//! The composer's own identity: its key, which only it has, and its id. Both are made at the first start and never overwritten.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ferrocti_catalog::{PrivateKey, Secret};
use ferrocti_model::clock::Entropy;

/// Why there is no key, or no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Others may read the key.
    #[error(
        "the key {path} may be read by others than its owner (mode {mode:03o}); whoever has read it can open every connector's secrets: if nobody has, run chmod 600 {path}"
    )]
    TooOpen {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// It is there and is none.
    #[error(
        "{path}: {why}; put the composer's former key there, or move the file away, so that a new one is made and the connectors' secrets are entered again"
    )]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refuses.
    #[error("{path} cannot be read or written: {why}; let the composer's user do that")]
    Disk {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },
}

fn disk(path: &Path, error: &io::Error) -> KeysError {
    KeysError::Disk {
        path: path.display().to_string(),
        why: error.to_string(),
    }
}

/// Where the key of a composer is.
#[must_use]
pub fn key_file(directory: &Path) -> PathBuf {
    directory.join("key.pem")
}

/// The key in `<directory>/key.pem`, which is made when there is none; that takes seconds, so call it where waiting harms nobody.
///
/// # Errors
/// What is there is no key of 4096 bits that its owner alone can read, or it cannot be read or written. Nothing is overwritten.
pub fn key(directory: &Path, entropy: &dyn Entropy) -> Result<PrivateKey, KeysError> {
    let path = key_file(directory);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let unusable = |error: ferrocti_catalog::KeyError| KeysError::Unusable {
        path: path.display().to_string(),
        why: error.to_string(),
    };
    let key = PrivateKey::generate(entropy).map_err(unusable)?;
    write(&path, &key.to_pem().map_err(unusable)?)?;
    // another composer may have been first: what is in the file counts
    read(&path)?.ok_or_else(|| disk(&path, &io::ErrorKind::NotFound.into()))
}

fn read(path: &Path) -> Result<Option<PrivateKey>, KeysError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(path, &error)),
    };
    let mode = fs::metadata(path)
        .map_err(|error| disk(path, &error))?
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeysError::TooOpen {
            path: path.display().to_string(),
            mode,
        });
    }
    PrivateKey::from_pem(text.expose())
        .map(Some)
        .map_err(|error| KeysError::Unusable {
            path: path.display().to_string(),
            why: error.to_string(),
        })
}

/// Writes a file that is not there, as a whole; one that has come meanwhile stays.
fn write(path: &Path, text: &Secret) -> Result<(), KeysError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let write = || -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::File::open(directory)?.sync_all(),
        }
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(|error| disk(path, &error))
}

/// Names a directory, and not its copies: by its number and its birth on the file system. `None`: it is not there.
#[must_use]
pub fn place(directory: &Path) -> Option<String> {
    let there = fs::metadata(directory).ok()?;
    let born = there.created().ok();
    let born = born.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let born = born.map_or(0, |since| since.as_nanos());
    Some(format!("{:x}-{born:x}", there.ino()))
}

/// The id in `<directory>/id`, which is made when there is none.
///
/// # Errors
/// It cannot be read or written, or what is there is no id.
pub fn id(directory: &Path, entropy: &dyn Entropy) -> Result<String, KeysError> {
    let path = directory.join("id");
    let found = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(path, &error)),
    };
    if found(&path)?.is_none() {
        write(&path, &Secret::new(entropy.uuid().to_string()))?;
    }
    let id = found(&path)?.unwrap_or_default();
    let acceptable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > 128 || !id.chars().all(acceptable) {
        return Err(KeysError::Unusable {
            path: path.display().to_string(),
            why: "this is no id of letters, digits, - _ and .".to_owned(),
        });
    }
    Ok(id)
}
