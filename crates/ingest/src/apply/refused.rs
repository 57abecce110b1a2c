//! Why an object is not taken.

use ferrocti_access::Denial;
use ferrocti_model::{ids::IdRuleError, stix::RefusalReason};

/// One object that is not taken; everything else in its message is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Its name or value, shortened.
    pub name: Option<String>,
    /// Why.
    pub reason: RefusedReason,
}

/// Why an object is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RefusedReason {
    /// What it says cannot be understood.
    #[error(transparent)]
    Content(#[from] RefusalReason),
    /// It lacks what its identity is made of.
    #[error("it cannot be identified: {0}")]
    Identity(#[from] IdRuleError),
    /// The actor lacks a capability.
    #[error(transparent)]
    Forbidden(#[from] Denial),
    /// It brings along something new that the actor may not make.
    #[error("{denial} It brings along {what}, which does not exist yet.")]
    BringsAlong {
        /// What, in words.
        what: String,
        /// Why not.
        denial: Denial,
    },
    /// It exists, and the actor may not see it.
    #[error("Restricted {} already exists: its markings hide it from the user.", if *.relation { "relation" } else { "entity" })]
    Restricted {
        /// Whether it is a relationship or a sighting.
        relation: bool,
    },
    /// An end, or what its identity is made of, exists, and the actor may not see it.
    #[error(
        "Element(s) not found: it refers to {0}, which does not exist or which the user may not see"
    )]
    HiddenReference(String),
    /// Both ends are the same object.
    #[error("a relationship cannot point from an object to itself ({0})")]
    SelfReference(String),
    /// The data model has no such relationship.
    #[error(
        "the relationship \"{relationship}\" is not allowed from {source_type} to {target_type}"
    )]
    RelationshipNotAllowed {
        /// Relationship type.
        relationship: String,
        /// Type of the source.
        source_type: String,
        /// Type of the target.
        target_type: String,
    },
    /// An end or marking does not exist. Only for callers that want an answer at once; others are parked.
    // word for word as above: the answer does not tell what exists
    #[error(
        "Element(s) not found: it refers to {0}, which does not exist or which the user may not see"
    )]
    MissingReference(String),
    /// It is told apart from a stored object by a hash, and has no identifier that is not the other's.
    #[error(
        "its id belongs to {known}, of which {algorithm} is {stored} and not {given}; send it under an id of its own, with its strongest hash"
    )]
    HashCollision {
        /// Standard id of the stored object.
        known: String,
        /// Hash algorithm.
        algorithm: String,
        /// Its value.
        given: String,
        /// The value of the stored object.
        stored: String,
    },
    /// A value that must be one of a vocabulary and is not.
    #[error("\"{value}\" is not an entry of the vocabulary {category}")]
    NotInVocabulary {
        /// Category of the vocabulary.
        category: String,
        /// The value.
        value: String,
    },
    /// A mandatory reference points to something else than it must.
    #[error("\"{reference}\" must not point to an object of type {found}")]
    WrongTarget {
        /// Name of the reference.
        reference: String,
        /// What was found.
        found: String,
    },
}

impl RefusedReason {
    /// Whether the object is left out on purpose, so that nothing is wrong with it.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        matches!(self, Self::Content(reason) if reason.is_skip())
    }
}
