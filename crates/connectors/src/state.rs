//! The rules of a connector's state, apart from where it is stored.
//!
//! Clients send their state with every ping, as a JSON text; `"null"` when they have none. Two habits of theirs decide the rules. Several versions lose their own
//! copy when the answer differs from what they sent, and then send nothing; and a client that wants its state stored at once pings twice, the second time with what it had before a
//! reset. So: nothing never replaces something, and a state that an operator has set (a reset, or an earlier version) is held until the connector has taken notice of it.

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

/// Whether a state text says that there is none.
#[must_use]
pub fn is_nothing(state: &str) -> bool {
    matches!(state.trim(), "" | "null" | "\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

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
