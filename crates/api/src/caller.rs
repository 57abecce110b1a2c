//! Who asks: the headers of a request as an actor with rights, and what the request says about itself.

use std::sync::Arc;

use axum::http::HeaderMap;
use ferrocti_access::Actor;
use ferrocti_graphql::{Error, Refusal};
use ferrocti_store::{Snapshot, Visibility};

use crate::AppState;
use crate::fault::{Fault, code};

/// Who asks, and how.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The user; `None`: nobody is logged in.
    pub(crate) actor: Option<Arc<Actor>>,
    /// What this user may see.
    pub(crate) visible: Visibility,
    /// The host by which the platform was reached, without the port.
    pub(crate) host: Option<String>,
}

/// What the headers of a request say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Headers {
    token: Option<String>,
    applicant: Option<String>,
    work: Option<String>,
    draft: Option<String>,
    host: Option<String>,
}

impl Headers {
    /// Reads the headers; what is empty counts as absent.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let token = text("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim().to_owned())
                .filter(|token| !token.is_empty())
        });
        Self {
            token,
            applicant: text("opencti-applicant-id"),
            work: text("opencti-work-id"),
            draft: text("opencti-draft-id"),
            host: text("host").map(|host| without_port(&host).to_owned()),
        }
    }
}

/// Whether the token of a request is somebody's.
pub(crate) fn is_known(state: &AppState, headers: &Headers) -> bool {
    let accounts = &state.services().accounts;
    headers
        .token
        .as_ref()
        .is_some_and(|token| matches!(accounts.authenticate(token), Ok(Some(_))))
}

/// Finds out who asks.
///
/// # Errors
/// The answer to the whole request: it belongs to a work that is gone, to a draft, or the store failed.
pub(crate) fn identify(state: &AppState, headers: &Headers) -> Result<Caller, Refusal> {
    let own = match &headers.token {
        Some(token) => state
            .services()
            .accounts
            .authenticate(token)
            .map_err(|error| refuse(500, error.into()))?
            .map(|found| Arc::clone(found.actor())),
        None => None,
    };
    if headers.draft.is_some() && own.is_some() {
        return Err(refuse(
            200,
            Fault::unsupported(
                "Drafts are not served yet. Send the request without the header opencti-draft-id, or with an empty one.",
            ),
        ));
    }
    let found: Result<Caller, Fault> = state.services().store.read(|snapshot| {
        let actor = match (own, &headers.applicant) {
            (Some(own), Some(applicant)) if own.may_impersonate() => {
                applicant_actor(snapshot, applicant)?
            }
            (own, _) => own,
        };
        if let (Some(_), Some(work)) = (&actor, &headers.work)
            && !snapshot.work_exists(work)?
        {
            return Err(Fault::new(
                code::WORK_NOT_ALIVE,
                format!("The work {work} does not exist any more."),
            ));
        }
        let visible = match &actor {
            Some(actor) => ferrocti_accounts::visibility(snapshot, actor)?,
            None => Visibility::Sets([].into()),
        };
        Ok(Caller {
            actor,
            visible,
            host: headers.host.clone(),
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
        let read = Headers::read(&headers);
        assert_eq!(read.token.as_deref(), Some("abc"));
        assert_eq!(read.work.as_deref(), Some("work_1"));
        assert_eq!(read.draft, None);
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Basic dXNlcjpwYXNz".parse().unwrap());
        assert_eq!(Headers::read(&headers), Headers::default());
    }
}
