//! Why an edit is not done.

use ferrocti_access::Denial;
use ferrocti_model::stix::RefusalReason;
use ferrocti_store::StoreError;

use crate::apply::{RefusedReason, engine::Stop};

/// Why an edit is not done; nothing of it was stored. The beginnings of some texts are known to clients.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EditError {
    /// There is no such object of that family, or the actor may not see it.
    #[error("Cant find element to update: there is no {} with the id {id} that you may see", name(.family))]
    NotFound {
        /// The identifier.
        id: String,
        /// Type or ancestor that was asked for; empty: any.
        family: String,
    },
    /// The actor may not do it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A rule that holds for everything stored is against it.
    #[error(transparent)]
    Refused(#[from] RefusedReason),
    /// The type has no attribute or reference of that name.
    #[error("{kind} has neither an attribute nor a reference \"{key}\"")]
    UnknownField {
        /// Name of the type.
        kind: String,
        /// The name.
        key: String,
    },
    /// The platform sets it.
    #[error("\"{0}\" is set by the platform and cannot be edited")]
    NotEditable(String),
    /// A path leads to nothing.
    #[error("the path {path} leads to nothing in \"{key}\"")]
    NoSuchPath {
        /// Name of the attribute.
        key: String,
        /// The path.
        path: String,
    },
    /// What identifies the object would be that of another one.
    #[error(
        "This update will produce a duplicate: {other} is known by that already; merge the two instead"
    )]
    Duplicate {
        /// Standard id of the other.
        other: String,
    },
    /// A reference that holds one target has one.
    #[error("\"{0}\" has a target already, and holds one only; remove that first")]
    Occupied(String),
    /// A reference to users, which are not objects.
    #[error("\"{0}\" cannot be edited: users cannot be assigned in this release")]
    Users(String),
    /// Something refers to itself.
    #[error("\"{0}\" cannot lead back to the object itself")]
    Itself(String),
    /// The object stands for a user.
    #[error(
        "Cannot delete an individual corresponding to a user: {0} is the address of a user; change the user's address or the individual's contact information first"
    )]
    LinkedToUser(String),
    /// The platform needs it.
    #[error("\"{0}\" belongs to the platform and cannot be deleted")]
    BuiltIn(String),
    /// The objects cannot become one.
    #[error("Cannot merge these elements: {0}")]
    Merge(&'static str),
    /// An operation of a bundle that only the platform itself may order.
    #[error(
        "the operation \"{0}\" is not carried out for bundles; only delete, delete_force and merge are"
    )]
    Operation(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn name(family: &str) -> &str {
    if family.is_empty() { "element" } else { family }
}

impl From<RefusalReason> for EditError {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<Stop> for EditError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(reason) => Self::Refused(reason),
            Stop::Waits(missing) => Self::Refused(RefusedReason::MissingReference(
                missing.first().map(ToString::to_string).unwrap_or_default(),
            )),
            Stop::Store(error) => Self::Store(error),
        }
    }
}
