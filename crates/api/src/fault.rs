//! Errors with upstream's codes, by which clients decide; the number is told inside the error, the HTTP status stays 200.

use ferrocti_access::Denial;
use ferrocti_accounts::AccountError;
use ferrocti_connectors::ConnectorError;
use ferrocti_graphql::FieldError;
use ferrocti_store::StoreError;

/// Codes that clients know.
pub(crate) mod code {
    pub(crate) const AUTH_FAILURE: &str = "AUTH_FAILURE";
    pub(crate) const AUTH_REQUIRED: &str = "AUTH_REQUIRED";
    pub(crate) const FORBIDDEN: &str = "FORBIDDEN_ACCESS";
    pub(crate) const FUNCTIONAL: &str = "FUNCTIONAL_ERROR";
    pub(crate) const MISSING_REFERENCE: &str = "MISSING_REFERENCE_ERROR";
    pub(crate) const UNSUPPORTED: &str = "UNSUPPORTED_ERROR";
    pub(crate) const VALIDATION: &str = "VALIDATION_ERROR";
    pub(crate) const ALREADY_DELETED: &str = "ALREADY_DELETED_ERROR";
    pub(crate) const DATABASE: &str = "DATABASE_ERROR";
    pub(crate) const WORK_NOT_ALIVE: &str = "WORK_NOT_ALIVE";
    /// Ours: a composer registers again when it meets it.
    pub(crate) const COMPOSER_NOT_REGISTERED: &str = "COMPOSER_NOT_REGISTERED";
    pub(crate) const UNKNOWN: &str = "UNKNOWN_ERROR";
}

/// An error on its way to the field that failed.
#[derive(Debug)]
pub(crate) struct Fault(FieldError);

impl Fault {
    /// An error with one of the [`code`]s.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let (status, genre) = facts(code);
        Self(
            FieldError::new(code, message)
                .with("http_status", status)
                .with("genre", genre),
        )
    }

    /// A call that makes no sense as it stands.
    pub(crate) fn functional(message: impl Into<String>) -> Self {
        Self::new(code::FUNCTIONAL, message)
    }

    /// Something that is not served.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(code::UNSUPPORTED, message)
    }

    /// A user that may not do something.
    pub(crate) fn denied(denial: &Denial) -> Self {
        let reason = denial.to_string();
        match denial {
            Denial::Capability { .. } | Denial::Bypass => {
                Self::new(code::FORBIDDEN, "You are not allowed to do this.").with("reason", reason)
            }
            Denial::Confidence { .. } => {
                Self::functional(reason).with("doc_code", "INSUFFICIENT_CONFIDENCE_LEVEL")
            }
            Denial::Hidden { .. } => Self::functional(
                "Cant find element: it does not exist, or the user may not see it.",
            ),
            Denial::NoLevel { .. } | Denial::Markings { .. } | Denial::NotCreator => {
                Self::functional(reason)
            }
        }
    }

    /// A capability is missing.
    pub(crate) fn forbidden(capability: &str) -> Self {
        Self::denied(&Denial::Capability {
            missing: capability.to_owned(),
            purpose: "this field",
        })
    }

    /// Whether the user may not do what it asked for.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.0.code == code::FORBIDDEN
    }

    /// Nobody is logged in.
    pub(crate) fn login_required() -> Self {
        Self::new(code::AUTH_REQUIRED, "You must be logged in to do this.")
    }

    /// Something about a connector or an account was refused.
    pub(crate) fn from_connectors(error: &ConnectorError) -> Self {
        match error {
            ConnectorError::Denied(denial) => Self::denied(denial),
            ConnectorError::Store(error) => error.clone().into(),
            ConnectorError::Queue(error) => {
                tracing::error!(%error, "the queues failed during a request");
                Self::new(code::DATABASE, error.to_string())
            }
            ConnectorError::Account(AccountError::Denied(denial)) => Self::denied(denial),
            ConnectorError::Account(AccountError::Store(error)) => error.clone().into(),
            ConnectorError::UnknownComposer(_) => {
                Self::new(code::COMPOSER_NOT_REGISTERED, error.to_string())
            }
            ConnectorError::Fenced(fenced) | ConnectorError::FormerToken(fenced) => {
                Self::functional(error.to_string())
                    .with("doc_code", "CONNECTOR_FENCED")
                    .with("connector_id", fenced.connector.as_str())
                    .with("epoch", fenced.epoch)
            }
            other => Self::new(other.code(), other.to_string()),
        }
    }

    /// Adds one member to the error's data.
    pub(crate) fn with(self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        Self(self.0.with(key, value))
    }

    /// As the engine wants it.
    pub(crate) fn into_inner(self) -> FieldError {
        self.0
    }
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::BadCursor | StoreError::BadFilter(_) => Self::functional(error.to_string()),
            _ => {
                // The details are for the log, not for the client.
                tracing::error!(%error, "the store failed during a request");
                Self::new(
                    code::DATABASE,
                    "The store could not answer; the platform's log tells why.",
                )
            }
        }
    }
}

impl From<ConnectorError> for Fault {
    fn from(error: ConnectorError) -> Self {
        Self::from_connectors(&error)
    }
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Denied(denial) => Self::denied(&denial),
            AccountError::Store(error) => error.into(),
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

/// The number and the family that go with a code.
fn facts(code: &str) -> (u16, &'static str) {
    match code {
        code::AUTH_REQUIRED | code::AUTH_FAILURE => (401, "BUSINESS"),
        code::FORBIDDEN => (403, "BUSINESS"),
        code::MISSING_REFERENCE => (404, "BUSINESS"),
        code::FUNCTIONAL
        | code::ALREADY_DELETED
        | code::WORK_NOT_ALIVE
        | code::COMPOSER_NOT_REGISTERED => (400, "BUSINESS"),
        code::VALIDATION => (500, "BUSINESS"),
        _ => (500, "TECHNICAL"),
    }
}
