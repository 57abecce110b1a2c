//! The cookie of a login: reading and setting it, and whether a request that carries it comes from the platform's own pages.
//!
//! A browser adds the cookie to every request to the platform, also to one that another site's page sends. So whatever is sent with
//! POST on the strength of the cookie alone must be shown by the browser to come from here (`Sec-Fetch-Site`, or `Origin`), and a form also by
//! the session's own token. Requests with an `Authorization` header are exempt: no page of another site can add one.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_model::clock::Millis;
use parking_lot::Mutex;

use super::peer::Peer;

/// Name of the cookie, as upstream's.
pub(crate) const COOKIE: &str = "opencti_session";
/// Header in which a page sends the session's token with a form.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
/// Longest value of the cookie that is looked at.
const LONGEST: usize = 256;

/// When browsers may send the cookie over encrypted connections only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecureCookie {
    /// When a trusted proxy says that the client's connection is encrypted.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What an answer does to the browser's cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CookieChange {
    /// A new session: its secret, and how long it lasts at most.
    Set {
        /// What the browser sends from now on.
        secret: String,
        /// Milliseconds.
        lifetime: Millis,
    },
    /// No session any more.
    Clear,
}

/// The one way from a resolver to the answer's headers: the last change wins.
#[derive(Debug, Default)]
pub(crate) struct CookieSlot(Mutex<Option<CookieChange>>);

impl CookieSlot {
    /// Asks for a change of the cookie.
    pub(crate) fn put(&self, change: CookieChange) {
        *self.0.lock() = Some(change);
    }

    /// What was asked for.
    pub(crate) fn take(&self) -> Option<CookieChange> {
        self.0.lock().take()
    }
}

/// The secret in the cookie of a request. Of several cookies of the name the first counts: browsers send the one with the closest path first
/// (RFC 6265, section 5.4).
pub(crate) fn secret(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .filter(|value| !value.is_empty() && value.len() <= LONGEST)
}

/// The header that makes a change, for a platform under `base_path`.
fn set_cookie(change: &CookieChange, base_path: &str, secure: bool) -> Option<HeaderValue> {
    let path = match base_path.trim_matches('/') {
        "" => "/".to_owned(),
        base => format!("/{base}"),
    };
    let (value, seconds) = match change {
        CookieChange::Set { secret, lifetime } => (secret.as_str(), (lifetime / 1000).max(0)),
        CookieChange::Clear => ("", 0),
    };
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!(
        "{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
    .ok()
}

/// Makes a change by an answer, which no cache may keep then.
pub(crate) fn apply(change: &CookieChange, base_path: &str, secure: bool, response: &mut Response) {
    let headers = response.headers_mut();
    if let Some(cookie) = set_cookie(change, base_path, secure) {
        headers.append(header::SET_COOKIE, cookie);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Whether the cookie is for encrypted connections only.
pub(crate) fn is_secure(setting: SecureCookie, peer: &Peer) -> bool {
    match setting {
        SecureCookie::Always => true,
        SecureCookie::Never => false,
        SecureCookie::Auto => peer.encrypted == Some(true),
    }
}

/// Whose page sent a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The platform's own.
    Own,
    /// Another one's.
    Other,
    /// The request does not say; no current browser sends such a POST.
    #[default]
    Unknown,
}

/// Tells whose page sent a request: `Sec-Fetch-Site` where the browser sends it, since no page and no proxy changes it, else `Origin` compared with the
/// host by which the platform was reached.
pub(crate) fn sender(headers: &HeaderMap, authority: Option<&str>) -> Sender {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    match text("sec-fetch-site") {
        Some("same-origin") => return Sender::Own,
        // the user's own doing, such as sending a form again; the origin tells more
        Some("none") | None => {}
        Some(_) => return Sender::Other,
    }
    match (text("origin"), authority) {
        (None, _) => Sender::Unknown,
        (Some(origin), Some(authority)) if same_host(origin, authority) => Sender::Own,
        _ => Sender::Other,
    }
}

/// Whether an origin (`https://host[:port]`) has the host and port of an authority (`host[:port]`), whose scheme is not known.
fn same_host(origin: &str, authority: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let standard = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |host: &str| {
        host.strip_suffix(standard)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    plain(host) == plain(authority)
}

/// The token that a form must carry: it follows from the session's secret, which no other site's page can read, and does not tell it.
pub(crate) fn csrf_token(secret: &str) -> String {
    let hash = ferrocti_access::token::hash(&format!("csrf {secret}"));
    BASE64_URL_SAFE_NO_PAD.encode(hash)
}

/// Whether a form's token is the session's, in the same time for every wrong one.
pub(crate) fn csrf_matches(secret: &str, given: Option<&str>) -> bool {
    let expected = csrf_token(secret);
    let Some(given) = given.filter(|given| given.len() == expected.len()) else {
        return false;
    };
    let differences = expected
        .bytes()
        .zip(given.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        headers
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let long = format!("opencti_session={}", "x".repeat(300));
        for (pairs, expected) in [
            (&[("cookie", "opencti_session=abc")][..], Some("abc")),
            (&[("cookie", "a=b; opencti_session=abc; c=d")], Some("abc")),
            (
                &[("cookie", "a=b"), ("cookie", "opencti_session=abc")],
                Some("abc"),
            ),
            (
                &[("cookie", "opencti_session=near; opencti_session=far")],
                Some("near"),
            ),
            (&[("cookie", "opencti_session=")], None),
            (&[("cookie", "xopencti_session=abc")], None),
            (&[("cookie", long.as_str())], None),
            (&[], None),
        ] {
            assert_eq!(secret(&headers(pairs)).as_deref(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let open = CookieChange::Set {
            secret: "abc".to_owned(),
            lifetime: 5_500,
        };
        assert_eq!(
            set_cookie(&open, "", false).unwrap(),
            "opencti_session=abc; Path=/; Max-Age=5; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            set_cookie(&open, "/cti", true).unwrap(),
            "opencti_session=abc; Path=/cti; Max-Age=5; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            set_cookie(&CookieChange::Clear, "", false).unwrap(),
            "opencti_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn the_cookie_needs_encryption_where_the_client_has_it_or_the_operator_says_so() {
        let peer = |encrypted| Peer {
            encrypted,
            ..Peer::default()
        };
        for (setting, encrypted, expected) in [
            (SecureCookie::Auto, Some(true), true),
            (SecureCookie::Auto, Some(false), false),
            (SecureCookie::Auto, None, false),
            (SecureCookie::Always, None, true),
            (SecureCookie::Never, Some(true), false),
        ] {
            assert_eq!(
                is_secure(setting, &peer(encrypted)),
                expected,
                "{setting:?}"
            );
        }
    }

    #[test]
    fn browsers_tell_whose_page_sends() {
        let host = "cti.example.org:8080";
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], Sender::Own),
            (&[("sec-fetch-site", "same-site")], Sender::Other),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://cti.example.org:8080"),
                ],
                Sender::Other,
            ),
            (&[("sec-fetch-site", "none")], Sender::Unknown),
            (
                &[
                    ("sec-fetch-site", "none"),
                    ("origin", "http://cti.example.org:8080"),
                ],
                Sender::Own,
            ),
            (&[("origin", "http://cti.example.org:8080")], Sender::Own),
            (&[("origin", "http://CTI.example.org:8080")], Sender::Own),
            (&[("origin", "http://cti.example.org")], Sender::Other),
            (
                &[("origin", "http://cti.example.org:8080.evil.example")],
                Sender::Other,
            ),
            (&[("origin", "http://evil.example")], Sender::Other),
            (&[("origin", "null")], Sender::Other),
            (&[], Sender::Unknown),
        ] {
            assert_eq!(sender(&headers(pairs), Some(host)), expected, "{pairs:?}");
        }
        for (origin, authority, expected) in [
            ("https://cti.example.org", "cti.example.org", Sender::Own),
            (
                "https://cti.example.org",
                "cti.example.org:443",
                Sender::Own,
            ),
            (
                "https://cti.example.org:443",
                "cti.example.org",
                Sender::Own,
            ),
            (
                "http://cti.example.org",
                "cti.example.org:443",
                Sender::Other,
            ),
        ] {
            let told = sender(&headers(&[("origin", origin)]), Some(authority));
            assert_eq!(told, expected, "{origin} {authority}");
        }
        assert_eq!(
            sender(&headers(&[("origin", "https://cti.example.org")]), None),
            Sender::Other
        );
    }

    #[test]
    fn a_forms_token_belongs_to_one_session() {
        let token = csrf_token("abc");
        assert!(csrf_matches("abc", Some(&token)));
        assert!(!token.contains("abc"));
        for wrong in [None, Some(""), Some("x"), Some(csrf_token("abd").as_str())] {
            assert!(!csrf_matches("abc", wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_change_of_the_cookie_wins() {
        let slot = CookieSlot::default();
        slot.put(CookieChange::Set {
            secret: "abc".to_owned(),
            lifetime: 1,
        });
        slot.put(CookieChange::Clear);
        assert_eq!(slot.take(), Some(CookieChange::Clear));
        assert_eq!(slot.take(), None);
    }
}
