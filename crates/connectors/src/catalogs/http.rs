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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives one connection after the other the next answer, and hands over the heads of the requests.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                requests.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
                // who has read enough hangs up, which is no fault of the server
                let _ = stream.write_all(answer.as_bytes());
            }
            requests
        });
        (address, requests)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            body.len()
        )
    }

    fn ask(answers: Vec<String>, tag: Option<&str>) -> Result<Fetched, FetchError> {
        let (address, requests) = serve(answers);
        let fetched = limited(1000, Duration::from_secs(20))(&address, tag);
        requests.join().unwrap();
        fetched
    }

    #[test]
    fn what_is_not_new_is_not_sent_again() {
        let (address, requests) = serve(vec![
            answer("200 OK", "etag: W/\"a b\"\r\n", "{}"),
            answer("304 Not Modified", "", ""),
        ]);
        let fetch = over_http();
        let Fetched::Body { bytes, tag } = fetch(&address, None).unwrap() else {
            panic!("it is new");
        };
        assert_eq!(
            (bytes.as_slice(), tag.as_deref()),
            (&b"{}"[..], Some("W/\"a b\""))
        );
        assert_eq!(fetch(&address, tag.as_deref()), Ok(Fetched::Unchanged));
        let requests = requests.join().unwrap();
        assert!(!requests[0].contains("if-none-match"), "{}", requests[0]);
        assert!(
            requests[1].contains("if-none-match: w/\"a b\""),
            "{}",
            requests[1]
        );
    }

    #[test]
    fn a_redirect_is_followed() {
        let (second, asked) = serve(vec![answer("200 OK", "", "[1]")]);
        let (first, _) = serve(vec![answer(
            "302 Found",
            &format!("location: {second}/manifest\r\n"),
            "",
        )]);
        let fetched = over_http()(&first, None);
        let fresh = Fetched::Body {
            bytes: b"[1]".to_vec(),
            tag: None,
        };
        assert_eq!(fetched, Ok(fresh));
        assert!(asked.join().unwrap()[0].starts_with("get /manifest "));
    }

    #[test]
    fn what_is_no_manifest_is_told_in_words() {
        for (sent, expected) in [
            (answer("404 Not Found", "", "gone"), FetchError::Status(404)),
            (answer("304 Not Modified", "", ""), FetchError::Status(304)),
            (
                answer(
                    "200 OK",
                    "content-type: text/html; charset=utf-8\r\n",
                    "<p>",
                ),
                FetchError::WebPage("text/html; charset=utf-8".to_owned()),
            ),
            (
                answer("200 OK", "", &"x".repeat(1001)),
                FetchError::TooLarge(1000),
            ),
        ] {
            assert_eq!(ask(vec![sent], None), Err(expected));
        }
        let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":";
        let fetched = ask(vec![short.to_owned()], None);
        assert!(
            matches!(fetched, Err(FetchError::Truncated(_))),
            "{fetched:?}"
        );
    }

    #[test]
    fn nobody_there_and_nobody_who_answers_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        // it accepts by its backlog and never answers
        let silent = limited(1000, Duration::from_millis(200))(&address, None);
        assert!(
            matches!(silent, Err(FetchError::Unreachable(_))),
            "{silent:?}"
        );
        drop(listener);
        let closed = over_http()(&address, None);
        assert!(
            matches!(closed, Err(FetchError::Unreachable(_))),
            "{closed:?}"
        );
    }
}
