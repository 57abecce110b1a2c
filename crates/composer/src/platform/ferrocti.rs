//! Ferrocti's own protocol: everything that a composer shall do in one answer, everything that it has to tell in one report, and a request
//! that is answered when something has changed.

use std::{collections::BTreeSet, time::Duration};

use ferrocti_catalog::{
    Entry,
    launch::{Launch, Runtime},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Assigned, Health, Platform, Registration, Reply, Report, Reported, Trouble, Work,
    http::{Access, Link, PlatformError, aside},
    wire,
};
use crate::{ConnectorId, Requested};

const REGISTER: &str = "mutation ComposerRegister($input: ComposerRegisterInput!) { composerRegister(input: $input) { id } }";
const ALIVE: &str = "mutation ComposerAlive($input: UpdateConnectorManagerStatusInput) { updateConnectorManagerStatus(input: $input) { id } }";
const WORK: &str = "query ComposerWork($composer: ID!) { composerWork(composer: $composer) { version tombstones approved
  connectors { id name requested hash launch runtime configuration { key value encrypted } last_seen_ms log_cursor obstacle } } }";
const REPORT: &str =
    "mutation ComposerReport($input: ComposerReportInput!) { composerReport(input: $input) }";

/// How often the platform is told that the composer is there.
const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// The longest time that the platform lets a question for changes wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A Ferrocti platform.
#[derive(Debug)]
pub struct Ferrocti {
    link: Link,
    composer: String,
    place: Option<String>,
}

impl Ferrocti {
    /// The GraphQL operations that it sends, to be held against a schema.
    pub const OPERATIONS: &[&str] = &[REGISTER, ALIVE, WORK, REPORT];

    /// Prepares the way to a platform for the composer of this id; nobody is asked yet.
    ///
    /// # Errors
    /// The address, the proxy or the certificates cannot be used.
    pub fn open(access: &Access, composer: impl Into<String>) -> Result<Self, PlatformError> {
        Ok(Self::over(Link::open(access)?, composer.into(), None))
    }

    pub(super) fn over(link: Link, composer: String, place: Option<String>) -> Self {
        Self {
            link,
            composer,
            place,
        }
    }
}

/// Whether the platform knows the composer's own protocol.
pub(super) fn spoken(link: &Link) -> Result<bool, PlatformError> {
    let asked = link.ask::<Value>(
        "ComposerWork",
        "composerWork",
        WORK,
        json!({ "composer": "" }),
    );
    match asked {
        // there is no such composer, or it is not this user's: but there is the question
        Ok(_) | Err(PlatformError::Refused { .. } | PlatformError::Forbidden { .. }) => Ok(true),
        Err(PlatformError::Unknown { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

impl Platform for Ferrocti {
    fn register<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        let input = json!({
            "id": composer.id,
            "name": composer.name,
            "public_key": composer.public_key,
            "version": composer.version,
            "orchestrators": composer.orchestrators,
            "host": wire::host_name(),
            "place": self.place,
        });
        let link = self.link.clone();
        Box::pin(async move {
            let question = move || {
                link.ask::<Value>(
                    "ComposerRegister",
                    "composerRegister",
                    REGISTER,
                    json!({ "input": input }),
                )
            };
            aside(question).await?;
            Ok(())
        })
    }

    fn alive<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        let link = self.link.clone();
        let variables = json!({ "input": { "id": composer.id } });
        Box::pin(async move {
            let known = aside(move || {
                link.ask::<Option<Value>>(
                    "ComposerAlive",
                    "updateConnectorManagerStatus",
                    ALIVE,
                    variables,
                )
            });
            match known.await.map_err(unregistered)? {
                Some(_) => Ok(()),
                None => Err(Trouble::Unregistered(
                    "the platform does not know this composer".to_owned(),
                )),
            }
        })
    }

    fn work(&self) -> Reply<'_, Work> {
        let link = self.link.clone();
        let variables = json!({ "composer": self.composer });
        Box::pin(async move {
            let question =
                move || link.ask::<Told>("ComposerWork", "composerWork", WORK, variables);
            let told = aside(question).await.map_err(unregistered)?;
            Ok(told.into())
        })
    }

    fn changed<'a>(&'a self, version: &'a str, wait: Duration) -> Reply<'a, bool> {
        let link = self.link.clone();
        let wait = wait.min(LONGEST_WAIT);
        let path = format!(
            "/composer/changes?after={}&wait={}",
            encoded(version),
            wait.as_secs()
        );
        Box::pin(async move {
            let answer = aside(move || link.waiting(wait).get(&path)).await?;
            match answer["version"].as_str() {
                Some(now) => Ok(now != version),
                None => Err(Trouble::Away(
                    "the platform did not say whether something has changed; it is asked again"
                        .to_owned(),
                )),
            }
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()> {
        let link = self.link.clone();
        let connectors: Vec<Value> = report.connectors.iter().map(of_connector).collect();
        let input = json!({
            "composer": self.composer,
            "connectors": connectors,
            "removed": report.removed,
            // an empty text says that nothing keeps it
            "blocked": report.blocked.as_deref().unwrap_or_default(),
        });
        Box::pin(async move {
            let question = move || {
                link.ask::<bool>(
                    "ComposerReport",
                    "composerReport",
                    REPORT,
                    json!({ "input": input }),
                )
            };
            aside(question).await.map_err(unregistered)?;
            Ok(())
        })
    }

    fn gone<'a>(&'a self, _: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>> {
        Box::pin(async { Ok(BTreeSet::new()) })
    }

    fn alive_every(&self) -> Duration {
        ALIVE_EVERY
    }
}

/// Where the platform refuses because it does not know the composer, the composer registers again.
fn unregistered(error: PlatformError) -> Trouble {
    match &error {
        PlatformError::Refused { code, .. } if code == NOT_REGISTERED => {
            Trouble::Unregistered(error.to_string())
        }
        _ => error.into(),
    }
}

/// The platform's code for a composer that it does not know.
const NOT_REGISTERED: &str = "COMPOSER_NOT_REGISTERED";

/// One connector in a report; there are figures and lines only when there are new ones.
fn of_connector(reported: &Reported) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("id", json!(reported.id));
    put("hash", json!(reported.hash));
    put("state", json!(reported.state));
    put("reason", json!(reported.reason));
    put("current", json!(reported.current));
    put("rejected", json!(reported.rejected));
    if let Some(health) = &reported.health {
        let Health {
            started_at,
            restarts,
            crash_looping,
            memory,
        } = health;
        put("started_at", json!(started_at.and_then(wire::time)));
        put("restart_count", json!(restarts));
        put("is_in_reboot_loop", json!(crash_looping));
        put("memory", json!(memory));
    }
    if let Some(logs) = &reported.logs {
        put("logs", json!(logs.lines));
        put("log_cursor", json!(logs.cursor));
    }
    Value::Object(out)
}

/// The answer to [`WORK`].
#[derive(Deserialize)]
struct Told {
    version: String,
    connectors: Vec<ToldConnector>,
    tombstones: BTreeSet<ConnectorId>,
    approved: BTreeSet<ConnectorId>,
}

#[derive(Deserialize)]
struct ToldConnector {
    id: ConnectorId,
    name: String,
    requested: String,
    hash: String,
    launch: String,
    runtime: String,
    configuration: Vec<wire::Setting>,
    last_seen_ms: Option<f64>,
    log_cursor: Option<String>,
    obstacle: Option<String>,
}

impl From<Told> for Work {
    fn from(told: Told) -> Self {
        Self {
            version: told.version,
            connectors: told.connectors.into_iter().map(Assigned::from).collect(),
            tombstones: told.tombstones,
            approved: told.approved,
        }
    }
}

impl From<ToldConnector> for Assigned {
    fn from(told: ToldConnector) -> Self {
        let mut fault = told.obstacle;
        let mut read = |what: &str, error: serde_json::Error| {
            fault.get_or_insert(format!(
                "this composer does not understand {what} ({error}); update it, or correct the definition"
            ));
        };
        let launch = serde_json::from_str(&told.launch).unwrap_or_else(|error| {
            read("how it is to be started", error);
            Launch::Image {
                image: String::new(),
            }
        });
        let runtime = serde_json::from_str(&told.runtime).unwrap_or_else(|error| {
            read("what it may use", error);
            Runtime::default()
        });
        Self {
            id: told.id,
            name: told.name,
            requested: requested(&told.requested),
            hash: told.hash,
            launch,
            runtime,
            configuration: told.configuration.into_iter().map(Entry::from).collect(),
            last_seen: told.last_seen_ms.map(age),
            log_cursor: told.log_cursor,
            fault,
        }
    }
}

/// Upstream's rule: what is not asked to start shall not run.
pub(super) fn requested(word: &str) -> Requested {
    if word == "starting" {
        Requested::Running
    } else {
        Requested::Stopped
    }
}

/// An age in milliseconds; what cannot be one is none.
fn age(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default()
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
