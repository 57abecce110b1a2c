//! Refusals: why one object is not taken, in words that tell its sender what to do.

use super::value::ValueError;
use crate::{id::IdError, pattern::PatternError};

/// One object that is not taken; everything else in its bundle is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Its `id`, if it had one.
    pub id: Option<String>,
    /// Its `name` or `value`, shortened.
    pub name: Option<String>,
    /// Why.
    pub reason: RefusalReason,
}

/// Why an object is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the fields are named in the message of each variant"
)]
pub enum RefusalReason {
    /// The JSON text is not an object.
    #[error("it is not a JSON object: {0}")]
    NotAnObject(String),
    /// No `id`.
    #[error("it has no text property \"id\"; give it <type>--<uuid>")]
    MissingId,
    /// An `id` of another form.
    #[error("its id is not usable: {0}")]
    BadId(IdError),
    /// An `id` of another type than the object's.
    #[error("its id {id} is of another type than the object, which is \"{stix_type}\"")]
    IdOfOtherType { id: String, stix_type: String },
    /// No `type`.
    #[error("it has no text property \"type\"")]
    MissingType,
    /// A type the data model does not have.
    #[error("objects of type \"{0}\" are not supported")]
    UnsupportedType(String),
    /// A relationship type the data model does not have.
    #[error("relationships of type \"{0}\" are not supported")]
    UnsupportedRelationship(String),
    /// A property that neither STIX nor the data model has.
    #[error("property \"{property}\" is not known for {kind}; name a custom property x_{property}")]
    UnknownProperty { property: String, kind: String },
    /// A property that must be there.
    #[error("{kind} needs property \"{property}\"")]
    MissingProperty { property: String, kind: String },
    /// A value of the wrong form.
    #[error("property \"{property}\": {error}")]
    BadValue { property: String, error: ValueError },
    /// A reference that is not an identifier.
    #[error("property \"{property}\": {error}")]
    BadReference { property: String, error: IdError },
    /// A relationship from something to itself.
    #[error("a relationship cannot point from an object to itself ({0})")]
    SelfRelation(String),
    /// A sighting of many things in many places.
    #[error(
        "it stands for more than {0} sightings (things sighted times places); send it in several objects"
    )]
    TooManySightings(usize),
    /// A number outside its range.
    #[error("property \"{property}\" must lie between {low} and {high}")]
    OutOfRange {
        property: String,
        low: i64,
        high: i64,
    },
    /// An end before its start.
    #[error("\"{end}\" lies before \"{start}\"")]
    EndBeforeStart { start: String, end: String },
    /// A value that an observable of this type cannot have.
    #[error("\"{value}\" is not a correct value of {kind}: {expected}")]
    ObservableFormat {
        kind: String,
        value: String,
        expected: &'static str,
    },
    /// A pattern that cannot be parsed.
    #[error("the indicator's pattern is not correct: {0}")]
    IndicatorFormat(PatternError),
    /// The main observable type is not an observable.
    #[error(
        "\"{0}\" is not a type of observable; x_opencti_main_observable_type takes names such as IPv4-Addr or Unknown"
    )]
    MainObservableType(String),
    /// The key of an observable in short form names no property of an observable.
    #[error(
        "key \"{0}\" is not <type>.<property> of an observable, such as IPv4-Addr.value or File.hashes.MD5"
    )]
    SimpleObservableKey(String),
    /// An operation other than creation ([`super::Order`]).
    #[error(
        "operation \"{0}\" is not carried out for bundles; only delete, delete_force and merge are"
    )]
    Operation(String),
    /// Derived by a rule on another platform; to be skipped without an error.
    #[error("it was inferred by a rule of another platform and is skipped")]
    Inferred,
    /// Observables in the form of STIX 2.0.
    #[error(
        "observed-data with embedded \"objects\" (STIX 2.0) is not supported; send the observables on their own and name them in \"object_refs\""
    )]
    EmbeddedObjects,
    /// A marking without a text.
    #[error("the marking definition names neither a definition nor a name")]
    NoMarking,
    /// A file came with a GraphQL input.
    #[error("files cannot be uploaded in this release; send the object without \"{0}\"")]
    File(String),
}

impl RefusalReason {
    /// Whether the object is left out on purpose, so that nothing is wrong with it.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        matches!(self, Self::Inferred)
    }

    /// The code by which clients recognise expected failures.
    #[must_use]
    pub fn doc_code(&self) -> Option<&'static str> {
        match self {
            Self::ObservableFormat { .. } => Some("INCORRECT_OBSERVABLE_FORMAT"),
            Self::IndicatorFormat(_) => Some("INCORRECT_INDICATOR_FORMAT"),
            Self::SelfRelation(_) => Some("SELF_REFERENCING_RELATION"),
            _ => None,
        }
    }
}
