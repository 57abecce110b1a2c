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
    if facts.restarts >= RESTARTS {
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
