//! What an edit changed, for the audit: keys with the values before and after, never a secret.

use serde_json::{Map, Value, json};

/// Shown in the place of a secret.
const REDACTED: &str = "*** Redacted ***";

/// What an edit changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    before: Map<String, Value>,
    after: Map<String, Value>,
}

impl Changes {
    /// Notes a value if it changes, and whether it does.
    pub(crate) fn note(&mut self, key: &str, before: Value, after: Value) -> bool {
        let changed = before != after;
        if changed {
            self.before.insert(key.to_owned(), before);
            self.after.insert(key.to_owned(), after);
        }
        changed
    }

    /// Notes that a secret changes.
    pub(crate) fn secret(&mut self, key: &str) {
        for side in [&mut self.before, &mut self.after] {
            side.insert(key.to_owned(), REDACTED.into());
        }
    }

    /// Puts a new value in the place of an old one and notes it if it differs.
    pub(crate) fn set<T: PartialEq + serde::Serialize>(
        &mut self,
        key: &str,
        place: &mut T,
        new: Option<T>,
    ) {
        if let Some(new) = new.filter(|new| new != place) {
            self.note(key, json!(place), json!(new));
            *place = new;
        }
    }

    /// Merges what is only shown; `null` takes a value away.
    pub(crate) fn merge(&mut self, profile: &mut Map<String, Value>, new: Map<String, Value>) {
        for (key, value) in new {
            let before = profile.get(&key).cloned().unwrap_or(Value::Null);
            if self.note(&key, before, value.clone()) {
                if value.is_null() {
                    profile.remove(&key);
                } else {
                    profile.insert(key, value);
                }
            }
        }
    }

    /// Whether nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// Whether a key changed.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.after.contains_key(key)
    }

    /// The keys that changed, as the audit lists them.
    pub(crate) fn keys(&self) -> String {
        self.after.keys().cloned().collect::<Vec<_>>().join(", ")
    }

    /// Before and after, as the audit keeps them.
    pub(crate) fn data(self) -> Value {
        json!({ "before": self.before, "after": self.after })
    }
}
