//! Upstream's protocol, with the operations that its own composer sends: an OpenCTI platform is asked again and again, and told one thing at a time.
//!
//! It knows neither tombstones nor states beyond `started` and `stopped`. A connector counts as deleted only when the platform, which still
//! knows this composer, answers for its id alone that there is none. States and their reasons are told as lines of the connector's log.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ferrocti_catalog::{
    Entry,
    launch::{Launch, Runtime},
};
use ferrocti_model::clock::Millis;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Assigned, Logs, Platform, Registration, Reply, Report, Reported, Trouble, Work, ferrocti,
    http::{Access, Link, PlatformError, aside},
    wire,
};
use crate::{ConnectorId, Current, State};

const VERSION: &str = "query GetVersion { about { version } }";
const LIST: &str = "query GetConnectors { connectorsForManagers { id name manager_contract_hash manager_contract_image manager_current_status \
  manager_requested_status manager_contract_configuration { key value encrypted } } }";
const SEEN: &str = "query GetConnectorsSeen { connectors { id last_seen_at } }";
/// For platforms before 7: the time of the last ping is that of the last change.
const SEEN_BEFORE: &str = "query GetConnectorsSeen { connectors { id last_seen_at: updated_at } }";
const KNOWS_ME: &str = "query GetManager($id: ID!) { connectorManager(managerId: $id) { id } }";
const EXISTS: &str = "query GetConnector($id: String!) { connector(id: $id) { id } }";
const REGISTER: &str = "mutation RegisterConnectorsManager($input: RegisterConnectorsManagerInput) { registerConnectorsManager(input: $input) { id about_version } }";
const ALIVE: &str = "mutation UpdateConnectorManagerStatus($input: UpdateConnectorManagerStatusInput) { updateConnectorManagerStatus(input: $input) { id about_version } }";
const STATUS: &str = "mutation UpdateConnectorCurrentStatus($input: CurrentConnectorStatusInput!) { updateConnectorCurrentStatus(input: $input) { id } }";
const LOGS: &str = "mutation ReportConnectorLogs($input: LogsConnectorStatusInput!) { updateConnectorLogs(input: $input) }";
const HEALTH: &str = "mutation UpdateConnectorHealth($input: HealthConnectorStatusInput!) { updateConnectorHealth(input: $input) }";

/// How often the platform is told that the composer is there; it believes that for five minutes.
const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// How often it is asked for changes.
const POLL: Duration = Duration::from_secs(10);
/// After an update of its own, the platform lets the list of connectors wait for so long.
const LIST_WAIT: Duration = Duration::from_secs(90);
/// A report of a log replaces the one before: so many lines are kept to be sent again with the new ones.
const LOG_LINES: usize = 100;
/// Longer lines are cut, in characters.
const LOG_LINE: usize = 2_000;

/// An OpenCTI platform.
#[derive(Debug)]
pub struct OpenCti {
    link: Link,
    composer: String,
    known: Arc<Mutex<Known>>,
}

/// What is remembered of earlier answers, so that only changes are told.
#[derive(Debug, Default)]
struct Known {
    /// The platform's version at the last registration.
    version: Option<String>,
    /// Whether it has `last_seen_at`.
    seen_before: bool,
    /// What the platform has as the current status.
    current: BTreeMap<ConnectorId, Option<Current>>,
    /// The ends of the logs as they were told, with where each ends.
    logs: BTreeMap<ConnectorId, Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    cursor: Option<String>,
    /// Whether the platform has not been told of the last ones.
    unsent: bool,
    /// The state that was told as a line.
    said: Option<(State, String)>,
}

impl Tail {
    fn push(&mut self, line: &str) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.chars().take(LOG_LINE).collect());
    }
}

impl OpenCti {
    /// The GraphQL operations that it sends, to be held against a schema.
    pub const OPERATIONS: &[&str] = &[
        VERSION,
        LIST,
        SEEN,
        SEEN_BEFORE,
        KNOWS_ME,
        EXISTS,
        REGISTER,
        ALIVE,
        STATUS,
        LOGS,
        HEALTH,
    ];

    /// Prepares the way to a platform for the composer of this id; nobody is asked yet.
    ///
    /// # Errors
    /// The address, the proxy or the certificates cannot be used.
    pub fn open(access: &Access, composer: impl Into<String>) -> Result<Self, PlatformError> {
        Ok(Self::over(Link::open(access)?, composer.into()))
    }

    pub(super) fn over(link: Link, composer: String) -> Self {
        Self {
            link,
            composer,
            known: Arc::default(),
        }
    }
}

/// Whether a platform answers in this protocol.
pub(super) fn spoken(link: &Link) -> Result<(), PlatformError> {
    link.ask::<Value>("GetVersion", "about", VERSION, json!({}))
        .map(drop)
}

/// What the platform says of a composer.
#[derive(Deserialize)]
struct Manager {
    about_version: Option<String>,
}

impl Platform for OpenCti {
    fn register<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        let (link, known) = (self.link.clone(), self.known.clone());
        let id = composer.id.clone();
        let input =
            json!({ "id": composer.id, "name": composer.name, "public_key": composer.public_key });
        Box::pin(async move {
            let question = move || {
                let (operation, field) = ("RegisterConnectorsManager", "registerConnectorsManager");
                link.ask::<Manager>(operation, field, REGISTER, json!({ "input": input }))
            };
            let manager = aside(question).await.map_err(|error| match &error {
                PlatformError::Refused { code, .. } if code == "UNSUPPORTED_ERROR" => {
                    Trouble::Refused(format!(
                        "{error}; the platform knows another composer already and takes one only: give this one that one's id in place of {id} (composer.id), and its key"
                    ))
                }
                _ => error.into(),
            })?;
            known.lock().version = manager.about_version;
            Ok(())
        })
    }

    fn alive<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        let (link, known) = (self.link.clone(), self.known.clone());
        let input = json!({ "input": { "id": composer.id } });
        Box::pin(async move {
            let question = move || {
                let (operation, field) = (
                    "UpdateConnectorManagerStatus",
                    "updateConnectorManagerStatus",
                );
                link.ask::<Option<Manager>>(operation, field, ALIVE, input)
            };
            let manager = aside(question).await.map_err(|error| {
                if is_unknown_element(&error) {
                    Trouble::Unregistered(error.to_string())
                } else {
                    error.into()
                }
            })?;
            let Some(manager) = manager else {
                return Err(Trouble::Unregistered(
                    "the platform does not know this composer".to_owned(),
                ));
            };
            if manager.about_version != known.lock().version {
                return Err(Trouble::Unregistered(
                    "the platform was updated; the composer registers again".to_owned(),
                ));
            }
            Ok(())
        })
    }

    fn work(&self) -> Reply<'_, Work> {
        let (link, known) = (self.link.clone(), self.known.clone());
        Box::pin(async move { Ok(aside(move || work(&link, &known)).await?) })
    }

    fn changed<'a>(&'a self, _: &'a str, wait: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            tokio::time::sleep(wait.min(POLL)).await;
            Ok(true)
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()> {
        let (link, known) = (self.link.clone(), self.known.clone());
        let connectors = report.connectors.clone();
        Box::pin(async move { Ok(aside(move || tell(&link, &known, &connectors)).await?) })
    }

    fn gone<'a>(&'a self, connectors: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>> {
        let (link, composer) = (self.link.clone(), self.composer.clone());
        let connectors = connectors.to_vec();
        Box::pin(async move { Ok(aside(move || gone(&link, &composer, connectors)).await?) })
    }

    fn alive_every(&self) -> Duration {
        ALIVE_EVERY
    }
}

/// One connector of the list. Upstream promises all but the current status; what is missing nevertheless is a fault of that connector alone.
#[derive(Deserialize)]
struct Listed {
    id: ConnectorId,
    name: Option<String>,
    manager_contract_hash: Option<String>,
    manager_contract_image: Option<String>,
    manager_current_status: Option<String>,
    manager_requested_status: Option<String>,
    manager_contract_configuration: Option<Vec<wire::Setting>>,
}

#[derive(Deserialize)]
struct Seen {
    id: ConnectorId,
    last_seen_at: Option<String>,
}

fn work(link: &Link, known: &Mutex<Known>) -> Result<Work, PlatformError> {
    let listed: Vec<Listed> =
        link.waiting(LIST_WAIT)
            .ask("GetConnectors", "connectorsForManagers", LIST, json!({}))?;
    let (seen, now) = seen(link, known)?;
    let mut known = known.lock();
    known.current = listed
        .iter()
        .map(|of| (of.id.clone(), current(of.manager_current_status.as_deref())))
        .collect();
    let listed_ids: BTreeSet<&ConnectorId> = listed.iter().map(|of| &of.id).collect();
    known.logs.retain(|id, _| listed_ids.contains(id));
    let connectors = listed
        .into_iter()
        .map(|of| {
            let last_seen = seen.get(&of.id).map(|at| since(*at, now));
            assigned(of, last_seen)
        })
        .collect();
    Ok(Work {
        connectors,
        ..Work::default()
    })
}

/// When the platform has heard of each connector, and what time it is there.
fn seen(
    link: &Link,
    known: &Mutex<Known>,
) -> Result<(BTreeMap<ConnectorId, Millis>, Millis), PlatformError> {
    let operation = "GetConnectorsSeen";
    let ask = |document| link.ask_when::<Vec<Seen>>(operation, "connectors", document, json!({}));
    let before = known.lock().seen_before;
    let answer = match ask(if before { SEEN_BEFORE } else { SEEN }) {
        Err(PlatformError::Unknown { .. }) if !before => {
            known.lock().seen_before = true;
            ask(SEEN_BEFORE)
        }
        Err(PlatformError::Forbidden { operation, reason }) => Err(PlatformError::Forbidden {
            operation,
            reason: format!(
                "{reason}; it needs \"Access connectors\" (MODULES), to see which of them are alive"
            ),
        }),
        other => other,
    };
    let (seen, date) = answer?;
    let seen = seen
        .into_iter()
        .filter_map(|of| {
            let at: jiff::Timestamp = of.last_seen_at?.parse().ok()?;
            Some((of.id, at.as_millisecond()))
        })
        .collect();
    let now = date.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond());
    Ok((seen, now))
}

fn since(at: Millis, now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(now - at).unwrap_or_default())
}

fn current(word: Option<&str>) -> Option<Current> {
    match word {
        Some("started") => Some(Current::Started),
        Some("stopped") => Some(Current::Stopped),
        _ => None,
    }
}

fn assigned(of: Listed, last_seen: Option<Duration>) -> Assigned {
    let missing = [
        ("image", of.manager_contract_image.is_none()),
        ("hash", of.manager_contract_hash.is_none()),
        ("requested status", of.manager_requested_status.is_none()),
        ("configuration", of.manager_contract_configuration.is_none()),
    ];
    let missing: Vec<&str> = missing
        .into_iter()
        .filter_map(|(what, missing)| missing.then_some(what))
        .collect();
    let fault = (!missing.is_empty()).then(|| {
        format!(
            "the platform does not tell its {}; nothing is changed until it does",
            missing.join(", ")
        )
    });
    let settings = of.manager_contract_configuration.unwrap_or_default();
    Assigned {
        name: of.name.unwrap_or_else(|| of.id.clone()),
        requested: ferrocti::requested(of.manager_requested_status.as_deref().unwrap_or_default()),
        hash: of.manager_contract_hash.unwrap_or_default(),
        launch: Launch::Image {
            image: of.manager_contract_image.unwrap_or_default(),
        },
        runtime: Runtime::default(),
        configuration: settings.into_iter().map(Entry::from).collect(),
        last_seen,
        log_cursor: None,
        fault,
        id: of.id,
    }
}

/// Tells all there is to tell. What concerns one connector alone stops no other; what was told is not told again.
fn tell(link: &Link, known: &Mutex<Known>, connectors: &[Reported]) -> Result<(), PlatformError> {
    let mut refused = None;
    for reported in connectors {
        match tell_of(link, known, reported) {
            Ok(()) => {}
            // it was deleted meanwhile
            Err(error) if is_unknown_element(&error) => {}
            Err(error @ (PlatformError::Refused { .. } | PlatformError::Forbidden { .. })) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(()), Err)
}

fn tell_of(link: &Link, known: &Mutex<Known>, of: &Reported) -> Result<(), PlatformError> {
    let id = &of.id;
    let told = known.lock().current.get(id).copied().flatten();
    if let Some(current) = of.current.filter(|current| Some(*current) != told) {
        let input = json!({ "input": { "id": id, "status": current } });
        link.ask::<Value>(
            "UpdateConnectorCurrentStatus",
            "updateConnectorCurrentStatus",
            STATUS,
            input,
        )?;
        known.lock().current.insert(id.clone(), Some(current));
    }
    if let Some(health) = &of.health
        && let Some(started_at) = health.started_at.and_then(wire::time)
    {
        let input = json!({ "input": {
            "id": id,
            "restart_count": health.restarts.min(i32::MAX as u32),
            "started_at": started_at,
            "is_in_reboot_loop": health.crash_looping,
        } });
        link.ask::<Value>(
            "UpdateConnectorHealth",
            "updateConnectorHealth",
            HEALTH,
            input,
        )?;
    }
    let Some(lines) = log_of(&mut known.lock(), of) else {
        return Ok(());
    };
    let input = json!({ "input": { "id": id, "logs": lines } });
    link.ask::<Value>("ReportConnectorLogs", "updateConnectorLogs", LOGS, input)?;
    if let Some(tail) = known.lock().logs.get_mut(id) {
        tail.unsent = false;
    }
    Ok(())
}

/// The end of a connector's log with what is new; `None`: nothing is.
fn log_of(known: &mut Known, of: &Reported) -> Option<Vec<String>> {
    let tail = known.logs.entry(of.id.clone()).or_default();
    // a report that is told again brings no line twice
    if let Some(Logs { lines, cursor }) = &of.logs
        && tail.cursor.as_ref() != Some(cursor)
    {
        for line in lines {
            tail.push(line);
        }
        tail.cursor = Some(cursor.clone());
        tail.unsent = true;
    }
    let bad = matches!(
        of.state,
        State::Failed | State::CrashLooping | State::Degraded
    );
    let now = bad.then(|| (of.state, of.reason.clone()));
    if of.changed && tail.said != now {
        if let Some((state, reason)) = &now {
            tail.push(&format!("[composer] {state}: {reason}"));
            tail.unsent = true;
        }
        tail.said = now;
    }
    tail.unsent.then(|| tail.lines.iter().cloned().collect())
}

fn gone(
    link: &Link,
    composer: &str,
    connectors: Vec<ConnectorId>,
) -> Result<BTreeSet<ConnectorId>, PlatformError> {
    // a platform that does not know this composer is empty, restored or another one: its word on connectors counts for nothing
    let me: Option<Value> = link.ask(
        "GetManager",
        "connectorManager",
        KNOWS_ME,
        json!({ "id": composer }),
    )?;
    if me.is_none() {
        return Ok(BTreeSet::new());
    }
    let mut gone = BTreeSet::new();
    for id in connectors {
        let found: Option<Value> =
            link.ask("GetConnector", "connector", EXISTS, json!({ "id": id }))?;
        if found.is_none() {
            gone.insert(id);
        }
    }
    Ok(gone)
}

/// Whether the platform does not know what it was to change. It has no code of its own for that.
fn is_unknown_element(error: &PlatformError) -> bool {
    matches!(error, PlatformError::Refused { message, .. } if message.to_ascii_lowercase().contains("cant find element"))
}
