//! From what a platform says of a connector to what is run: secrets opened, environment made, this composer's permits asked.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferrocti_catalog::{
    Entry, PrivateKey, SealError, Secret,
    environment::{self, Surroundings, Variable},
    launch::{Launch, Mount, Runtime, SELF_PROGRAM},
    secret::is_secret_name,
};
use ferrocti_model::clock::Entropy;
use sha2::{Digest, Sha256};

use super::EngineSettings;
use crate::{
    Definition, EnvVar, Limits, Options, Place, Restart, Source, Value, platform::Assigned,
};

/// Where a container finds the certificates of its proxy.
const CA_IN_CONTAINER: &str = "/run/ferrocti/ca.pem";

/// Makes definitions; keeps what it has opened, because opening takes long.
pub(super) struct Assembler {
    settings: Arc<EngineSettings>,
    entropy: Arc<dyn Entropy>,
    key: Result<PrivateKey, String>,
    opened: BTreeMap<[u8; 32], Result<Secret, SealError>>,
}

impl Assembler {
    pub fn new(settings: Arc<EngineSettings>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            settings,
            entropy,
            key: Err("this composer has no key yet".to_owned()),
            opened: BTreeMap::new(),
        }
    }

    /// Opens with this key from now on, or says why there is none.
    pub fn use_key(&mut self, key: Result<PrivateKey, String>) {
        self.key = key;
        self.opened.clear();
    }

    /// Makes the definitions of all connectors. Takes milliseconds for each secret that was not seen before.
    pub fn assemble(&mut self, connectors: &[Assigned]) -> Vec<Definition> {
        let before = std::mem::take(&mut self.opened);
        let mut opened = BTreeMap::new();
        let made = connectors.iter();
        let made = made.map(|assigned| self.definition(assigned, &before, &mut opened));
        let made = made.collect();
        // what is no longer sent is forgotten
        self.opened = opened;
        made
    }

    fn definition(
        &self,
        assigned: &Assigned,
        before: &BTreeMap<[u8; 32], Result<Secret, SealError>>,
        opened: &mut BTreeMap<[u8; 32], Result<Secret, SealError>>,
    ) -> Definition {
        let settings = &self.settings;
        let source = source(&assigned.launch, &settings.program);
        let place = source.place();
        let mut readable: Vec<Variable> = Vec::new();
        let mut unreadable: BTreeMap<&str, String> = BTreeMap::new();
        for entry in &assigned.configuration {
            readable.retain(|variable| variable.key != entry.key);
            unreadable.remove(entry.key.as_str());
            match self.open(entry, before, opened) {
                Ok(value) => readable.push(Variable {
                    key: entry.key.clone(),
                    value,
                    sealed: entry.encrypted,
                }),
                Err(why) => drop(unreadable.insert(&entry.key, why)),
            }
        }
        let mut fault = assigned.fault.clone();
        let proxy = assigned.runtime.proxy.as_ref().or(settings.proxy.as_ref());
        let certificates = proxy.and_then(|proxy| proxy.ca_certificates.as_deref());
        let mut ca_file = None;
        if let Some(certificates) = certificates {
            match certificate_file(&settings.directory, certificates) {
                Ok(path) => ca_file = Some(path),
                Err(error) => {
                    let why = format!("the certificates of its proxy cannot be written: {error}");
                    fault.get_or_insert(why);
                }
            }
        }
        let ca_seen = match place {
            Place::Containers => ca_file.as_ref().map(|_| PathBuf::from(CA_IN_CONTAINER)),
            Place::Processes => ca_file.clone(),
        };
        let ca_seen = ca_seen.map(|path| path.display().to_string());
        let apart = place == Place::Containers && assigned.runtime.networks != ["host"];
        let platform_url = match &settings.container_url {
            Ok(url) if apart => url,
            Err(why) if apart => {
                fault.get_or_insert_with(|| why.clone());
                &settings.connector_url
            }
            _ => &settings.connector_url,
        };
        let around = Surroundings {
            platform_url,
            hash: &assigned.hash,
            proxy,
            ca_file: ca_seen.as_deref(),
            extra: &assigned.runtime.environment,
        };
        let environment = environment::for_process(readable, &around).into_iter();
        let mut environment: Vec<EnvVar> = environment.map(variable).collect();
        environment.extend(unreadable.into_iter().map(|(key, why)| EnvVar {
            key: key.to_owned(),
            value: Value::Unreadable(why),
        }));
        let mut definition = Definition {
            connector: assigned.id.clone(),
            name: assigned.name.clone(),
            revision: String::new(),
            requested: assigned.requested,
            source,
            environment,
            options: options(&assigned.runtime),
            fault,
        };
        let refusal = settings.permits.refusal(&assigned.launch, &definition);
        definition.fault = definition.fault.or(refusal);
        if let (Place::Containers, Some(file)) = (place, ca_file) {
            definition.options.mounts.push(Mount {
                source: file.display().to_string(),
                target: CA_IN_CONTAINER.to_owned(),
                read_only: true,
            });
        }
        definition.revision = definition.fingerprint(&assigned.hash);
        definition
    }

    fn open(
        &self,
        entry: &Entry,
        before: &BTreeMap<[u8; 32], Result<Secret, SealError>>,
        opened: &mut BTreeMap<[u8; 32], Result<Secret, SealError>>,
    ) -> Result<Secret, String> {
        if !entry.encrypted {
            return Ok(Secret::from(entry.value.as_str()));
        }
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let digest: [u8; 32] = Sha256::digest(&entry.value).into();
        let known = opened.get(&digest).or_else(|| before.get(&digest)).cloned();
        let value = known.unwrap_or_else(|| key.open(&entry.value, &*self.entropy));
        opened.insert(digest, value.clone());
        value.map_err(|error| error.to_string())
    }
}

fn source(launch: &Launch, program: &Path) -> Source {
    match launch {
        Launch::Image { image } => Source::Image {
            reference: image.clone(),
            command: None,
        },
        Launch::Command {
            command,
            working_directory,
            requirements,
        } => {
            let mut argv = command.clone();
            if let Some(first) = argv.first_mut().filter(|first| *first == SELF_PROGRAM) {
                *first = program.display().to_string();
            }
            Source::Command {
                argv,
                directory: working_directory.as_ref().map(PathBuf::from),
                requirements: requirements.as_ref().map(PathBuf::from),
            }
        }
    }
}

fn options(runtime: &Runtime) -> Options {
    Options {
        limits: Limits {
            memory: runtime.memory,
            cpu_millis: runtime.cpu_millis.map(u64::from),
            processes: runtime.processes.map(u64::from),
            files: None,
        },
        mounts: runtime.mounts.clone(),
        networks: runtime.networks.clone(),
        restart: Restart::Composer,
        user: None,
    }
}

/// Addresses of proxies may hold passwords.
fn variable(variable: Variable) -> EnvVar {
    let key = variable.key;
    let secret = variable.sealed
        || is_secret_name(&key)
        || key.eq_ignore_ascii_case("HTTP_PROXY")
        || key.eq_ignore_ascii_case("HTTPS_PROXY");
    let value = if secret {
        Value::Secret(variable.value)
    } else {
        Value::Plain(variable.value.expose().to_owned())
    };
    EnvVar { key, value }
}

/// The file with these certificates, which is made when it is not there; its name is that of its content.
fn certificate_file(directory: &Path, certificates: &str) -> io::Result<PathBuf> {
    let mut name = String::new();
    for byte in &Sha256::digest(certificates)[..8] {
        name.push_str(&format!("{byte:02x}"));
    }
    let folder = std::path::absolute(directory)?.join("ca");
    let path = folder.join(format!("{name}.pem"));
    if !path.exists() {
        fs::create_dir_all(&folder)?;
        let draft = folder.join(format!("{name}.draft"));
        fs::write(&draft, certificates)?;
        fs::rename(&draft, &path)?;
    }
    Ok(path)
}
