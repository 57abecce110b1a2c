//! From what somebody gives to the configuration that is stored: defaults, coercion, checks, and secrets sealed.
//!
//! The rules are upstream's, so that its clients meet what they know: keys are compared exactly, an empty text is no value, an edit replaces
//! every value that is no secret, a secret that is not given stays. What upstream does silently is told in [`Configured::notices`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Secret,
    check::{Problem, ValueFault, check, variable},
    schema::{GIVEN_BY_PLATFORM, Kind, Property, Schema},
    seal::SealError,
    secret::{MASK, is_secret_name},
};

/// One value of a stored configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The environment variable.
    pub key: String,
    /// Its text, or the envelope of it.
    pub value: String,
    /// Whether the value is an envelope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

impl Entry {
    /// A value that everybody may see.
    #[must_use]
    pub fn plain(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            encrypted: false,
        }
    }

    /// A sealed value.
    #[must_use]
    pub fn sealed(key: impl Into<String>, envelope: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: envelope.into(),
            encrypted: true,
        }
    }

    /// The value as it may be shown: what is sealed, or has the name of a secret, is masked.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.encrypted || is_secret_name(&self.key) {
            MASK
        } else {
            &self.value
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.shown())
    }
}

/// One value that somebody gives. Before the contract is read nobody knows which are secrets, so all of them are treated so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The key.
    pub key: String,
    /// The value; empty: as if not given. `None`: a secret that is stored is to be forgotten, which upstream cannot do.
    pub value: Option<Secret>,
}

impl Given {
    /// A value for a key.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<Secret>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

/// What happens to keys that the contract does not know. Without a schema every key is unknown, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extra {
    /// They are left out, and told; upstream leaves them out silently.
    #[default]
    Ignore,
    /// They become environment variables as they are; those with the name of a secret are sealed.
    Keep,
    /// They are an error.
    Refuse,
}

/// Something that was done to what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// A key was left out.
    #[error("{key} was left out: {}", if *.given_by_platform { "the platform gives it itself" } else { "the contract has no such key" })]
    Ignored {
        /// The key.
        key: String,
        /// Whether the platform gives it.
        given_by_platform: bool,
    },
    /// A value was read as another.
    #[error("{key}: `{found}` was read as `{read}`")]
    Read {
        /// The key.
        key: String,
        /// What was given.
        found: String,
        /// What is stored.
        read: String,
    },
    /// A key that should no longer be used.
    #[error("{key} is deprecated{}", .about.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Deprecated {
        /// The key.
        key: String,
        /// What the contract says about it.
        about: Option<String>,
    },
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Title of the contract, for messages.
    pub title: &'a str,
    /// The contract's schema.
    pub schema: Option<&'a Schema>,
    /// What somebody gives; of a key that is given twice the last counts.
    pub given: &'a [Given],
    /// What is stored.
    pub stored: &'a [Entry],
    /// What happens to unknown keys.
    pub extra: Extra,
}

/// A configuration that obeys the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// What is stored, in the order of the schema, unknown keys after them.
    pub entries: Vec<Entry>,
    /// What was done to what was given.
    pub notices: Vec<Notice>,
}

/// A configuration that does not obey the contract. One line for each problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// Title of the contract.
    pub title: String,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid contract configuration for {}:", self.title)?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Computes the configuration that is stored. `seal` makes the envelope of a secret, for the composer that will open it.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn configure(
    request: &Request<'_>,
    seal: &dyn Fn(&Secret) -> Result<String, SealError>,
) -> Result<Configured, Invalid> {
    let mut work = Work {
        request,
        seal,
        entries: Vec::new(),
        notices: Vec::new(),
        problems: Vec::new(),
    };
    for property in request.schema.map(Schema::properties).unwrap_or_default() {
        work.property(property);
    }
    work.extra();
    if work.problems.is_empty() {
        Ok(Configured {
            entries: work.entries,
            notices: work.notices,
        })
    } else {
        Err(Invalid {
            title: request.title.to_owned(),
            problems: work.problems,
        })
    }
}

/// Whether a stored configuration obeys a schema, such as that of another version: what is wrong with it, before anything is stopped. Secrets
/// cannot be looked into, so of them only their presence counts.
#[must_use]
pub fn recheck(schema: &Schema, stored: &[Entry]) -> Vec<Problem> {
    let given: Vec<Given> = stored
        .iter()
        .filter(|entry| !entry.encrypted)
        .map(|entry| Given::new(&entry.key, entry.value.as_str()))
        .collect();
    let request = Request {
        title: "",
        schema: Some(schema),
        given: &given,
        stored,
        extra: Extra::Keep,
    };
    match configure(&request, &|_| Ok(String::new())) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.problems,
    }
}

/// Whether nobody but the platform sets a key.
fn is_given_by_platform(key: &str) -> bool {
    key == "CONNECTOR_ID"
        || key != "CONNECTOR_RUN_AND_TERMINATE" && GIVEN_BY_PLATFORM.contains(&key)
}

struct Work<'a> {
    request: &'a Request<'a>,
    seal: &'a dyn Fn(&Secret) -> Result<String, SealError>,
    entries: Vec<Entry>,
    notices: Vec<Notice>,
    problems: Vec<Problem>,
}

impl<'a> Work<'a> {
    /// The last value given for a key, and whether it is to be forgotten.
    fn given(&self, key: &str) -> (Option<&'a Secret>, bool) {
        match self
            .request
            .given
            .iter()
            .rev()
            .find(|given| given.key == key)
        {
            None => (None, false),
            Some(Given { value: None, .. }) => (None, true),
            Some(Given { value, .. }) => (value.as_ref().filter(|value| !value.is_empty()), false),
        }
    }

    fn stored(&self, key: &str) -> Option<&'a Entry> {
        self.request
            .stored
            .iter()
            .rev()
            .find(|entry| entry.key == key)
    }

    fn problem(&mut self, key: &str, fault: ValueFault) {
        self.problems.push(Problem {
            key: key.to_owned(),
            fault,
        });
    }

    fn property(&mut self, property: &Property) {
        let key = property.key.as_str();
        let (given, forget) = self.given(key);
        let stored = self.stored(key);
        let Some(given) = given else {
            match stored.filter(|entry| (entry.encrypted || property.secret) && !forget) {
                Some(entry) if entry.encrypted => self.entries.push(entry.clone()),
                // the contract has become stricter since: what was in clear is a secret now
                Some(entry) => self.value(property, &Secret::from(entry.value.as_str())),
                None => match &property.default {
                    Some(default) => self.value(property, &Secret::from(default.as_str())),
                    None if property.required => self.problem(
                        key,
                        ValueFault::Missing {
                            about: property.description.clone(),
                        },
                    ),
                    None => {}
                },
            }
            return;
        };
        if property.deprecated && property.default.as_deref() != Some(given.expose()) {
            self.notices.push(Notice::Deprecated {
                key: key.to_owned(),
                about: property.description.clone(),
            });
        }
        // a client that got the envelope sends it back when nothing changed
        if let Some(entry) = stored
            .filter(|entry| entry.encrypted && property.secret && entry.value == given.expose())
        {
            self.entries.push(entry.clone());
            return;
        }
        self.value(property, given);
    }

    /// Takes a value that is not sealed yet.
    fn value(&mut self, property: &Property, given: &Secret) {
        let key = property.key.as_str();
        let mut value = given.clone();
        if property.kind == Kind::Integer
            && let Some(number) = leading_integer(given.expose())
            && number != given.expose()
        {
            if !property.secret {
                self.notices.push(Notice::Read {
                    key: key.to_owned(),
                    found: given.expose().to_owned(),
                    read: number.clone(),
                });
            }
            value = Secret::from(number);
        }
        let faults = check(property, value.expose());
        if !faults.is_empty() {
            for fault in faults {
                self.problem(key, fault);
            }
            return;
        }
        self.keep(key, &value, property.secret);
    }

    fn keep(&mut self, key: &str, value: &Secret, secret: bool) {
        if !secret {
            self.entries.push(Entry::plain(key, value.expose()));
            return;
        }
        match (self.seal)(value) {
            Ok(envelope) => self.entries.push(Entry::sealed(key, envelope)),
            Err(error) => self.problem(key, ValueFault::Seal(error)),
        }
    }

    /// What the contract does not know.
    fn extra(&mut self) {
        let schema = self.request.schema;
        let policy = if schema.is_some() {
            self.request.extra
        } else {
            Extra::Keep
        };
        let known = |key: &str| schema.is_some_and(|schema| schema.property(key).is_some());
        let keys = self
            .request
            .given
            .iter()
            .map(|given| given.key.as_str())
            .chain(
                self.request
                    .stored
                    .iter()
                    .filter(|entry| entry.encrypted)
                    .map(|entry| entry.key.as_str()),
            );
        let mut seen: Vec<&str> = Vec::new();
        for key in keys {
            if known(key) || seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let (given, forget) = self.given(key);
            let stored = self.stored(key).filter(|entry| entry.encrypted && !forget);
            if is_given_by_platform(key) {
                match (policy, given) {
                    (Extra::Refuse, Some(_)) => self.problem(key, ValueFault::Given),
                    (_, Some(_)) => self.ignored(key, true),
                    (_, None) => {}
                }
                continue;
            }
            match (policy, given, stored) {
                (Extra::Refuse, Some(_), _) => {
                    let similar = schema.and_then(|schema| similar(key, schema));
                    self.problem(key, ValueFault::Unknown { similar });
                }
                (Extra::Ignore, Some(_), _) => self.ignored(key, false),
                (Extra::Keep, Some(given), Some(entry)) if entry.value == given.expose() => {
                    self.entries.push(entry.clone());
                }
                (Extra::Keep, Some(given), _) => self.unknown(key, given),
                (Extra::Keep, None, Some(entry)) => self.entries.push(entry.clone()),
                (_, None, _) => {}
            }
        }
    }

    fn unknown(&mut self, key: &str, value: &Secret) {
        match variable(key, value.expose()) {
            Some(fault) => self.problem(key, fault),
            None => self.keep(key, value, is_secret_name(key)),
        }
    }

    fn ignored(&mut self, key: &str, given_by_platform: bool) {
        self.notices.push(Notice::Ignored {
            key: key.to_owned(),
            given_by_platform,
        });
    }
}

/// The whole number at the beginning of a text, as JavaScript's `parseInt` finds it: `12abc` is 12. `None`: the text does not begin with one.
fn leading_integer(text: &str) -> Option<String> {
    let text = text.trim_start();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    Some(match rest[..end].trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}"),
    })
}

/// A key of the schema that is probably meant: the same in another case, or a letter or two away.
fn similar(key: &str, schema: &Schema) -> Option<String> {
    let key = key.to_ascii_uppercase();
    schema
        .properties()
        .iter()
        .map(|property| {
            let other = property.key.to_ascii_uppercase();
            (distance(&key, &other), &property.key)
        })
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, key)| key.clone())
}

/// How many letters must be put in, taken out or changed to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_found_as_javascript_finds_them() {
        for (text, number) in [
            ("12", Some("12")),
            ("12abc", Some("12")),
            (" 12.9", Some("12")),
            ("-3", Some("-3")),
            ("+3", Some("3")),
            ("007", Some("7")),
            ("-0", Some("0")),
            ("99999999999999999999", Some("99999999999999999999")),
            ("abc", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(leading_integer(text).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn a_value_of_an_entry_prints_only_when_it_is_no_secret() {
        for (entry, printed) in [
            (
                Entry::plain("CONNECTOR_SCOPE", "mitre"),
                "CONNECTOR_SCOPE=mitre",
            ),
            (Entry::plain("X_API_KEY", "abc"), "X_API_KEY=***"),
            (Entry::sealed("MAIL", "AgAB"), "MAIL=***"),
        ] {
            assert_eq!(format!("{entry:?}"), printed);
        }
    }
}
