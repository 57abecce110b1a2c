//! Who asks: the headers of a request as an actor with rights, and what the request says about itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;
use axum::http::request::Parts;
use base64::{Engine, prelude::BASE64_STANDARD};
use ferrocti_access::Actor;
use ferrocti_accounts::{AccountError, Acting, Origin};
use ferrocti_connectors::lease::Call;
use ferrocti_graphql::{Error, Refusal};
use ferrocti_store::{Snapshot, Visibility};
use uuid::Uuid;

use crate::fault::{Fault, code};
use crate::http::{CookieSlot, Peer, SecureCookie, Sender, session};
use crate::{AppState, Options};

/// Who asks, and how.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The user; `None`: nobody is logged in.
    pub(crate) actor: Option<Arc<Actor>>,
    /// What this user may see.
    pub(crate) visible: Visibility,
    /// The host by which the platform was reached, without the port.
    pub(crate) host: Option<String>,
    /// Who spoke in the name of the user (`User.row`), if somebody else did.
    pub(crate) applicant: Option<i64>,
    /// From where.
    pub(crate) peer: Peer,
    /// Whose page sent the request.
    pub(crate) sender: Sender,
    /// The session by whose cookie the user was found; `None` for a token.
    pub(crate) session: Option<Uuid>,
    /// The token by which the user was found; of whoever speaks, not of in whose name.
    pub(crate) token: Option<Uuid>,
    /// What the answer does to the browser's cookie.
    pub(crate) cookie: CookieSlot,
    logged_in: AtomicBool,
}

impl Caller {
    /// From where, as the audit wants it.
    pub(crate) fn origin(&self) -> Origin<'_> {
        self.peer.origin()
    }

    /// Who does something, and from where, as the audit wants it.
    ///
    /// # Errors
    /// Nobody is logged in.
    pub(crate) fn acting(&self) -> Result<Acting<'_>, Fault> {
        let actor = self.actor.as_deref().ok_or_else(Fault::login_required)?;
        Ok(Acting {
            actor,
            applicant: self.applicant,
            token: self.token,
            origin: self.origin(),
        })
    }

    /// Whether this is the first try to log in of the whole request, with all its fields and all members of a batch: passwords are not guessed
    /// by the hundred in one request.
    pub(crate) fn may_log_in(&self) -> bool {
        !self.logged_in.swap(true, Ordering::Relaxed)
    }
}

/// What the headers of a request say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Headers {
    token: Option<String>,
    /// E-mail address and password (RFC 7617).
    basic: Option<(String, String)>,
    /// What the cookie of a login holds.
    session: Option<String>,
    /// Whose page sent the request.
    sender: Sender,
    /// The token of a page's form.
    csrf: Option<String>,
    /// Whether the body is one that a form of another site can send.
    form: bool,
    peer: Peer,
    applicant: Option<String>,
    work: Option<String>,
    draft: Option<String>,
    host: Option<String>,
}

impl Headers {
    /// Reads a request without its body.
    pub(crate) fn of(parts: &Parts, options: &Options) -> Self {
        Self::read(&parts.headers, Peer::of(parts, &options.trusted_proxies))
    }

    /// For a login: the session that the browser sends along proves nothing, and counts only when the page that sends it is the platform's own.
    pub(crate) fn for_login(self) -> Self {
        Self {
            session: self.session.filter(|_| self.sender == Sender::Own),
            form: false,
            ..self
        }
    }

    /// With the token that a form carries among its fields.
    pub(crate) fn with_csrf(self, token: Option<String>) -> Self {
        Self {
            csrf: self.csrf.or(token),
            ..self
        }
    }

    /// Whether a cookie in the answer is for encrypted connections only.
    pub(crate) fn is_secure(&self, setting: SecureCookie) -> bool {
        session::is_secure(setting, &self.peer)
    }

    /// Reads the headers; what is empty counts as absent.
    fn read(headers: &HeaderMap, peer: Peer) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let authorization = text("authorization");
        let proof = |wanted: &str| {
            let (scheme, proof) = authorization.as_deref()?.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case(wanted)
                .then(|| proof.trim().to_owned())
                .filter(|proof| !proof.is_empty())
        };
        let token = proof("bearer");
        let basic = proof("basic").and_then(|proof| {
            let pair = String::from_utf8(BASE64_STANDARD.decode(proof).ok()?).ok()?;
            let (email, password) = pair.split_once(':')?;
            Some((email.to_owned(), password.to_owned()))
        });
        let form = text("content-type").is_some_and(|kind| {
            let kind = kind.to_ascii_lowercase();
            !kind.starts_with("application/json") && !kind.starts_with("application/graphql")
        });
        Self {
            token,
            basic,
            session: session::secret(headers),
            sender: session::sender(headers, peer.authority.as_deref()),
            csrf: text(session::CSRF_HEADER),
            form,
            peer,
            applicant: text("opencti-applicant-id"),
            work: text("opencti-work-id"),
            draft: text("opencti-draft-id"),
            host: text("host").map(|host| without_port(&host).to_owned()),
        }
    }
}

/// Whether the token or the session of a request is somebody's.
pub(crate) fn is_known(state: &AppState, headers: &Headers) -> bool {
    matches!(prove(state, headers), Ok(Some(_)))
}

/// Somebody who proved who he is.
struct Proven {
    actor: Arc<Actor>,
    /// By this session, not by a token or a password.
    session: Option<Uuid>,
    /// By this token.
    token: Option<Uuid>,
}

/// Who a request comes from, and by which session if it is not by a token. What a caller says openly counts more than the cookie that a browser
/// adds to everything.
fn prove(state: &AppState, headers: &Headers) -> Result<Option<Proven>, AccountError> {
    let accounts = &state.services().accounts;
    if let (None, Some((email, password))) = (&headers.token, &headers.basic) {
        // a browser that knows a password sends it along with what another site's page asks for
        if headers.sender == Sender::Other {
            return Ok(None);
        }
        let _turn = state.login_turn();
        let found = accounts.authenticate_password(email, password, headers.peer.origin())?;
        return Ok(found.map(|rights| Proven {
            actor: Arc::clone(&rights.actor),
            session: None,
            token: None,
        }));
    }
    Ok(match (&headers.token, &headers.session) {
        (Some(token), _) => accounts.authenticate(token)?.map(|found| Proven {
            actor: Arc::clone(found.actor()),
            session: None,
            token: Some(found.token),
        }),
        (None, Some(secret)) => accounts.session(secret)?.map(|(rights, session)| Proven {
            actor: Arc::clone(&rights.actor),
            session: Some(session.id),
            token: None,
        }),
        (None, None) => None,
    })
}

/// Refuses what another site's page may have sent with the cookie of a login.
fn check_sender(headers: &Headers) -> Result<(), Refusal> {
    let forbidden = |message: &str| Err(refuse(403, Fault::new(code::FORBIDDEN, message)));
    if headers.sender != Sender::Own {
        return forbidden(
            "The request carries the cookie of a login, but does not come from a page of the platform: send the header Origin with the platform's own address, \
             or use a token in the header Authorization instead of the cookie.",
        );
    }
    let secret = headers.session.as_deref().unwrap_or_default();
    if headers.form && !session::csrf_matches(secret, headers.csrf.as_deref()) {
        return forbidden(
            "A form that is sent with the cookie of a login needs the session's token in the header x-csrf-token; GET /auth/session tells it.",
        );
    }
    Ok(())
}

/// Finds out who asks.
///
/// # Errors
/// The answer to the whole request: it belongs to a work that is gone, to a draft, or the store failed.
pub(crate) fn identify(state: &AppState, headers: &Headers) -> Result<Caller, Refusal> {
    let (own, session, token) = match prove(state, headers) {
        Ok(Some(proven)) => (Some(proven.actor), proven.session, proven.token),
        Ok(None) => (None, None, None),
        Err(error) => return Err(refuse(500, error.into())),
    };
    if session.is_some() {
        check_sender(headers)?;
    }
    if headers.draft.is_some() && own.is_some() {
        return Err(refuse(
            200,
            Fault::unsupported(
                "Drafts are not served yet. Send the request without the header opencti-draft-id, or with an empty one.",
            ),
        ));
    }
    let found: Result<Caller, Fault> = state.services().store.read(|snapshot| {
        let (actor, applicant) = match (own, &headers.applicant) {
            (Some(own), Some(applicant)) if own.may_impersonate() => {
                (applicant_actor(snapshot, applicant)?, Some(own.user_row))
            }
            (own, _) => (own, None),
        };
        if let (Some(actor), Some(work)) = (&actor, &headers.work) {
            let Some(work) = snapshot.work(work)? else {
                return Err(Fault::new(
                    code::WORK_NOT_ALIVE,
                    format!("The work {work} does not exist any more."),
                ));
            };
            // what is done in the name of a work is done by whoever acts as its connector
            let acting = Acting {
                actor,
                applicant,
                token,
                origin: headers.peer.origin(),
            };
            let connectors = &state.services().connectors;
            connectors.admit(snapshot, &acting, &work.connector, Call::Request)?;
        }
        let visible = match &actor {
            Some(actor) => ferrocti_accounts::visibility(snapshot, actor)?,
            None => Visibility::Sets([].into()),
        };
        Ok(Caller {
            actor,
            visible,
            host: headers.host.clone(),
            applicant,
            peer: headers.peer.clone(),
            sender: headers.sender,
            session,
            token,
            cookie: CookieSlot::default(),
            logged_in: AtomicBool::new(false),
        })
    });
    found.map_err(|fault| refuse(500, fault))
}

/// The host of `host:port`, where an IPv6 address stands in brackets (RFC 3986, section 3.2.2).
fn without_port(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn refuse(status: u16, fault: Fault) -> Refusal {
    Refusal::new(status, Error::from(fault.into_inner()))
}

/// The user in whose name a privileged caller speaks; an unknown one, and one that is not let in, is nobody.
fn applicant_actor(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<Arc<Actor>>, Fault> {
    let user = match id.parse() {
        Ok(id) => snapshot.user_by_id(id)?,
        Err(_) => None,
    };
    let Some(user) = user else {
        return Ok(None);
    };
    let rights = ferrocti_accounts::rights(snapshot, user.row)?;
    Ok(rights.map(|rights| Arc::clone(&rights.actor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_told_without_its_port() {
        for (authority, host) in [
            ("cti.example.org:8080", "cti.example.org"),
            ("cti.example.org", "cti.example.org"),
            ("[2001:db8::1]:8080", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }

    #[test]
    fn empty_headers_count_as_absent() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer  abc "),
            ("opencti-draft-id", ""),
            ("opencti-work-id", "work_1"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let read = Headers::read(&headers, Peer::default());
        assert_eq!(read.token.as_deref(), Some("abc"));
        assert_eq!(read.work.as_deref(), Some("work_1"));
        assert_eq!(read.draft, None);
    }

    #[test]
    fn an_address_and_a_password_are_no_token() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            Headers::read(&headers, Peer::default())
        };
        let basic = read("Basic dXNlcjpwYTpzcw==");
        assert_eq!(basic.token, None);
        assert_eq!(basic.basic, Some(("user".to_owned(), "pa:ss".to_owned())));
        for nothing in ["Basic dXNlcg==", "Basic !", "Digest dXNlcjpwYXNz", "Basic "] {
            assert_eq!(read(nothing), Headers::default(), "{nothing}");
        }
    }
}
