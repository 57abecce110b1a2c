//! How long a connector is waited for, and what may come twice.

use ferrocti_catalog::ConnectorType;
use ferrocti_model::clock::Millis;
use serde::Serialize;

use super::Facts;

/// What a connector is waited for before it is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// Nothing: it does not run.
    Nothing,
    /// The time between two runs.
    BetweenRuns,
    /// The end of what it has in hand, while nothing new is delivered.
    WorkInHand,
    /// A heartbeat with the position of the last event, while no new ones are sent.
    Position,
    /// Its own end.
    Exit,
    /// Nobody knows when it does nothing: a fixed time.
    FixedTime,
}

/// How long it takes until the connector does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quiesce {
    /// What is waited for.
    pub wait_for: WaitFor,
    /// The earliest time, when it can be told.
    pub from: Option<Millis>,
    /// For people.
    pub text: String,
}

/// What may come twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// When the connector has become quiet before.
    pub quiet: &'static str,
    /// When the handover is forced.
    pub forced: String,
}

/// How often pycti sends a heartbeat, which brings the state.
const HEARTBEAT: Millis = 40_000;
/// How far a run must be away.
pub const MARGIN: Millis = 5_000;

/// The wait for a connector.
#[must_use]
pub fn quiesce(facts: &Facts) -> Quiesce {
    let passing = &facts.passing;
    let of = |wait_for, from, text: String| Quiesce {
        wait_for,
        from,
        text,
    };
    if !passing.live {
        return of(
            WaitFor::Nothing,
            Some(passing.now),
            "it sends no heartbeats, so there is nothing to wait for".to_owned(),
        );
    }
    if passing.run_and_terminate {
        return of(
            WaitFor::Exit,
            None,
            "it ends by itself after its run".to_owned(),
        );
    }
    match facts.connector.kind() {
        Some(ConnectorType::ExternalImport) => import(facts),
        Some(ConnectorType::Stream) => of(
            WaitFor::Position,
            Some(passing.now),
            format!(
                "new events are held back until a heartbeat tells the last position, at most {} s",
                HEARTBEAT / 1000
            ),
        ),
        Some(_) => of(
            WaitFor::WorkInHand,
            Some(passing.now),
            match passing.running_works {
                0 => "nothing is in hand; new messages are held back meanwhile".to_owned(),
                works => format!(
                    "{works} works in hand are waited for; new messages are held back meanwhile"
                ),
            },
        ),
        None => of(
            WaitFor::FixedTime,
            None,
            "its type is not known, so a fixed time is waited".to_owned(),
        ),
    }
}

fn import(facts: &Facts) -> Quiesce {
    let passing = &facts.passing;
    let (now, works) = (passing.now, passing.running_works);
    let between = |from, text| Quiesce {
        wait_for: WaitFor::BetweenRuns,
        from,
        text,
    };
    match (passing.last_run, passing.next_run) {
        (Some(last), Some(next)) if last + MARGIN <= now && now + MARGIN < next && works == 0 => {
            between(Some(now), "it is between two runs now".to_owned())
        }
        (_, Some(next)) if next > now && works == 0 => between(
            None,
            format!(
                "its next run begins in {} s and is waited for",
                (next - now) / 1000
            ),
        ),
        (_, Some(_)) => between(None, "a run is going on and is waited for".to_owned()),
        (_, None) => Quiesce {
            wait_for: WaitFor::FixedTime,
            from: None,
            text: "it tells no time of its next run, so a fixed time without works is waited for"
                .to_owned(),
        },
    }
}

/// What may come twice.
#[must_use]
pub fn replay(facts: &Facts) -> Replay {
    let passing = &facts.passing;
    let forced = match facts.connector.kind() {
        Some(ConnectorType::Stream) => format!("events of up to {} s", HEARTBEAT / 1000),
        Some(ConnectorType::ExternalImport) | None => {
            match passing.state_at.filter(|_| passing.state_hash.is_some()) {
                Some(at) => format!(
                    "what it has brought since its state was written, {} s ago; objects have the same ids, so none is there twice",
                    (passing.now - at).max(0) / 1000
                ),
                None => {
                    "everything: it has no state; objects have the same ids, so none is there twice"
                        .to_owned()
                }
            }
        }
        Some(_) => "the message that it has in hand".to_owned(),
    };
    Replay {
        quiet: "nothing",
        forced,
    }
}
