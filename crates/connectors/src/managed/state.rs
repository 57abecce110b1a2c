//! The state of a managed connector: what follows from what is wanted, what its composer says, and what the platform hears.

use ferrocti_model::clock::{Millis, format_date};
use ferrocti_store::Composer;

use crate::managed::{CurrentStatus, Managed, Reported, State, composer_is_active};

/// So long after its start the platform must have heard from a connector.
const HEARD_WITHIN: Millis = 3 * 60 * 1000;
/// A sign of life is fresh for so long.
const FRESH: Millis = 5 * 60 * 1000;
/// So long a composer of upstream's takes to start what it has made.
const STARTED_WITHIN: Millis = 2 * 60 * 1000;

pub(crate) const NO_USER: &str = "the user that it acts as does not exist or is not let in: let the user in, or choose another one";

pub(crate) fn unreadable(keys: &[String]) -> String {
    format!(
        "its composer has another key than the one that its secrets were sealed for; set again {}",
        keys.join(", ")
    )
}

/// What a state is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What it shall be.
    pub managed: &'a Managed,
    /// Its contract hash.
    pub hash: &'a str,
    /// What its composer said last.
    pub reported: Option<&'a Reported>,
    /// Its composer; `None`: it was removed.
    pub composer: Option<&'a Composer>,
    /// Last sign of life of the connector itself.
    pub last_ping: Option<Millis>,
    /// Keys of secrets that its composer cannot open.
    pub unreadable: &'a [String],
    /// Whether its user is let in.
    pub user_let_in: bool,
    /// Composers that have to remove their instance first.
    pub leaving: &'a [String],
    /// The present time.
    pub now: Millis,
}

/// A state with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The state.
    pub state: State,
    /// Why, and what to do; empty: there is nothing to say.
    pub reason: String,
    /// Since when, as far as it is known.
    pub since: Millis,
}

/// The state of a managed connector.
#[must_use]
pub fn state(facts: &Facts<'_>) -> Shown {
    let since = facts
        .reported
        .map_or(0, |reported| reported.since)
        .max(facts.managed.requested_at);
    let shown = |state, reason: String| Shown {
        state,
        reason,
        since,
    };
    let Some(composer) = facts.composer else {
        return shown(
            State::Unreachable,
            format!(
                "its composer `{}` was removed; assign it to another one",
                facts.managed.composer
            ),
        );
    };
    let (state, reason) = if facts.managed.requested.runs() {
        wanted(facts, composer)
    } else {
        unwanted(facts, composer)
    };
    shown(state, reason)
}

/// One that shall not run.
fn unwanted(facts: &Facts<'_>, composer: &Composer) -> (State, String) {
    let said = facts.reported.and_then(|reported| reported.state);
    let stopped = match said {
        Some(said) => said == State::Stopped,
        None => facts.managed.current != Some(CurrentStatus::Started),
    };
    if stopped {
        return (State::Stopped, String::new());
    }
    if let Some(away) = away(facts, composer) {
        return (State::Unreachable, away);
    }
    match facts.reported {
        // it tried, and could not
        Some(reported)
            if matches!(said, Some(State::Failed | State::Unreachable))
                && reported.at >= facts.managed.requested_at =>
        {
            (said.unwrap_or(State::Failed), reported.reason.clone())
        }
        Some(reported) if said == Some(State::Stopping) => {
            (State::Stopping, reported.reason.clone())
        }
        _ => (State::Stopping, String::new()),
    }
}

/// One that shall run.
fn wanted(facts: &Facts<'_>, composer: &Composer) -> (State, String) {
    if let Some(away) = away(facts, composer) {
        return (State::Unreachable, away);
    }
    if !facts.leaving.is_empty() {
        let text = format!(
            "it waits until {} has removed its instance; if that composer is gone for good, remove it",
            facts.leaving.join(", ")
        );
        return (State::Requested, text);
    }
    let Some(reported) = facts.reported.filter(|reported| reported.state.is_some()) else {
        return if composer.own || facts.managed.current.is_none() {
            (State::Requested, obstacle(facts, composer))
        } else {
            upstream(facts)
        };
    };
    let said = reported.state.unwrap_or(State::Requested);
    let not_taken_up =
        matches!(said, State::Stopped | State::Stopping) || reported.hash != facts.hash;
    if not_taken_up {
        return (State::Requested, obstacle(facts, composer));
    }
    if reported.reason.is_empty()
        && let Some(back) = &facts.managed.rolled_back
    {
        let text = format!(
            "it went back from definition {} by itself: {}",
            back.number, back.reason
        );
        return (said, text);
    }
    (said, reported.reason.clone())
}

/// One whose composer only says whether an instance runs.
fn upstream(facts: &Facts<'_>) -> (State, String) {
    let nothing = Reported::default();
    let reported = facts.reported.unwrap_or(&nothing);
    if reported.reboot_loop {
        return (
            State::CrashLooping,
            format!(
                "its composer has started it again {} times; see its log",
                reported.restarts
            ),
        );
    }
    let since = reported.since.max(facts.managed.requested_at);
    if facts.managed.current != Some(CurrentStatus::Started) {
        return if facts.now - since < STARTED_WITHIN {
            (State::Starting, String::new())
        } else {
            let text = "its composer says that it does not run; see its log, and the composer's";
            (State::Failed, text.to_owned())
        };
    }
    let since = reported.started_at.unwrap_or(since).max(reported.since);
    match facts.last_ping {
        Some(ping) if ping >= since && facts.now - ping < FRESH => (State::Running, String::new()),
        _ if facts.now - since < HEARD_WITHIN => (State::Starting, String::new()),
        Some(ping) if facts.now - ping < FRESH => (State::Running, String::new()),
        ping => (State::Degraded, silence(ping)),
    }
}

fn silence(ping: Option<Millis>) -> String {
    match ping {
        Some(ping) => format!(
            "it runs, and the platform has not heard from it since {}; see its log",
            format_date(ping)
        ),
        None => "it runs, and the platform has never heard from it; see its log".to_owned(),
    }
}

/// Why nobody knows how it is.
fn away(facts: &Facts<'_>, composer: &Composer) -> Option<String> {
    if composer_is_active(composer, facts.now) {
        return None;
    }
    let heard = match facts.last_ping {
        Some(ping) if facts.now - ping < FRESH => {
            "; the connector itself was heard of a moment ago, so that it runs".to_owned()
        }
        Some(ping) => format!(
            "; the connector itself was heard of last at {}",
            format_date(ping)
        ),
        None => String::new(),
    };
    Some(format!(
        "its composer `{}` was heard of last at {}{heard}",
        composer.name,
        format_date(composer.last_seen)
    ))
}

/// Why it is not started, as far as the platform knows.
fn obstacle(facts: &Facts<'_>, composer: &Composer) -> String {
    if !facts.user_let_in {
        return NO_USER.to_owned();
    }
    if !facts.unreadable.is_empty() {
        return unreadable(facts.unreadable);
    }
    match &composer.blocked {
        Some(blocked) => format!("its composer does nothing: {blocked}"),
        None => "its composer has not taken it up yet".to_owned(),
    }
}
