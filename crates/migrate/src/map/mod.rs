//! The environment of a running connector against a contract: what becomes of each key, what has to be decided, and what differs afterwards.
//!
//! Nothing that the connector finds today is lost: what the contract does not know is kept as additional environment. Nothing is corrected silently:
//! a value is changed only where the connector reads both alike, and told, or where somebody accepts it.

mod differences;

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_catalog::{
    Contract, Given, Secret,
    check::check,
    environment::Proxy,
    schema::{Kind, Property, Schema},
    secret::{MASK, is_secret_name},
};

use crate::{
    compose::{self, Place},
    recognise::is_placeholder,
};

pub use differences::{Change, Difference, differences};

/// One variable that the connector finds today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Where it is set, when a file says so.
    pub at: Option<Place>,
}

impl From<&compose::Variable> for Found {
    fn from(variable: &compose::Variable) -> Self {
        Self {
            key: variable.key.clone(),
            value: variable.value.clone(),
            at: Some(variable.at.clone()),
        }
    }
}

/// The variables of a container that are not those of its image.
#[must_use]
pub fn without_image(found: Vec<Found>, image: &[Found]) -> Vec<Found> {
    found
        .into_iter()
        .filter(|found| {
            !image
                .iter()
                .any(|other| other.key == found.key && other.value == found.value)
        })
        .collect()
}

/// What somebody has decided.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Keys whose suggestion is taken.
    pub accepted: BTreeSet<String>,
    /// Whether all suggestions are.
    pub accept_all: bool,
    /// Values given anew; `None`: the key is left out.
    pub values: BTreeMap<String, Option<Secret>>,
}

/// A value that is probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The value.
    pub value: Secret,
    /// Why, e.g. `the quotes are part of the value`.
    pub why: &'static str,
    /// Whether connectors read both alike, so that it is taken without being asked for.
    pub same_meaning: bool,
    /// Whether it is taken.
    pub taken: bool,
}

/// Why a key is kept that the contract does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All connectors know it (the client library reads it).
    Client,
    /// Programs in general know it, e.g. `TZ`.
    Process,
    /// It is the connector's own way out of the network.
    Proxy,
    /// Nobody knows it; `similar`: a key of the contract that looks like it.
    Unknown {
        /// That key.
        similar: Option<String>,
    },
    /// There is no schema, so that everything is kept.
    NoSchema,
}

/// What the successor of a deprecated key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// The same value.
    Copied,
    /// The value in another form: seconds as a duration.
    Converted,
    /// The successor has a value of its own.
    AlreadySet,
    /// The value does not fit; somebody has to give one.
    Unfit,
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a key of the contract.
    Mapped,
    /// The platform or the composer gives it.
    GivenByPlatform,
    /// It is kept as additional environment.
    Kept(Kept),
    /// It is deprecated; it stays, and its successor is set too.
    Renamed {
        /// The successor.
        to: String,
        /// What that gets.
        carried: Carried,
    },
    /// It is empty, which counts as not set; the contract's default applies.
    Dropped,
    /// Somebody has decided to leave it out.
    LeftOut,
    /// The contract demands it, and it is not there, or only a placeholder is.
    Missing {
        /// What it is for.
        about: Option<String>,
    },
    /// The contract refuses its value.
    Invalid {
        /// Why; no text has a secret in it.
        problems: Vec<String>,
    },
    /// It is not there, and the contract's default is written out.
    Default,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub key: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The value that it gets; `None`: none.
    pub value: Option<Secret>,
    /// Whether the value is a secret.
    pub secret: bool,
    /// A value that is probably meant.
    pub suggestion: Option<Suggestion>,
    /// Where it is set today.
    pub at: Option<Place>,
}

impl Key {
    /// The value as it may be shown: secrets, and values of which nobody can tell whether they are, are masked, as are passwords within addresses.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        self.value.as_ref().map(|value| self.show(value))
    }

    /// Another value of this key as it may be shown.
    #[must_use]
    pub fn show(&self, value: &Secret) -> String {
        let unknown = matches!(
            self.fate,
            Fate::Kept(Kept::Unknown { .. } | Kept::NoSchema | Kept::Proxy)
        );
        if self.secret || unknown {
            MASK.to_owned()
        } else {
            without_password(value.expose())
        }
    }

    /// Whether somebody has to decide something before the connector can be started.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.fate,
            Fate::Missing { .. }
                | Fate::Invalid { .. }
                | Fate::Renamed {
                    carried: Carried::Unfit,
                    ..
                }
        )
    }
}

/// An environment against a contract.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    /// What becomes of each key: those of the contract in its order, then the others.
    pub keys: Vec<Key>,
    /// The connector's own proxy, which goes into its runtime.
    pub proxy: Option<Proxy>,
}

impl Mapping {
    /// What `ferrocti_catalog::configure` is given, with `Extra::Keep`.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.keys
            .iter()
            .filter(|key| {
                !matches!(
                    key.fate,
                    Fate::GivenByPlatform | Fate::Kept(Kept::Proxy) | Fate::Default
                )
            })
            .filter_map(|key| Some(Given::new(&key.key, key.value.clone()?)))
            .collect()
    }

    /// What has to be decided.
    pub fn open(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.is_open())
    }

    fn key(&self, key: &str) -> Option<&Key> {
        self.keys.iter().find(|other| other.key == key)
    }
}

/// Keys that the platform or the composer gives, whatever the source has.
const PLATFORM: &[&str] = &[
    "OPENCTI_URL",
    "OPENCTI_TOKEN",
    "OPENCTI_CONFIG_HASH",
    "CONNECTOR_ID",
    "CONNECTOR_NAME",
    "CONNECTOR_TYPE",
];

/// Keys of a proxy, which the platform would otherwise replace by its own.
const PROXY: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "HTTPS_CA_CERTIFICATES",
    "HTTPS_PROXY_REJECT_UNAUTHORIZED",
];

/// Beginnings of keys that pycti reads in every connector.
const CLIENT: &[&str] = &[
    "CONNECTOR_AUTO",
    "CONNECTOR_CONFIDENCE_LEVEL",
    "CONNECTOR_DURATION_PERIOD",
    "CONNECTOR_ENRICHMENT_RESOLUTION",
    "CONNECTOR_EXPOSE_METRICS",
    "CONNECTOR_LISTEN_PROTOCOL",
    "CONNECTOR_LIVE_STREAM_",
    "CONNECTOR_LOG_",
    "CONNECTOR_METRICS_",
    "CONNECTOR_ONLY_CONTEXTUAL",
    "CONNECTOR_PLAYBOOK_COMPATIBLE",
    "CONNECTOR_QUEUE_",
    "CONNECTOR_RUN_AND_TERMINATE",
    "CONNECTOR_SCOPE",
    "CONNECTOR_SEND_TO_",
    "CONNECTOR_UPDATE_EXISTING_DATA",
    "CONNECTOR_VALIDATE_BEFORE_IMPORT",
    "MQ_",
    "OPENCTI_",
];

/// Beginnings of keys that programs in general read.
const PROCESS: &[&str] = &[
    "ALL_PROXY",
    "CURL_",
    "GUNICORN_",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "PATH",
    "PIP_",
    "PYTHON",
    "REQUESTS_",
    "SSL_CERT_",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Holds an environment against a contract; without one, or without a schema, everything is kept. Of a key that comes twice the last value counts.
#[must_use]
pub fn map(found: &[Found], contract: Option<&Contract>, choices: &Choices) -> Mapping {
    let mut last: Vec<&Found> = Vec::with_capacity(found.len());
    for one in found {
        last.retain(|other| other.key != one.key);
        last.push(one);
    }
    let mut work = Work {
        found: last,
        schema: contract.and_then(|contract| contract.schema.as_ref()),
        choices,
        out: Mapping::default(),
    };
    work.contract();
    work.others();
    work.renamed();
    work.out
}

struct Work<'a> {
    found: Vec<&'a Found>,
    schema: Option<&'a Schema>,
    choices: &'a Choices,
    out: Mapping,
}

impl<'a> Work<'a> {
    fn found(&self, key: &str) -> Option<&'a Found> {
        self.found.iter().find(|found| found.key == key).copied()
    }

    /// The keys of the contract.
    fn contract(&mut self) {
        for property in self.schema.map(Schema::properties).unwrap_or_default() {
            if PLATFORM.contains(&property.key.as_str()) {
                continue;
            }
            let found = self.found(&property.key);
            let mut key = Key {
                key: property.key.clone(),
                fate: Fate::Mapped,
                value: None,
                secret: property.secret,
                suggestion: None,
                at: found.and_then(|found| found.at.clone()),
            };
            let value = match self.choices.values.get(&property.key) {
                Some(Some(value)) => Some(value),
                Some(None) => {
                    if found.is_some() {
                        key.fate = Fate::LeftOut;
                    }
                    None
                }
                None => found.map(|found| &found.value),
            };
            match value {
                Some(value) if !value.is_empty() => self.value(&mut key, property, value),
                Some(_) => key.fate = Fate::Dropped,
                None => {}
            }
            if key.value.is_none() && key.fate != Fate::LeftOut
                || key.fate == Fate::LeftOut && property.required
            {
                let open = matches!(key.fate, Fate::Missing { .. });
                if !open && property.default.is_some() {
                    key.value = property.default.as_deref().map(Secret::from);
                    if key.fate != Fate::Dropped {
                        key.fate = Fate::Default;
                    }
                } else if property.required {
                    key.fate = Fate::Missing {
                        about: property.description.clone(),
                    };
                } else if !open && key.fate != Fate::Dropped {
                    // neither there nor wanted
                    continue;
                }
            }
            self.out.keys.push(key);
        }
    }

    /// A value for a key of the contract.
    fn value(&self, key: &mut Key, property: &Property, value: &Secret) {
        let decided = self.choices.values.contains_key(&property.key);
        if !decided && is_placeholder(value.expose()) && (property.required || property.secret) {
            key.fate = Fate::Missing {
                about: property.description.clone(),
            };
            return;
        }
        let mut value = value.clone();
        if !decided {
            key.suggestion = suggestion(property, value.expose());
            if let Some(suggestion) = &mut key.suggestion {
                suggestion.taken = suggestion.same_meaning
                    || self.choices.accept_all
                    || self.choices.accepted.contains(&property.key);
                if suggestion.taken {
                    value = suggestion.value.clone();
                }
            }
        }
        if value.is_empty() {
            key.fate = Fate::Dropped;
            return;
        }
        let problems = check(property, value.expose());
        if !problems.is_empty() {
            key.fate = Fate::Invalid {
                problems: problems.iter().map(ToString::to_string).collect(),
            };
        }
        key.value = Some(value);
    }

    /// What the contract does not know.
    fn others(&mut self) {
        let mut proxy = Proxy {
            reject_unauthorized: true,
            ..Proxy::default()
        };
        let mut has_proxy = false;
        let given_anew: Vec<Found> = self
            .choices
            .values
            .iter()
            .filter(|(key, _)| self.found(key).is_none())
            .filter_map(|(key, value)| {
                Some(Found {
                    key: key.clone(),
                    value: value.clone()?,
                    at: None,
                })
            })
            .collect();
        let found: Vec<Found> = self.found.iter().map(|found| (*found).clone()).collect();
        for found in found.into_iter().chain(given_anew) {
            let key = found.key.as_str();
            let known = self
                .schema
                .is_some_and(|schema| schema.property(key).is_some());
            if known && !PLATFORM.contains(&key) {
                continue;
            }
            let (value, left_out) = match self.choices.values.get(key) {
                Some(Some(value)) => (value.clone(), false),
                Some(None) => (found.value.clone(), true),
                None => (found.value.clone(), false),
            };
            let fate = if PLATFORM.contains(&key) {
                Fate::GivenByPlatform
            } else if left_out {
                Fate::LeftOut
            } else if PROXY.contains(&key) {
                has_proxy = true;
                let text = Some(value.expose().to_owned()).filter(|text| !text.is_empty());
                match key {
                    "HTTP_PROXY" => proxy.http = text,
                    "HTTPS_PROXY" => proxy.https = text,
                    "NO_PROXY" => proxy.except = text,
                    "HTTPS_CA_CERTIFICATES" => proxy.ca_certificates = text,
                    _ => proxy.reject_unauthorized = value.expose() != "false",
                }
                Fate::Kept(Kept::Proxy)
            } else if starts(CLIENT, key) {
                Fate::Kept(Kept::Client)
            } else if starts(PROCESS, key) {
                Fate::Kept(Kept::Process)
            } else {
                Fate::Kept(match self.schema {
                    Some(schema) => Kept::Unknown {
                        similar: similar(key, schema),
                    },
                    None => Kept::NoSchema,
                })
            };
            self.out.keys.push(Key {
                key: found.key.clone(),
                value: match fate {
                    Fate::GivenByPlatform | Fate::LeftOut => None,
                    _ => Some(value),
                },
                fate,
                secret: is_secret_name(key) || key.ends_with("_PROXY") || key.ends_with("_proxy"),
                suggestion: None,
                at: found.at,
            });
        }
        self.out.proxy = has_proxy.then_some(proxy);
    }

    /// Deprecated keys that have a value: their successors get it too, before a default of the successor takes its place.
    fn renamed(&mut self) {
        let Some(schema) = self.schema else {
            return;
        };
        for property in schema
            .properties()
            .iter()
            .filter(|property| property.deprecated)
        {
            let Some(successor) = successor(property, schema) else {
                continue;
            };
            let Some(value) = self
                .out
                .key(&property.key)
                .filter(|key| matches!(key.fate, Fate::Mapped))
                .and_then(|key| key.value.clone())
            else {
                continue;
            };
            let own = self
                .found(&successor.key)
                .is_some_and(|found| !found.value.is_empty())
                || matches!(self.choices.values.get(&successor.key), Some(Some(_)));
            let converted = in_form(property, successor, value.expose());
            let carried = match &converted {
                _ if own => Carried::AlreadySet,
                Some(text) if text == value.expose() => Carried::Copied,
                Some(_) => Carried::Converted,
                None => Carried::Unfit,
            };
            if !own && let Some(text) = converted {
                let new = Key {
                    key: successor.key.clone(),
                    fate: Fate::Mapped,
                    value: Some(Secret::from(text)),
                    secret: successor.secret || property.secret,
                    suggestion: None,
                    at: None,
                };
                match self
                    .out
                    .keys
                    .iter_mut()
                    .find(|key| key.key == successor.key)
                {
                    Some(key) => *key = new,
                    None => self.out.keys.push(new),
                }
            }
            if let Some(key) = self.out.keys.iter_mut().find(|key| key.key == property.key) {
                key.fate = Fate::Renamed {
                    to: successor.key.clone(),
                    carried,
                };
            }
        }
    }
}

/// A text whose addresses have no user and password any more.
fn without_password(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find("://") {
        let (before, after) = rest.split_at(place + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c == ',' || c.is_whitespace())
            .unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

fn starts(list: &[&str], key: &str) -> bool {
    list.iter().any(|start| key.starts_with(start))
}

/// A value that is probably meant in the place of another.
fn suggestion(property: &Property, value: &str) -> Option<Suggestion> {
    let suggest = |text: &str, why, same_meaning| {
        check(property, text).is_empty().then(|| Suggestion {
            value: Secret::from(text),
            why,
            same_meaning,
            taken: false,
        })
    };
    if property.kind == Kind::Boolean {
        let plain = value.trim().trim_matches(['"', '\'']);
        let meant = match plain.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => "true",
            "false" | "no" | "off" | "0" => "false",
            _ => return None,
        };
        let alike = matches!(
            value,
            "True" | "TRUE" | "yes" | "Yes" | "False" | "FALSE" | "no" | "No"
        );
        return (meant != value)
            .then(|| suggest(meant, "booleans are written `true` or `false`", alike))
            .flatten();
    }
    let canonical = |text: &str| -> String {
        let text = text.trim();
        match text.parse::<i128>() {
            Ok(number) if property.kind == Kind::Integer => number.to_string(),
            _ => text.to_owned(),
        }
    };
    for quote in ['"', '\''] {
        let inside = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inside) = inside {
            return suggest(
                &canonical(inside),
                "the quotes are part of the value",
                false,
            );
        }
    }
    let meant = canonical(value);
    if meant == value {
        return None;
    }
    let typed = !matches!(property.kind, Kind::Text | Kind::Any);
    if meant == value.trim() {
        suggest(&meant, "there are spaces around the value", typed)
    } else {
        suggest(&meant, "whole numbers are written plainly", true)
    }
}

/// The key that a deprecated one was replaced by: the one other key of the contract that its description names.
fn successor<'s>(property: &Property, schema: &'s Schema) -> Option<&'s Property> {
    let about = property.description.as_deref()?;
    let mut named = about
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| *word != property.key)
        .filter_map(|word| schema.property(word));
    let first = named.next()?;
    named
        .all(|other| other.key == first.key)
        .then_some(first)
        .filter(|first| !first.deprecated)
}

/// A value of a deprecated key as its successor takes it; a number of seconds, minutes, hours or days becomes a duration when the name tells the unit.
fn in_form(property: &Property, successor: &Property, value: &str) -> Option<String> {
    if successor.kind == property.kind && check(successor, value).is_empty() {
        return Some(value.to_owned());
    }
    let number: u64 = value.parse().ok()?;
    let ends = |ends: &[&str]| ends.iter().any(|end| property.key.ends_with(end));
    let duration = if ends(&["_SEC", "_SECS", "_SECONDS"]) {
        format!("PT{number}S")
    } else if ends(&["_MIN", "_MINS", "_MINUTES"]) {
        format!("PT{number}M")
    } else if ends(&["_HOURS"]) {
        format!("PT{number}H")
    } else if ends(&["_DAYS"]) {
        format!("P{number}D")
    } else {
        return None;
    };
    check(successor, &duration).is_empty().then_some(duration)
}

/// A key of the contract that differs in case or separators only.
fn similar(key: &str, schema: &Schema) -> Option<String> {
    let bare = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect()
    };
    let wanted = bare(key);
    schema
        .properties()
        .iter()
        .find(|property| bare(&property.key) == wanted)
        .map(|property| property.key.clone())
}
