//! What has to be done so that the connectors of a file are what the file says: a comparison, before anything is done.
//!
//! A connector is told from others by its name. Only connectors that came from a file are ever removed because of a file. Secrets are compared
//! by keyed fingerprints, because nobody but a composer can read them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{
    Secret,
    catalog::{Catalog, Lookup},
    configure::{Entry, Extra, Given, Notice, Request, configure},
    contract::Contract,
    declared::{Declared, SecretRef, Source},
    generic,
    hash::hex,
    launch::{Launch, Runtime},
    secret::{MASK, Shown},
};

/// What a connector is, as far as a file can say it.
#[derive(Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Id of the catalog.
    pub catalog: String,
    /// Slug of the contract.
    pub slug: String,
    /// Version of the contract.
    pub version: String,
    /// How it is started.
    pub launch: Launch,
    /// The user it acts as; `None` in a file: not compared.
    pub user: Option<String>,
    /// The confidence of its service account; `None` in a file: not compared.
    pub confidence: Option<u8>,
    /// The composer that runs it; `None` in a file: not compared.
    pub composer: Option<String>,
    /// Whether it shall run.
    pub running: bool,
    /// Its settings without secrets, defaults filled in.
    pub settings: BTreeMap<String, String>,
    /// Fingerprints of its secrets; empty: it is there, and its fingerprint is not known.
    pub secrets: BTreeMap<String, String>,
    /// What it may use.
    pub runtime: Runtime,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("catalog", &self.catalog)
            .field("slug", &self.slug)
            .field("version", &self.version)
            .field("launch", &self.launch)
            .field("user", &self.user)
            .field("confidence", &self.confidence)
            .field("composer", &self.composer)
            .field("running", &self.running)
            .field(
                "settings",
                &Shown {
                    variables: &self.settings,
                    none: false,
                },
            )
            .field("secrets", &self.secrets)
            .field("runtime", &self.runtime)
            .finish()
    }
}

/// A connector that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Its id.
    pub id: String,
    /// Whether it came from a file, so that a file may remove it.
    pub declared: bool,
    /// What it is.
    pub definition: Definition,
}

/// A connector of a file with its contract found and its settings checked.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it shall be.
    pub definition: Definition,
    /// Its contract.
    pub contract: Contract,
    /// All values, secrets among them, as they are given to [`configure()`] when the plan is carried out.
    pub given: Vec<Given>,
    /// What was done to what was given.
    pub notices: Vec<Notice>,
}

/// Why a connector of a file cannot be what the file says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResolveError {
    /// No catalog has the contract.
    #[error("no catalog has a contract `{slug}`; see `ferrocti connector catalog`")]
    NoContract {
        /// Its slug.
        slug: String,
    },
    /// The contract has no such version.
    #[error("the contract `{slug}` has no version `{version}`; it has {}", .known.join(", "))]
    NoVersion {
        /// Its slug.
        slug: String,
        /// The version asked for.
        version: String,
        /// The versions there are.
        known: Vec<String>,
    },
    /// No version fits the platform.
    #[error(
        "no version of the contract `{slug}` fits this platform; pin `version` to use one all the same"
    )]
    Incompatible {
        /// Its slug.
        slug: String,
    },
    /// The description of an image or command is no contract.
    #[error(transparent)]
    Generic(#[from] crate::contract::ContractFault),
    /// A secret cannot be found.
    #[error("the secret {key} cannot be read from the {reference}: {reason}")]
    Secret {
        /// Its key.
        key: String,
        /// Where it should be.
        reference: SecretRef,
        /// Why not.
        reason: String,
    },
    /// A secret among the settings.
    #[error(
        "{key} is a secret; write it under `secrets` as `{key}: {{env: NAME}}` or `{{file: PATH}}`"
    )]
    SecretInFile {
        /// Its key.
        key: String,
    },
    /// The settings do not obey the contract.
    #[error(transparent)]
    Invalid(#[from] crate::configure::Invalid),
}

impl Resolved {
    /// What is given to [`configure()`] for a connector that is there: secrets that did not change are left out, so that they are not sealed
    /// again (which would start it anew), and those that the file has no longer are forgotten.
    #[must_use]
    pub fn given_for(&self, current: &Definition) -> Vec<Given> {
        let same = |key: &String| {
            let now = self.definition.secrets.get(key);
            now.is_some_and(|print| !print.is_empty()) && now == current.secrets.get(key)
        };
        let gone = current
            .secrets
            .keys()
            .filter(|key| !self.definition.secrets.contains_key(*key))
            .map(|key| Given {
                key: key.clone(),
                value: None,
            });
        self.given
            .iter()
            .filter(|given| !same(&given.key))
            .cloned()
            .chain(gone)
            .collect()
    }
}

/// Reads the secret that a reference is for; the error is a reason in words.
pub type ReadSecret<'a> = &'a dyn Fn(&SecretRef) -> Result<Secret, String>;

/// The fingerprint of a secret of a connector: HMAC-SHA-256 under a key of the platform, so that equal secrets of two connectors look different.
#[must_use]
pub fn fingerprint(platform_key: &[u8; 32], connector: &str, key: &str, secret: &Secret) -> String {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(platform_key).expect("any key length");
    for part in [connector, key, secret.expose()] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    hex(&mac.finalize().into_bytes()[..16])
}

/// Finds the contract of a connector of a file, reads its secrets, and checks its settings.
///
/// # Errors
/// What keeps it from being what the file says.
pub fn resolve(
    declared: &Declared,
    catalogs: &[Catalog],
    platform: &str,
    platform_key: &[u8; 32],
    read_secret: ReadSecret<'_>,
) -> Result<Resolved, ResolveError> {
    let (catalog, contract) = contract(declared, catalogs, platform)?;
    let schema = contract.schema.as_ref();
    for key in declared.settings.keys() {
        if schema
            .and_then(|schema| schema.property(key))
            .is_some_and(|property| property.secret)
        {
            return Err(ResolveError::SecretInFile { key: key.clone() });
        }
    }
    let mut given: Vec<Given> = declared
        .settings
        .iter()
        .map(|(key, value)| Given::new(key, value.as_str()))
        .collect();
    let mut secrets = BTreeMap::new();
    for (key, reference) in &declared.secrets {
        let failed = |reason| ResolveError::Secret {
            key: key.clone(),
            reference: reference.clone(),
            reason,
        };
        let secret = read_secret(reference).map_err(failed)?;
        if secret.is_empty() {
            return Err(failed("it is empty".to_owned()));
        }
        secrets.insert(
            key.clone(),
            fingerprint(platform_key, &declared.name, key, &secret),
        );
        given.push(Given::new(key, secret));
    }
    // an image or a command has no list of keys that could be misspelt
    let extra = match declared.source {
        Source::Generic(_) => Extra::Keep,
        Source::Contract { .. } => Extra::Refuse,
    };
    let configured = configure(
        &Request {
            title: &contract.title,
            schema,
            given: &given,
            stored: &[],
            extra,
        },
        &|_| Ok(String::new()),
    )?;
    Ok(Resolved {
        definition: Definition {
            name: declared.name.clone(),
            catalog,
            slug: contract.slug.clone(),
            version: contract.version.clone(),
            launch: contract.launch(),
            user: declared.user.clone(),
            confidence: declared.confidence,
            composer: declared.composer.clone(),
            running: declared.running,
            settings: settings(&configured.entries),
            secrets,
            runtime: declared.runtime.clone(),
        },
        contract,
        given,
        notices: configured.notices,
    })
}

/// The settings of a stored configuration that are no secrets.
#[must_use]
pub fn settings(entries: &[Entry]) -> BTreeMap<String, String> {
    entries
        .iter()
        .filter(|entry| !entry.encrypted)
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect()
}

fn contract(
    declared: &Declared,
    catalogs: &[Catalog],
    platform: &str,
) -> Result<(String, Contract), ResolveError> {
    let (wanted, slug) = match &declared.source {
        Source::Generic(described) => {
            return Ok((generic::CATALOG.to_owned(), described.contract()?));
        }
        Source::Contract { catalog, slug } => (catalog.as_deref(), slug),
    };
    let mut known = Vec::new();
    for catalog in catalogs {
        if wanted.is_some_and(|wanted| wanted != catalog.id) {
            continue;
        }
        let versions = catalog
            .contracts
            .iter()
            .filter(|contract| contract.slug == *slug);
        known.extend(versions.map(|contract| contract.version.clone()));
        let found = match &declared.version {
            Some(version) => catalog.version(slug, version),
            None => match catalog.latest(slug, platform) {
                Lookup::Found(contract) => Some(contract),
                Lookup::Incompatible(_) | Lookup::Unknown => None,
            },
        };
        if let Some(contract) = found {
            return Ok((catalog.id.clone(), contract.clone()));
        }
    }
    let slug = slug.clone();
    Err(match &declared.version {
        _ if known.is_empty() => ResolveError::NoContract { slug },
        Some(version) => ResolveError::NoVersion {
            slug,
            version: version.clone(),
            known,
        },
        None => ResolveError::Incompatible { slug },
    })
}

/// A value of a definition that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What differs, e.g. `settings.CONNECTOR_SCOPE`.
    pub path: String,
    /// What it is; secrets are masked.
    pub before: Option<String>,
    /// What it shall be; secrets are masked.
    pub after: Option<String>,
}

/// What happens to one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is made.
    Create {
        /// What it shall be.
        definition: Definition,
    },
    /// It is changed.
    Change {
        /// Its id.
        id: String,
        /// What it shall be.
        definition: Definition,
        /// What differs.
        changes: Vec<Change>,
    },
    /// It is removed: it came from a file and is in it no longer.
    Remove {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// It is as it shall be.
    Keep {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
}

/// Two connectors that are there have one name, so that a file cannot mean one of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connectors {} are all called `{name}`; rename all but one of them", .ids.join(", "))]
pub struct Ambiguous {
    /// Their name.
    pub name: String,
    /// Their ids.
    pub ids: Vec<String>,
}

/// Everything that has to be done. It prints as the list that people look at before they agree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps: the connectors of the file in its order, then those to be removed by name.
    pub steps: Vec<Step>,
}

/// Compares what shall be with what is there. Connectors that are in no file and came from none are left alone and not mentioned.
///
/// # Errors
/// A name that several connectors have.
pub fn plan(desired: &[Definition], current: &[Current]) -> Result<Plan, Ambiguous> {
    let mut by_name: HashMap<&str, Vec<&Current>> = HashMap::new();
    for connector in current {
        by_name
            .entry(&connector.definition.name)
            .or_default()
            .push(connector);
    }
    let mut steps = Vec::with_capacity(desired.len());
    for definition in desired {
        let step = match by_name.remove(definition.name.as_str()).as_deref() {
            None | Some([]) => Step::Create {
                definition: definition.clone(),
            },
            Some([connector]) => {
                let changes = changes(&connector.definition, definition);
                if changes.is_empty() {
                    Step::Keep {
                        id: connector.id.clone(),
                        name: definition.name.clone(),
                    }
                } else {
                    Step::Change {
                        id: connector.id.clone(),
                        definition: definition.clone(),
                        changes,
                    }
                }
            }
            Some(several) => {
                return Err(Ambiguous {
                    name: definition.name.clone(),
                    ids: several.iter().map(|one| one.id.clone()).collect(),
                });
            }
        };
        steps.push(step);
    }
    let mut left: Vec<&Current> = by_name
        .into_values()
        .flatten()
        .filter(|connector| connector.declared)
        .collect();
    left.sort_by_key(|connector| (&connector.definition.name, &connector.id));
    steps.extend(left.into_iter().map(|connector| Step::Remove {
        id: connector.id.clone(),
        name: connector.definition.name.clone(),
    }));
    Ok(Plan { steps })
}

fn changes(before: &Definition, after: &Definition) -> Vec<Change> {
    let mut out = Vec::new();
    let mut compare = |path: &str, before: Option<String>, after: Option<String>| {
        if before != after {
            out.push(Change {
                path: path.to_owned(),
                before,
                after,
            });
        }
    };
    let contract =
        |definition: &Definition| Some(format!("{}/{}", definition.catalog, definition.slug));
    compare("contract", contract(before), contract(after));
    compare(
        "version",
        Some(before.version.clone()),
        Some(after.version.clone()),
    );
    if before.version == after.version {
        compare("launch", launch(&before.launch), launch(&after.launch));
    }
    let mut said = |path: &str, before: Option<String>, after: Option<String>| {
        if after.is_some() {
            compare(path, before, after);
        }
    };
    said("user", before.user.clone(), after.user.clone());
    let number = |value: Option<u8>| value.map(|value| value.to_string());
    said(
        "confidence",
        number(before.confidence),
        number(after.confidence),
    );
    said("composer", before.composer.clone(), after.composer.clone());
    said(
        "running",
        Some(before.running.to_string()),
        Some(after.running.to_string()),
    );
    for key in keys(&before.settings, &after.settings) {
        let (old, new) = (before.settings.get(key), after.settings.get(key));
        if old != new {
            out.push(Change {
                path: format!("settings.{key}"),
                before: old.map(|value| shown(key, value)),
                after: new.map(|value| shown(key, value)),
            });
        }
    }
    for key in keys(&before.secrets, &after.secrets) {
        let (old, new) = (before.secrets.get(key), after.secrets.get(key));
        // a fingerprint that is not known is no fingerprint
        if old != new || old.is_some_and(String::is_empty) {
            let mask = |value: Option<&String>| value.map(|_| MASK.to_owned());
            out.push(Change {
                path: format!("secrets.{key}"),
                before: mask(old),
                after: mask(new),
            });
        }
    }
    runtime(&before.runtime, &after.runtime, &mut out);
    out
}

fn keys<'a>(a: &'a BTreeMap<String, String>, b: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = a.keys().chain(b.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn shown(key: &str, value: &str) -> String {
    if crate::secret::is_secret_name(key) {
        MASK.to_owned()
    } else {
        value.to_owned()
    }
}

fn launch(launch: &Launch) -> Option<String> {
    serde_json::to_string(launch).ok()
}

/// Differences of what a connector may use. Extra environment and proxies may have passwords in them, so their values are masked.
fn runtime(before: &Runtime, after: &Runtime, out: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let to_map = |runtime: &Runtime| match serde_json::to_value(runtime) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (to_map(before), to_map(after));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        if old.get(key) == new.get(key) {
            continue;
        }
        let masked = matches!(key.as_str(), "environment" | "proxy");
        let text = |map: &serde_json::Map<String, serde_json::Value>| {
            map.get(key).map(|value| {
                if masked {
                    MASK.to_owned()
                } else {
                    value.to_string()
                }
            })
        };
        out.push(Change {
            path: format!("runtime.{key}"),
            before: text(&old),
            after: text(&new),
        });
    }
}

impl Plan {
    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step, Step::Keep { .. }))
    }

    /// How many connectors would be removed; whoever carries out a plan asks again when there are many.
    #[must_use]
    pub fn removals(&self) -> usize {
        self.count(|step| matches!(step, Step::Remove { .. }))
    }

    fn count(&self, wanted: impl Fn(&Step) -> bool) -> usize {
        self.steps.iter().filter(|step| wanted(step)).count()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            match step {
                Step::Create { definition } => {
                    writeln!(
                        f,
                        "+ {} ({} {})",
                        definition.name, definition.slug, definition.version
                    )?;
                }
                Step::Change {
                    definition,
                    changes,
                    ..
                } => {
                    writeln!(f, "~ {}", definition.name)?;
                    for change in changes {
                        let side = |value: &Option<String>| {
                            value.clone().unwrap_or_else(|| "(not set)".to_owned())
                        };
                        writeln!(
                            f,
                            "    {}: {} -> {}",
                            change.path,
                            side(&change.before),
                            side(&change.after)
                        )?;
                    }
                }
                Step::Remove { name, .. } => writeln!(f, "- {name}")?,
                Step::Keep { .. } => {}
            }
        }
        write!(
            f,
            "{} to create, {} to change, {} to remove, {} unchanged",
            self.count(|step| matches!(step, Step::Create { .. })),
            self.count(|step| matches!(step, Step::Change { .. })),
            self.removals(),
            self.count(|step| matches!(step, Step::Keep { .. })),
        )
    }
}
