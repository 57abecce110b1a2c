//! Asking an address for a manifest, and what can go wrong with that.

use std::time::Duration;

use ferrocti_catalog::environment::Proxy;
use ureq::{
    http::{StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

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

/// Why the way out of this network cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// The address may have a password in it, so it is not repeated.
    #[error("the address of the proxy cannot be read; it must be e.g. http://proxy:3128")]
    Proxy,
    /// The certificates.
    #[error("the certificates of authorities cannot be read: {0}")]
    Certificates(String),
}

/// Asks over HTTP: at most [`MAX_BYTES`], ten redirects, one minute. Redirects from `https` to `http` are not followed. A proxy is taken from
/// the environment (`HTTPS_PROXY`, …).
#[must_use]
pub fn over_http() -> Fetch {
    limited(MAX_BYTES, Duration::from_secs(60), Way::default())
}

/// The same through the given proxy, trusting the given certificates.
///
/// # Errors
/// One of them cannot be read.
pub fn over_http_through(proxy: &Proxy) -> Result<Fetch, WayError> {
    let roots = match &proxy.ca_certificates {
        Some(pem) => Some(certificates(pem)?),
        None => None,
    };
    let of = |address: &Option<String>| {
        let address = address.as_deref();
        address
            .map(|address| with_exceptions(address, proxy.except.as_deref().unwrap_or_default()))
            .transpose()
    };
    let way = Way {
        proxies: Some([of(&proxy.http)?, of(&proxy.https)?]),
        roots,
        unverified: !proxy.reject_unauthorized,
    };
    Ok(limited(MAX_BYTES, Duration::from_secs(60), way))
}

/// How this network is left.
#[derive(Clone, Default)]
struct Way {
    /// For `http` and `https`; `None`: those of the environment.
    proxies: Option<[Option<ureq::Proxy>; 2]>,
    /// Authorities that are trusted in place of the public ones.
    roots: Option<RootCerts>,
    /// Whether certificates are not verified.
    unverified: bool,
}

fn with_exceptions(address: &str, except: &str) -> Result<ureq::Proxy, WayError> {
    let plain = ureq::Proxy::new(address).map_err(|_| WayError::Proxy)?;
    let mut proxy = ureq::Proxy::builder(plain.protocol())
        .host(plain.host())
        .port(plain.port());
    if let Some(user) = plain.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = plain.password() {
        proxy = proxy.password(password);
    }
    for host in except
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        proxy = proxy.no_proxy(host);
    }
    proxy.build().map_err(|_| WayError::Proxy)
}

fn certificates(pem: &str) -> Result<RootCerts, WayError> {
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(WayError::Certificates(error.to_string())),
        }
    }
    if roots.is_empty() {
        let reason = "there is no certificate in PEM among them".to_owned();
        return Err(WayError::Certificates(reason));
    }
    Ok(RootCerts::from(roots))
}

fn limited(most: u64, within: Duration, way: Way) -> Fetch {
    Box::new(move |url, tag| get(url, tag, most, within, &way))
}

fn get(
    url: &str,
    tag: Option<&str>,
    most: u64,
    within: Duration,
    way: &Way,
) -> Result<Fetched, FetchError> {
    let secure = url.to_ascii_lowercase().starts_with("https://");
    let mut config = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10).min(within)))
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .https_only(secure)
        .user_agent(concat!("ferrocti/", env!("CARGO_PKG_VERSION")))
        .accept("application/json");
    if let Some([plain, encrypted]) = &way.proxies {
        config = config.proxy(if secure { encrypted } else { plain }.clone());
    }
    if way.roots.is_some() || way.unverified {
        let roots = way.roots.clone().unwrap_or(RootCerts::WebPki);
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .disable_verification(way.unverified);
        config = config.tls_config(tls.build());
    }
    // an agent for each call keeps no connection open between two refreshes, which are hours apart
    let agent: ureq::Agent = config.build().into();
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
        let fetched = limited(1000, Duration::from_secs(20), Way::default())(&address, tag);
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
        let silent = limited(1000, Duration::from_millis(200), Way::default())(&address, None);
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

    #[test]
    fn the_given_proxy_is_asked_unless_the_host_is_an_exception() {
        let (proxy, asked) = serve(vec![answer("502 Bad Gateway", "", "")]);
        let way = |except: &str| Proxy {
            http: Some(proxy.clone()),
            except: Some(except.to_owned()),
            reject_unauthorized: true,
            ..Proxy::default()
        };
        let fetch = over_http_through(&way("other.example, example.net")).unwrap();
        assert!(fetch("http://catalog.example.org/m", None).is_err());
        let head = asked.join().unwrap().remove(0);
        assert!(head.contains("catalog.example.org"), "{head}");
        let (direct, _) = serve(vec![answer("200 OK", "", "{}")]);
        let fetch = over_http_through(&way("127.0.0.1")).unwrap();
        assert!(fetch(&direct, None).is_ok(), "the proxy is gone");
    }

    #[test]
    fn a_way_that_cannot_be_taken_is_told_without_its_password() {
        let way = |http: &str, certificates: Option<&str>| Proxy {
            http: Some(http.to_owned()),
            ca_certificates: certificates.map(str::to_owned),
            ..Proxy::default()
        };
        let fault = |proxy: &Proxy| over_http_through(proxy).err();
        assert_eq!(fault(&way("what://me:pw@", None)), Some(WayError::Proxy));
        let reason = "there is no certificate in PEM among them".to_owned();
        assert_eq!(
            fault(&way("http://proxy:3128", Some("no pem"))),
            Some(WayError::Certificates(reason))
        );
    }
}
