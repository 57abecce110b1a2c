//! The environment of a managed connector: what the platform adds to its configuration, and what the composer adds to that.

use std::{collections::BTreeMap, fmt};

use ferrocti_model::clock::Entropy;
use serde::{Deserialize, Serialize};

use crate::{Secret, configure::Entry, keys::PrivateKey, seal::SealError};

/// Who a managed connector is, as the platform tells it.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its type, e.g. `EXTERNAL_IMPORT`.
    pub connector_type: &'a str,
}

/// The way out of a network. Addresses may have passwords, so none of it prints.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// For `http://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// For `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Hosts that are reached without it, with commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except: Option<String>,
    /// Certificates of authorities in PEM, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// Whether a certificate that cannot be verified ends a connection.
    pub reject_unauthorized: bool,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(***)")
    }
}

/// The token of the platform, sealed for the composer.
pub const TOKEN: &str = "OPENCTI_TOKEN";

/// What `connectorsForManagers` answers: the stored configuration, then who the connector is, then its sealed token, then the platform's proxy.
/// A key that comes twice is given once, with the later value.
#[must_use]
pub fn for_composer(
    stored: &[Entry],
    identity: Identity<'_>,
    sealed_token: Option<&str>,
    proxy: &Proxy,
) -> Vec<Entry> {
    let mut out = stored.to_vec();
    let mut set = |key: &str, entry: Option<Entry>| {
        out.retain(|entry| entry.key != key);
        out.extend(entry);
    };
    let plain = |key: &str, value: &str| Some(Entry::plain(key, value));
    set("CONNECTOR_ID", plain("CONNECTOR_ID", identity.id));
    set("CONNECTOR_NAME", plain("CONNECTOR_NAME", identity.name));
    set(
        "CONNECTOR_TYPE",
        plain("CONNECTOR_TYPE", identity.connector_type),
    );
    set(TOKEN, sealed_token.map(|token| Entry::sealed(TOKEN, token)));
    let reject = proxy.reject_unauthorized.to_string();
    for (key, value) in [
        ("HTTP_PROXY", proxy.http.as_deref()),
        ("HTTPS_PROXY", proxy.https.as_deref()),
        ("NO_PROXY", proxy.except.as_deref()),
        ("HTTPS_CA_CERTIFICATES", proxy.ca_certificates.as_deref()),
        ("HTTPS_PROXY_REJECT_UNAUTHORIZED", Some(reject.as_str())),
    ] {
        set(key, value.and_then(|value| plain(key, value)));
    }
    out
}

/// The same list for people: without what is sealed.
#[must_use]
pub fn for_people(entries: &[Entry]) -> Vec<Entry> {
    entries
        .iter()
        .filter(|entry| !entry.encrypted && entry.key != TOKEN)
        .cloned()
        .collect()
}

/// One environment variable of a process, with its value in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Whether it was sealed, so that it is shown to nobody.
    pub sealed: bool,
}

/// Values that could not be opened. A connector is not started with some of them missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened(pub Vec<(String, SealError)>);

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector cannot be started, because its secrets cannot be opened")?;
        for (key, error) in &self.0 {
            write!(f, "\n{key}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unopened {}

/// Opens one value of a configuration.
///
/// # Errors
/// It is sealed and cannot be opened.
pub fn open_one(
    entry: &Entry,
    key: &PrivateKey,
    entropy: &dyn Entropy,
) -> Result<Variable, SealError> {
    let value = if entry.encrypted {
        key.open(&entry.value, entropy)?
    } else {
        Secret::from(entry.value.as_str())
    };
    Ok(Variable {
        key: entry.key.clone(),
        value,
        sealed: entry.encrypted,
    })
}

/// Opens a configuration. A key that comes twice counts with its last value.
///
/// # Errors
/// Every key that cannot be opened, with the reason.
pub fn open(
    entries: &[Entry],
    key: &PrivateKey,
    entropy: &dyn Entropy,
) -> Result<Vec<Variable>, Unopened> {
    let mut out = Vec::with_capacity(entries.len());
    let mut failed = Vec::new();
    for entry in entries {
        match open_one(entry, key, entropy) {
            Ok(variable) => set(&mut out, variable),
            Err(error) => failed.push((entry.key.clone(), error)),
        }
    }
    if failed.is_empty() {
        Ok(out)
    } else {
        Err(Unopened(failed))
    }
}

/// What a composer knows that the platform does not.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The address under which connectors reach the platform.
    pub platform_url: &'a str,
    /// The contract hash, from which a composer recognises what it deployed.
    pub hash: &'a str,
    /// The composer's own proxy.
    pub proxy: Option<&'a Proxy>,
    /// Where a connector finds the certificates of that proxy.
    pub ca_file: Option<&'a str>,
    /// Environment of this connector beyond its configuration, which goes first.
    pub extra: &'a BTreeMap<String, String>,
}

/// The environment of the process: the configuration, and what the composer adds. What the composer says of address and proxy goes first.
#[must_use]
pub fn for_process(configuration: Vec<Variable>, around: &Surroundings<'_>) -> Vec<Variable> {
    let mut out: Vec<Variable> = Vec::with_capacity(configuration.len() + around.extra.len() + 8);
    let plain = |key: &str, value: &str| Variable {
        key: key.to_owned(),
        value: Secret::from(value),
        sealed: false,
    };
    for (key, value) in around.extra {
        set(&mut out, plain(key, value));
    }
    for variable in configuration {
        set(&mut out, variable);
    }
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            set(&mut out, plain(key, value));
        }
    };
    add("OPENCTI_URL", Some(around.platform_url));
    add("OPENCTI_CONFIG_HASH", Some(around.hash));
    if let Some(proxy) = around.proxy {
        add("HTTP_PROXY", proxy.http.as_deref());
        add("HTTPS_PROXY", proxy.https.as_deref());
        add("NO_PROXY", proxy.except.as_deref());
        for key in [
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "CURL_CA_BUNDLE",
        ] {
            add(key, around.ca_file);
        }
        add(
            "NODE_TLS_REJECT_UNAUTHORIZED",
            (!proxy.reject_unauthorized).then_some("0"),
        );
    }
    out
}

fn set(out: &mut Vec<Variable>, variable: Variable) {
    out.retain(|other| other.key != variable.key);
    out.push(variable);
}
