//! Why something about a connector was refused.

use ferrocti_access::Denial;
use ferrocti_broker::QueueError;
use ferrocti_store::StoreError;

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
            Self::NotFound(_) | Self::NoSuchVersion { .. } => "FUNCTIONAL_ERROR",
            Self::Denied(_) => "FORBIDDEN_ACCESS",
            Self::Invalid(_) => "VALIDATION_ERROR",
            Self::Queue(_) | Self::Store(_) => "DATABASE_ERROR",
        }
    }
}
