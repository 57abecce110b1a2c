//! Settings of the server: one table says every name under which a setting may be given; file, environment and flags are read in that rising order.
//!
//! Upstream's `APP__…` names are accepted as aliases so that existing compose files carry over; see `docs/reference/configuration.md`.

mod composer;
mod table;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

pub use composer::{
    CatalogSettings, Commands, ComposerSettings, Docker, HOST_OF_CONTAINERS, Way, address,
};
use ferrocti_access::token;
use ferrocti_api::{Network, SecureCookie};
use ferrocti_model::clock::Millis;
use table::{SETTINGS, Setting};

/// Everything `ferrocti serve` can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory that holds the store, the queues and the platform's keys.
    pub data_dir: PathBuf,
    /// Address to listen on, for HTTP and AMQP.
    pub host: IpAddr,
    /// HTTP port; 0 chooses a free one.
    pub port: u16,
    /// Path in front of every route: empty, or `/…` without a trailing slash.
    pub base_path: String,
    /// AMQP port; 0 chooses a free one.
    pub amqp_port: u16,
    /// Host name of the broker that connectors are told at registration; unset: the host by which they reached the platform.
    pub amqp_advertised_host: Option<String>,
    /// E-mail of the first administrator.
    pub admin_email: String,
    /// Password of the first administrator; unset: generated at first start.
    pub admin_password: Option<Secret>,
    /// Token of the first administrator; unset: generated at first start.
    pub admin_token: Option<Secret>,
    /// Whether there is no first administrator.
    pub admin_externally_managed: bool,
    /// How long a login lasts without being used, in milliseconds.
    pub session_timeout: Millis,
    /// How long a login lasts at most, in milliseconds.
    pub session_lifetime: Millis,
    /// When browsers may send a login's cookie over HTTPS only.
    pub cookie_secure: SecureCookie,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<Network>,
    /// Days after which entries of the audit log are removed; 0: never.
    pub audit_retention_days: u32,
    /// Key that `GET /health` asks for; unset: open.
    pub health_access_key: Option<Secret>,
    /// Whether `GET /metrics` answers.
    pub metrics: bool,
    /// Largest HTTP request body, in MiB.
    pub max_body_mib: u32,
    /// Largest size of one queue, in MiB; publishers are held back beyond it.
    pub max_queue_mib: u32,
    /// The way out of this network.
    pub way: Way,
    /// Catalogs of connectors.
    pub catalog: CatalogSettings,
    /// The composer that runs inside, or as an agent.
    pub composer: ComposerSettings,
    /// Log filter, e.g. `info` or `ferrocti_ingest=debug`.
    pub log: String,
    /// Write the log as JSON lines.
    pub log_json: bool,
}

/// A value that never shows in logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Variables of the command-line client and of the tests, which are not settings of the server.
const OTHER_VARIABLES: &[&str] = &["FERROCTI_CONFIG", "FERROCTI_URL", "FERROCTI_TOKEN"];

/// Why the configuration cannot be used. Every text names the setting and where it was given.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not valid TOML: {message}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A name that no setting has.
    #[error("unknown setting {name} in {origin}{hint}; `ferrocti config` lists all settings")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was given.
        origin: String,
        /// A similar name, if there is one.
        hint: String,
    },
    /// A value that does not fit.
    #[error("setting {name} from {origin}: {reason}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Where it was given.
        origin: String,
        /// What is wrong and what fits.
        reason: String,
    },
}

/// The sources in rising order of precedence.
#[derive(Debug, Default)]
pub struct Sources {
    /// Configuration file, if any.
    pub file: Option<PathBuf>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Flags: key of the setting → value.
    pub flags: BTreeMap<&'static str, String>,
}

/// Settings, and what was noticed while reading them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// `APP__…` variables of upstream that have no meaning here, to be told to the operator.
    pub ignored: Vec<String>,
}

struct Given {
    value: String,
    origin: String,
}

/// Reads the settings from all sources.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut given: BTreeMap<&'static str, Given> = BTreeMap::new();
    if let Some(path) = &sources.file {
        for (key, value) in read_file(path)? {
            let origin = path.display().to_string();
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                return Err(ConfigError::Unknown {
                    hint: similar(&key, |s| Some(s.key)),
                    name: key,
                    origin,
                });
            };
            given.insert(setting.key, Given { value, origin });
        }
    }
    // upstream's names first, so that an own name wins where both are given
    let aliases = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, setting.alias?)));
    let own = SETTINGS.iter().map(|setting| (setting, setting.env));
    for (setting, variable) in aliases.chain(own) {
        if let Some(value) = sources.env.get(variable) {
            given.insert(
                setting.key,
                Given {
                    value: value.clone(),
                    origin: format!("environment variable {variable}"),
                },
            );
        }
    }
    for name in sources.env.keys() {
        let known = SETTINGS.iter().any(|setting| setting.env == name)
            || OTHER_VARIABLES.contains(&name.as_str());
        if name.starts_with("FERROCTI_") && !name.starts_with("FERROCTI_TEST_") && !known {
            return Err(ConfigError::Unknown {
                name: name.clone(),
                origin: "the environment".to_owned(),
                hint: similar(name, |s| Some(s.env)),
            });
        }
    }
    for (key, value) in &sources.flags {
        given.insert(
            key,
            Given {
                value: value.clone(),
                origin: format!("flag --{}", flag(key)),
            },
        );
    }
    let ignored = sources
        .env
        .keys()
        .filter(|name| {
            name.starts_with("APP__")
                && !SETTINGS
                    .iter()
                    .any(|setting| setting.alias == Some(name.as_str()))
        })
        .cloned()
        .collect();
    Ok(Loaded {
        settings: interpret(&given)?,
        ignored,
    })
}

/// The flag of a setting. Those of the composer are flags of `ferrocti composer` alone and go without its name.
fn flag(key: &str) -> String {
    key.strip_prefix("composer.")
        .unwrap_or(key)
        .replace(['_', '.'], "-")
}

/// The table of settings as text: name, variables, default, meaning.
pub fn describe() -> String {
    SETTINGS
        .iter()
        .map(|setting| {
            let alias = setting
                .alias
                .map(|alias| format!(", {alias}"))
                .unwrap_or_default();
            let default = setting
                .default
                .map_or_else(|| "unset".to_owned(), |value| format!("{value:?}"));
            format!(
                "{}  ({}{alias}; default {default})\n    {}\n",
                setting.key, setting.env, setting.help
            )
        })
        .collect()
}

/// Flattens the file's tables to dotted keys.
fn read_file(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let table: toml::Table =
        text.parse()
            .map_err(|error: toml::de::Error| ConfigError::NotToml {
                path: path.to_owned(),
                message: error.to_string().trim_end().to_owned(),
            })?;
    let mut flat = Vec::new();
    flatten("", &table, &mut flat);
    Ok(flat)
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, flat),
            toml::Value::String(text) => flat.push((key, text.clone())),
            toml::Value::Array(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| {
                        item.as_str()
                            .map_or_else(|| item.to_string(), str::to_owned)
                    })
                    .collect();
                flat.push((key, items.join(",")));
            }
            other => flat.push((key, other.to_string())),
        }
    }
}

fn similar(name: &str, of: impl Fn(&Setting) -> Option<&'static str>) -> String {
    SETTINGS
        .iter()
        .filter_map(of)
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, candidate)| format!("; did you mean {candidate}?"))
        .unwrap_or_default()
}

/// Number of single-character edits between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

struct Reader<'a>(&'a BTreeMap<&'static str, Given>);

impl Reader<'_> {
    fn optional(&self, key: &'static str) -> Option<(String, String)> {
        if let Some(given) = self.0.get(key) {
            return Some((given.value.clone(), given.origin.clone()));
        }
        let default = SETTINGS
            .iter()
            .find(|setting| setting.key == key)?
            .default?;
        Some((default.to_owned(), "the defaults".to_owned()))
    }

    fn parse<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let (value, origin) = self.optional(key).unwrap_or_default();
        parse(&value).map_err(|reason| ConfigError::Invalid {
            name: key,
            origin,
            reason,
        })
    }

    fn parse_optional<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        match self.optional(key) {
            None => Ok(None),
            Some((value, _)) if value.is_empty() => Ok(None),
            Some(_) => self.parse(key, parse).map(Some),
        }
    }
}

fn interpret(given: &BTreeMap<&'static str, Given>) -> Result<Settings, ConfigError> {
    let read = Reader(given);
    Ok(Settings {
        data_dir: read.parse("data_dir", |text| {
            if text.is_empty() { Err("it is empty; give a directory".to_owned()) } else { Ok(PathBuf::from(text)) }
        })?,
        host: read.parse("host", |text| {
            let text = if text == "localhost" { "127.0.0.1" } else { text };
            text.parse().map_err(|_| format!("{text:?} is not an IP address; give e.g. 127.0.0.1, or 0.0.0.0 for all"))
        })?,
        port: read.parse("port", port)?,
        base_path: read.parse("base_path", base_path)?,
        amqp_port: read.parse("amqp_port", port)?,
        amqp_advertised_host: read.parse_optional("amqp_advertised_host", |text| Ok(text.to_owned()))?,
        admin_email: read.parse("admin.email", |text| {
            if text.contains('@') && !text.contains(char::is_whitespace) {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not an e-mail address"))
            }
        })?,
        admin_password: read.parse_optional("admin.password", |text| {
            if text.chars().count() < 8 || text == "ChangeMe" {
                Err("it is too weak: give at least 8 characters, or leave it out to have one generated".to_owned())
            } else {
                Ok(Secret(text.to_owned()))
            }
        })?,
        admin_token: read.parse_optional("admin.token", |text| {
            token::check(text).map(|()| Secret(text.to_owned())).map_err(|error| error.to_string())
        })?,
        admin_externally_managed: read.parse("admin.externally_managed", truth)?,
        session_timeout: read.parse("session.timeout", duration)?,
        session_lifetime: read.parse("session.lifetime", duration)?,
        cookie_secure: read.parse("session.cookie_secure", cookie_secure)?,
        trusted_proxies: read.parse("trusted_proxies", networks)?,
        audit_retention_days: read.parse("audit_retention_days", |text| {
            text.parse().map_err(|_| format!("{text:?} is not a number of days"))
        })?,
        health_access_key: read.parse_optional("health_access_key", |text| Ok(Secret(text.to_owned())))?,
        metrics: read.parse("metrics", truth)?,
        max_body_mib: read.parse("max_body_mib", positive)?,
        max_queue_mib: read.parse("max_queue_mib", positive)?,
        way: Way::read(&read)?,
        catalog: CatalogSettings::read(&read)?,
        composer: ComposerSettings::read(&read)?,
        log: read.parse("log.filter", |text| {
            text.parse::<tracing_subscriber::EnvFilter>()
                .map(|_| text.to_owned())
                .map_err(|error| format!("{text:?} is not a log filter: {error}"))
        })?,
        log_json: read.parse("log.json", truth)?,
    })
}

fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// A duration in milliseconds, between a minute and a year.
fn duration(text: &str) -> Result<Millis, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    digits
        .parse::<u32>()
        .ok()
        .zip(unit)
        .map(|(number, unit)| Millis::from(number) * unit)
        .filter(|millis| (60_000..=365 * 86_400_000).contains(millis))
        .ok_or_else(|| {
            format!("{text:?} is not a duration between a minute and a year; give e.g. 20m, 8h or 7d, or milliseconds as a plain number")
        })
}

fn cookie_secure(text: &str) -> Result<SecureCookie, String> {
    match text {
        "auto" => Ok(SecureCookie::Auto),
        other => truth(other)
            .map(|secure| {
                if secure {
                    SecureCookie::Always
                } else {
                    SecureCookie::Never
                }
            })
            .map_err(|_| format!("{text:?} is none of true, false and auto")),
    }
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|network| !network.is_empty())
        .map(|network| {
            network
                .parse()
                .map_err(|error: ferrocti_api::NetworkError| error.to_string())
        })
        .collect()
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a port; give a number from 0 to 65535"))
}

fn positive(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=65_536).contains(number))
        .ok_or_else(|| format!("{text:?} does not fit; give a number of MiB from 1 to 65536"))
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if path.is_empty() || (path.starts_with('/') && path.chars().all(plain) && !path.contains("//"))
    {
        Ok(path.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a path; it starts with / and holds letters, digits and -_.~ only"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, Option<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ferrocti.toml");
        std::fs::write(&path, text).unwrap();
        (dir, Some(path))
    }

    #[test]
    fn flags_win_over_environment_and_environment_over_file() {
        let (_dir, path) =
            file("port = 1001\namqp_port = 2001\nhost = \"0.0.0.0\"\n[admin]\nemail = \"a@b.c\"\n");
        let sources = Sources {
            file: path,
            env: env(&[
                ("FERROCTI_PORT", "1002"),
                ("APP__PORT", "1003"),
                ("FERROCTI_AMQP_PORT", "2002"),
            ]),
            flags: BTreeMap::from([("amqp_port", "2003".to_owned())]),
        };
        let settings = load(&sources).unwrap().settings;
        assert_eq!((settings.port, settings.amqp_port), (1002, 2003));
        assert_eq!(settings.host, "0.0.0.0".parse::<IpAddr>().unwrap());
        assert_eq!(settings.admin_email, "a@b.c");
    }

    #[test]
    fn upstreams_names_are_understood() {
        let variables = env(&[
            ("APP__PORT", "4000"),
            ("APP__BASE_PATH", "/cti/"),
            ("APP__ADMIN__TOKEN", "d434ce02-e58e-4cac-8b4c-42bf16748e84"),
            ("APP__ENCRYPTION_KEY", "x"),
        ]);
        let loaded = load(&Sources {
            env: variables,
            ..Sources::default()
        })
        .unwrap();
        assert_eq!(loaded.settings.port, 4000);
        assert_eq!(loaded.settings.base_path, "/cti");
        assert_eq!(
            loaded.settings.admin_token.unwrap().expose(),
            "d434ce02-e58e-4cac-8b4c-42bf16748e84"
        );
        assert_eq!(loaded.ignored, ["APP__ENCRYPTION_KEY"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_origin() {
        let (_dir, unknown_key) = file("prt = 1\n");
        let (_dir2, not_toml) = file("port = \n");
        let cases: Vec<(Sources, &[&str])> = vec![
            (
                Sources {
                    file: unknown_key,
                    ..Sources::default()
                },
                &["prt", "ferrocti.toml", "did you mean port?"],
            ),
            (
                Sources {
                    file: not_toml,
                    ..Sources::default()
                },
                &["not valid TOML"],
            ),
            (
                Sources {
                    file: Some("/nowhere/x.toml".into()),
                    ..Sources::default()
                },
                &["/nowhere/x.toml"],
            ),
            (
                Sources {
                    env: env(&[("FERROCTI_PROT", "1")]),
                    ..Sources::default()
                },
                &["FERROCTI_PROT", "FERROCTI_PORT"],
            ),
            (
                Sources {
                    env: env(&[("FERROCTI_PORT", "70000")]),
                    ..Sources::default()
                },
                &["port", "FERROCTI_PORT", "65535"],
            ),
            (
                Sources {
                    env: env(&[("APP__BASE_PATH", "cti")]),
                    ..Sources::default()
                },
                &["base_path", "APP__BASE_PATH"],
            ),
            (
                Sources {
                    env: env(&[("APP__ADMIN__TOKEN", "ChangeMe")]),
                    ..Sources::default()
                },
                &["admin.token", "weak"],
            ),
            (
                Sources {
                    flags: BTreeMap::from([("host", "here".to_owned())]),
                    ..Sources::default()
                },
                &["--host", "IP address"],
            ),
        ];
        for (sources, parts) in cases {
            let message = load(&sources).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} should name {part:?}");
            }
        }
    }

    #[test]
    fn durations_networks_and_the_cookie_are_read() {
        let (_dir, path) =
            file("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[session]\nlifetime = \"7d\"\n");
        let settings = load(&Sources {
            file: path,
            env: env(&[
                ("APP__SESSION_TIMEOUT", "1200000"),
                ("APP__HTTPS_CERT__COOKIE_SECURE", "true"),
            ]),
            ..Sources::default()
        })
        .unwrap()
        .settings;
        assert_eq!(settings.session_timeout, 20 * 60_000);
        assert_eq!(settings.session_lifetime, 7 * 86_400_000);
        assert_eq!(settings.cookie_secure, SecureCookie::Always);
        assert_eq!(settings.trusted_proxies.len(), 2);
        for (variable, value) in [
            ("FERROCTI_SESSION_TIMEOUT", "0"),
            ("FERROCTI_SESSION_TIMEOUT", "5"),
            ("FERROCTI_SESSION_TIMEOUT", "é"),
            ("FERROCTI_SESSION_LIFETIME", "2y"),
            ("FERROCTI_TRUSTED_PROXIES", "10.0.0.0/33"),
            ("FERROCTI_SESSION_COOKIE_SECURE", "maybe"),
            ("FERROCTI_AUDIT_RETENTION_DAYS", "-1"),
        ] {
            let sources = Sources {
                env: env(&[(variable, value)]),
                ..Sources::default()
            };
            let message = load(&sources).unwrap_err().to_string();
            assert!(message.contains(variable), "{message}");
        }
    }

    #[test]
    fn every_setting_is_documented() {
        let page = include_str!("../../../docs/reference/configuration.md");
        for setting in SETTINGS {
            for name in [Some(setting.key), Some(setting.env), setting.alias]
                .into_iter()
                .flatten()
            {
                assert!(
                    page.contains(&format!("`{name}`")),
                    "docs/reference/configuration.md does not mention {name}"
                );
            }
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "***");
    }
}
