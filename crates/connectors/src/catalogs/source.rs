//! Where a catalog comes from: asking it, and what is shown when it fails.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferrocti_catalog::ManifestError;
use ferrocti_model::clock::Clock;
use sha2::{Digest, Sha256};

use super::{
    Content, Fetch, FetchError, Fetched, Loaded, MAX_BYTES,
    cache::{self, Given},
};

/// Where a catalog comes from.
#[derive(Debug)]
pub(super) struct Source {
    origin: Origin,
    /// The same, fit to be shown.
    shown: String,
    /// Where its copy is kept.
    copy: PathBuf,
}

#[derive(Debug)]
enum Origin {
    Path(PathBuf),
    Url(String),
}

/// What a source gave last.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub loaded: Loaded,
    /// What tells that there is nothing new: the `ETag` of an address, the digest of what a path held.
    tag: Option<String>,
}

/// Why a source failed. The texts are shown beside the catalog.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    #[error("has no file that ends with .json")]
    NoFiles,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the copy of it cannot be kept: {0}")]
    Copy(std::io::Error),
}

impl Source {
    /// A source from the text of a setting; its copy is kept in `dir`.
    pub(super) fn of(text: &str, dir: &Path) -> Self {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let origin = if lower.starts_with("http://") || lower.starts_with("https://") {
            Origin::Url(text.to_owned())
        } else if lower.starts_with("file://") {
            Origin::Path(text["file://".len()..].into())
        } else {
            Origin::Path(text.into())
        };
        let shown = match &origin {
            Origin::Url(url) => without_secrets(url),
            Origin::Path(path) => path.display().to_string(),
        };
        let name: String = Sha256::digest(text.as_bytes())[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            origin,
            shown,
            copy: dir.join(format!("{name}.catalog")),
        }
    }

    /// Whether asking it needs no network.
    pub(super) fn is_near(&self) -> bool {
        matches!(self.origin, Origin::Path(_))
    }

    /// The id of a catalog that has none of its own: the name of the directory or file.
    fn id(&self) -> String {
        match &self.origin {
            Origin::Path(path) => path
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
            Origin::Url(_) => None,
        }
        .unwrap_or_else(|| self.shown.clone())
    }

    /// What was kept of it, before it is asked.
    pub(super) fn kept(&self) -> State {
        let (content, tag) = match cache::load(&self.copy, &self.id()) {
            Some((head, content)) => (content, head.tag),
            None => (Content::nothing(&self.shown), None),
        };
        State {
            loaded: Loaded {
                content: Arc::new(content),
                source: self.shown.clone(),
                checked_at: None,
                error: None,
            },
            tag,
        }
    }

    /// Asks it. What it gave before stays when it has nothing new or fails.
    pub(super) fn ask(&self, before: State, clock: &dyn Clock, fetch: &Fetch) -> State {
        let State { mut loaded, tag } = before;
        let asked = match self.get(tag.as_deref(), fetch) {
            Ok(None) => Ok(None),
            Ok(Some((given, tag))) => self.take(&given, tag, clock).map(Some),
            Err(error) => Err(error),
        };
        match asked {
            Ok(fresh) => {
                loaded.checked_at = Some(clock.now());
                loaded.error = None;
                match fresh {
                    None => State { loaded, tag },
                    Some((content, tag)) => State {
                        loaded: Loaded {
                            content: Arc::new(content),
                            ..loaded
                        },
                        tag,
                    },
                }
            }
            Err(error) => {
                loaded.error = Some(error.to_string());
                State { loaded, tag }
            }
        }
    }

    fn take(
        &self,
        given: &Given,
        tag: Option<String>,
        clock: &dyn Clock,
    ) -> Result<(Content, Option<String>), SourceError> {
        let content = given.read(&self.id())?;
        let content = cache::keep(&self.copy, given, content, tag.clone(), clock.now())
            .map_err(SourceError::Copy)?;
        Ok((content, tag))
    }

    /// What it has; `None`: nothing new.
    fn get(
        &self,
        tag: Option<&str>,
        fetch: &Fetch,
    ) -> Result<Option<(Given, Option<String>)>, SourceError> {
        let given = match &self.origin {
            Origin::Url(url) => match fetch(url, tag)? {
                Fetched::Unchanged => return Ok(None),
                Fetched::Body { bytes, tag } => return Ok(Some((Given::Manifest(bytes), tag))),
            },
            Origin::Path(path) if path.is_dir() => Given::Files(files(path)?),
            Origin::Path(path) => {
                let mut left = MAX_BYTES;
                Given::Manifest(read(path, &mut left)?)
            }
        };
        let digest = digest(&given);
        if tag == Some(&digest) {
            return Ok(None);
        }
        Ok(Some((given, Some(digest))))
    }
}

/// The files of a directory that end with `.json`, by name.
fn files(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(SourceError::NoFiles);
    }
    paths.sort();
    let mut left = MAX_BYTES;
    paths
        .iter()
        .map(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            Ok((name, read(path, &mut left)?))
        })
        .collect()
}

/// Reads a file of at most `left` bytes, which become fewer.
fn read(path: &Path, left: &mut u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(*left + 1).read_to_end(&mut bytes)?;
    *left = left
        .checked_sub(bytes.len() as u64)
        .ok_or(SourceError::TooLarge)?;
    Ok(bytes)
}

fn digest(given: &Given) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match given {
        Given::Manifest(bytes) => add(bytes),
        Given::Files(files) => {
            for (name, bytes) in files {
                add(name.as_bytes());
                add(bytes);
            }
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// An address without the password and the query, in which secrets may be.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = match rest.find('/') {
        Some(place) => rest.split_at(place),
        None => (rest, ""),
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_what_may_be_secret() {
        for (url, shown) in [
            (
                "https://example.org/a/m.json",
                "https://example.org/a/m.json",
            ),
            (
                "https://me:pw@example.org/m?key=1#x",
                "https://example.org/m",
            ),
            ("http://me:p%40w@example.org:81", "http://example.org:81"),
            (
                "https://example.org/a@b/m.json",
                "https://example.org/a@b/m.json",
            ),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
    }

    #[test]
    fn sources_are_paths_or_addresses() {
        let dir = Path::new("/d");
        for (text, near) in [
            ("/srv/catalogs", true),
            ("file:///srv/manifest.json", true),
            ("relative.json", true),
            ("HTTPS://example.org/manifest", false),
            (" http://example.org ", false),
        ] {
            assert_eq!(Source::of(text, dir).is_near(), near, "{text}");
        }
        assert_eq!(Source::of("file:///srv/m.json", dir).shown, "/srv/m.json");
        assert_ne!(Source::of("/a", dir).copy, Source::of("/b", dir).copy);
    }
}
