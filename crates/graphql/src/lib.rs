//! A GraphQL engine: schema definition language in, validated and cached documents, level-batched execution.
//!
//! [`Schema`] is parsed from SDL text. An [`Engine`] prepares documents ([`Prepared`], cached) and executes
//! them against a [`Resolver`], which answers one call per (concrete type, field, arguments) and level for
//! all parents together. Execution is synchronous. The answer ([`Response`]) is JSON text, in the field order
//! of the document, with the error envelope described at [`Error`].
//!
//! The engine knows nothing of the application: no transport, no authorisation rules (see [`Resolver::guard`]),
//! no types besides those of the SDL. Specification: GraphQL October 2021, without subscriptions.

mod answer;
mod coerce;
mod constraint;
mod document;
mod engine;
mod error;
mod execute;
mod introspect;
mod limits;
pub mod multipart;
mod plan;
mod request;
mod resolver;
mod schema;

pub use document::Prepared;
pub use engine::{Engine, Response};
pub use error::{Error, FieldError, PathSegment, Refusal, code};
pub use limits::Limits;
pub use plan::Selection;
pub use request::{Request, RequestError, Requests};
pub use resolver::{FieldCall, OperationKind, Resolved, Resolver};
pub use schema::{Schema, SchemaError};
