//! Errors with upstream's codes, by which clients decide; the number is told inside the error, the HTTP status stays 200.

use ferrocti_access::Denial;
use ferrocti_graphql::FieldError;
use ferrocti_store::StoreError;

/// Codes that clients know.
pub(crate) mod code {
    pub(crate) const AUTH_REQUIRED: &str = "AUTH_REQUIRED";
    pub(crate) const FORBIDDEN: &str = "FORBIDDEN_ACCESS";
    pub(crate) const FUNCTIONAL: &str = "FUNCTIONAL_ERROR";
    pub(crate) const MISSING_REFERENCE: &str = "MISSING_REFERENCE_ERROR";
    pub(crate) const UNSUPPORTED: &str = "UNSUPPORTED_ERROR";
    pub(crate) const VALIDATION: &str = "VALIDATION_ERROR";
    pub(crate) const ALREADY_DELETED: &str = "ALREADY_DELETED_ERROR";
    pub(crate) const DATABASE: &str = "DATABASE_ERROR";
    pub(crate) const WORK_NOT_ALIVE: &str = "WORK_NOT_ALIVE";
    pub(crate) const ACCESS: &str = "ACCESS_REQUIRED";
    pub(crate) const UNKNOWN: &str = "UNKNOWN_ERROR";
}

/// The number and the family that go with a code.
fn facts(code: &str) -> (u16, &'static str) {
    match code {
        code::AUTH_REQUIRED => (401, "BUSINESS"),
        code::FORBIDDEN => (403, "BUSINESS"),
        code::MISSING_REFERENCE => (404, "BUSINESS"),
        code::FUNCTIONAL | code::ALREADY_DELETED | code::WORK_NOT_ALIVE => (400, "BUSINESS"),
        code::VALIDATION => (500, "BUSINESS"),
        _ => (500, "TECHNICAL"),
    }
}

/// An error of a field.
pub(crate) fn fault(code: &'static str, message: impl Into<String>) -> FieldError {
    let (status, genre) = facts(code);
    FieldError::new(code, message).with("http_status", status).with("genre", genre)
}

/// A call that makes no sense as it stands.
pub(crate) fn functional(message: impl Into<String>) -> FieldError {
    fault(code::FUNCTIONAL, message)
}

/// Something that is not served.
pub(crate) fn unsupported(message: impl Into<String>) -> FieldError {
    fault(code::UNSUPPORTED, message)
}

/// A user that may not do something.
pub(crate) fn denied(denial: &Denial) -> FieldError {
    fault(code::FORBIDDEN, "You are not allowed to do this.").with("reason", denial.to_string())
}

/// Nobody is logged in.
pub(crate) fn login_required() -> FieldError {
    fault(code::AUTH_REQUIRED, "You must be logged in to do this.")
}

/// The store failed; the details are for the log, not for the client.
pub(crate) fn store(error: &StoreError) -> FieldError {
    tracing::error!(%error, "the store failed during a request");
    fault(code::DATABASE, "The store could not answer. See the platform's log.")
}
