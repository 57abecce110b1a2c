//! What the platform wants to run: one definition for each connector.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use ferrocti_catalog::{Secret, environment::TOKEN, launch::Mount};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ConnectorId;

/// What the platform answered when it was asked for the connectors of this composer.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The connectors that are managed.
    pub definitions: Vec<Definition>,
    /// Connectors that the platform says, one by one, to have been deleted. Being absent from `definitions` never means deleted.
    pub tombstones: BTreeSet<ConnectorId>,
}

/// One connector as it shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The connector's id, which its instances are found by.
    pub connector: ConnectorId,
    /// The name that people read; never used to find anything.
    pub name: String,
    /// Names this definition among all of the connector: it changes whenever anything changes that needs another instance.
    pub revision: String,
    /// Whether it shall run.
    pub requested: Requested,
    /// What to run.
    pub source: Source,
    /// The environment, complete: nothing of the composer's own reaches the connector.
    pub environment: Vec<EnvVar>,
    /// How to run it on this orchestrator.
    pub options: Options,
    /// Why nothing may be deployed from this, whatever else is in it: the platform's words could not be understood, or the composer's own
    /// settings forbid it.
    pub fault: Option<String>,
}

/// Whether a connector shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requested {
    /// It shall run.
    Running,
    /// It shall not run.
    Stopped,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A container image.
    Image {
        /// The reference as the engine takes it: `name:tag` or `name@sha256:…`.
        reference: String,
        /// Replaces the image's command.
        #[serde(default)]
        command: Option<Vec<String>>,
    },
    /// A program on this host.
    Command {
        /// The program and its arguments; no shell reads them.
        argv: Vec<String>,
        /// Where it runs; the instance's own directory when absent.
        #[serde(default)]
        directory: Option<PathBuf>,
        /// A pip requirements file: a Python environment made from it comes first in the program's `PATH`.
        #[serde(default)]
        requirements: Option<PathBuf>,
    },
}

impl Source {
    /// Where it runs.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Image { .. } => Place::Containers,
            Self::Command { .. } => Place::Processes,
        }
    }
}

/// A place that instances run in. Each has one orchestrator, and each can be away while the other is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Processes of the composer's host.
    Processes,
    /// Containers of an engine.
    Containers,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 2] = [Self::Processes, Self::Containers];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { reference, .. } => write!(f, "image {reference}"),
            Self::Command { argv, .. } => {
                write!(f, "command {}", argv.first().map_or("(none)", |p| p))
            }
        }
    }
}

/// One variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl EnvVar {
    /// A variable that anybody may read.
    pub fn plain(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Value::Plain(value.into()),
        }
    }

    /// A variable that is kept out of logs and messages.
    pub fn secret(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Value::Secret(Secret::new(value)),
        }
    }
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// May be shown.
    Plain(String),
    /// Must not be shown.
    Secret(Secret),
    /// A sealed value that this composer cannot open, with the reason. Nothing is deployed with it.
    Unreadable(String),
}

impl Value {
    /// The text that the connector gets; `None`: it cannot be had.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Secret(secret) => Some(secret.expose()),
            Self::Unreadable(_) => None,
        }
    }
}

/// How an instance runs, as far as the orchestrator can.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Upper bounds of what it may use.
    pub limits: Limits,
    /// Files and directories of the host that it sees.
    pub mounts: Vec<Mount>,
    /// Networks that it joins; the engine's default when empty.
    pub networks: Vec<String>,
    /// Who starts it again when it ends.
    pub restart: Restart,
    /// User and group number that it runs as; the composer's (process) or the image's (container) when absent.
    pub user: Option<(u32, u32)>,
}

/// Upper bounds of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processor time in thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
}

/// Who starts an instance again when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// The composer, with back-off: one place counts and decides.
    #[default]
    Composer,
    /// The container engine, also while no composer runs.
    Engine,
    /// Nobody: it runs once for each request to start.
    Never,
}

impl Definition {
    /// Why nothing may be deployed from this definition: its fault, a secret that cannot be opened, or no program. `None`: deployable.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if self.fault.is_some() {
            return self.fault.clone();
        }
        let unreadable = self.environment.iter().filter_map(|v| match &v.value {
            Value::Unreadable(why) => Some((v.key.as_str(), why)),
            _ => None,
        });
        // the token is the platform's to give, so that nobody can enter it again
        if let Some((key, why)) = unreadable.min_by_key(|(key, _)| *key == TOKEN) {
            return Some(format!(
                "the secret {key} cannot be opened ({why}); enter it again or restore this composer's key"
            ));
        }
        for variable in &self.environment {
            if variable.key.is_empty() || variable.key.contains(['=', '\0']) {
                return Some(format!(
                    "{:?} is not a name of an environment variable; correct or remove it",
                    variable.key
                ));
            }
            if variable.value.expose().is_some_and(|v| v.contains('\0')) {
                return Some(format!(
                    "the value of {} holds a zero byte, which no environment can; correct it",
                    variable.key
                ));
            }
        }
        match &self.source {
            Source::Image { reference, .. } if reference.trim().is_empty() => {
                Some("no image is given; name one in the contract or the definition".to_owned())
            }
            Source::Command { argv, .. } if argv.first().is_none_or(|p| p.trim().is_empty()) => {
                Some("no command is given; name the program to run".to_owned())
            }
            _ => None,
        }
    }

    /// The name of this definition's instance: one for each connector and revision, valid for files and containers.
    #[must_use]
    pub fn instance_name(&self) -> String {
        let slug: String = self
            .connector
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(24)
            .collect::<String>()
            .to_lowercase();
        let digest = Sha256::new()
            .chain_update((self.connector.len() as u64).to_le_bytes())
            .chain_update(&self.connector)
            .chain_update(&self.revision)
            .finalize();
        let mut name = format!("ferrocti-{slug}-");
        for byte in &digest[..8] {
            name.push_str(&format!("{byte:02x}"));
        }
        name
    }

    /// A revision that changes with everything that an instance is made of, and with `hash`, what the platform says of it.
    #[must_use]
    pub fn fingerprint(&self, hash: &str) -> String {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        part(hash);
        // texts, numbers and lists of them can always be written
        part(&serde_json::to_string(&self.source).unwrap_or_default());
        part(&serde_json::to_string(&self.options).unwrap_or_default());
        for variable in &self.environment {
            part(&variable.key);
            part(variable.value.expose().unwrap_or_default());
        }
        let mut name = String::with_capacity(16);
        for byte in &digest.finalize()[..8] {
            name.push_str(&format!("{byte:02x}"));
        }
        name
    }
}
