//! What an upsert changes: an element that is already known meets a new description of it.
//!
//! The rules (`docs/development/merging.md` tells them with reasons): a description that is at least as trusted as what is stored may change single
//! values; a less trusted one only fills gaps; nothing that is there is ever replaced by nothing; lists are joined; periods widen.

mod defaults;
mod indicator;
mod references;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{
    Element, EntityType,
    clock::Millis,
    registry::{Attribute, Category, Kind},
    stix::{
        date,
        value::{is_empty, same},
    },
};

pub use self::{
    defaults::{defaults, label_colour},
    references::{Marking, RefChange, is_exempt, markings, references},
};

/// Under which conditions an input is merged.
#[derive(Debug, Clone, Copy)]
pub struct MergeContext<'a> {
    /// The time of the merge.
    pub now: Millis,
    /// Internal id of the user whose input it is, to be noted as a creator; `None` for users that are not noted.
    pub creator: Option<&'a str>,
    /// Confidence of the input, already limited by what the user may claim; `None` counts as 0.
    pub confidence: Option<u8>,
    /// Whether everything in the input replaces what is stored, empty values included.
    pub synchronized: bool,
}

/// How an input compares with what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strength {
    /// At least as confident.
    pub equal: bool,
    /// More confident.
    pub above: bool,
    /// Replaces everything.
    pub synchronized: bool,
}

impl Strength {
    /// Compares the confidence of an input with the stored one; none counts as 0.
    #[must_use]
    pub fn of(context: &MergeContext<'_>, stored: Option<u8>) -> Self {
        let (input, stored) = (context.confidence.unwrap_or(0), stored.unwrap_or(0));
        Self {
            equal: input >= stored,
            above: input > stored,
            synchronized: context.synchronized,
        }
    }
}

/// One attribute that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Attribute name.
    pub name: String,
    /// Value before; null when there was none.
    pub before: Value,
    /// Value after.
    pub after: Value,
}

/// The result of a merge.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// All attributes after the merge.
    pub attributes: Map<String, Value>,
    /// What changed; empty when the input said nothing new.
    pub changes: Vec<Change>,
    /// Attributes that would have changed if the input were at least as confident as what is stored.
    pub withheld: Vec<String>,
}

/// Merges an input into the stored attributes of the same element.
#[must_use]
pub fn upsert(
    stored: Map<String, Value>,
    stored_confidence: Option<u8>,
    input: &Element,
    context: &MergeContext<'_>,
) -> Merged {
    let kind = input.kind;
    let mut merge = Merge {
        kind,
        stored,
        changes: Vec::new(),
        withheld: Vec::new(),
        strength: Strength::of(context, stored_confidence),
    };
    let kept = indicator::kept(kind, &merge.stored, input, context);
    for (name, value) in &input.attributes {
        if kept.contains(&name.as_str()) {
            continue;
        }
        match name.as_str() {
            "modified" | "creator_id" | "x_opencti_stix_ids" => {}
            "created" => merge.extreme(name, value, |new, old| new < old),
            "x_opencti_modified_at" => merge.extreme(name, value, |new, old| new > old),
            "confidence" => merge.confidence(context, value),
            "name" => merge.name(value),
            _ if merge.is_period(name) => {}
            _ => merge.value(name, value),
        }
    }
    merge.periods(input);
    indicator::settle(&mut merge, input, context);
    // what was changed and changed back is no change
    merge
        .changes
        .retain(|change| !same(&change.before, &change.after));
    merge.touch(context);
    if let Some(creator) = context.creator {
        merge.join("creator_id", &[Value::String(creator.to_owned())]);
    }
    Merged {
        attributes: merge.stored,
        changes: merge.changes,
        withheld: merge.withheld,
    }
}

struct Merge {
    kind: &'static EntityType,
    stored: Map<String, Value>,
    changes: Vec<Change>,
    withheld: Vec<String>,
    strength: Strength,
}

/// Start and end of periods that widen instead of being replaced, and the count that grows with them.
const PERIODS: [(&str, &str, Option<&str>); 3] = [
    ("start_time", "stop_time", None),
    ("first_seen", "last_seen", Some("attribute_count")),
    ("first_observed", "last_observed", Some("number_observed")),
];

impl Merge {
    fn stored(&self, name: &str) -> &Value {
        self.stored.get(name).unwrap_or(&Value::Null)
    }

    fn set(&mut self, name: &str, after: Value) {
        if same(self.stored(name), &after) {
            return;
        }
        let before = self
            .stored
            .insert(name.to_owned(), after.clone())
            .unwrap_or(Value::Null);
        match self.changes.iter_mut().find(|change| change.name == name) {
            Some(change) => change.after = after,
            None => self.changes.push(Change {
                name: name.to_owned(),
                before,
                after,
            }),
        }
    }

    /// Adds to a list what it does not have yet, in the order given.
    fn join(&mut self, name: &str, items: &[Value]) {
        let known = match self.stored(name) {
            Value::Array(items) => items.as_slice(),
            Value::Null => &[],
            single => std::slice::from_ref(single),
        };
        let mut texts: HashSet<&str> = known.iter().filter_map(Value::as_str).collect();
        let mut added: Vec<&Value> = Vec::new();
        for item in items.iter().filter(|item| !is_empty(item)) {
            let new = match item {
                Value::String(text) => texts.insert(text),
                _ => !known
                    .iter()
                    .chain(added.iter().copied())
                    .any(|known| same(known, item)),
            };
            if new {
                added.push(item);
            }
        }
        if !added.is_empty() {
            let joined = known.iter().chain(added).cloned().collect();
            self.set(name, Value::Array(joined));
        }
    }

    fn may_write(&self, attribute: Option<&Attribute>, name: &str, value: &Value) -> bool {
        if self.strength.synchronized {
            return true;
        }
        if is_empty(value) {
            return false;
        }
        if is_empty(self.stored(name)) || attribute.is_some_and(|attribute| attribute.replace) {
            return true;
        }
        // custom properties are not in the registry; they may be changed like others
        self.strength.equal && attribute.is_none_or(|attribute| attribute.upsert)
    }

    /// Notes a value that only a lack of confidence keeps out.
    fn withhold(&mut self, attribute: Option<&Attribute>, name: &str, value: &Value) {
        let changeable = attribute.is_none_or(|attribute| attribute.upsert);
        if !self.strength.equal && changeable && !is_empty(value) && self.is_news(name, value) {
            self.withheld.push(name.to_owned());
        }
    }

    /// Whether a value says something that the stored one does not.
    fn is_news(&self, name: &str, value: &Value) -> bool {
        let aliases = self.kind.alias_attribute.as_deref();
        if name == "name" || aliases == Some(name) {
            let known = self.names();
            let new = |value: &Value| {
                value
                    .as_str()
                    .map(fold)
                    .is_some_and(|name| !name.is_empty() && !known.contains(&name))
            };
            return match value {
                Value::Array(items) => items.iter().any(new),
                single => new(single),
            };
        }
        match (self.stored(name), value) {
            (Value::Array(known), Value::Array(items)) => {
                let texts: HashSet<&str> = known.iter().filter_map(Value::as_str).collect();
                items.iter().any(|item| match item {
                    Value::String(text) => !is_empty(item) && !texts.contains(text.as_str()),
                    _ => !is_empty(item) && !known.iter().any(|known| same(known, item)),
                })
            }
            (Value::Object(known), Value::Object(members)) => members.iter().any(|(key, value)| {
                !is_empty(value) && !known.get(key).is_some_and(|known| same(known, value))
            }),
            (known, value) => !same(known, value),
        }
    }

    /// The name and the aliases, as they are compared.
    fn names(&self) -> HashSet<String> {
        let aliases = self.kind.alias_attribute.as_deref();
        let aliases = aliases.and_then(|name| self.stored(name).as_array());
        let name = self.stored("name").as_str().map(fold);
        name.into_iter()
            .chain(
                aliases
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(fold),
            )
            .collect()
    }

    fn value(&mut self, name: &str, value: &Value) {
        let kind = self.kind;
        let attribute = kind.attribute(name);
        if !self.may_write(attribute, name, value) {
            return self.withhold(attribute, name, value);
        }
        if kind.alias_attribute.as_deref() == Some(name) && !self.strength.synchronized {
            return self.aliases(name, value);
        }
        let replace =
            self.strength.synchronized || attribute.is_some_and(|attribute| attribute.replace);
        match (self.stored(name), value) {
            (Value::Object(old), Value::Object(new))
                if !replace && attribute.is_none_or(|attribute| is_dictionary(attribute.kind)) =>
            {
                let mut merged = old.clone();
                for (key, value) in new {
                    if !is_empty(value) {
                        merged.insert(key.clone(), value.clone());
                    }
                }
                self.set(name, Value::Object(merged));
            }
            (_, Value::Array(items))
                if !replace && attribute.is_some_and(|attribute| attribute.multiple) =>
            {
                self.join(name, items);
            }
            _ => self.set(name, value.clone()),
        }
    }

    fn aliases(&mut self, name: &str, value: &Value) {
        let Value::Array(given) = value else { return };
        let mut seen: HashSet<String> =
            self.stored("name").as_str().map(fold).into_iter().collect();
        let known = self.stored(name).as_array().cloned().unwrap_or_default();
        seen.extend(known.iter().filter_map(Value::as_str).map(fold));
        let fresh: Vec<Value> = given
            .iter()
            .filter(|alias| {
                let Some(folded) = alias.as_str().map(fold) else {
                    return false;
                };
                !folded.is_empty() && seen.insert(folded)
            })
            .cloned()
            .collect();
        self.join(name, &fresh);
    }

    /// A name that gives way stays as an alias, or as a further name of a file.
    fn name(&mut self, value: &Value) {
        let kind = self.kind;
        let attribute = kind.attribute("name");
        if !self.may_write(attribute, "name", value) {
            return self.withhold(attribute, "name", value);
        }
        let old = self.stored("name").clone();
        self.set("name", value.clone());
        if is_empty(&old) || same(&old, value) {
            return;
        }
        let (Some(old_text), Some(new_text)) = (old.as_str(), value.as_str()) else {
            return;
        };
        if let Some(aliases) = kind.alias_attribute.as_deref() {
            let new_folded = fold(new_text);
            let mut names = self.stored(aliases).as_array().cloned().unwrap_or_default();
            let before = names.clone();
            names.retain(|alias| alias.as_str().is_none_or(|alias| fold(alias) != new_folded));
            let old_folded = fold(old_text);
            if old_folded != new_folded
                && !names.iter().any(|alias| {
                    alias
                        .as_str()
                        .is_some_and(|alias| fold(alias) == old_folded)
                })
            {
                names.push(old);
            }
            if names != before {
                self.set(aliases, Value::Array(names));
            }
        } else if kind.attribute("x_opencti_additional_names").is_some() {
            self.join("x_opencti_additional_names", &[old]);
        }
    }

    fn confidence(&mut self, context: &MergeContext<'_>, value: &Value) {
        let limited = context
            .confidence
            .map_or_else(|| value.clone(), Value::from);
        if self.may_write(self.kind.attribute("confidence"), "confidence", &limited) {
            self.set("confidence", limited);
        }
    }

    /// Keeps the earlier or the later of two dates.
    fn extreme(&mut self, name: &str, value: &Value, wins: fn(i64, i64) -> bool) {
        let Some(new) = millis(value) else { return };
        if self.strength.synchronized || millis(self.stored(name)).is_none_or(|old| wins(new, old))
        {
            self.set(name, value.clone());
        }
    }

    fn is_period(&self, name: &str) -> bool {
        let widens = self.kind.is_relationship() || self.kind.name == "Observed-Data";
        widens
            && !self.strength.synchronized
            && PERIODS.iter().any(|(start, end, count)| {
                let own = self.kind.attribute(start).is_some();
                own && (name == *start || name == *end || *count == Some(name))
            })
    }

    /// Widens periods: the earliest start, the latest end; an unknown date gives way to a known one. What was counted is added
    /// when a period that was known became longer, since otherwise the input speaks of what is counted already.
    fn periods(&mut self, input: &Element) {
        for (start, end, count) in PERIODS {
            if !self.is_period(start) {
                continue;
            }
            let longer_start = self.widen(start, input.attributes.get(start), |new, old| new < old);
            let longer_end = self.widen(end, input.attributes.get(end), |new, old| new > old);
            let Some(count) = count else { continue };
            let given = input
                .attributes
                .get(count)
                .and_then(Value::as_i64)
                .unwrap_or(0);
            match self.stored(count).as_i64() {
                None if given > 0 => self.set(count, given.into()),
                Some(known) if (longer_start || longer_end) && given > 0 => {
                    self.set(
                        count,
                        known.saturating_add(given).min(i64::from(i32::MAX)).into(),
                    );
                }
                _ => {}
            }
        }
    }

    /// True when a known date was moved.
    fn widen(&mut self, name: &str, value: Option<&Value>, wins: fn(i64, i64) -> bool) -> bool {
        let Some((value, new)) = value.and_then(|value| Some((value, millis(value)?))) else {
            return false;
        };
        let old = millis(self.stored(name));
        let known = old.is_some_and(|old| !date::is_unknown(old));
        let better = match old {
            None => true,
            Some(_) if date::is_unknown(new) => false,
            Some(old) => !known || wins(new, old),
        };
        if better {
            self.set(name, value.clone());
        }
        better && known
    }

    /// Notes the time of an effective change on types that have it; observables have none.
    fn touch(&mut self, context: &MergeContext<'_>) {
        if self.changes.is_empty()
            || self.kind.category == Category::Observable
            || self.kind.attribute("modified").is_none()
        {
            return;
        }
        if let Some(now) = date::format(context.now) {
            self.set("modified", Value::String(now));
        }
    }
}

fn is_dictionary(kind: Kind) -> bool {
    matches!(kind, Kind::Dict | Kind::Object | Kind::Json)
}

fn millis(value: &Value) -> Option<i64> {
    value.as_str().and_then(date::parse)
}

/// How names are compared.
fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}
