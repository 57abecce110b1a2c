//! Whether what is seen of an instance shows that it goes on where the old one was.

use serde::{Deserialize, Serialize};

/// What an instance has to show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Expected {
    /// The user that it works as.
    pub user: String,
    /// Its type.
    pub connector_type: String,
    /// Its scope; the order does not matter.
    pub scope: Vec<String>,
    /// Whether there was a state when the old instance was fenced.
    pub had_state: bool,
    /// Heartbeats that are needed.
    pub pings: u32,
    /// Whether it must have taken up its queue.
    pub consumes: bool,
    /// Whether a run must have ended; for connectors whose next run is near enough to be waited for.
    pub run: bool,
    /// Errors in its log that are put up with.
    pub errors: u32,
}

/// The state of an instance against the one that was frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// It is the same.
    Same,
    /// It has gone on.
    Newer,
    /// It is an older one.
    Older,
    /// It is empty.
    Empty,
}

/// What is seen of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sighting {
    /// The epoch that it registered with; `None`: it has not registered.
    pub epoch: Option<i64>,
    /// Its user.
    pub user: String,
    /// Its type.
    pub connector_type: String,
    /// Its scope.
    pub scope: Vec<String>,
    /// Its heartbeats since then.
    pub pings: u32,
    /// The state of its last heartbeat; `None`: there was none.
    pub position: Option<Position>,
    /// Whether it has taken up its queue.
    pub consumes: bool,
    /// Whether a run has ended.
    pub run: bool,
    /// Errors in its log.
    pub errors: u32,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Good,
    /// Something is still to be seen.
    NotYet(&'static str),
    /// It is not what it should be.
    Bad(String),
}

/// Judges what is seen of the instance that has the lease of `epoch`.
#[must_use]
pub fn judge(expected: &Expected, epoch: i64, seen: &Sighting) -> Verdict {
    match seen.epoch {
        None => return Verdict::NotYet("it has not registered"),
        // an older one is refused by the fence and says nothing about the new one
        Some(other) if other != epoch => return Verdict::NotYet("it has not registered"),
        Some(_) => {}
    }
    let sorted = |scope: &[String]| {
        let mut scope: Vec<String> = scope.iter().map(|part| part.to_lowercase()).collect();
        scope.sort();
        scope.dedup();
        scope
    };
    if seen.user != expected.user {
        return Verdict::Bad("it registered as another user".to_owned());
    }
    if seen.connector_type != expected.connector_type {
        return Verdict::Bad(format!(
            "it registered with the type {} instead of {}",
            seen.connector_type, expected.connector_type
        ));
    }
    if sorted(&seen.scope) != sorted(&expected.scope) {
        return Verdict::Bad("it registered with another scope".to_owned());
    }
    match seen.position {
        Some(Position::Empty) if expected.had_state => {
            return Verdict::Bad("it sent an empty state".to_owned());
        }
        Some(Position::Older) => return Verdict::Bad("it sent an older state".to_owned()),
        _ => {}
    }
    if seen.errors > expected.errors {
        return Verdict::Bad(format!("its log has {} errors", seen.errors));
    }
    if seen.pings < expected.pings || seen.position.is_none() {
        return Verdict::NotYet("its heartbeats are too few");
    }
    if expected.consumes && !seen.consumes {
        return Verdict::NotYet("it has not taken up its queue");
    }
    if expected.run && !seen.run {
        return Verdict::NotYet("its first run has not ended");
    }
    Verdict::Good
}
