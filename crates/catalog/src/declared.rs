//! `connectors.yaml`: the connectors that somebody wants, as a file. The page `docs/development/catalog.md` describes it.

use std::{collections::BTreeMap, fmt};

use crate::{
    contract::ConnectorType,
    environment::Proxy,
    generic::Generic,
    launch::{Launch, Mount, Runtime, parse_memory},
    secret::is_secret_name,
    yaml::{self, Data, Node, Pair},
};

pub use crate::yaml::YamlError;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is no YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It is YAML and says something that is not understood: everything, not only the first.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
}

/// Something in the file that is not right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {path}: {reason}")]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// Where, e.g. `connectors[0].settings.CONNECTOR_SCOPE`.
    pub path: String,
    /// What is wrong, and what is expected.
    pub reason: String,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The connectors, in the order of the file.
    pub connectors: Vec<Declared>,
}

/// What a connector is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A contract of a catalog.
    Contract {
        /// The catalog; `None`: the first that has it.
        catalog: Option<String>,
        /// The slug.
        slug: String,
    },
    /// An image or a command.
    Generic(Generic),
}

/// Where a secret is found. A file with connectors holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// In an environment variable of whoever applies the file.
    Environment(String),
    /// In a file, without the end of its last line.
    File(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// One connector of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its name, which tells it from the others.
    pub name: String,
    /// What it is made from.
    pub source: Source,
    /// The version it is pinned to; `None`: the newest that fits the platform.
    pub version: Option<String>,
    /// The user it acts as; `None`: whoever it is now, or a service account of its own.
    pub user: Option<String>,
    /// The confidence of a service account of its own.
    pub confidence: Option<u8>,
    /// The composer that runs it; `None`: whichever it is now, or the first.
    pub composer: Option<String>,
    /// Whether it shall run.
    pub running: bool,
    /// Its settings.
    pub settings: BTreeMap<String, String>,
    /// Where its secrets are found.
    pub secrets: BTreeMap<String, SecretRef>,
    /// What it may use.
    pub runtime: Runtime,
}

/// Reads a file.
///
/// # Errors
/// It is no YAML, or everything in it that is not understood, each with its line.
pub fn read(text: &str) -> Result<File, FileError> {
    let root = yaml::read(text)?;
    let mut reader = Reader { faults: Vec::new() };
    let connectors = reader.file(&root);
    if reader.faults.is_empty() {
        Ok(File { connectors })
    } else {
        Err(FileError::Faults(reader.faults))
    }
}

/// The keys of one connector.
const KEYS: &[&str] = &[
    "name",
    "contract",
    "catalog",
    "image",
    "command",
    "type",
    "working_directory",
    "requirements",
    "version",
    "user",
    "confidence",
    "composer",
    "running",
    "settings",
    "secrets",
    "runtime",
];
const RUNTIME: &[&str] = &[
    "memory",
    "cpus",
    "processes",
    "mounts",
    "networks",
    "environment",
    "proxy",
];
const PROXY: &[&str] = &[
    "http",
    "https",
    "except",
    "ca_certificates",
    "reject_unauthorized",
];

struct Reader {
    faults: Vec<Fault>,
}

/// The pairs of a map, and where it is.
struct Map<'a> {
    path: String,
    line: usize,
    pairs: &'a [Pair],
}

impl<'a> Map<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs
            .iter()
            .find(|pair| pair.key == key)
            .map(|pair| &pair.value)
            .filter(|node| !matches!(node.data, Data::Null))
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Reader {
    fn fault(&mut self, line: usize, path: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(Fault {
            line,
            path: path.into(),
            reason: reason.into(),
        });
    }

    fn wrong(&mut self, node: &Node, path: &str, expected: &str) {
        let found = node.kind();
        self.fault(
            node.line,
            path,
            format!("must be {expected}, it is {found}"),
        );
    }

    /// The node as a map whose keys are all known; `None`: it is none.
    fn map<'a>(&mut self, node: &'a Node, path: &str, keys: Option<&[&str]>) -> Option<Map<'a>> {
        let Data::Map(pairs) = &node.data else {
            self.wrong(node, path, "a map");
            return None;
        };
        let map = Map {
            path: path.to_owned(),
            line: node.line,
            pairs,
        };
        if let Some(keys) = keys {
            for pair in pairs {
                if !keys.contains(&pair.key.as_str()) {
                    let reason = format!("is not known; the keys here are {}", keys.join(", "));
                    self.fault(pair.line, map.path(&pair.key), reason);
                }
            }
        }
        Some(map)
    }

    fn text(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let node = map.get(key)?;
        match &node.data {
            Data::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Data::Text(_) => {
                self.fault(
                    node.line,
                    map.path(key),
                    "is empty; leave it out or fill it",
                );
                None
            }
            _ => {
                self.wrong(node, &map.path(key), "a text");
                None
            }
        }
    }

    fn flag(&mut self, map: &Map<'_>, key: &str) -> Option<bool> {
        let text = self.text(map, key)?;
        let value = text.parse().ok();
        if value.is_none() {
            let line = map.get(key).map_or(map.line, |node| node.line);
            self.fault(line, map.path(key), "must be true or false");
        }
        value
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        map: &Map<'_>,
        key: &str,
        expected: &str,
        right: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let text = self.text(map, key)?;
        let value = text.parse().ok().filter(right);
        if value.is_none() {
            let line = map.get(key).map_or(map.line, |node| node.line);
            self.fault(line, map.path(key), format!("must be {expected}"));
        }
        value
    }

    /// A list of texts; a single text is a list of one.
    fn texts(&mut self, map: &Map<'_>, key: &str) -> Vec<String> {
        let Some(node) = map.get(key) else {
            return Vec::new();
        };
        match &node.data {
            Data::Text(text) => vec![text.clone()],
            Data::List(items) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| match &item.data {
                    Data::Text(text) => Some(text.clone()),
                    _ => {
                        self.wrong(item, &format!("{}[{index}]", map.path(key)), "a text");
                        None
                    }
                })
                .collect(),
            _ => {
                self.wrong(node, &map.path(key), "a list of texts");
                Vec::new()
            }
        }
    }

    fn file(&mut self, root: &Node) -> Vec<Declared> {
        let Some(map) = self.map(root, "the file", Some(&["connectors"])) else {
            return Vec::new();
        };
        let list = match map.pairs.iter().find(|pair| pair.key == "connectors") {
            Some(pair) => &pair.value,
            None => {
                self.fault(
                    map.line,
                    "connectors",
                    "is missing; write `connectors: []` for none",
                );
                return Vec::new();
            }
        };
        let Data::List(items) = &list.data else {
            self.wrong(list, "connectors", "a list");
            return Vec::new();
        };
        let mut out: Vec<Declared> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("connectors[{index}]");
            let Some(declared) = self.connector(item, &path) else {
                continue;
            };
            if let Some(first) = out.iter().find(|other| other.name == declared.name) {
                let reason = format!(
                    "`{}` is there already, in line {}; every connector has its own name",
                    declared.name, first.line
                );
                self.fault(item.line, format!("{path}.name"), reason);
            }
            out.push(declared);
        }
        out
    }

    fn connector(&mut self, node: &Node, path: &str) -> Option<Declared> {
        let map = self.map(node, path, Some(KEYS))?;
        let before = self.faults.len();
        let name = self.text(&map, "name");
        if name.as_ref().is_some_and(|name| name.chars().count() < 2) {
            self.fault(
                map.line,
                map.path("name"),
                "must have two characters at least",
            );
        }
        if map.get("name").is_none() {
            self.fault(map.line, map.path("name"), "is missing");
        }
        let name = name.unwrap_or_default();
        let source = self.source(&map, &name);
        let declared = Declared {
            line: map.line,
            name,
            version: self.text(&map, "version"),
            user: self.text(&map, "user"),
            confidence: self.number(&map, "confidence", "a whole number from 0 to 100", |n| {
                *n <= 100
            }),
            composer: self.text(&map, "composer"),
            running: self.flag(&map, "running").unwrap_or(true),
            settings: self.settings(&map),
            secrets: self.secrets(&map),
            runtime: self.runtime(&map),
            source: source?,
        };
        for key in declared.secrets.keys() {
            if declared.settings.contains_key(key) {
                self.fault(map.line, map.path(key), "is both a setting and a secret");
            }
        }
        if matches!(declared.source, Source::Generic(_)) && declared.version.is_some() {
            self.fault(
                map.line,
                map.path("version"),
                "only a contract has versions; write the tag into `image`",
            );
        }
        (self.faults.len() == before).then_some(declared)
    }

    fn source(&mut self, map: &Map<'_>, name: &str) -> Option<Source> {
        let given: Vec<&str> = ["contract", "image", "command"]
            .into_iter()
            .filter(|key| map.get(key).is_some())
            .collect();
        let [given] = given[..] else {
            let reason = "write exactly one of `contract` (of a catalog), `image` and `command`";
            self.fault(map.line, map.path.clone(), reason);
            return None;
        };
        let mut only = |keys: &[&str], with: &str| {
            for key in keys {
                if map.get(key).is_some() {
                    self.fault(map.line, map.path(key), format!("only goes with {with}"));
                }
            }
        };
        if given != "command" {
            only(&["working_directory", "requirements"], "`command`");
        }
        if given != "contract" {
            only(&["catalog"], "`contract`");
        } else {
            only(&["type"], "`image` and `command`; a contract has its type");
            return Some(Source::Contract {
                catalog: self.text(map, "catalog"),
                slug: self.text(map, "contract")?,
            });
        }
        let launch = if given == "image" {
            Launch::Image {
                image: self.text(map, "image")?,
            }
        } else {
            Launch::Command {
                command: self.texts(map, "command"),
                working_directory: self.text(map, "working_directory"),
                requirements: self.text(map, "requirements"),
            }
        };
        let connector_type = self.text(map, "type").unwrap_or_default();
        if ConnectorType::of(&connector_type).is_none() {
            let reason = format!("must be one of {}", ConnectorType::names());
            self.fault(map.line, map.path("type"), reason);
            return None;
        }
        let generic = Generic {
            title: name.to_owned(),
            connector_type,
            launch,
            environment: BTreeMap::new(),
            secrets: map
                .get("secrets")
                .map(|node| match &node.data {
                    Data::Map(pairs) => pairs.iter().map(|pair| pair.key.clone()).collect(),
                    _ => std::collections::BTreeSet::new(),
                })
                .unwrap_or_default(),
            confidence: None,
        };
        if let Err(error) = generic.contract() {
            self.fault(map.line, map.path(given), error.to_string());
            return None;
        }
        Some(Source::Generic(generic))
    }

    fn settings(&mut self, map: &Map<'_>) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let Some(node) = map.get("settings") else {
            return out;
        };
        let Some(settings) = self.map(node, &map.path("settings"), None) else {
            return out;
        };
        for pair in settings.pairs {
            let path = settings.path(&pair.key);
            if is_secret_name(&pair.key)
                && matches!(&pair.value.data, Data::Text(text) if !text.is_empty() && !matches!(text.as_str(), "true" | "false"))
            {
                let reason = format!(
                    "is a secret; write it under `secrets` as `{}: {{env: NAME}}` or `{{file: PATH}}`",
                    pair.key
                );
                self.fault(pair.line, path, reason);
                continue;
            }
            if let Some(value) = self.setting(pair, &path) {
                out.insert(pair.key.clone(), value);
            }
        }
        out
    }

    /// A setting as the text of an environment variable; nothing: as if it were not there.
    fn setting(&mut self, pair: &Pair, path: &str) -> Option<String> {
        match &pair.value.data {
            Data::Null => None,
            Data::Text(text) => Some(text.clone()),
            Data::Map(_) => {
                self.wrong(
                    &pair.value,
                    path,
                    "a text or a list; write JSON as a text in quotes",
                );
                None
            }
            Data::List(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match &item.data {
                        Data::Text(text) if !text.contains(',') => texts.push(text.as_str()),
                        Data::Text(_) => self.fault(
                            item.line,
                            path,
                            "an item has a comma, which separates items; connectors cannot be told such a list",
                        ),
                        _ => self.wrong(item, path, "a list of texts"),
                    }
                }
                Some(texts.join(","))
            }
        }
    }

    fn secrets(&mut self, map: &Map<'_>) -> BTreeMap<String, SecretRef> {
        let mut out = BTreeMap::new();
        let Some(node) = map.get("secrets") else {
            return out;
        };
        let Some(secrets) = self.map(node, &map.path("secrets"), None) else {
            return out;
        };
        for pair in secrets.pairs {
            let path = secrets.path(&pair.key);
            let Data::Map(_) = &pair.value.data else {
                // the value may be the secret itself, so it is not repeated
                self.fault(
                    pair.line,
                    path,
                    "must be `{env: NAME}` or `{file: PATH}`; secrets are not written into this file",
                );
                continue;
            };
            let Some(reference) = self.map(&pair.value, &path, Some(&["env", "file"])) else {
                continue;
            };
            match (self.text(&reference, "env"), self.text(&reference, "file")) {
                (Some(name), None) => {
                    out.insert(pair.key.clone(), SecretRef::Environment(name));
                }
                (None, Some(file)) => {
                    out.insert(pair.key.clone(), SecretRef::File(file));
                }
                _ => self.fault(pair.line, path, "write exactly one of `env` and `file`"),
            }
        }
        out
    }

    fn runtime(&mut self, map: &Map<'_>) -> Runtime {
        let mut out = Runtime::default();
        let Some(node) = map.get("runtime") else {
            return out;
        };
        let Some(map) = self.map(node, &map.path("runtime"), Some(RUNTIME)) else {
            return out;
        };
        if let Some(text) = self.text(&map, "memory") {
            out.memory = parse_memory(&text);
            if out.memory.is_none() {
                self.fault(
                    node.line,
                    map.path("memory"),
                    "is no amount of memory; write e.g. `512m` or `2g`",
                );
            }
        }
        out.cpu_millis = self
            .number(
                &map,
                "cpus",
                "a number of processors such as `0.5`",
                |n: &f64| *n >= 0.001 && *n <= 10_000.0,
            )
            .map(thousandths);
        out.processes = self.number(&map, "processes", "a whole number from 1", |n: &u32| *n > 0);
        out.networks = self.texts(&map, "networks");
        if let Some(mounts) = map.get("mounts") {
            out.mounts = self.mounts(mounts, &map.path("mounts"));
        }
        if let Some(environment) = map.get("environment")
            && let Some(variables) = self.map(environment, &map.path("environment"), None)
        {
            for pair in variables.pairs {
                if let Some(value) = self.setting(pair, &variables.path(&pair.key)) {
                    out.environment.insert(pair.key.clone(), value);
                }
            }
        }
        if let Some(proxy) = map.get("proxy")
            && let Some(proxy) = self.map(proxy, &map.path("proxy"), Some(PROXY))
        {
            out.proxy = Some(Proxy {
                http: self.text(&proxy, "http"),
                https: self.text(&proxy, "https"),
                except: self.text(&proxy, "except"),
                ca_certificates: self.text(&proxy, "ca_certificates"),
                reject_unauthorized: self.flag(&proxy, "reject_unauthorized").unwrap_or(true),
            });
        }
        out
    }

    /// Mounts as `source:target` or `source:target:ro`, or as maps.
    fn mounts(&mut self, node: &Node, path: &str) -> Vec<Mount> {
        let Data::List(items) = &node.data else {
            self.wrong(node, path, "a list");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let mount = match &item.data {
                Data::Text(text) => {
                    let mut parts = text.split(':');
                    match (parts.next(), parts.next(), parts.next(), parts.next()) {
                        (Some(source), Some(target), mode @ (None | Some("ro" | "rw")), None) => {
                            Some(Mount {
                                source: source.to_owned(),
                                target: target.to_owned(),
                                read_only: mode == Some("ro"),
                            })
                        }
                        _ => None,
                    }
                }
                Data::Map(_) => self
                    .map(item, &path, Some(&["source", "target", "read_only"]))
                    .and_then(|map| {
                        Some(Mount {
                            source: self.text(&map, "source")?,
                            target: self.text(&map, "target")?,
                            read_only: self.flag(&map, "read_only").unwrap_or_default(),
                        })
                    }),
                _ => None,
            };
            match mount {
                Some(mount) if !mount.source.is_empty() && mount.target.starts_with('/') => {
                    out.push(mount);
                }
                _ => self.fault(
                    item.line,
                    path,
                    "must be `source:/target` or `source:/target:ro`, with a target that begins with `/`",
                ),
            }
        }
        out
    }
}

/// Processors in thousandths; the number was checked to be in range.
fn thousandths(cpus: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number lies between 0.001 and 10000"
    )]
    let millis = (cpus * 1000.0).round() as u32;
    millis
}
