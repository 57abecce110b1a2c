//! The rules of a connector's state, apart from where it is stored.
//!
//! Clients send their state with every ping, as a JSON text; `"null"` when they have none. Two habits of theirs decide the rules. Several versions lose their own
//! copy when the answer differs from what they sent, and then send nothing; and a client that wants its state stored at once pings twice, the second time with what it had before a
//! reset. So: nothing never replaces something, and a state that an operator has set (a reset, or an earlier version) is held until the connector has taken notice of it.

use std::cmp::Ordering;

use ferrocti_model::clock::parse_date;
use serde_json::Value;

/// What a ping does to the stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// The sent state becomes the stored one.
    Store,
    /// The stored state stays; the answer is what was sent.
    Keep,
    /// An operator's state is held: what was sent is ignored, the answer is the held state. A registration ends it.
    Held,
    /// The connector has taken notice of a reset: it has no state any more.
    ResetTaken,
}

/// Decides what a ping does. `held`: an operator has set the stored state and the connector has not registered since.
#[must_use]
pub fn on_ping(stored: Option<&str>, held: bool, sent: Option<&str>) -> Ping {
    let stored_something = stored.is_some_and(|stored| !is_nothing(stored));
    let sent_something = sent.is_some_and(|sent| !is_nothing(sent));
    match (held, stored_something, sent_something) {
        (true, false, false) => Ping::ResetTaken,
        (true, _, _) => Ping::Held,
        (false, _, false) => Ping::Keep,
        (false, true, true) if sent == Some("{}") => Ping::Keep,
        (false, _, true) => Ping::Store,
    }
}

/// Whether a state holds nothing that a connector could go on from.
#[must_use]
pub fn is_empty(state: &str) -> bool {
    is_nothing(state) || state.trim() == "{}"
}

/// Whether a state is from before another one, as far as it can be told: a position in it (`start_from`, or a key that begins with `last`) has gone back, and none has gone
/// on. Positions are numbers, dates, or ids of events as `<milliseconds>-<number>`.
#[must_use]
pub fn is_older(stored: &str, sent: &str) -> bool {
    let object = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).ok();
    let (Some(stored), Some(sent)) = (object(stored), object(sent)) else {
        return false;
    };
    let orders = stored
        .iter()
        .filter(|(key, _)| *key == "start_from" || key.starts_with("last"))
        .filter_map(|(key, was)| compare(was, sent.get(key)?));
    let (mut back, mut on) = (false, false);
    for order in orders {
        back |= order.is_gt();
        on |= order.is_lt();
    }
    back && !on
}

/// Which of two positions is further; `None`: they cannot be compared.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => {
            if let (Some(one), Some(other)) = (parse_date(one), parse_date(other)) {
                return Some(one.cmp(&other));
            }
            let event = |text: &str| -> Option<(u64, u64)> {
                let (at, number) = text.split_once('-').unwrap_or((text, "0"));
                Some((at.parse().ok()?, number.parse().ok()?))
            };
            Some(event(one)?.cmp(&event(other)?))
        }
        _ => None,
    }
}

/// Whether a state text says that there is none.
#[must_use]
pub fn is_nothing(state: &str) -> bool {
    matches!(state.trim(), "" | "null" | "\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_has_gone_back_makes_a_state_older() {
        for (stored, sent, older) in [
            (r#"{"last_run": 9}"#, r#"{"last_run": 8}"#, true),
            (r#"{"last_run": 9}"#, r#"{"last_run": 9}"#, false),
            (r#"{"last_run": 9}"#, r#"{"last_run": 10}"#, false),
            (
                r#"{"last_run": "2026-01-02T00:00:00Z"}"#,
                r#"{"last_run": "2026-01-01T23:00:00Z"}"#,
                true,
            ),
            (
                r#"{"start_from": "1700000000000-10"}"#,
                r#"{"start_from": "1700000000000-9"}"#,
                true,
            ),
            (
                r#"{"start_from": "999-0"}"#,
                r#"{"start_from": "1000-0"}"#,
                false,
            ),
            // what counts is not known of other keys
            (r#"{"offset": 9}"#, r#"{"offset": 0}"#, false),
            // one of several went on
            (
                r#"{"last_run": 9, "last_id": 1}"#,
                r#"{"last_run": 8, "last_id": 2}"#,
                false,
            ),
            (r#"{"last_run": 9}"#, r#"{"last_run": "never"}"#, false),
            ("not json", r#"{"last_run": 1}"#, false),
        ] {
            assert_eq!(is_older(stored, sent), older, "{stored} {sent}");
        }
    }

    #[test]
    fn nothing_replaces_nothing_but_nothing() {
        const STATE: Option<&str> = Some(r#"{"last_run": 1}"#);
        for (stored, held, sent, expected) in [
            (None, false, Some(r#"{"last_run": 1}"#), Ping::Store),
            (STATE, false, Some(r#"{"last_run": 2}"#), Ping::Store),
            (STATE, false, None, Ping::Keep),
            (STATE, false, Some("null"), Ping::Keep),
            (STATE, false, Some(""), Ping::Keep),
            (STATE, false, Some("{}"), Ping::Keep),
            (None, false, Some("{}"), Ping::Store),
            (Some(""), false, Some("{}"), Ping::Store),
            (Some(""), true, Some(r#"{"last_run": 1}"#), Ping::Held),
            (STATE, true, Some(r#"{"last_run": 9}"#), Ping::Held),
            (STATE, true, Some("null"), Ping::Held),
            (Some(""), true, Some("null"), Ping::ResetTaken),
            (Some(""), true, None, Ping::ResetTaken),
        ] {
            assert_eq!(
                on_ping(stored, held, sent),
                expected,
                "{stored:?} {held} {sent:?}"
            );
        }
    }
}
