//! A small GraphQL client for the commands that talk to a running platform.

use std::{fmt, time::Duration};

use serde_json::{Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::cli::RemoteArgs;

/// Why a call to the platform failed; every text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No token was given.
    #[error(
        "no token: give --token or set FERROCTI_TOKEN (`ferrocti quickstart` and the first start of `ferrocti serve` show the administrator's token once)"
    )]
    NoToken,
    /// Nobody answered.
    #[error(
        "cannot reach the platform at {url}: {reason}; is it running, and is --url (or FERROCTI_URL) right?"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// Something answered, but not a platform.
    #[error(
        "{url} does not answer like a platform (HTTP {status}); is --url right, with the base path if there is one?"
    )]
    NotAPlatform {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The certificates cannot be used.
    #[error("the certificates in {path} (SSL_CERT_FILE) cannot be used: {reason}")]
    Certificates {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The token opens nothing.
    #[error(
        "{url} does not know the token, or it is revoked or expired, or its user is not let in; give one that works with --token or FERROCTI_TOKEN (`ferrocti user token add` makes one)"
    )]
    NotLoggedIn {
        /// Where.
        url: String,
    },
    /// The platform refused.
    #[error("the platform refused: {message} ({code})")]
    Refused {
        /// The platform's words.
        message: String,
        /// The platform's error code.
        code: String,
    },
}

/// A connection to one platform as one user.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the address and token given as flags or in the environment.
    pub fn new(remote: &RemoteArgs) -> Result<Self, ClientError> {
        let from_env = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let url = remote
            .url
            .clone()
            .or_else(|| from_env("FERROCTI_URL"))
            .unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let token = remote
            .token
            .clone()
            .or_else(|| from_env("FERROCTI_TOKEN"))
            .ok_or(ClientError::NoToken)?;
        Self::to(&url, &token, Duration::from_secs(600))
    }

    /// A client for an address and a token; an answer may take as long as `patience`. The certificates in the file SSL_CERT_FILE are trusted in
    /// place of the public ones; composers set it for connectors, too.
    pub fn to(url: &str, token: &str, patience: Duration) -> Result<Self, ClientError> {
        let roots = match std::env::var("SSL_CERT_FILE") {
            Ok(path) if !path.is_empty() && url.starts_with("https://") => certificates(&path)?,
            _ => RootCerts::WebPki,
        };
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("ferrocti/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            agent: config.build().into(),
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    /// Runs one operation and returns its `data`.
    pub fn call(&self, query: &str, variables: Value) -> Result<Value, ClientError> {
        let url = format!("{}/graphql", self.url);
        let unreachable = |reason: String| ClientError::Unreachable {
            url: self.url.clone(),
            reason,
        };
        let mut response = self
            .agent
            .post(&url)
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(json!({ "query": query, "variables": variables }))
            .map_err(|error| unreachable(error.to_string()))?;
        let status = response.status().as_u16();
        let answer: Value = response
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_json()
            .map_err(|_| ClientError::NotAPlatform {
                url: self.url.clone(),
                status,
            })?;
        if let Some(error) = answer.pointer("/errors/0") {
            let text = |name: &str| {
                error
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let code = text("name");
            if code == "AUTH_REQUIRED" {
                let url = self.url.clone();
                return Err(ClientError::NotLoggedIn { url });
            }
            // where there is a reason it says more than the message, e.g. which capability is missing
            let reason = error.pointer("/data/reason").and_then(Value::as_str);
            let message = reason.map_or_else(|| text("message"), str::to_owned);
            return Err(ClientError::Refused { message, code });
        }
        match answer.get("data") {
            Some(data) if data.is_object() => Ok(data.clone()),
            _ => Err(ClientError::NotAPlatform {
                url: self.url.clone(),
                status,
            }),
        }
    }
}

/// The certificates of a PEM file; other things in it are passed over.
fn certificates(path: &str) -> Result<RootCerts, ClientError> {
    let wrong = |reason: String| ClientError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    Ok(RootCerts::from(roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_told_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        for path in [empty, dir.path().join("none.pem")] {
            let told = certificates(path.to_str().unwrap()).unwrap_err();
            assert!(told.to_string().contains(path.to_str().unwrap()), "{told}");
        }
    }
}

#[cfg(test)]
pub mod served {
    //! What the platform that this command line belongs to understands.

    use std::sync::LazyLock;

    use ferrocti_graphql::{Engine, Limits, Schema};

    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let sdl = include_str!("../../../schema.graphql");
        Engine::new(Schema::parse(sdl).unwrap(), Limits::default())
    });

    /// Fails unless the platform takes each of these operations.
    pub fn takes(queries: &[&str]) {
        for query in queries {
            if let Err(refusal) = ENGINE.prepare(query) {
                panic!("{query}\n{refusal:?}");
            }
        }
    }
}
