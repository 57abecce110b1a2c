//! What the sample connector does, step by step, under a clock and a platform that are given to it.

use std::time::Duration;

use ferrocti_model::clock::{Millis, format_date, parse_date};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Log, feed,
    settings::{Level, Settings},
};
use crate::client::ClientError;

const REGISTER: &str = "mutation Register($input: RegisterConnectorInput) { registerConnector(input: $input) { id connector_state } }";
const PING: &str = "mutation Ping($id: ID!, $state: String, $info: ConnectorInfoInput) { pingConnector(id: $id, state: $state, connectorInfo: $info) { id connector_state } }";
const WORK_ADD: &str = "mutation Work($id: String!, $name: String) { workAdd(connectorId: $id, friendlyName: $name) { id } }";
const PUSH: &str = "mutation Push($id: String!, $bundle: String!, $work: String) { stixBundlePush(connectorId: $id, bundle: $bundle, work_id: $work) }";
const PROCESSED: &str = "mutation Processed($id: ID!, $message: String, $failed: Boolean) { workEdit(id: $id) { toProcessed(message: $message, inError: $failed) } }";

/// How often the platform is told that the connector lives.
const PING_EVERY: Duration = Duration::from_secs(40);
/// How soon a run follows a reset.
const AFTER_RESET: Duration = Duration::from_secs(1);
/// Pauses between two tries while the platform is away.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What only an operator can mend. Everything else is tried again.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The token opens nothing.
    #[error(
        "the platform at {0} does not accept OPENCTI_TOKEN: it is wrong, revoked or expired, or its user is not let in"
    )]
    Token(String),
    /// The platform does not want this connector.
    #[error("the platform refuses this connector: {message} ({code})")]
    Refused {
        /// The platform's words.
        message: String,
        /// Its code.
        code: String,
    },
}

/// The time, twice: dates may jump, what the connector waits for must not.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the connector was started.
    pub running: Duration,
    /// The date.
    pub date: Millis,
}

/// What is kept between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Number of the next object.
    position: u64,
    /// Runs so far.
    runs: u64,
    /// When the last run was.
    last_run: String,
}

type Call<'a> = dyn Fn(&str, Value) -> Result<Value, ClientError> + 'a;

/// A sample connector between its start and its end.
pub struct Connector<'a> {
    settings: &'a Settings,
    log: &'a Log,
    call: &'a Call<'a>,
    registered: bool,
    state: Option<State>,
    /// The work of a run that could not be finished because the platform went away.
    open_work: Option<String>,
    next_run: Duration,
    next_ping: Duration,
    pause: Duration,
}

/// Why a call brought nothing.
enum Fault {
    /// Nobody answered, or somebody who cannot now; the text says who and why.
    Away(String),
    /// Waiting does not help.
    End(End),
}

impl<'a> Connector<'a> {
    /// A connector that has done nothing yet. `call` runs one operation of GraphQL.
    pub fn new(settings: &'a Settings, log: &'a Log, call: &'a Call<'a>) -> Self {
        Self {
            settings,
            log,
            call,
            registered: false,
            state: None,
            open_work: None,
            next_run: Duration::ZERO,
            next_ping: Duration::ZERO,
            pause: PAUSES.0,
        }
    }

    /// Does what is due, and tells when to come again, as time since the start.
    ///
    /// # Errors
    /// What only an operator can mend.
    pub fn step(&mut self, now: Now) -> Result<Duration, End> {
        match self.due(now) {
            Ok(()) => {
                self.pause = PAUSES.0;
                Ok(self.next_run.min(self.next_ping))
            }
            Err(Fault::End(end)) => Err(end),
            Err(Fault::Away(reason)) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(PAUSES.1);
                self.log.say(
                    Level::Warn,
                    &format!("{reason}; trying again in {} s", pause.as_secs()),
                );
                Ok(now.running + pause)
            }
        }
    }

    fn due(&mut self, now: Now) -> Result<(), Fault> {
        if !self.registered {
            self.register(now)?;
            self.ping(now)?;
        }
        if now.running >= self.next_run {
            self.run(now)?;
            self.ping(now)?;
        } else if now.running >= self.next_ping {
            self.ping(now)?;
        }
        Ok(())
    }

    fn register(&mut self, now: Now) -> Result<(), Fault> {
        let settings = self.settings;
        let input = json!({
            "id": settings.id, "name": settings.name, "type": "EXTERNAL_IMPORT", "scope": settings.scope,
            "auto": false, "only_contextual": false, "playbook_compatible": false,
        });
        let data = self.ask(REGISTER, json!({ "input": input }))?;
        self.registered = true;
        self.state = state(&data["registerConnector"]["connector_state"]);
        // a restart brings no run forward; a last run that is yet to come was told by another clock
        let since = self
            .state
            .as_ref()
            .and_then(|state| parse_date(&state.last_run))
            .and_then(|last| u64::try_from(now.date.saturating_sub(last)).ok())
            .map_or(settings.period, Duration::from_millis);
        self.next_run = now.running + settings.period.saturating_sub(since);
        self.log.say(
            Level::Info,
            &match &self.state {
                Some(state) => format!(
                    "registered; it goes on at object {} after {} runs",
                    state.position + 1,
                    state.runs
                ),
                None => "registered; it begins with the first object".to_owned(),
            },
        );
        Ok(())
    }

    /// Tells the platform that the connector lives, what it remembers and when it runs next. What the platform answers counts: a reset ends
    /// with a ping that takes notice of it, which is therefore sent at once.
    fn ping(&mut self, now: Now) -> Result<(), Fault> {
        if self.tell(now)? {
            self.tell(now)?;
        }
        self.next_ping = now.running + PING_EVERY;
        Ok(())
    }

    /// One ping; whether the platform has another state.
    fn tell(&mut self, now: Now) -> Result<bool, Fault> {
        let last = self.state.as_ref().map(|state| state.last_run.clone());
        let wait = self.next_run.saturating_sub(now.running);
        let next = now
            .date
            .saturating_add(Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX));
        let info = json!({
            "run_and_terminate": false, "buffering": false, "queue_threshold": 500.0, "queue_messages_size": 0.0,
            "next_run_datetime": format_date(next), "last_run_datetime": last,
        });
        // `null` as a text is what clients of upstream send where there is no state
        let told = json!(self.state).to_string();
        let data = self.ask(
            PING,
            json!({ "id": self.settings.id, "state": told, "info": info }),
        )?;
        let kept = state(&data["pingConnector"]["connector_state"]);
        if kept == self.state {
            return Ok(false);
        }
        if kept.is_some() {
            let told = "the platform has another state for this connector; it goes on with that";
            self.log.say(Level::Info, told);
        } else {
            let told = "the state was reset; it begins with the first object";
            self.log.say(Level::Info, told);
            self.next_run = now.running + AFTER_RESET;
        }
        self.state = kept;
        Ok(true)
    }

    fn run(&mut self, now: Now) -> Result<(), Fault> {
        let id = &self.settings.id;
        let (position, runs) = self
            .state
            .as_ref()
            .map_or((0, 0), |state| (state.position, state.runs));
        let work = match self.open_work.take() {
            Some(work) => work,
            None => {
                let name = format!("Run {} of {}", runs + 1, self.settings.name);
                let data = self.ask(WORK_ADD, json!({ "id": id, "name": name }))?;
                let work = data["workAdd"]["id"].as_str().unwrap_or_default();
                work.to_owned()
            }
        };
        let (bundle, next) = feed::bundle(position, self.settings.objects);
        self.log.say(
            Level::Debug,
            &format!("sending from object {} on", position + 1),
        );
        self.next_run = now.running + self.settings.period;
        let pushed = (self.call)(
            PUSH,
            json!({ "id": id, "bundle": bundle.to_string(), "work": work }),
        );
        match pushed {
            Ok(_) => {
                self.state = Some(State {
                    position: next,
                    runs: runs + 1,
                    last_run: format_date(now.date),
                });
                let told = format!("{} objects sent", self.settings.objects);
                self.processed(&work, &told, false);
                self.log
                    .say(Level::Info, &format!("run {}: {told}", runs + 1));
                Ok(())
            }
            Err(ClientError::Refused { message, code }) => {
                let told = format!("the platform refused the objects: {message} ({code})");
                self.processed(&work, &told, true);
                self.log.say(
                    Level::Warn,
                    &format!("{told}; the next run sends them again"),
                );
                Ok(())
            }
            Err(error) => {
                // the same work again: it is told of these objects once they are taken
                self.open_work = Some(work);
                self.next_run = now.running;
                Err(self.fault(error))
            }
        }
    }

    /// Ends a work. A platform that does not answer now ends it by itself.
    fn processed(&self, work: &str, message: &str, failed: bool) {
        let variables = json!({ "id": work, "message": message, "failed": failed });
        if let Err(error) = (self.call)(PROCESSED, variables) {
            let why = match self.fault(error) {
                Fault::Away(why) => why,
                Fault::End(end) => end.to_string(),
            };
            self.log.say(
                Level::Warn,
                &format!("the work {work} could not be ended: {why}"),
            );
        }
    }

    fn ask(&self, query: &str, variables: Value) -> Result<Value, Fault> {
        (self.call)(query, variables).map_err(|error| self.fault(error))
    }

    fn fault(&self, error: ClientError) -> Fault {
        let url = &self.settings.url;
        match error {
            ClientError::NotLoggedIn { .. } | ClientError::NoToken => {
                Fault::End(End::Token(url.clone()))
            }
            ClientError::Refused { message, code } => match code.as_str() {
                "FORBIDDEN_ACCESS"
                | "FUNCTIONAL_ERROR"
                | "UNSUPPORTED_ERROR"
                | "VALIDATION_ERROR"
                | "GRAPHQL_VALIDATION_FAILED" => Fault::End(End::Refused { message, code }),
                _ => Fault::Away(format!("the platform cannot now: {message} ({code})")),
            },
            ClientError::Unreachable { reason, .. } => Fault::Away(format!(
                "cannot reach the platform at {url} (OPENCTI_URL): {reason}"
            )),
            ClientError::Certificates { .. } => Fault::Away(error.to_string()),
            ClientError::NotAPlatform { status, .. } => Fault::Away(format!(
                "{url} (OPENCTI_URL) does not answer like a platform (HTTP {status})"
            )),
        }
    }
}

/// The state in an answer. What is no state of this connector counts as none, so that it begins again instead of failing for ever.
fn state(answer: &Value) -> Option<State> {
    serde_json::from_str(answer.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap};

    use super::*;

    const START: Millis = 1_790_000_000_000;

    /// A platform that keeps the state and counts what it is asked.
    #[derive(Default)]
    struct Platform {
        asked: Vec<(String, Value)>,
        state: Option<String>,
        reset: bool,
        /// What it answers next to an operation instead of what it should.
        faults: Vec<(&'static str, ClientError)>,
    }

    impl Platform {
        fn answer(&mut self, query: &str, variables: Value) -> Result<Value, ClientError> {
            let name = query.split([' ', '(']).nth(1).unwrap().to_owned();
            self.asked.push((name.clone(), variables.clone()));
            if let Some(place) = self.faults.iter().position(|(of, _)| *of == name) {
                return Err(self.faults.remove(place).1);
            }
            Ok(match name.as_str() {
                "Register" => {
                    self.reset = false;
                    json!({ "registerConnector": { "connector_state": self.state } })
                }
                "Ping" => {
                    let sent = variables["state"].as_str().unwrap().to_owned();
                    if self.reset && sent != "null" {
                        return Ok(json!({ "pingConnector": { "connector_state": "" } }));
                    }
                    self.reset = false;
                    if sent != "null" {
                        self.state = Some(sent.clone());
                    }
                    json!({ "pingConnector": { "connector_state": sent } })
                }
                "Work" => json!({ "workAdd": { "id": format!("work {}", self.count("Work")) } }),
                "Push" => json!({ "stixBundlePush": true }),
                _ => json!({ "workEdit": { "toProcessed": "x" } }),
            })
        }

        fn count(&self, name: &str) -> usize {
            self.asked.iter().filter(|(of, _)| of == name).count()
        }

        fn last(&self, name: &str) -> &Value {
            &self.asked.iter().rfind(|(of, _)| of == name).unwrap().1
        }
    }

    fn settings() -> Settings {
        let env = [
            ("OPENCTI_URL", "http://platform"),
            ("OPENCTI_TOKEN", "t0ken"),
            ("CONNECTOR_ID", "c1"),
            ("CONNECTOR_LOG_LEVEL", "error"),
        ];
        let env: BTreeMap<String, String> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::read(&env).unwrap()
    }

    fn at(seconds: u64) -> Now {
        Now {
            running: Duration::from_secs(seconds),
            date: START + Millis::try_from(seconds).unwrap() * 1000,
        }
    }

    /// Steps of one connector at given seconds after its start, each with when it wants to come again.
    fn steps(platform: &RefCell<Platform>, seconds: &[u64]) -> Vec<Result<u64, String>> {
        let settings = settings();
        let log = Log {
            least: Level::Error,
        };
        let call = |query: &str, variables| platform.borrow_mut().answer(query, variables);
        let mut connector = Connector::new(&settings, &log, &call);
        seconds
            .iter()
            .map(|second| match connector.step(at(*second)) {
                Ok(again) => Ok(again.as_secs()),
                Err(end) => Err(end.to_string()),
            })
            .collect()
    }

    fn refused(code: &str) -> ClientError {
        ClientError::Refused {
            message: "no".to_owned(),
            code: code.to_owned(),
        }
    }

    fn away() -> ClientError {
        ClientError::Unreachable {
            url: "http://platform".to_owned(),
            reason: "refused".to_owned(),
        }
    }

    #[test]
    fn it_runs_at_once_and_then_pings_until_the_next_run() {
        let platform: RefCell<Platform> = RefCell::default();
        assert_eq!(
            steps(&platform, &[0, 40, 80, 300]),
            [40, 80, 120, 340].map(Ok)
        );
        let platform = platform.into_inner();
        assert_eq!(platform.count("Register"), 1);
        assert_eq!(platform.count("Push"), 2);
        assert_eq!(platform.count("Processed"), 2);
        let state: State = serde_json::from_str(platform.state.as_ref().unwrap()).unwrap();
        assert_eq!((state.position, state.runs), (20, 2));
        let info = &platform.last("Ping")["info"];
        assert_eq!(info["last_run_datetime"], format_date(START + 300_000));
        assert_eq!(info["next_run_datetime"], format_date(START + 600_000));
    }

    #[test]
    fn a_restart_brings_no_run_forward() {
        let platform: RefCell<Platform> = RefCell::default();
        steps(&platform, &[0]);
        platform.borrow_mut().asked.clear();
        // a new process one minute later: its own time begins again
        let settings = settings();
        let log = Log {
            least: Level::Error,
        };
        let call = |query: &str, variables| platform.borrow_mut().answer(query, variables);
        let mut connector = Connector::new(&settings, &log, &call);
        let mut later = at(0);
        later.date += 60_000;
        connector.step(later).unwrap();
        assert_eq!(platform.borrow().count("Push"), 0);
        assert_eq!(connector.next_run, Duration::from_secs(240));
        assert_eq!(connector.state.as_ref().unwrap().position, 10);
    }

    #[test]
    fn a_reset_begins_with_the_first_object_and_is_over_after_one_more_run() {
        let platform: RefCell<Platform> = RefCell::default();
        let settings = settings();
        let log = Log {
            least: Level::Error,
        };
        let call = |query: &str, variables| platform.borrow_mut().answer(query, variables);
        let mut connector = Connector::new(&settings, &log, &call);
        connector.step(at(0)).unwrap();
        {
            let mut platform = platform.borrow_mut();
            platform.reset = true;
            platform.state = None;
        }
        assert_eq!(connector.step(at(40)).unwrap(), Duration::from_secs(41));
        assert_eq!(connector.state, None);
        assert!(
            !platform.borrow().reset,
            "the platform knows that it was seen"
        );
        connector.step(at(41)).unwrap();
        assert_eq!(connector.state.as_ref().unwrap().position, 10);
        assert_eq!(connector.next_run, Duration::from_secs(341));
    }

    #[test]
    fn while_the_platform_is_away_it_waits_longer_and_longer_and_goes_on() {
        let platform = RefCell::new(Platform {
            faults: (0..6).map(|_| ("Register", away())).collect(),
            ..Platform::default()
        });
        let again = steps(&platform, &[0, 1, 3, 7, 15, 31, 61]);
        assert_eq!(again, [1, 3, 7, 15, 31, 61, 101].map(Ok));
        assert_eq!(platform.borrow().count("Push"), 1);
    }

    #[test]
    fn a_run_that_was_cut_off_is_made_again_with_the_same_work_and_objects() {
        let platform = RefCell::new(Platform {
            faults: vec![("Push", away())],
            ..Platform::default()
        });
        assert_eq!(steps(&platform, &[0, 1]), [Ok(1), Ok(41)]);
        let platform = platform.into_inner();
        assert_eq!(platform.count("Work"), 1);
        let pushed: Vec<&Value> = platform
            .asked
            .iter()
            .filter_map(|(name, variables)| (name == "Push").then_some(variables))
            .collect();
        assert_eq!(pushed.len(), 2);
        assert_eq!(pushed[0], pushed[1]);
    }

    #[test]
    fn refused_objects_are_told_in_the_work_and_sent_again_with_the_next_run() {
        let platform = RefCell::new(Platform {
            faults: vec![("Push", refused("FUNCTIONAL_ERROR"))],
            ..Platform::default()
        });
        assert_eq!(steps(&platform, &[0, 300]), [Ok(40), Ok(340)]);
        let platform = platform.into_inner();
        assert_eq!(platform.count("Work"), 2);
        let state: State = serde_json::from_str(platform.state.as_ref().unwrap()).unwrap();
        assert_eq!((state.position, state.runs), (10, 1));
        let ended = platform.asked.iter().find(|(name, _)| name == "Processed");
        assert_eq!(ended.unwrap().1["failed"], true);
    }

    #[test]
    fn what_waiting_does_not_mend_ends_it() {
        let not_logged_in = || ClientError::NotLoggedIn {
            url: "http://platform".to_owned(),
        };
        for (operation, fault, told) in [
            ("Register", not_logged_in(), "OPENCTI_TOKEN"),
            ("Ping", not_logged_in(), "OPENCTI_TOKEN"),
            ("Register", refused("FORBIDDEN_ACCESS"), "FORBIDDEN_ACCESS"),
            ("Work", refused("FUNCTIONAL_ERROR"), "FUNCTIONAL_ERROR"),
        ] {
            let platform = RefCell::new(Platform {
                faults: vec![(operation, fault)],
                ..Platform::default()
            });
            let end = steps(&platform, &[0]).remove(0).unwrap_err();
            assert!(end.contains(told), "{end}");
        }
    }

    #[test]
    fn a_platform_in_trouble_is_waited_for() {
        let platform = RefCell::new(Platform {
            faults: vec![("Ping", refused("DATABASE_ERROR"))],
            ..Platform::default()
        });
        assert_eq!(steps(&platform, &[0, 1])[0], Ok(1));
    }

    #[test]
    fn a_state_of_another_connector_counts_as_none() {
        let platform = RefCell::new(Platform {
            state: Some("{\"last_seen\":5}".to_owned()),
            ..Platform::default()
        });
        assert_eq!(steps(&platform, &[0]), [Ok(40)]);
        assert_eq!(platform.borrow().count("Push"), 1);
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[REGISTER, PING, WORK_ADD, PUSH, PROCESSED]);
    }
}
