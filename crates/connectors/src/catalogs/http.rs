//! Asking an address for a manifest, and what can go wrong with that.

use std::time::Duration;

use ureq::http::{StatusCode, header};

use super::MAX_BYTES;

/// What asks an address: the address, and the `ETag` of what came last.
pub type Fetch = Box<dyn Fn(&str, Option<&str>) -> Result<Fetched, FetchError> + Send + Sync>;

/// What an address gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing new since the `ETag`.
    Unchanged,
    /// A manifest.
    Body {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its `ETag`, verbatim.
        tag: Option<String>,
    },
}

/// Why an address gave nothing. The texts name no address: it may have a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer.
    #[error("it does not answer: {0}")]
    Unreachable(String),
    /// An answer that is no success.
    #[error("it answers with HTTP status {0}")]
    Status(u16),
    /// A page for people.
    #[error(
        "it answers with a web page ({0}), not with a manifest; check the address, and whether a login is in the way"
    )]
    WebPage(String),
    /// The connection ended before the body did.
    #[error("its answer broke off: {0}")]
    Truncated(String),
    /// Too much.
    #[error("its answer is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
}

/// Asks over HTTP: at most [`MAX_BYTES`], ten redirects, one minute. Redirects from `https` to `http` are not followed. A proxy is taken from
/// the environment (`HTTPS_PROXY`, …).
#[must_use]
pub fn over_http() -> Fetch {
    limited(MAX_BYTES, Duration::from_secs(60))
}

/// The same with other limits.
pub(super) fn limited(most: u64, within: Duration) -> Fetch {
    Box::new(move |url, tag| get(url, tag, most, within))
}

fn get(url: &str, tag: Option<&str>, most: u64, within: Duration) -> Result<Fetched, FetchError> {
    // an agent for each call keeps no connection open between two refreshes, which are hours apart
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10).min(within)))
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .https_only(url.to_ascii_lowercase().starts_with("https://"))
        .user_agent(concat!("ferrocti/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .build()
        .into();
    let mut request = agent.get(url);
    if let Some(tag) = tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    let mut answer = request
        .call()
        .map_err(|error| FetchError::Unreachable(error.to_string()))?;
    let status = answer.status();
    if status == StatusCode::NOT_MODIFIED && tag.is_some() {
        return Ok(Fetched::Unchanged);
    }
    if !status.is_success() {
        return Err(FetchError::Status(status.as_u16()));
    }
    let text = |name| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let tag = text(header::ETAG);
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if kind.starts_with("text/html") {
        return Err(FetchError::WebPage(kind));
    }
    let bytes = answer
        .body_mut()
        .with_config()
        .limit(most)
        .read_to_vec()
        .map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => FetchError::TooLarge(most),
            error => FetchError::Truncated(error.to_string()),
        })?;
    Ok(Fetched::Body { bytes, tag })
}
