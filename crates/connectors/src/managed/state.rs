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
    let said = facts
        .reported
        .and_then(|reported| reported.state)
        .filter(|_| composer.own);
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
    // what it said when it spoke our protocol is of the past
    let told = facts.reported.filter(|_| composer.own);
    let Some(reported) = told.filter(|reported| reported.state.is_some()) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::{Definition, RequestedStatus, RolledBack};

    const NOW: Millis = 1_760_000_000_000;
    const MINUTE: Millis = 60_000;

    /// A connector that was asked for ten minutes ago, and a composer that is there.
    struct Case {
        managed: Managed,
        reported: Option<Reported>,
        composer: Option<Composer>,
        last_ping: Option<Millis>,
        unreadable: Vec<String>,
        user_let_in: bool,
        leaving: Vec<String>,
    }

    fn case(requested: RequestedStatus) -> Case {
        Case {
            managed: Managed {
                composer: "site-a".to_owned(),
                requested,
                requested_at: NOW - 10 * MINUTE,
                current: None,
                number: 1,
                token: None,
                declared: false,
                restarted_at: None,
                rolled_back: None,
                verified: None,
                definition: Definition::default(),
            },
            reported: None,
            composer: Some(Composer {
                id: "site-a".to_owned(),
                name: "Site A".to_owned(),
                public_key: String::new(),
                key_id: String::new(),
                user: 1,
                own: true,
                about: None,
                blocked: None,
                created_at: 0,
                last_seen: NOW - MINUTE,
            }),
            last_ping: None,
            unreadable: Vec::new(),
            user_let_in: true,
            leaving: Vec::new(),
        }
    }

    fn wanted() -> Case {
        case(RequestedStatus::Starting)
    }

    fn unwanted() -> Case {
        case(RequestedStatus::Stopping)
    }

    impl Case {
        fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }

        /// A minute ago its composer said this of the present definition.
        fn said(self, state: State, reason: &str) -> Self {
            self.with(|case| {
                case.reported = Some(Reported {
                    at: NOW - MINUTE,
                    hash: "present".to_owned(),
                    state: Some(state),
                    reason: reason.to_owned(),
                    since: NOW - MINUTE,
                    ..Reported::default()
                });
            })
        }

        /// It is run by a composer of upstream's, which said this some minutes ago.
        fn upstream(self, current: Option<CurrentStatus>, minutes_ago: Millis) -> Self {
            self.with(|case| {
                if let Some(composer) = &mut case.composer {
                    composer.own = false;
                }
                case.managed.current = current;
                case.reported = current.map(|_| Reported {
                    since: NOW - minutes_ago * MINUTE,
                    ..Reported::default()
                });
            })
        }

        fn heard(self, minutes_ago: Millis) -> Self {
            self.with(|case| case.last_ping = Some(NOW - minutes_ago * MINUTE))
        }

        fn away(self) -> Self {
            self.with(|case| {
                if let Some(composer) = &mut case.composer {
                    composer.last_seen = NOW - 30 * MINUTE;
                }
            })
        }

        fn shown(&self) -> Shown {
            state(&Facts {
                managed: &self.managed,
                hash: "present",
                reported: self.reported.as_ref(),
                composer: self.composer.as_ref(),
                last_ping: self.last_ping,
                unreadable: &self.unreadable,
                user_let_in: self.user_let_in,
                leaving: &self.leaving,
                now: NOW,
            })
        }
    }

    #[test]
    fn the_state_follows_from_what_is_wanted_said_and_heard() {
        use CurrentStatus::{Started, Stopped};
        let keys = || vec!["A_KEY".to_owned()];
        for (name, case, expected, words) in [
            ("asked for", wanted(), State::Requested, "not taken it up"),
            (
                "never asked for",
                case(RequestedStatus::Stopped),
                State::Stopped,
                "",
            ),
            (
                "pulling",
                wanted().said(State::Pulling, "example/feed:1"),
                State::Pulling,
                "example/feed:1",
            ),
            (
                "starting",
                wanted().said(State::Starting, ""),
                State::Starting,
                "",
            ),
            (
                "running",
                wanted().said(State::Running, ""),
                State::Running,
                "",
            ),
            (
                "degraded",
                wanted().said(State::Degraded, "silent"),
                State::Degraded,
                "silent",
            ),
            (
                "crash loop",
                wanted().said(State::CrashLooping, "exit 1"),
                State::CrashLooping,
                "exit 1",
            ),
            (
                "failed",
                wanted().said(State::Failed, "no such image"),
                State::Failed,
                "no such image",
            ),
            (
                "engine away",
                wanted().said(State::Unreachable, "no docker"),
                State::Unreachable,
                "no docker",
            ),
            (
                "asked for again",
                wanted().said(State::Stopped, ""),
                State::Requested,
                "not taken it up",
            ),
            (
                "asked for while it stops",
                wanted().said(State::Stopping, ""),
                State::Requested,
                "not taken it up",
            ),
            (
                "redefined",
                wanted().said(State::Running, "").with(|case| {
                    if let Some(reported) = &mut case.reported {
                        reported.hash = "former".to_owned();
                    }
                }),
                State::Requested,
                "not taken it up",
            ),
            (
                "gone back",
                wanted().said(State::Running, "").with(|case| {
                    case.managed.rolled_back = Some(RolledBack {
                        number: 2,
                        hash: "other".to_owned(),
                        reason: "it ended three times".to_owned(),
                        at: NOW,
                    });
                }),
                State::Running,
                "definition 2 by itself: it ended three times",
            ),
            (
                "composer away",
                wanted().said(State::Running, "").away(),
                State::Unreachable,
                "Site A",
            ),
            (
                "composer away, connector not",
                wanted().away().heard(1),
                State::Unreachable,
                "so that it runs",
            ),
            (
                "composer away, connector too",
                wanted().away().heard(20),
                State::Unreachable,
                "last at",
            ),
            (
                "composer removed",
                wanted().with(|case| case.composer = None),
                State::Unreachable,
                "assign it",
            ),
            (
                "no user",
                wanted().with(|case| case.user_let_in = false),
                State::Requested,
                "let the user in",
            ),
            (
                "another key",
                wanted().with(|case| case.unreadable = keys()),
                State::Requested,
                "A_KEY",
            ),
            (
                "moving",
                wanted().with(|case| case.leaving = vec!["site-b".to_owned()]),
                State::Requested,
                "site-b",
            ),
            (
                "composer blocked",
                wanted().with(|case| {
                    if let Some(composer) = &mut case.composer {
                        composer.blocked = Some("its key is lost".to_owned());
                    }
                }),
                State::Requested,
                "its key is lost",
            ),
            (
                "shall stop",
                unwanted().said(State::Running, ""),
                State::Stopping,
                "",
            ),
            (
                "stops",
                unwanted().said(State::Stopping, "10 s of grace"),
                State::Stopping,
                "10 s of grace",
            ),
            (
                "has stopped",
                unwanted().said(State::Stopped, ""),
                State::Stopped,
                "",
            ),
            (
                "cannot stop",
                unwanted().said(State::Failed, "no answer"),
                State::Failed,
                "no answer",
            ),
            (
                "has stopped, composer away",
                unwanted().said(State::Stopped, "").away(),
                State::Stopped,
                "",
            ),
            (
                "shall stop, composer away",
                unwanted().said(State::Running, "").away(),
                State::Unreachable,
                "Site A",
            ),
            (
                "upstream, nothing yet",
                wanted().upstream(None, 0),
                State::Requested,
                "not taken it up",
            ),
            (
                "upstream, made",
                wanted().upstream(Some(Stopped), 1),
                State::Starting,
                "",
            ),
            (
                "upstream, never started",
                wanted().upstream(Some(Stopped), 5),
                State::Failed,
                "see its log",
            ),
            (
                "upstream, just started",
                wanted().upstream(Some(Started), 1),
                State::Starting,
                "",
            ),
            (
                "upstream, heard before",
                wanted().upstream(Some(Started), 1).heard(2),
                State::Starting,
                "",
            ),
            (
                "upstream, heard since",
                wanted().upstream(Some(Started), 2).heard(1),
                State::Running,
                "",
            ),
            (
                "upstream, silent",
                wanted().upstream(Some(Started), 9).heard(8),
                State::Degraded,
                "not heard from it since",
            ),
            (
                "upstream, never heard",
                wanted().upstream(Some(Started), 9),
                State::Degraded,
                "never heard",
            ),
            (
                "upstream, shall stop",
                unwanted().upstream(Some(Started), 1),
                State::Stopping,
                "",
            ),
            (
                "upstream, has stopped",
                unwanted().upstream(Some(Stopped), 1),
                State::Stopped,
                "",
            ),
            (
                "upstream, quiet for three minutes",
                wanted().upstream(Some(Started), 2).heard(1).with(|case| {
                    if let Some(composer) = &mut case.composer {
                        composer.last_seen = NOW - 3 * MINUTE;
                    }
                }),
                State::Running,
                "",
            ),
        ] {
            let shown = case.shown();
            assert_eq!(shown.state, expected, "{name}: {shown:?}");
            if words.is_empty() {
                assert_eq!(shown.reason, "", "{name}");
            } else {
                assert!(shown.reason.contains(words), "{name}: {shown:?}");
            }
        }
    }

    #[test]
    fn a_state_is_told_since_when() {
        let asked = wanted().shown();
        assert_eq!(asked.since, NOW - 10 * MINUTE);
        let running = wanted().said(State::Running, "").shown();
        assert_eq!(running.since, NOW - MINUTE);
    }
}
