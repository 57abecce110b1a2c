//! Settings of what runs connectors: the way out of the network, the catalogs, the composer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrocti_catalog::environment::Proxy;
use ferrocti_model::clock::Millis;

use super::{ConfigError, Reader, duration, truth};

/// The way out of this network, for everything that leaves it. Addresses may have passwords, so they do not print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Proxy for `http://`.
    pub http: Option<String>,
    /// Proxy for `https://`.
    pub https: Option<String>,
    /// Hosts that are reached without a proxy, with commas.
    pub except: Option<String>,
    /// Certificates in PEM that are trusted in place of the public ones.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way")
            .field("http", &self.http.as_ref().map(|_| "***"))
            .field("https", &self.https.as_ref().map(|_| "***"))
            .field("except", &self.except)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// Where catalogs of connectors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogSettings {
    /// Files, directories and addresses.
    pub sources: Vec<String>,
    /// How often they are read again, in milliseconds.
    pub refresh: Millis,
}

/// How a composer runs, inside of the server or as an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposerSettings {
    /// Whether the server runs one inside.
    pub enabled: bool,
    /// Its id; unset: made once and kept in its directory.
    pub id: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// Its directory.
    pub dir: Option<PathBuf>,
    /// The engine that runs containers.
    pub docker: Docker,
    /// Address of the platform that connectors are told.
    pub connector_url: Option<String>,
    /// Which programs it may run.
    pub commands: Commands,
    /// Directories that connectors may be given, with all that is in them.
    pub mounts: Vec<PathBuf>,
    /// Beginnings of the images that may be run; empty: all.
    pub images: Vec<String>,
    /// File with logins of registries.
    pub registries: Option<PathBuf>,
}

/// The Docker engine of a composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Docker {
    /// The one of this machine, where there is one.
    Auto,
    /// None.
    Off,
    /// The one behind this socket.
    Socket(PathBuf),
}

/// Which programs a composer may run as processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Those that come with Ferrocti.
    Shipped,
    /// Whatever it is told.
    Any,
}

/// The name by which containers reach the machine that they run on.
pub const HOST_OF_CONTAINERS: &str = "host.docker.internal";

impl Way {
    /// The way as it is taken: with the certificates read, and never through a proxy to this machine itself. `None`: nothing was said.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub fn proxy(&self) -> Result<Option<Proxy>> {
        if *self == Self::default() {
            return Ok(None);
        }
        let proxied = self.http.is_some() || self.https.is_some();
        let except = proxied.then(|| {
            let here = ["localhost", "127.0.0.1", "::1", HOST_OF_CONTAINERS].map(str::to_owned);
            let given = self.except.iter().cloned();
            given.chain(here).collect::<Vec<_>>().join(",")
        });
        Ok(Some(Proxy {
            http: self.http.clone(),
            https: self.https.clone(),
            except,
            ca_certificates: self.ca_file.as_deref().map(certificates).transpose()?,
            reject_unauthorized: true,
        }))
    }

    pub(super) fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            http: read.parse_optional("proxy.http", proxy)?,
            https: read.parse_optional("proxy.https", proxy)?,
            except: read.parse_optional("proxy.except", |text| Ok(list(text)?.join(",")))?,
            ca_file: read.parse_optional("ca_file", path)?,
        })
    }
}

fn certificates(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {} (setting ca_file)", path.display()))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        bail!(
            "{} holds no certificate in PEM (setting ca_file)",
            path.display()
        )
    }
}

impl CatalogSettings {
    pub(super) fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            sources: read.parse("catalog.sources", list)?,
            refresh: read.parse("catalog.refresh", duration)?,
        })
    }
}

impl ComposerSettings {
    pub(super) fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            enabled: read.parse("composer.enabled", truth)?,
            id: read.parse_optional("composer.id", id)?,
            name: read.parse_optional("composer.name", name)?,
            dir: read.parse_optional("composer.dir", path)?,
            docker: read.parse("composer.docker", docker)?,
            connector_url: read.parse_optional("composer.connector_url", address)?,
            commands: read.parse("composer.commands", |text| match text {
                "shipped" => Ok(Commands::Shipped),
                "any" => Ok(Commands::Any),
                _ => Err(format!("{text:?} is neither shipped nor any")),
            })?,
            mounts: read.parse("composer.mounts", directories)?,
            images: read.parse("composer.images", list)?,
            registries: read.parse_optional("composer.registries", path)?,
        })
    }
}

/// Items with commas between them; a JSON list of texts, as upstream has it in the environment, is read too.
fn list(text: &str) -> Result<Vec<String>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|error| format!("{text:?} is not a list of texts: {error}"));
    }
    let items = text.split(',').map(str::trim);
    Ok(items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect())
}

fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

fn directories(text: &str) -> Result<Vec<PathBuf>, String> {
    let plain = |directory: &Path| {
        directory.is_absolute()
            && !directory
                .components()
                .any(|part| part == std::path::Component::ParentDir)
    };
    list(text)?
        .into_iter()
        .map(PathBuf::from)
        .map(|directory| {
            if plain(&directory) {
                Ok(directory)
            } else {
                Err(format!(
                    "{} is not an absolute path without `..`",
                    directory.display()
                ))
            }
        })
        .collect()
}

fn docker(text: &str) -> Result<Docker, String> {
    match text {
        "auto" | "true" => Ok(Docker::Auto),
        "off" | "false" => Ok(Docker::Off),
        other => match other.strip_prefix("unix://") {
            Some(socket) if socket.starts_with('/') => Ok(Docker::Socket(PathBuf::from(socket))),
            _ => Err(format!(
                "{text:?} is none of auto, off and unix:///path/of/the/socket"
            )),
        },
    }
}

fn id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (2..=64).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no id; it has 2 to 64 letters, digits, and -_."
        ))
    }
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (2..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("it has 2 to 200 characters".to_owned())
    }
}

/// An address of a platform, without a slash at its end.
pub fn address(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    match host {
        Some(host) if host.contains('@') => {
            Err("a user and a password have no place in it; give the token as such".to_owned())
        }
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!(
            "{text:?} is no address of a platform; give e.g. https://cti.example.org"
        )),
    }
}

/// The text is not shown: proxies have passwords in their addresses.
fn proxy(text: &str) -> Result<String, String> {
    match ureq::Proxy::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("it is no address of a proxy; give e.g. http://proxy.example.org:3128".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Loaded, Sources, load};

    fn of(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        load(&Sources {
            env: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            ..Sources::default()
        })
    }

    #[test]
    fn where_nothing_is_said_a_careful_composer_runs_inside() {
        let settings = of(&[]).unwrap().settings;
        let composer = settings.composer;
        assert!(composer.enabled);
        assert_eq!(composer.docker, Docker::Auto);
        assert_eq!(composer.commands, Commands::Shipped);
        assert!(composer.mounts.is_empty() && composer.images.is_empty());
        assert_eq!(
            (composer.id, composer.name, composer.dir),
            (None, None, None)
        );
        assert_eq!(settings.catalog.refresh, 3_600_000);
        assert!(settings.catalog.sources.is_empty());
    }

    #[test]
    fn what_is_said_is_understood() {
        let settings = of(&[
            (
                "FERROCTI_COMPOSER_DOCKER",
                "unix:///run/user/1000/docker.sock",
            ),
            ("FERROCTI_COMPOSER_COMMANDS", "any"),
            ("FERROCTI_COMPOSER_MOUNTS", "/srv/data, /srv/feeds"),
            ("FERROCTI_COMPOSER_IMAGES", "opencti/"),
            (
                "FERROCTI_COMPOSER_CONNECTOR_URL",
                "https://cti.example.org/base/",
            ),
            (
                "APP__CUSTOM_CATALOGS",
                r#"["/srv/a.json", "https://example.org/b"]"#,
            ),
            ("APP__CATALOG_MANAGER__INTERVAL", "60000"),
            ("APP__HTTPS_PROXY", "http://user:hunter2@proxy:3128"),
            ("FERROCTI_PROXY_EXCEPT", "localhost, .example.org"),
        ])
        .unwrap()
        .settings;
        let composer = &settings.composer;
        assert_eq!(
            composer.docker,
            Docker::Socket("/run/user/1000/docker.sock".into())
        );
        assert_eq!(composer.commands, Commands::Any);
        assert_eq!(
            composer.mounts,
            [PathBuf::from("/srv/data"), PathBuf::from("/srv/feeds")]
        );
        assert_eq!(composer.images, ["opencti/"]);
        assert_eq!(
            composer.connector_url.as_deref(),
            Some("https://cti.example.org/base")
        );
        assert_eq!(
            settings.catalog.sources,
            ["/srv/a.json", "https://example.org/b"]
        );
        assert_eq!(settings.catalog.refresh, 60_000);
        assert_eq!(
            settings.way.except.as_deref(),
            Some("localhost,.example.org")
        );
        assert!(settings.way.https.is_some());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_name_of_its_setting() {
        for (variable, value) in [
            ("FERROCTI_COMPOSER_DOCKER", "tcp://docker:2375"),
            ("FERROCTI_COMPOSER_DOCKER", "unix://docker.sock"),
            ("FERROCTI_COMPOSER_COMMANDS", "some"),
            ("FERROCTI_COMPOSER_MOUNTS", "data"),
            ("FERROCTI_COMPOSER_MOUNTS", "/srv/../etc"),
            ("FERROCTI_COMPOSER_CONNECTOR_URL", "cti.example.org"),
            ("FERROCTI_COMPOSER_CONNECTOR_URL", "https://"),
            (
                "FERROCTI_COMPOSER_CONNECTOR_URL",
                "https://a:b@cti.example.org",
            ),
            ("FERROCTI_COMPOSER_ID", "a b"),
            ("FERROCTI_COMPOSER_NAME", "x"),
            ("FERROCTI_COMPOSER_ENABLED", "perhaps"),
            ("FERROCTI_CATALOG_SOURCES", "[1]"),
            ("FERROCTI_CATALOG_REFRESH", "5s"),
            ("FERROCTI_PROXY_HTTP", "not a proxy"),
        ] {
            let message = of(&[(variable, value)]).unwrap_err().to_string();
            assert!(message.contains(variable), "{message}");
        }
        let secret = of(&[("FERROCTI_PROXY_HTTP", "ftp://user:hunter2@proxy")]);
        assert!(!secret.unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_proxy_is_never_in_the_way_to_this_machine() {
        assert_eq!(Way::default().proxy().unwrap(), None);
        let way = Way {
            https: Some("http://proxy:3128".to_owned()),
            except: Some(".example.org".to_owned()),
            ..Way::default()
        };
        let found = way.proxy().unwrap().unwrap();
        assert_eq!(
            found.except.as_deref(),
            Some(".example.org,localhost,127.0.0.1,::1,host.docker.internal")
        );
        assert!(found.reject_unauthorized);
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let way = |path: &Path| Way {
            ca_file: Some(path.to_owned()),
            ..Way::default()
        };
        assert!(
            way(&path)
                .proxy()
                .unwrap_err()
                .to_string()
                .contains("ca_file")
        );
        std::fs::write(&path, "nothing").unwrap();
        assert!(
            way(&path)
                .proxy()
                .unwrap_err()
                .to_string()
                .contains("ca_file")
        );
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, pem).unwrap();
        let found = way(&path).proxy().unwrap().unwrap();
        assert_eq!(found.ca_certificates.as_deref(), Some(pem));
        assert_eq!((found.http, found.except), (None, None));
    }
}
