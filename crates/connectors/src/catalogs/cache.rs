//! The kept copy of a source: one file, of which the first line says what the rest is. It is replaced as a whole, so that a crash leaves the
//! old copy or the new one.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use ferrocti_catalog::ManifestError;
use ferrocti_model::clock::Millis;
use serde::{Deserialize, Serialize};

use super::{Content, index::Part};

/// The first line of a kept copy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of this format.
    format: u32,
    /// What tells that the source has nothing new: the `ETag` that came with it.
    pub tag: Option<String>,
    /// When it came.
    pub fetched_at: Millis,
    /// Whether the source is a directory.
    directory: bool,
    /// The files it was made from, or one manifest without a name.
    parts: Vec<Piece>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    name: String,
    length: usize,
}

const FORMAT: u32 = 1;

/// What a source gave.
pub(super) enum Given {
    /// A manifest.
    Manifest(Vec<u8>),
    /// The files of a directory, with their names.
    Files(Vec<(String, Vec<u8>)>),
}

impl Given {
    fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Self::Manifest(bytes) => vec![Part {
                name: "",
                offset: 0,
                bytes,
            }],
            Self::Files(files) => files
                .iter()
                .scan(0, |next, (name, bytes)| {
                    let offset = *next;
                    *next += bytes.len();
                    Some(Part {
                        name,
                        offset,
                        bytes,
                    })
                })
                .collect(),
        }
    }

    /// Reads it; `id` is for what has no id of its own.
    ///
    /// # Errors
    /// It is no manifest.
    pub(super) fn read(&self, id: &str) -> Result<Content, ManifestError> {
        read(matches!(self, Self::Files(_)), &self.parts(), id)
    }
}

fn read(directory: bool, parts: &[Part<'_>], id: &str) -> Result<Content, ManifestError> {
    match parts {
        [manifest] if !directory => Content::of_manifest(manifest.bytes, id),
        files => Ok(Content::of_files(id, files)),
    }
}

/// Writes what a source gave to its kept copy; the answer is the catalog with its documents in that copy.
///
/// # Errors
/// The disk is full, or the file cannot be written; the former copy is left as it was.
pub(super) fn keep(
    path: &Path,
    given: &Given,
    content: Content,
    tag: Option<String>,
    fetched_at: Millis,
) -> io::Result<Content> {
    let parts = given.parts();
    let head = Head {
        format: FORMAT,
        tag,
        fetched_at,
        directory: matches!(given, Given::Files(_)),
        parts: parts
            .iter()
            .map(|part| Piece {
                name: part.name.to_owned(),
                length: part.bytes.len(),
            })
            .collect(),
    };
    let fresh = path.with_extension("new");
    let written = (|| {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)?;
        let mut line = serde_json::to_vec(&head)?;
        line.push(b'\n');
        file.write_all(&line)?;
        for part in parts {
            file.write_all(part.bytes)?;
        }
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        Ok((file, line.len() as u64))
    })();
    match written {
        Ok((file, from)) => Ok(Content {
            fetched_at: Some(fetched_at),
            ..content.kept_in(file, from)
        }),
        Err(error) => {
            // what is half written is of no use; that it cannot be removed either changes nothing
            let _ = fs::remove_file(&fresh);
            Err(error)
        }
    }
}

/// Reads a kept copy; `id` is for what has no id of its own. `None`: there is none that can be used.
pub(super) fn load(path: &Path, id: &str) -> Option<(Head, Content)> {
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let body = &bytes[end..];
    let mut offset = 0_usize;
    let mut parts = Vec::with_capacity(head.parts.len());
    for piece in &head.parts {
        let after = offset.checked_add(piece.length)?;
        parts.push(Part {
            name: &piece.name,
            offset,
            bytes: body.get(offset..after)?,
        });
        offset = after;
    }
    if head.format != FORMAT || offset != body.len() {
        return None;
    }
    let content = read(head.directory, &parts, id).ok()?;
    let content = Content {
        fetched_at: Some(head.fetched_at),
        ..content.kept_in(file, end as u64)
    };
    Some((head, content))
}
