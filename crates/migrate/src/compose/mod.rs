//! Compose files as people write them, read into what each service's container finds: its environment above all.
//!
//! The rules are those of the Compose specification as Docker Compose 2 carries them out: `environment` and `env_file` in all forms, variables and
//! `.env`, anchors and merge keys, `extends`, `include`, several files, profiles, `secrets` and `configs`. What a managed connector has no place for is
//! kept by name in [`Service::not_carried`]. Where Docker Compose refuses a file that people nevertheless have (a key that comes twice, a list item
//! that YAML reads as a map), what is meant is taken and told.
//!
//! Nothing is read or asked from the system here: contents come through [`Input::read`], variables through [`Input::shell`]. A fault of one service
//! does not hide the others, and no text of a fault has a value in it.

pub mod dotenv;
mod include;
pub mod interpolate;
mod load;
mod path;
mod rest;
mod scalar;
mod seen;
mod service;
mod tree;

use std::{collections::BTreeMap, fmt};

use ferrocti_catalog::{
    Secret,
    launch::{Mount, Runtime},
};

pub use service::read;
pub use tree::Place;

/// Why the content of a file is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// There is no such file.
    #[error("it is not there")]
    Missing,
    /// It cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// What is read, and how files are got.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The files of `-f`, in their order; empty: the file with a usual name in `directory`, and its `override`.
    pub files: &'a [String],
    /// The files of `--env-file`; empty: `.env` in the project's directory, when there is one.
    pub env_files: &'a [String],
    /// The project's directory; `None`: that of the first file. Paths of mounts are seen from it, so it should be absolute.
    pub directory: Option<&'a str>,
    /// The project's name (`-p`); `None`: what the file says, or the name of the directory.
    pub project: Option<&'a str>,
    /// The profiles that are on; `*`: all of them.
    pub profiles: &'a [String],
    /// Variables that were set where `docker compose` was called.
    pub shell: &'a BTreeMap<String, Secret>,
    /// Gives the content of a file; paths are seen from where `files` and `directory` are seen from.
    pub read: &'a dyn Fn(&str) -> Result<Vec<u8>, Unread>,
}

/// Something about a service or a file that somebody has to know: where, what, and what to do. Values are never in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Told {
    /// Where it is.
    pub at: Place,
    /// The service, when it is about one.
    pub service: Option<String>,
    /// What is so.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if let Some(service) = &self.service {
            write!(f, "service `{service}`: ")?;
        }
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

/// What became of a variable that no file sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// Nothing was put in its place; whoever started the container may have had it.
    Blank,
    /// The file's own default was taken.
    Default,
    /// The file demands it.
    Required,
    /// A variable of the container that is handed through by name; without a value it is not there.
    PassedThrough,
}

/// A variable to ask for, since it may have come from where `docker compose` was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The variable.
    pub name: String,
    /// What became of it.
    pub unset: Unset,
    /// The service that uses it.
    pub service: Option<String>,
    /// Where.
    pub at: Place,
}

/// What the files say.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name, which begins the names of its volumes and networks.
    pub name: String,
    /// The files that were read, in order, those of `include`, `extends`, `env_file` and `.env` too.
    pub files: Vec<String>,
    /// Its services, in order, those that no profile has switched on too.
    pub services: Vec<Service>,
    /// Variables to ask for, each once a service.
    pub asked: Vec<Asked>,
    /// What is worth knowing about the files.
    pub remarks: Vec<Told>,
}

/// One variable of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Where it is set.
    pub at: Place,
}

/// A command: one text for a shell to split, or its words.
#[derive(Clone, PartialEq, Eq)]
pub enum Words {
    /// A text.
    Text(String),
    /// Words.
    List(Vec<String>),
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // people write secrets into commands
        f.write_str("Words(***)")
    }
}

/// What is seen at a path of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory of the machine.
    Bind(String),
    /// A named volume, with the name that the engine knows.
    Volume(String),
    /// A volume without a name: only this one container has it.
    Anonymous,
    /// Memory that ends with the container.
    Temporary,
    /// Something else, e.g. `npipe`.
    Other(String),
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What is seen.
    pub source: Source,
    /// Where.
    pub target: String,
    /// Whether it may only be read.
    pub read_only: bool,
    /// Where it is said.
    pub at: Place,
}

/// A file that `secrets` or `configs` put into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutFile {
    /// Its path in the container.
    pub target: String,
    /// Its path on the machine, when it is a file there.
    pub path: Option<String>,
    /// Its content, when it can be known.
    pub content: Option<Secret>,
    /// The variables whose value is this path, e.g. `API_KEY_FILE`.
    pub named_by: Vec<String>,
    /// Where it is said.
    pub at: Place,
}

/// Limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

/// Something that a managed connector has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCarried {
    /// The key, e.g. `depends_on`.
    pub key: String,
    /// Where.
    pub at: Place,
    /// Why it is not carried over, and what follows.
    pub reason: &'static str,
    /// Whether the connector may need it to work as it does.
    pub matters: bool,
}

/// One service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name in the file.
    pub name: String,
    /// Where it is.
    pub at: Place,
    /// Whether the profiles that are on start it.
    pub active: bool,
    /// Its profiles.
    pub profiles: Vec<String>,
    /// Its image; `None`: it is built, or it has a fault.
    pub image: Option<String>,
    /// Whether its image is built from a directory.
    pub built: bool,
    /// The name of its container, when the file gives one.
    pub container_name: Option<String>,
    /// What its image is told to run.
    pub command: Option<Words>,
    /// What runs that.
    pub entrypoint: Option<Words>,
    /// Where that runs.
    pub working_directory: Option<String>,
    /// The user of the container.
    pub user: Option<String>,
    /// When it is started again.
    pub restart: Option<String>,
    /// How many containers of it there are.
    pub replicas: u32,
    /// What its container finds in its environment, beyond that of the image; sorted as it is set.
    pub environment: Vec<Variable>,
    /// What it sees of the machine.
    pub volumes: Vec<Volume>,
    /// Files that are put into it.
    pub put: Vec<PutFile>,
    /// Its networks, with the names that the engine knows.
    pub networks: Vec<String>,
    /// A mode in place of networks, e.g. `host`.
    pub network_mode: Option<String>,
    /// Its limits.
    pub limits: Limits,
    /// What is not carried over.
    pub not_carried: Vec<NotCarried>,
    /// What makes it unusable as it stands.
    pub faults: Vec<Told>,
    /// What is worth knowing.
    pub remarks: Vec<Told>,
}

impl Service {
    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&Secret> {
        self.environment
            .iter()
            .find(|variable| variable.key == key)
            .map(|variable| &variable.value)
    }

    /// What a managed connector gets beyond its configuration: the mounts that it can have, its networks and limits.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        let mounted = self.volumes.iter().filter_map(|volume| {
            let source = match &volume.source {
                Source::Bind(path) => path,
                Source::Volume(name) => name,
                Source::Anonymous | Source::Temporary | Source::Other(_) => return None,
            };
            Some(Mount {
                source: source.clone(),
                target: volume.target.clone(),
                read_only: volume.read_only,
            })
        });
        let put = self.put.iter().filter_map(|file| {
            Some(Mount {
                source: file.path.clone()?,
                target: file.target.clone(),
                read_only: true,
            })
        });
        Runtime {
            memory: self.limits.memory,
            cpu_millis: self.limits.cpu_millis,
            processes: self.limits.processes,
            mounts: mounted.chain(put).collect(),
            networks: self.networks.clone(),
            ..Runtime::default()
        }
    }
}
