//! Why something about a connector was refused.

use ferrocti_access::Denial;
use ferrocti_accounts::AccountError;
use ferrocti_broker::QueueError;
use ferrocti_catalog::{Invalid, KeyError, SealError};
use ferrocti_store::{Fenced, StoreError};

/// Why something about a connector was refused. Every text tells what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// No such connector.
    #[error("connector {0} is not registered; a connector registers when it starts")]
    NotFound(String),
    /// No such version of a state.
    #[error("connector {id} has no state version {version}; list its versions first")]
    NoSuchVersion {
        /// Connector.
        id: String,
        /// What was asked for.
        version: i64,
    },
    /// The actor may not do this.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A value that does not fit.
    #[error("{0}")]
    Invalid(String),
    /// No such composer.
    #[error("composer {0} is not registered; a composer registers when it starts")]
    UnknownComposer(String),
    /// A connector that no composer runs.
    #[error("the connector `{0}` is not managed: whoever started it has to do this")]
    NotManaged(String),
    /// No such definition.
    #[error("the connector `{connector}` has no {} that it could go back to; list its definitions first", .number.map_or_else(|| "definition before the present one".to_owned(), |number| format!("other definition {number}")))]
    NoSuchDefinition {
        /// Connector.
        connector: String,
        /// What was asked for; `None`: the one before.
        number: Option<i64>,
    },
    /// A name that another connector has. Clients know the first word.
    #[error(
        "CONNECTOR_NAME_ALREADY_EXISTS: there is a connector named `{0}` already; choose another name"
    )]
    NameTaken(String),
    /// A configuration that does not obey its contract.
    #[error(transparent)]
    Configuration(Invalid),
    /// A key that nothing can be sealed with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The account of a connector.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It does not act as the connector any more.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// It acted as the connector formerly, and may not administer it with the same token.
    #[error(
        "{0}. Whoever wants to administer it logs in, or uses a token that no instance of it ever ran with"
    )]
    FormerToken(Fenced),
    /// The lease has changed hands meanwhile.
    #[error(
        "the lease of the connector `{connector}` has epoch {found}, not {expected}: it changed hands meanwhile; look at it and plan anew"
    )]
    LeaseMoved {
        /// Name of the connector.
        connector: String,
        /// The epoch that it should have had.
        expected: i64,
        /// The epoch that it has.
        found: i64,
    },
    /// Something that the present state of things does not allow.
    #[error("{0}")]
    Refused(String),
    /// The queues failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectorError {
    /// The error code that clients know.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_)
            | Self::NoSuchVersion { .. }
            | Self::NotManaged(_)
            | Self::NoSuchDefinition { .. }
            | Self::NameTaken(_)
            | Self::Key(_)
            | Self::Seal(_)
            | Self::Fenced(_)
            | Self::FormerToken(_)
            | Self::LeaseMoved { .. }
            | Self::Refused(_) => "FUNCTIONAL_ERROR",
            Self::Configuration(_) => "UNSUPPORTED_ERROR",
            Self::UnknownComposer(_) => "COMPOSER_NOT_REGISTERED",
            Self::Account(error) => error.code(),
            Self::Denied(_) => "FORBIDDEN_ACCESS",
            Self::Invalid(_) => "VALIDATION_ERROR",
            Self::Queue(_) | Self::Store(_) => "DATABASE_ERROR",
        }
    }
}
