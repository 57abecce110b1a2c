//! One exchange with a platform over HTTP, and every way in which it can fail, in words for an operator.
//!
//! An answer counts only as a whole: where there are errors beside data, the data may be cut short, and nothing is concluded from it.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use ferrocti_catalog::{Secret, environment::Proxy};
use ferrocti_model::clock::Millis;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::Trouble;

/// How long it may take to reach a platform.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, where nothing else is said.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next question: less than the five seconds after which upstream's server closes it.
const IDLE: Duration = Duration::from_secs(4);
/// The longest answer, in bytes.
const LONGEST: u64 = 64 << 20;
/// How much of somebody else's text is repeated.
const EXCERPT: usize = 300;

/// How a platform is reached, and as whom.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address with the base path, e.g. `https://cti.example.org/base`.
    pub url: String,
    /// Token of the user that the composer is.
    pub token: Secret,
    /// The way there; `None`: straight, whatever the environment says.
    pub proxy: Option<Proxy>,
    /// Certificates in PEM that are trusted in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take, beyond what the question itself waits for.
    pub patience: Duration,
}

impl Access {
    /// Straight to an address, with half a minute of patience.
    pub fn new(url: impl Into<String>, token: impl Into<Secret>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
            proxy: None,
            ca_file: None,
            patience: ANSWER,
        }
    }
}

/// Why a platform was not asked, or did not answer. The texts say what to do; none holds a token or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// The address is none.
    #[error(
        "{0:?} is no address of a platform; give e.g. https://cti.example.org, with the base path if there is one and without user and password"
    )]
    Address(String),
    /// The proxy's address is none; it is not repeated, since it may hold a password.
    #[error("the address of the proxy cannot be used; give e.g. http://proxy.example.org:3128")]
    Proxy,
    /// The certificates cannot be used.
    #[error("the certificates in {path} cannot be used: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers there.
    #[error(
        "cannot reach the platform at {url}: {reason}; is it running, and is the address right?"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The platform's certificate is not trusted.
    #[error(
        "the connection to {url} is not trusted: {reason}; where the platform has a certificate of its own authority, name that in ca_file"
    )]
    Untrusted {
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It took too long.
    #[error("the platform at {url} did not answer in time; it is asked again")]
    Slow {
        /// Where.
        url: String,
    },
    /// The answer broke off.
    #[error("the answer of {url} broke off: {reason}; it is asked again")]
    Cut {
        /// Where.
        url: String,
        /// Where it broke.
        reason: String,
    },
    /// The platform, or something in front of it, cannot answer now.
    #[error("{url} cannot answer now (HTTP {status}); it is asked again")]
    Busy {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Something answers that is no platform.
    #[error(
        "{url} does not answer like a platform (HTTP {status}); is the address right, with the base path if there is one?"
    )]
    NotAPlatform {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// It says to ask elsewhere. That is not followed: the token would go there.
    #[error("{url} sends to {to}; if that is the platform, give it as the address")]
    Moved {
        /// Where.
        url: String,
        /// Where to.
        to: String,
    },
    /// The token opens nothing.
    #[error(
        "{url} does not know the token, or it is revoked or expired, or its user is not let in; give the composer another one"
    )]
    NotLoggedIn {
        /// Where.
        url: String,
    },
    /// The user of the token may not do it.
    #[error("the composer's user may not do this on the platform ({operation}): {reason}")]
    Forbidden {
        /// What was asked.
        operation: &'static str,
        /// The platform's words.
        reason: String,
    },
    /// The platform does not know the operation.
    #[error(
        "the platform does not know what it was asked ({operation}): {message}; it is older or newer than this composer, update one of them"
    )]
    Unknown {
        /// What was asked.
        operation: &'static str,
        /// The platform's words.
        message: String,
    },
    /// The platform refused.
    #[error("the platform refused ({operation}): {message} ({code})")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The platform's words.
        message: String,
        /// The platform's code.
        code: String,
    },
    /// The answer lacks something, or has it in another form.
    #[error(
        "the answer of the platform cannot be read ({operation}): {reason}; nothing is concluded from it"
    )]
    Unreadable {
        /// What was asked.
        operation: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl From<PlatformError> for Trouble {
    fn from(error: PlatformError) -> Self {
        use PlatformError as E;
        let text = error.to_string();
        match error {
            E::Unreachable { .. }
            | E::Slow { .. }
            | E::Cut { .. }
            | E::Busy { .. }
            | E::NotAPlatform { .. }
            | E::Unreadable { .. } => Self::Away(text),
            E::Address(_)
            | E::Proxy
            | E::Certificates { .. }
            | E::Untrusted { .. }
            | E::Moved { .. }
            | E::NotLoggedIn { .. }
            | E::Forbidden { .. }
            | E::Unknown { .. }
            | E::Refused { .. } => Self::Refused(text),
        }
    }
}

/// Asks on a thread where waiting is no harm. A question that is dropped is answered nevertheless, and nobody reads it.
pub(super) async fn aside<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, PlatformError> + Send + 'static,
) -> Result<T, PlatformError> {
    match tokio::task::spawn_blocking(question).await {
        Ok(answer) => answer,
        Err(error) => Err(PlatformError::Unreadable {
            operation: "any",
            reason: error.to_string(),
        }),
    }
}

/// A way to one platform as one user. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    agent: Agent,
    url: String,
    token: Secret,
    patience: Duration,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Prepares the way; nobody is asked yet.
    pub(super) fn open(access: &Access) -> Result<Self, PlatformError> {
        let url = plain_address(&access.url)?;
        let roots = match &access.ca_file {
            Some(path) => certificates(path)?,
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .max_idle_age(IDLE)
            .max_idle_connections(2)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(proxy(access.proxy.as_ref(), &url)?)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("ferrocti-composer/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            agent: config.build().into(),
            url,
            token: access.token.clone(),
            patience: access.patience,
        })
    }

    /// Runs one operation and returns its only field. `operation` is also its name in the document.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        field: &str,
        document: &str,
        variables: Value,
    ) -> Result<T, PlatformError> {
        self.ask_when(operation, field, document, variables)
            .map(|(answer, _)| answer)
    }

    /// The same, with the platform's time of the answer.
    pub(super) fn ask_when<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        field: &str,
        document: &str,
        variables: Value,
    ) -> Result<(T, Option<Millis>), PlatformError> {
        let request = self
            .agent
            .post(format!("{}/graphql", self.url))
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .config()
            .timeout_global(Some(self.patience))
            .build();
        let body = json!({ "operationName": operation, "query": document, "variables": variables });
        let response = request.send_json(body).map_err(|e| self.failed(&e))?;
        let date = date(&response);
        let (status, mut answer) = self.read(response)?;
        if let Some(error) = first_error(&answer) {
            return Err(self.refused(operation, &error));
        }
        let Some(data) = answer.get_mut("data").and_then(Value::as_object_mut) else {
            return Err(self.no_answer(status));
        };
        // a field that is missing says nothing, while null may say that there is none
        let Some(value) = data.get_mut(field).map(Value::take) else {
            return Err(PlatformError::Unreadable {
                operation,
                reason: format!("{field} is missing"),
            });
        };
        match serde_path_to_error::deserialize(value) {
            Ok(answer) => Ok((answer, date)),
            Err(error) => Err(PlatformError::Unreadable {
                operation,
                reason: excerpt(&format!("{field} {}: {}", error.path(), error.inner())),
            }),
        }
    }

    /// The same way, with more patience.
    pub(super) fn waiting(&self, longer: Duration) -> Self {
        Self {
            patience: self.patience + longer,
            ..self.clone()
        }
    }

    /// Reads what is at a path behind the platform's address.
    pub(super) fn get(&self, path: &str) -> Result<Value, PlatformError> {
        let request = self
            .agent
            .get(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .config()
            .timeout_global(Some(self.patience))
            .build();
        let response = request.call().map_err(|error| self.failed(&error))?;
        let (status, answer) = self.read(response)?;
        match status {
            200 => Ok(answer),
            401 => Err(self.not_logged_in()),
            403 => Err(PlatformError::Forbidden {
                operation: "changes",
                reason: excerpt(answer["error"].as_str().unwrap_or("HTTP 403")),
            }),
            _ => Err(self.no_answer(status)),
        }
    }

    /// The JSON of an answer with its status.
    fn read(
        &self,
        mut response: ureq::http::Response<ureq::Body>,
    ) -> Result<(u16, Value), PlatformError> {
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            let to = response.headers().get("location");
            return Err(PlatformError::Moved {
                url: self.url.clone(),
                to: excerpt(to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere")),
            });
        }
        let bytes = response
            .body_mut()
            .with_config()
            .limit(LONGEST)
            .read_to_vec()
            .map_err(|error| match error {
                ureq::Error::Timeout(_) => self.slow(),
                other => PlatformError::Cut {
                    url: self.url.clone(),
                    reason: other.to_string(),
                },
            })?;
        match serde_json::from_slice(&bytes) {
            Ok(answer) => Ok((status, answer)),
            Err(_) if status == 401 => Err(self.not_logged_in()),
            Err(error) if status == 200 && error.is_eof() && !bytes.is_empty() => {
                Err(PlatformError::Cut {
                    url: self.url.clone(),
                    reason: "it ends in the middle".to_owned(),
                })
            }
            Err(_) => Err(self.no_answer(status)),
        }
    }

    fn failed(&self, error: &ureq::Error) -> PlatformError {
        let url = self.url.clone();
        let reason = error.to_string();
        match error {
            ureq::Error::Timeout(_) => self.slow(),
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => {
                PlatformError::Untrusted { url, reason }
            }
            // a certificate that is refused comes as an error of reading and writing
            ureq::Error::Io(inner)
                if reason.contains("certificate")
                    || inner.kind() == std::io::ErrorKind::InvalidData =>
            {
                PlatformError::Untrusted { url, reason }
            }
            ureq::Error::Protocol(_) => PlatformError::Cut { url, reason },
            _ => PlatformError::Unreachable { url, reason },
        }
    }

    fn slow(&self) -> PlatformError {
        PlatformError::Slow {
            url: self.url.clone(),
        }
    }

    fn not_logged_in(&self) -> PlatformError {
        PlatformError::NotLoggedIn {
            url: self.url.clone(),
        }
    }

    /// What an answer without content comes to.
    fn no_answer(&self, status: u16) -> PlatformError {
        let url = self.url.clone();
        if status == 429 || status >= 500 {
            PlatformError::Busy { url, status }
        } else {
            PlatformError::NotAPlatform { url, status }
        }
    }

    fn refused(&self, operation: &'static str, error: &Told) -> PlatformError {
        let message = excerpt(error.reason.as_deref().unwrap_or(&error.message));
        match error.code.as_str() {
            "AUTH_REQUIRED" | "AUTH_FAILURE" | "UNAUTHENTICATED" => self.not_logged_in(),
            "FORBIDDEN_ACCESS" | "FORBIDDEN" => PlatformError::Forbidden {
                operation,
                reason: message,
            },
            "GRAPHQL_VALIDATION_FAILED" => PlatformError::Unknown { operation, message },
            code => PlatformError::Refused {
                operation,
                message,
                code: excerpt(code),
            },
        }
    }
}

/// When the platform answered, by its own clock, to the second.
fn date<B>(response: &ureq::http::Response<B>) -> Option<Millis> {
    let text = response.headers().get("date")?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_millisecond())
}

/// What a platform says of an error. Upstream has told its code in two places over time.
struct Told {
    message: String,
    code: String,
    reason: Option<String>,
}

fn first_error(answer: &Value) -> Option<Told> {
    let error = answer.get("errors")?.as_array()?.first()?;
    let text = |at: &str| error.pointer(at).and_then(Value::as_str).map(str::to_owned);
    Some(Told {
        message: text("/message").unwrap_or_default(),
        code: text("/extensions/code")
            .or_else(|| text("/name"))
            .unwrap_or_else(|| "no code".to_owned()),
        reason: text("/data/reason").or_else(|| text("/extensions/data/reason")),
    })
}

/// A text of somebody else, short and without control characters.
fn excerpt(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(EXCERPT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(EXCERPT).is_some() {
        out.push('…');
    }
    out
}

/// The address without a slash at its end; one with a user and a password in it is not repeated.
fn plain_address(url: &str) -> Result<String, PlatformError> {
    let address = url.trim().trim_end_matches('/');
    let parsed = address.parse::<ureq::http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    match parsed.as_ref().and_then(|uri| uri.authority()) {
        Some(authority) if !authority.as_str().contains('@') => Ok(address.to_owned()),
        Some(_) => Err(PlatformError::Address("the given address".to_owned())),
        None => Err(PlatformError::Address(excerpt(
            address.rsplit_once('@').map_or(address, |(_, host)| host),
        ))),
    }
}

/// The proxy for an address, unless the address is an exception.
fn proxy(given: Option<&Proxy>, url: &str) -> Result<Option<ureq::Proxy>, PlatformError> {
    let Some(given) = given else { return Ok(None) };
    let chosen = if url.starts_with("https://") {
        &given.https
    } else {
        &given.http
    };
    let Some(chosen) = chosen else {
        return Ok(None);
    };
    let plain = ureq::Proxy::new(chosen).map_err(|_| PlatformError::Proxy)?;
    let mut proxy = ureq::Proxy::builder(plain.protocol())
        .host(plain.host())
        .port(plain.port());
    if let Some(user) = plain.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = plain.password() {
        proxy = proxy.password(password);
    }
    for host in given.except.iter().flat_map(|hosts| hosts.split(',')) {
        proxy = proxy.no_proxy(host.trim());
    }
    proxy.build().map(Some).map_err(|_| PlatformError::Proxy)
}

fn certificates(path: &Path) -> Result<RootCerts, PlatformError> {
    let wrong = |reason: String| PlatformError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in PEM in it".to_owned()));
    }
    Ok(RootCerts::from(roots))
}
