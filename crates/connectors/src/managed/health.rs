//! The health of a connector, from evidence: what it says of its schedule, when it was heard of, what it delivered.

use ferrocti_catalog::Entry;
use ferrocti_model::clock::{Millis, format_date, parse_date};
use jiff::{Span, SpanRelativeTo, Unit};
use serde_json::Value;

use crate::managed::{Evidence, Shown, State};

/// Without a sign of life for so long, a connector is silent; it says something every 40 seconds.
const SILENT: Millis = 5 * 60 * 1000;
/// A run may be late for so long at least.
const LATE: Millis = 10 * 60 * 1000;
/// So many restarts are worth a word.
const RESTARTS: u64 = 3;
/// A connector that runs for so long is over them.
const STEADY: Millis = 60 * 60 * 1000;

/// How a connector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is nothing to say yet, or it shall not run.
    Grey,
    /// It is well.
    Green,
    /// Somebody should look.
    Amber,
    /// It does not do its work.
    Red,
}

impl Level {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grey => "grey",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// The health of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub level: Level,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// Last sign of life.
    pub last_ping: Option<Millis>,
    /// When it last delivered something.
    pub last_data: Option<Millis>,
    /// When its next run is expected.
    pub expected_next: Option<Millis>,
    /// Errors in its last works of a day.
    pub errors: u64,
    /// How often its composer has started it again.
    pub restarts: u64,
}

/// What health is computed from.
#[derive(Debug, Clone, Copy)]
pub struct HealthFacts<'a> {
    /// The state of a managed connector; `None`: it is not managed.
    pub state: Option<&'a Shown>,
    /// What keeps it from being started anew.
    pub obstacles: &'a [String],
    /// Last sign of life.
    pub last_ping: Option<Millis>,
    /// What it says of itself (`connector_info`).
    pub info: Option<&'a Value>,
    /// How often it runs, in milliseconds.
    pub cadence: Option<Millis>,
    /// What the platform has seen.
    pub evidence: &'a Evidence,
    /// Restarts by its composer.
    pub restarts: u64,
    /// Since when its instance runs, as its composer says.
    pub started_at: Option<Millis>,
    /// The present time.
    pub now: Millis,
}

/// How often a connector runs, from its configuration: `CONNECTOR_DURATION_PERIOD`, an ISO 8601 duration. `None`: it does not say, or has no rhythm.
#[must_use]
pub fn cadence(entries: &[Entry]) -> Option<Millis> {
    let period = entries
        .iter()
        .find(|entry| entry.key == "CONNECTOR_DURATION_PERIOD" && !entry.encrypted)?;
    let span: Span = period.value.trim().parse().ok()?;
    let total = span
        .total((Unit::Second, SpanRelativeTo::days_are_24_hours()))
        .ok()?;
    // a century is rhythm enough, and fits
    (1.0..3.2e9).contains(&total).then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "between 1 and 3.2e9, checked above"
        )]
        let seconds = total as Millis;
        seconds * 1000
    })
}

/// The health of a connector. That a composer says nothing never makes it ill by itself.
#[must_use]
pub fn health(facts: &HealthFacts<'_>) -> Health {
    let schedule = Schedule::read(facts);
    let mut level = Level::Green;
    let mut reasons = Vec::new();
    let mut say = |worse: Level, reason: String| {
        level = level.max(worse);
        reasons.push(reason);
    };
    let fresh = facts
        .last_ping
        .is_some_and(|ping| facts.now - ping < SILENT);
    let mut waits = None;
    match facts.state {
        Some(shown) => {
            let why = |text: &str| {
                if shown.reason.is_empty() {
                    text.to_owned()
                } else {
                    shown.reason.clone()
                }
            };
            match shown.state {
                State::Stopped | State::Stopping => waits = Some(why("it shall not run")),
                State::Requested | State::Pulling | State::Starting => {
                    waits = Some(why("it is being started"));
                }
                State::Failed => say(Level::Red, why("it cannot be run")),
                State::CrashLooping => say(Level::Red, why("it ends again and again")),
                State::Degraded => say(Level::Amber, why("it does not run as it should")),
                State::Unreachable => {
                    let worse = if fresh { Level::Amber } else { Level::Red };
                    say(worse, why("its composer cannot be asked"));
                }
                State::Running => {}
            }
        }
        None if facts.last_ping.is_none() => waits = Some("it has never been heard of".to_owned()),
        None => {}
    }
    if let Some(reason) = waits {
        return Health {
            level: Level::Grey,
            reasons: vec![reason],
            last_ping: facts.last_ping,
            last_data: facts.evidence.last_data,
            expected_next: None,
            errors: facts.evidence.errors,
            restarts: facts.restarts,
        };
    }
    let told = matches!(facts.state, Some(shown) if shown.state != State::Running);
    if !fresh && !told && !schedule.comes_and_goes {
        let reason = match facts.last_ping {
            Some(ping) => format!("it was heard of last at {}", format_date(ping)),
            None => "it has never been heard of".to_owned(),
        };
        say(Level::Red, reason);
    }
    if let Some(next) = schedule.next
        && facts.now > next + schedule.grace
    {
        say(
            Level::Amber,
            format!("a run was due at {}", format_date(next)),
        );
    }
    if schedule.buffering {
        say(
            Level::Amber,
            "its queue is longer than it wants, so that it waits".to_owned(),
        );
    }
    if facts.evidence.errors > 0 {
        let errors = facts.evidence.errors;
        say(
            Level::Amber,
            format!("{errors} errors in its last works; see them there"),
        );
    }
    let steady = facts
        .started_at
        .is_some_and(|started| facts.now - started >= STEADY);
    if facts.restarts >= RESTARTS && !steady {
        let restarts = facts.restarts;
        say(
            Level::Amber,
            format!("its composer has started it again {restarts} times"),
        );
    }
    for obstacle in facts.obstacles {
        say(Level::Amber, obstacle.clone());
    }
    Health {
        level,
        reasons,
        last_ping: facts.last_ping,
        last_data: facts.evidence.last_data,
        expected_next: schedule.next,
        errors: facts.evidence.errors,
        restarts: facts.restarts,
    }
}

/// What is known of when a connector runs.
struct Schedule {
    next: Option<Millis>,
    grace: Millis,
    buffering: bool,
    /// It ends after each run, so that silence in between says nothing.
    comes_and_goes: bool,
}

impl Schedule {
    fn read(facts: &HealthFacts<'_>) -> Self {
        let said = |key: &str| facts.info.and_then(|info| info.get(key));
        let flag = |key: &str| said(key).and_then(Value::as_bool).unwrap_or_default();
        let time = |key: &str| said(key).and_then(Value::as_str).and_then(parse_date);
        let last = time("last_run_datetime").max(facts.evidence.last_data);
        let next = time("next_run_datetime").or_else(|| Some(last? + facts.cadence?));
        Self {
            next,
            grace: facts.cadence.map_or(LATE, |period| (period / 10).max(LATE)),
            buffering: flag("buffering"),
            comes_and_goes: flag("run_and_terminate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Millis = 1_760_000_000_000;
    const MINUTE: Millis = 60_000;
    const HOUR: Millis = 60 * MINUTE;

    fn shown(state: State, reason: &str) -> Option<Shown> {
        Some(Shown {
            state,
            reason: reason.to_owned(),
            since: 0,
        })
    }

    struct Case {
        state: Option<Shown>,
        last_ping: Option<Millis>,
        info: Value,
        cadence: Option<Millis>,
        evidence: Evidence,
        restarts: u64,
        started_at: Option<Millis>,
        obstacles: Vec<String>,
    }

    /// It runs, and was heard of half a minute ago.
    fn well() -> Case {
        Case {
            state: shown(State::Running, ""),
            last_ping: Some(NOW - MINUTE / 2),
            info: Value::Null,
            cadence: None,
            evidence: Evidence::default(),
            restarts: 0,
            started_at: None,
            obstacles: Vec::new(),
        }
    }

    impl Case {
        fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }

        fn health(&self) -> Health {
            health(&HealthFacts {
                state: self.state.as_ref(),
                obstacles: &self.obstacles,
                last_ping: self.last_ping,
                info: Some(&self.info),
                cadence: self.cadence,
                evidence: &self.evidence,
                restarts: self.restarts,
                started_at: self.started_at,
                now: NOW,
            })
        }
    }

    #[test]
    fn health_follows_from_evidence() {
        let at = |ago: Millis| json!(format_date(NOW - ago));
        let info = |value: Value| well().with(|case| case.info = value);
        for (name, case, level, words) in [
            ("well", well(), Level::Green, ""),
            (
                "not managed and well",
                well().with(|case| case.state = None),
                Level::Green,
                "",
            ),
            (
                "never heard of",
                well().with(|case| (case.state, case.last_ping) = (None, None)),
                Level::Grey,
                "never",
            ),
            (
                "silent",
                well().with(|case| case.last_ping = Some(NOW - 6 * MINUTE)),
                Level::Red,
                "last at",
            ),
            (
                "silent and not managed",
                well().with(|case| (case.state, case.last_ping) = (None, Some(NOW - 6 * MINUTE))),
                Level::Red,
                "last at",
            ),
            (
                "runs and was never heard of",
                well().with(|case| case.last_ping = None),
                Level::Red,
                "never",
            ),
            (
                "stopped",
                well().with(|case| case.state = shown(State::Stopped, "")),
                Level::Grey,
                "shall not run",
            ),
            (
                "pulling",
                well().with(|case| case.state = shown(State::Pulling, "x:1")),
                Level::Grey,
                "x:1",
            ),
            (
                "failed",
                well().with(|case| case.state = shown(State::Failed, "no image")),
                Level::Red,
                "no image",
            ),
            (
                "crash loop",
                well().with(|case| case.state = shown(State::CrashLooping, "")),
                Level::Red,
                "again and again",
            ),
            (
                "degraded",
                well().with(|case| case.state = shown(State::Degraded, "old one")),
                Level::Amber,
                "old one",
            ),
            (
                "composer away, heard of",
                well().with(|case| case.state = shown(State::Unreachable, "")),
                Level::Amber,
                "composer",
            ),
            (
                "composer away, silent",
                well().with(|case| {
                    (case.state, case.last_ping) = (shown(State::Unreachable, ""), None);
                }),
                Level::Red,
                "composer",
            ),
            (
                "due",
                info(json!({"next_run_datetime": at(5 * MINUTE)})),
                Level::Green,
                "",
            ),
            (
                "overdue",
                info(json!({"next_run_datetime": at(11 * MINUTE)})),
                Level::Amber,
                "was due",
            ),
            (
                "overdue by its rhythm",
                info(json!({"last_run_datetime": at(2 * HOUR)}))
                    .with(|case| case.cadence = Some(HOUR)),
                Level::Amber,
                "was due",
            ),
            (
                "within a tenth of its rhythm",
                info(json!({"last_run_datetime": at(25 * HOUR)}))
                    .with(|case| case.cadence = Some(24 * HOUR)),
                Level::Green,
                "",
            ),
            (
                "data is a run too",
                info(json!({"last_run_datetime": at(2 * HOUR)})).with(|case| {
                    case.cadence = Some(HOUR);
                    case.evidence.last_data = Some(NOW - 30 * MINUTE);
                }),
                Level::Green,
                "",
            ),
            (
                "comes and goes",
                info(json!({"run_and_terminate": true, "last_run_datetime": at(HOUR)}))
                    .with(|case| case.last_ping = Some(NOW - HOUR)),
                Level::Green,
                "",
            ),
            (
                "buffering",
                info(json!({"buffering": true})),
                Level::Amber,
                "queue",
            ),
            (
                "errors",
                well().with(|case| case.evidence.errors = 7),
                Level::Amber,
                "7 errors",
            ),
            (
                "restarts",
                well().with(|case| case.restarts = 3),
                Level::Amber,
                "3 times",
            ),
            (
                "restarts of long ago",
                well().with(|case| (case.restarts, case.started_at) = (9, Some(NOW - 2 * HOUR))),
                Level::Green,
                "",
            ),
            (
                "two restarts",
                well().with(|case| case.restarts = 2),
                Level::Green,
                "",
            ),
            (
                "another key",
                well().with(|case| case.obstacles = vec!["set again A".to_owned()]),
                Level::Amber,
                "set again A",
            ),
            (
                "nonsense of a schedule",
                info(json!({"next_run_datetime": "soon", "buffering": "yes"})),
                Level::Green,
                "",
            ),
        ] {
            let health = case.health();
            assert_eq!(health.level, level, "{name}: {health:?}");
            let reasons = health.reasons.join("; ");
            assert_eq!(reasons.is_empty(), words.is_empty(), "{name}: {reasons}");
            assert!(reasons.contains(words), "{name}: {reasons}");
        }
    }

    #[test]
    fn the_worst_counts_and_all_is_told() {
        let health = well()
            .with(|case| {
                case.state = shown(State::Failed, "no image");
                case.evidence.errors = 1;
                case.restarts = 5;
            })
            .health();
        assert_eq!((health.level, health.reasons.len()), (Level::Red, 3));
    }

    #[test]
    fn rhythms_are_read_from_durations() {
        for (text, expected) in [
            ("PT1H", Some(HOUR)),
            ("P1D", Some(24 * HOUR)),
            ("P1W", Some(7 * 24 * HOUR)),
            ("PT90S", Some(90_000)),
            (" PT5M ", Some(5 * MINUTE)),
            ("P1M", None),
            ("PT0S", None),
            ("-PT1H", None),
            ("hourly", None),
            ("", None),
        ] {
            let entries = [Entry::plain("CONNECTOR_DURATION_PERIOD", text)];
            assert_eq!(cadence(&entries), expected, "{text}");
        }
        assert_eq!(cadence(&[]), None);
    }
}
