//! `ferrocti composer`, and the composer inside of the server: what the settings say becomes a running engine.

mod agent;
mod docker;
mod inside;
mod manage;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ferrocti_composer::{
    DockerOrchestrator, DockerSettings, Engine, EngineSettings, Orchestrator, Permits, Place,
    Platform, Policy, ProcessOrchestrator, ProcessSettings, Routed, keys,
};
pub use inside::Inside;

use crate::{
    cli::ComposerArgs,
    config::{Commands, HOST_OF_CONTAINERS, Settings},
    system::{SystemClock, SystemEntropy},
};

/// The longest log of a process, in bytes; two older files are kept beside it.
const LOG_BYTES: u64 = 4 << 20;
/// The time that a connector has between the request to end and being killed.
const GRACE: Duration = Duration::from_secs(10);

/// `ferrocti composer`
pub fn run(args: &ComposerArgs) -> Result<()> {
    match &args.command {
        Some(command) => manage::run(command),
        None => agent::run(&args.agent),
    }
}

/// Everything of a composer but the platform.
struct Parts {
    id: String,
    directory: PathBuf,
    settings: EngineSettings,
    orchestrator: Arc<dyn Orchestrator>,
}

impl Parts {
    /// Opens the places where connectors run. Needs a tokio runtime; waits for the disk.
    fn open(settings: &Settings, addresses: Addresses) -> Result<Self> {
        let composer = &settings.composer;
        let directory = std::path::absolute(composer.dir.clone().unwrap_or_default())
            .context("cannot tell the directory of the composer")?;
        crate::platform::create_private(&directory)?;
        let id = match &composer.id {
            Some(id) => id.clone(),
            None => keys::id(&directory, &SystemEntropy)?,
        };
        let mut places: Vec<(Place, Arc<dyn Orchestrator>)> = Vec::new();
        let processes = ProcessOrchestrator::open(ProcessSettings {
            directory: directory.clone(),
            composer: id.clone(),
            log_bytes: LOG_BYTES,
            clock: Arc::new(SystemClock),
        })?;
        places.push((Place::Processes, Arc::new(processes)));
        match docker::engine(&composer.docker) {
            docker::Found::At(socket) => {
                tracing::info!(socket = %socket.display(), "containers are run by Docker");
                let registries = composer.registries.as_deref().map(docker::registries);
                let containers = DockerOrchestrator::open(DockerSettings {
                    socket,
                    composer: id.clone(),
                    registries: registries.transpose()?.unwrap_or_default(),
                })?;
                places.push((Place::Containers, Arc::new(containers)));
            }
            docker::Found::Barred(socket) => tracing::info!(
                socket = %socket.display(),
                "there is a Docker engine that this user may not use, so that no containers are run; composer.docker = off says so without asking"
            ),
            docker::Found::Nothing => {}
        }
        let routed = Routed::new(places);
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Self {
            settings: EngineSettings {
                id: id.clone(),
                name: composer.name.clone().unwrap_or_default(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                orchestrators: routed.kinds(),
                directory: directory.clone(),
                program,
                connector_url: addresses.process,
                container_url: addresses.container,
                proxy: settings.way.proxy()?,
                permits: Permits {
                    commands: match composer.commands {
                        Commands::Shipped => ferrocti_composer::Commands::Shipped,
                        Commands::Any => ferrocti_composer::Commands::Any,
                    },
                    mounts: composer.mounts.clone(),
                    images: composer.images.clone(),
                },
                policy: Policy::default(),
                grace: GRACE,
            },
            id,
            directory,
            orchestrator: Arc::new(routed),
        })
    }

    fn engine(self, platform: Arc<dyn Platform>) -> Engine {
        Engine::new(
            self.settings,
            platform,
            self.orchestrator,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        )
    }
}

/// Under which addresses connectors reach the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Addresses {
    /// As processes of the composer's machine.
    process: String,
    /// As containers in a network of their own; `Err`: they cannot, and what to do about it.
    container: Result<String, String>,
}

impl Addresses {
    /// Beside a platform that listens on this machine.
    fn beside(told: Option<&str>, host: IpAddr, port: u16, base_path: &str) -> Self {
        if let Some(told) = told {
            return Self::told(told);
        }
        let at = |host: &str| format!("http://{host}:{port}{base_path}");
        let process = at(&bracketed(if host.is_unspecified() {
            loopback(host)
        } else {
            host
        }));
        let container = if host.is_loopback() {
            Err(format!(
                "containers cannot reach the platform, because it listens on {host} alone: set `host` to 0.0.0.0 or to an address of this machine that they reach, or composer.connector_url to the address under which they do; connectors in the host's network and processes need neither"
            ))
        } else if host.is_unspecified() {
            Ok(at(HOST_OF_CONTAINERS))
        } else {
            Ok(process.clone())
        };
        Self { process, container }
    }

    /// Of a platform somewhere else.
    fn of(told: Option<&str>, url: &str) -> Self {
        if let Some(told) = told {
            return Self::told(told);
        }
        let container = if names_this_machine(url) {
            Err(format!(
                "containers cannot reach the platform at {url}, which for them is themselves: set composer.connector_url (--connector-url) to the address under which they do"
            ))
        } else {
            Ok(url.to_owned())
        };
        Self {
            process: url.to_owned(),
            container,
        }
    }

    fn told(address: &str) -> Self {
        Self {
            process: address.to_owned(),
            container: Ok(address.to_owned()),
        }
    }
}

/// An address as it stands in a URL.
fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

/// The address of this machine for itself.
fn loopback(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    }
}

/// Whether an address means the machine that it is used on.
fn names_this_machine(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or(url);
    let host = host.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(host: &str) -> Addresses {
        Addresses::beside(None, host.parse().unwrap(), 8080, "/cti")
    }

    #[test]
    fn processes_reach_the_platform_beside_them_wherever_it_listens() {
        for (host, address) in [
            ("127.0.0.1", "http://127.0.0.1:8080/cti"),
            ("0.0.0.0", "http://127.0.0.1:8080/cti"),
            ("::", "http://[::1]:8080/cti"),
            ("::1", "http://[::1]:8080/cti"),
            ("192.0.2.7", "http://192.0.2.7:8080/cti"),
        ] {
            assert_eq!(beside(host).process, address, "{host}");
        }
    }

    #[test]
    fn containers_reach_it_unless_it_listens_for_its_own_machine_alone() {
        for (host, address) in [
            ("0.0.0.0", "http://host.docker.internal:8080/cti"),
            ("::", "http://host.docker.internal:8080/cti"),
            ("192.0.2.7", "http://192.0.2.7:8080/cti"),
        ] {
            assert_eq!(beside(host).container.as_deref(), Ok(address), "{host}");
        }
        for host in ["127.0.0.1", "::1"] {
            let why = beside(host).container.unwrap_err();
            assert!(
                why.contains("composer.connector_url") && why.contains(host),
                "{why}"
            );
        }
    }

    #[test]
    fn what_the_operator_says_is_told_to_everybody() {
        let told = Some("https://cti.example.org");
        let all = Addresses::told("https://cti.example.org");
        assert_eq!(
            Addresses::beside(told, "127.0.0.1".parse().unwrap(), 1, ""),
            all
        );
        assert_eq!(Addresses::of(told, "http://127.0.0.1:8080"), all);
    }

    #[test]
    fn an_agent_passes_its_own_address_on_where_containers_can_use_it() {
        let of = |url: &str| Addresses::of(None, url);
        assert_eq!(
            of("https://cti.example.org/x"),
            Addresses::told("https://cti.example.org/x")
        );
        for url in [
            "http://127.0.0.1:8080",
            "http://LOCALHOST/x",
            "https://[::1]:1",
            "http://127.1.2.3",
            "http://0.0.0.0:8080",
        ] {
            assert!(of(url).container.is_err(), "{url}");
            assert_eq!(of(url).process, url);
        }
    }
}
