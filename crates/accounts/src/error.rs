//! Why something about an account was refused.

use ferrocti_access::{Denial, password::PasswordError, token::TokenError};
use ferrocti_model::clock::Millis;
use ferrocti_store::StoreError;

use crate::rights::Barred;

/// Why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// Unknown address or wrong password; which of them is nobody's business.
    #[error("Bad login or password")]
    BadCredentials,
    /// Too many failures of the account or from the address.
    #[error(
        "Too many failed logins. Try again later, or ask an administrator to reset the password."
    )]
    TooManyFailures {
        /// When logins are accepted again.
        until: Millis,
    },
    /// The password is right, but the account is not let in.
    #[error(transparent)]
    Barred(#[from] Barred),
}

/// Why something about an account was refused. Every text tells what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The actor may not do this.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// There is no such thing.
    #[error("{kind} not found: {id} is none of the platform's")]
    NotFound {
        /// `User`, `Group`, …
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// There is one already.
    #[error("{0}")]
    AlreadyExists(String),
    /// A value that does not fit.
    #[error("{0}")]
    Invalid(String),
    /// The password breaks rules of the policy, which are named.
    #[error("Invalid password: {}", .0.join(", "))]
    PasswordPolicy(Vec<String>),
    /// The current password was given wrongly.
    #[error("The current password you have provided is not valid")]
    CurrentPassword,
    /// Nobody could administer the platform any more.
    #[error("{0}")]
    LastAdministrator(&'static str),
    /// A login was refused.
    #[error(transparent)]
    LoginRefused(#[from] LoginRefusal),
    /// A token that an operator gave does not fit.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A password cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountError {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(crate) fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound {
            kind,
            id: id.to_string(),
        }
    }

    /// The error code that clients know.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) | Self::LastAdministrator(_) => "FORBIDDEN_ACCESS",
            Self::LoginRefused(_) => "AUTH_FAILURE",
            Self::NotFound { .. }
            | Self::AlreadyExists(_)
            | Self::Invalid(_)
            | Self::PasswordPolicy(_)
            | Self::CurrentPassword
            | Self::Token(_)
            | Self::Password(_) => "FUNCTIONAL_ERROR",
            Self::Store(_) => "DATABASE_ERROR",
        }
    }
}

/// Result of what is done with accounts.
pub type Result<T, E = AccountError> = std::result::Result<T, E>;
