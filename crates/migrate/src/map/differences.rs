//! What differs between the environment of today and the new one.

use std::collections::{BTreeMap, BTreeSet};

use ferrocti_catalog::{Secret, environment::Variable};

use super::{Fate, Found, Kept, Mapping, PROXY};

/// How a variable differs between today and afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
}

/// A difference between the environment of today and the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The variable.
    pub key: String,
    /// How it differs.
    pub change: Change,
    /// Why; `None`: nobody has planned it, so the connector must not be started with it.
    pub reason: Option<&'static str>,
}

/// What differs between the environment of today and the one that the new instance would find; everything that is planned has its reason.
#[must_use]
pub fn differences(old: &[Found], new: &[Variable], mapping: &Mapping) -> Vec<Difference> {
    let mut before: BTreeMap<&str, &Secret> = BTreeMap::new();
    for found in old {
        before.insert(&found.key, &found.value);
    }
    let mut after: BTreeMap<&str, &Secret> = BTreeMap::new();
    for variable in new {
        after.insert(&variable.key, &variable.value);
    }
    let keys: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    keys.into_iter()
        .filter_map(|key| {
            let (old, new) = (before.get(key), after.get(key));
            let change = match (old, new) {
                (None, Some(_)) => Change::Added,
                (Some(_), None) => Change::Removed,
                (Some(old), Some(new)) if old != new => Change::Changed,
                _ => return None,
            };
            Some(Difference {
                key: key.to_owned(),
                change,
                reason: reason(key, change, old.copied(), new.copied(), mapping),
            })
        })
        .collect()
}

fn reason(
    key: &str,
    change: Change,
    old: Option<&Secret>,
    new: Option<&Secret>,
    mapping: &Mapping,
) -> Option<&'static str> {
    match key {
        "OPENCTI_URL" => return Some("the composer says how connectors reach the platform"),
        "OPENCTI_TOKEN" => {
            return Some("the new instance gets a token of its own, of the same user");
        }
        "OPENCTI_CONFIG_HASH" => return Some("the composer recognises its instances by it"),
        "CONNECTOR_NAME" => {
            return Some("the platform gives the name that the connector is registered with");
        }
        "CONNECTOR_ID" if change == Change::Added => {
            return Some(
                "the platform gives the registered id, which is in the image or a file today",
            );
        }
        "CONNECTOR_TYPE" if change == Change::Added => {
            return Some("the platform gives the type, which is that of the image today");
        }
        "SSL_CERT_FILE"
        | "REQUESTS_CA_BUNDLE"
        | "NODE_EXTRA_CA_CERTS"
        | "CURL_CA_BUNDLE"
        | "NODE_TLS_REJECT_UNAUTHORIZED"
            if change == Change::Added =>
        {
            return Some("the composer adds what belongs to the proxy");
        }
        "HTTPS_CA_CERTIFICATES" | "HTTPS_PROXY_REJECT_UNAUTHORIZED" => {
            return Some("the composer says which certificates are trusted");
        }
        _ if PROXY.contains(&key) && old.is_some_and(Secret::is_empty) => {
            return Some("it is empty, which counts as not set");
        }
        _ if PROXY.contains(&key) => {
            let own = mapping
                .key(key)
                .is_some_and(|key| key.fate == Fate::Kept(Kept::Proxy));
            return (!own || change == Change::Added).then_some("the platform gives its own proxy");
        }
        _ => {}
    }
    let planned = mapping.key(key)?;
    // what is planned is planned with this value and no other
    if planned.value.as_ref() != new && change != Change::Removed {
        return None;
    }
    match &planned.fate {
        Fate::Default => Some("the contract's default is written out"),
        Fate::Dropped => Some("it is empty, which counts as not set"),
        Fate::LeftOut => Some("it was decided to leave it out"),
        Fate::Mapped | Fate::Renamed { .. } | Fate::Invalid { .. } | Fate::Kept(_) => {
            match (&planned.suggestion, old) {
                (Some(suggestion), _) if suggestion.taken => Some(suggestion.why),
                (_, None) => {
                    Some("it takes over from a deprecated key, or was given for the migration")
                }
                (_, Some(_)) if change == Change::Changed => {
                    Some("another value was given for the migration")
                }
                _ if old.is_some_and(Secret::is_empty) => {
                    Some("it is empty, which counts as not set")
                }
                _ => None,
            }
        }
        Fate::GivenByPlatform | Fate::Missing { .. } => None,
    }
}
