//! The catalogs of a platform: what connectors there are, from files, directories and addresses, kept on disk for when the source is away.
//!
//! Of each contract only what lists show stays in memory; the rest (schema, picture) is read from the kept copy when it is asked for. A source
//! that fails keeps what it gave last and says why it failed. Reading manifests is `ferrocti_catalog`'s.

mod cache;
mod http;
mod index;
mod source;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use ferrocti_catalog::{
    Broken, Compatibility, Contract, Filter, ManifestError, catalog::Format, local,
    search as matching, version::compare,
};
use ferrocti_model::clock::{Clock, Millis};
use parking_lot::Mutex;
use serde_json::Value;

pub use http::{Fetch, FetchError, Fetched, WayError, over_http, over_http_through};
use index::Documents;
use source::{Source, State};

/// The platform version that contracts are compared with: that of the newest clients that are tested with Ferrocti, because contracts name
/// versions of OpenCTI.
pub const COMPATIBLE_WITH: &str = "7.261026.0";

/// Largest manifest, in bytes; upstream's with all its pictures is far below.
pub const MAX_BYTES: u64 = 64 << 20;

/// What the catalogs of a platform are made from.
pub struct Options {
    /// Where copies are kept, a directory of their own; it is made when it is missing.
    pub dir: PathBuf,
    /// Paths of files and directories, and addresses (`http://`, `https://`, `file://`), in the order in which they are asked.
    pub sources: Vec<String>,
    /// The version of this binary, which is that of what comes with it.
    pub version: String,
    /// The platform version that contracts must fit; [`COMPATIBLE_WITH`] unless there is a reason.
    pub platform: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What asks addresses: [`over_http`] or [`over_http_through`], unless in tests.
    pub fetch: Fetch,
}

/// Why the catalogs cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory for copies cannot be made.
    #[error("the directory {} for copies of catalogs cannot be made: {error}", .dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The catalog of the binary cannot be read, which a test excludes.
    #[error("the catalog that comes with Ferrocti cannot be read: {0}")]
    Local(#[from] ManifestError),
}

/// Why a contract is not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No such catalog.
    #[error("there is no catalog `{catalog}`; the catalogs are {}", .known.join(", "))]
    NoCatalog {
        /// What was asked for.
        catalog: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// No contract of that slug or image.
    #[error("Target contract not found: no catalog has `{what}`; see `ferrocti connector catalog`")]
    Unknown {
        /// The slug or image.
        what: String,
    },
    /// The contract is there, and cannot be used.
    #[error("the contract `{what}` cannot be used: {fault}")]
    Broken {
        /// The slug.
        what: String,
        /// What is wrong with it.
        fault: String,
    },
    /// There is no such version.
    #[error("the contract `{slug}` has no version `{version}`; it has {}", .known.join(", "))]
    NoVersion {
        /// The slug.
        slug: String,
        /// What was asked for.
        version: String,
        /// The versions there are, newest first.
        known: Vec<String>,
    },
    /// There are versions, and none fits the platform.
    #[error(
        "the contract `{what}` is not compatible with the platform version {platform}: its newest version {version} asks for {asks}; name a version to use it all the same"
    )]
    Incompatible {
        /// The slug or image.
        what: String,
        /// The platform version.
        platform: String,
        /// The newest version there is.
        version: String,
        /// The range of platform versions that it supports.
        asks: String,
    },
    /// The kept copy cannot be read.
    #[error(
        "the kept copy of the catalog `{catalog}` cannot be read ({reason}); refresh the catalogs"
    )]
    Copy {
        /// The catalog.
        catalog: String,
        /// Why.
        reason: String,
    },
}

/// One source of contracts, with what it gave last.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it gave; a source that gave nothing yet has an empty catalog whose id is [`Loaded::source`].
    pub content: Arc<Content>,
    /// Where it comes from, fit to be shown: passwords and queries of addresses are left out. `built in` for the one of the binary.
    pub source: String,
    /// When the source last answered well, also with "nothing new", since the platform started.
    pub checked_at: Option<Millis>,
    /// Why the source failed when it was asked last.
    pub error: Option<String>,
}

/// A catalog.
#[derive(Debug)]
pub struct Content {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its version.
    pub version: String,
    /// The format it came in; `None`: nothing came yet.
    pub format: Option<Format>,
    /// When it came; `None` for what is built in, and when nothing came yet.
    pub fetched_at: Option<Millis>,
    /// The contracts that can be used, in the order of the manifest.
    pub contracts: Vec<Listed>,
    /// Those that cannot, each with its fault.
    pub broken: Vec<Broken>,
    documents: Documents,
}

/// A contract as lists show it.
#[derive(Debug)]
pub struct Listed {
    /// What it is, **without its schema and picture**: to look at, never to configure by. [`Catalogs::find`] gives the whole.
    pub about: Contract,
    /// Whether it has a schema.
    pub has_schema: bool,
    /// What should be known about it before it is used.
    pub remarks: Vec<String>,
    place: index::Place,
}

/// A contract, whole, with the catalog it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Id of the catalog.
    pub catalog: String,
    /// The contract with its schema and picture.
    pub contract: Contract,
}

/// What is looked for in the catalogs.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Only this catalog.
    pub catalog: Option<String>,
    /// The conditions.
    pub filter: Filter,
}

/// One connector in the answer to a search.
#[derive(Debug)]
pub enum Hit {
    /// A connector that can be used, by the contract that a deployment without a version takes: the newest that fits the platform, or the
    /// newest of all when none fits.
    Contract {
        /// Its catalog.
        catalog: Arc<Content>,
        /// Its place in [`Content::contracts`].
        index: usize,
        /// Whether it fits the platform.
        compatible: bool,
        /// All versions, newest first.
        versions: Vec<String>,
    },
    /// An entry that cannot be used.
    Broken {
        /// Its catalog.
        catalog: Arc<Content>,
        /// Its place in [`Content::broken`].
        index: usize,
    },
}

impl Hit {
    /// The contract, when it can be used.
    #[must_use]
    pub fn listed(&self) -> Option<&Listed> {
        match self {
            Self::Contract { catalog, index, .. } => catalog.contracts.get(*index),
            Self::Broken { .. } => None,
        }
    }
}

/// What newer versions there are of a contract that a connector was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newer {
    /// The newest version that fits the platform.
    pub latest_compatible: Option<String>,
    /// Whether that one is newer than the connector's.
    pub update_available: bool,
    /// Whether there is one that is newer still and does not fit the platform.
    pub newer_incompatible: bool,
}

/// The catalogs of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Catalogs(Arc<Inner>);

struct Inner {
    sources: Vec<Source>,
    platform: String,
    clock: Arc<dyn Clock>,
    fetch: Fetch,
    built_in: Loaded,
    /// One refresh at a time.
    refreshing: Mutex<()>,
    /// What the sources gave so far, in their order.
    states: Mutex<Vec<State>>,
}

impl std::fmt::Debug for Catalogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalogs")
    }
}

impl Catalogs {
    /// Opens the catalogs: what is built in, what was kept, and files and directories as they are now. No address is asked; that is what
    /// [`Catalogs::refresh`] is for.
    ///
    /// # Errors
    /// The directory for copies cannot be made. A source that cannot be read is no error; see [`Loaded::error`].
    pub fn open(options: Options) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&options.dir).map_err(|error| OpenError::Directory {
            dir: options.dir.clone(),
            error,
        })?;
        let built_in = Loaded {
            content: Arc::new(Content::built_in(local::catalog(&options.version)?)),
            source: "built in".to_owned(),
            checked_at: None,
            error: None,
        };
        let sources: Vec<Source> = options
            .sources
            .iter()
            .map(|text| Source::of(text, &options.dir))
            .collect();
        let states = sources
            .iter()
            .map(|source| {
                let kept = source.kept();
                if source.is_near() {
                    source.ask(kept, options.clock.as_ref(), &options.fetch)
                } else {
                    kept
                }
            })
            .collect();
        Ok(Self(Arc::new(Inner {
            sources,
            platform: options.platform,
            clock: options.clock,
            fetch: options.fetch,
            built_in,
            refreshing: Mutex::default(),
            states: Mutex::new(states),
        })))
    }

    /// Asks all sources for what is new. Blocks until each has answered or failed; a second call waits for the first one. A source that fails
    /// keeps what it gave last and says so in [`Loaded::error`]; what one source gives is there before the next one is asked.
    pub fn refresh(&self) -> Vec<Loaded> {
        let inner = &self.0;
        let one_at_a_time = inner.refreshing.lock();
        for (index, source) in inner.sources.iter().enumerate() {
            let before = inner.states.lock().get(index).cloned();
            let Some(before) = before else { continue };
            let after = source.ask(before, inner.clock.as_ref(), &inner.fetch);
            if let Some(state) = inner.states.lock().get_mut(index) {
                *state = after;
            }
        }
        drop(one_at_a_time);
        self.all()
    }

    /// All catalogs: the one of the binary first, then the sources in their order, also those that gave nothing yet.
    #[must_use]
    pub fn all(&self) -> Vec<Loaded> {
        let states = self.0.states.lock();
        std::iter::once(&self.0.built_in)
            .chain(states.iter().map(|state| &state.loaded))
            .cloned()
            .collect()
    }

    /// The catalogs of that id; of all when `None`.
    fn asked(&self, catalog: Option<&str>) -> Result<Vec<Arc<Content>>, LookupError> {
        let all: Vec<Arc<Content>> = self.all().into_iter().map(|one| one.content).collect();
        let Some(wanted) = catalog else {
            return Ok(all);
        };
        let found: Vec<Arc<Content>> = all
            .iter()
            .filter(|content| content.id == wanted)
            .cloned()
            .collect();
        if found.is_empty() {
            return Err(LookupError::NoCatalog {
                catalog: wanted.to_owned(),
                known: all
                    .iter()
                    .filter(|content| content.format.is_some())
                    .map(|content| content.id.clone())
                    .collect(),
            });
        }
        Ok(found)
    }

    /// The platform version that contracts are compared with.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.0.platform
    }

    /// A contract, whole: in this catalog or the first that has it; this version, or the newest that fits the platform.
    ///
    /// # Errors
    /// It is not there, or none of its versions fits.
    pub fn find(
        &self,
        catalog: Option<&str>,
        slug: &str,
        version: Option<&str>,
    ) -> Result<Found, LookupError> {
        self.lookup(catalog, slug, version, |about| about.slug == slug)
    }

    /// The newest contract of an image, named without tag, that fits the platform, whole.
    ///
    /// # Errors
    /// It is not there, or none of its versions fits.
    pub fn by_image(&self, catalog: Option<&str>, image: &str) -> Result<Found, LookupError> {
        self.lookup(catalog, image, None, |about| about.image == image)
    }

    fn lookup(
        &self,
        catalog: Option<&str>,
        what: &str,
        version: Option<&str>,
        wanted: impl Fn(&Contract) -> bool,
    ) -> Result<Found, LookupError> {
        let catalogs = self.asked(catalog)?;
        let platform = self.platform();
        for content in &catalogs {
            let found = content
                .contracts
                .iter()
                .filter(|listed| {
                    wanted(&listed.about)
                        && match version {
                            Some(version) => listed.about.version == version,
                            None => fits(&listed.about, platform),
                        }
                })
                .max_by(|a, b| a.about.compare_versions(&b.about));
            if let Some(listed) = found {
                return Ok(Found {
                    catalog: content.id.clone(),
                    contract: content.whole(listed)?,
                });
            }
        }
        let mut known: Vec<&Contract> = catalogs
            .iter()
            .flat_map(|content| &content.contracts)
            .map(|listed| &listed.about)
            .filter(|about| wanted(about))
            .collect();
        known.sort_by(|a, b| b.compare_versions(a));
        let what = what.to_owned();
        Err(match (known.first(), version) {
            (None, _) => {
                let broken = catalogs
                    .iter()
                    .flat_map(|content| &content.broken)
                    .find(|broken| broken.name.as_deref() == Some(&what));
                match broken {
                    Some(broken) => LookupError::Broken {
                        what,
                        fault: broken.fault.to_string(),
                    },
                    None => LookupError::Unknown { what },
                }
            }
            (Some(_), Some(version)) => LookupError::NoVersion {
                slug: what,
                version: version.to_owned(),
                known: known.iter().map(|about| about.version.clone()).collect(),
            },
            (Some(newest), None) => LookupError::Incompatible {
                what,
                platform: platform.to_owned(),
                version: newest.version.clone(),
                asks: asks(newest),
            },
        })
    }

    /// What newer versions there are than the one that a connector was made from.
    #[must_use]
    pub fn newer(&self, catalog: Option<&str>, slug: &str, version: &str) -> Newer {
        let mut out = Newer::default();
        let Ok(catalogs) = self.asked(catalog) else {
            return out;
        };
        // as in a lookup, only the first catalog that has it counts
        let versions: Vec<&Contract> = catalogs
            .iter()
            .map(|content| content.of(slug))
            .find(|versions| !versions.is_empty())
            .unwrap_or_default();
        let latest = versions.iter().find(|about| fits(about, self.platform()));
        let than = latest.map_or(version, |about| about.version.as_str());
        out.newer_incompatible = versions
            .first()
            .is_some_and(|about| compare(&about.version, than).is_gt());
        if let Some(latest) = latest {
            out.update_available = compare(&latest.version, version).is_gt();
            out.latest_compatible = Some(latest.version.clone());
        }
        out
    }

    /// The contracts of one catalog that people may deploy, as upstream gives them: of each connector the newest that fits the platform, without
    /// what the platform itself gives ([`Contract::asked`]).
    ///
    /// # Errors
    /// The kept copy cannot be read.
    pub fn offered(&self, content: &Content) -> Result<Vec<Value>, LookupError> {
        content
            .connectors(self.platform())
            .into_iter()
            .filter(|group| group.compatible)
            .map(|group| Ok(content.whole(&content.contracts[group.index])?.asked()))
            .collect()
    }

    /// What obeys the conditions: first connectors whose name has the words, then others, each by title; then entries that cannot be used, when
    /// nothing was asked that only a contract can answer. The conditions look at the version that would be deployed.
    ///
    /// # Errors
    /// There is no such catalog.
    pub fn search(&self, search: &Search) -> Result<Vec<Hit>, LookupError> {
        let catalogs = self.asked(search.catalog.as_deref())?;
        let groups: Vec<(&Arc<Content>, index::Group)> = catalogs
            .iter()
            .flat_map(|content| {
                content
                    .connectors(self.platform())
                    .into_iter()
                    .map(move |group| (content, group))
            })
            .collect();
        let about = |(content, group): &(&Arc<Content>, index::Group)| -> *const Contract {
            &raw const content.contracts[group.index].about
        };
        let place: HashMap<*const Contract, usize> = groups
            .iter()
            .enumerate()
            .map(|(at, group)| (about(group), at))
            .collect();
        let listed = groups
            .iter()
            .map(|(content, group)| &content.contracts[group.index].about);
        let mut hits: Vec<Hit> = matching(listed, &search.filter)
            .into_iter()
            .filter_map(|found| {
                let (content, group) = &groups[*place.get(&std::ptr::from_ref(found))?];
                Some(Hit::Contract {
                    catalog: Arc::clone(content),
                    index: group.index,
                    compatible: group.compatible,
                    versions: group.versions.clone(),
                })
            })
            .collect();
        let filter = &search.filter;
        if filter.types.is_empty()
            && filter.use_cases.is_empty()
            && filter.supported.is_none()
            && filter.verified.is_none()
        {
            let text = filter.text.to_lowercase();
            let words: Vec<&str> = text.split_whitespace().collect();
            for content in &catalogs {
                for (index, broken) in content.broken.iter().enumerate() {
                    let name = broken.name.as_deref().unwrap_or_default().to_lowercase();
                    if words.iter().all(|word| name.contains(word)) {
                        hits.push(Hit::Broken {
                            catalog: content.clone(),
                            index,
                        });
                    }
                }
            }
        }
        Ok(hits)
    }
}

/// Whether a contract fits a platform version.
fn fits(about: &Contract, platform: &str) -> bool {
    about.compatibility(platform) == Compatibility::Compatible
}

/// The platform versions that a contract asks for, in words.
fn asks(about: &Contract) -> String {
    if let Some(range) = &about.support_version {
        return range.clone();
    }
    let least = about.min_version.as_ref().map(|least| format!(">={least}"));
    let greatest = about
        .max_version
        .as_ref()
        .map(|greatest| format!("<={greatest}"));
    [least, greatest]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}
