//! Who administers something and from where, and the record of it: one audit line in the transaction of every change.

use std::net::IpAddr;

use ferrocti_access::Actor;
use ferrocti_store::{NewAudit, StoreError, Tx};
use serde_json::Value;
use uuid::Uuid;

/// Longest name of a client that is kept, in characters.
const MAX_AGENT: usize = 256;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Network address of the client.
    pub address: Option<IpAddr>,
    /// The client, as it names itself.
    pub agent: Option<&'a str>,
}

/// Who does something, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// In whose name: whose rights count.
    pub actor: &'a Actor,
    /// Who spoke in the name of the actor (`User.row`), if somebody else did.
    pub applicant: Option<i64>,
    /// By which token the request proved who it comes from (`Token.id`); `None`: by other means.
    pub token: Option<Uuid>,
    /// From where.
    pub origin: Origin<'a>,
}

impl<'a> Acting<'a> {
    /// Somebody in his own name, from the machine itself.
    #[must_use]
    pub fn of(actor: &'a Actor) -> Self {
        Self {
            actor,
            applicant: None,
            token: None,
            origin: Origin::default(),
        }
    }

    /// The same with the token by which the request proved who it comes from.
    #[must_use]
    pub fn with_token(self, token: Uuid) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
}

impl<'a> From<&'a Actor> for Acting<'a> {
    /// As [`Acting::of`].
    fn from(actor: &'a Actor) -> Self {
        Self::of(actor)
    }
}

/// What was done, as the audit names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Something was made.
    Create,
    /// Something was changed.
    Update,
    /// Something is gone.
    Delete,
    /// Somebody logged in, or tried to.
    Login,
    /// Somebody logged out.
    Logout,
    /// Somebody tried to do what is not allowed.
    Unauthorized,
    /// Somebody tried to read what is not allowed.
    UnauthorizedRead,
}

impl Scope {
    /// The name that clients use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Unauthorized | Self::UnauthorizedRead => "unauthorized",
        }
    }

    fn event_type(self) -> &'static str {
        match self {
            Self::Login | Self::Logout => "authentication",
            Self::UnauthorizedRead => "read",
            _ => "mutation",
        }
    }
}

/// What something was done to.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `User`, `Group`, `Role`, `Connector`, …
    pub kind: &'a str,
    /// Its public id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Records an administrative action that succeeded. `data` must hold no secret.
pub fn record(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    scope: Scope,
    subject: Option<Subject<'_>>,
    message: &str,
    data: Option<Value>,
) -> Result<(), StoreError> {
    line(
        tx,
        (Some(acting.actor.user_row), acting.applicant),
        acting.origin,
        (scope.event_type(), scope.name(), "success"),
        subject,
        message,
        data,
    )
}

/// Records that something was refused: that the actor, `None` for nobody known, tried it.
pub fn record_refusal(
    tx: &mut Tx<'_>,
    actor: Option<i64>,
    origin: Origin<'_>,
    scope: Scope,
    message: &str,
    data: Option<Value>,
) -> Result<(), StoreError> {
    line(
        tx,
        (actor, None),
        origin,
        (scope.event_type(), scope.name(), "error"),
        None,
        message,
        data,
    )
}

fn line(
    tx: &mut Tx<'_>,
    (actor, applicant): (Option<i64>, Option<i64>),
    origin: Origin<'_>,
    (event_type, event_scope, status): (&str, &str, &str),
    subject: Option<Subject<'_>>,
    message: &str,
    data: Option<Value>,
) -> Result<(), StoreError> {
    let address = origin.address.map(|address| address.to_string());
    let agent = origin.agent.map(kept_agent);
    tx.audit(&NewAudit {
        actor,
        applicant,
        event_type,
        event_scope,
        event_access: "administration",
        status,
        entity: subject.map(|subject| (subject.kind, subject.id, subject.name)),
        address: address.as_deref(),
        agent: agent.as_deref(),
        message,
        data: data.as_ref(),
    })
}

/// A client's own name for itself, without what could break a line and not longer than is of use.
pub(crate) fn kept_agent(agent: &str) -> String {
    agent
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_AGENT)
        .collect()
}
