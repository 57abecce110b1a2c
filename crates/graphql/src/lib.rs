//! A GraphQL engine: schema definition language in, validated and cached documents, level-batched execution.
//!
//! [`Schema`] is parsed from SDL text. An [`Engine`] prepares documents ([`Prepared`], cached) and executes
//! them against a [`Resolver`], which answers one call per (concrete type, field, arguments) and level for
//! all parents together. Execution is synchronous. The answer ([`Response`]) is JSON text, in the field order
//! of the document, with the error envelope described at [`Error`].
//!
//! ```
//! use ferrocti_graphql::{Engine, FieldCall, FieldError, Limits, OperationKind, Request, Resolved, Resolver, Schema};
//!
//! struct Greeter;
//!
//! impl Resolver for Greeter {
//!     type Node = String;
//!
//!     fn type_of<'n>(&'n self, _: &'n String) -> &'n str {
//!         "Person"
//!     }
//!
//!     fn resolve_root<'p>(
//!         &'p self,
//!         _: OperationKind,
//!         call: &FieldCall<'_>,
//!     ) -> Result<Resolved<'p, String>, FieldError> {
//!         Ok(Resolved::node(call.text("name").map(str::to_owned)))
//!     }
//!
//!     fn resolve<'p>(
//!         &'p self,
//!         _: &FieldCall<'_>,
//!         people: &[&'p String],
//!     ) -> Vec<Result<Resolved<'p, String>, FieldError>> {
//!         people.iter().map(|name| Ok(Resolved::leaf(format!("Hello {name}")))).collect()
//!     }
//! }
//!
//! let schema = Schema::parse("type Query { person(name: String!): Person } type Person { greeting: String! }")?;
//! let engine = Engine::new(schema, Limits::default());
//! let request = Request::from_json(br#"{"query": "{ person(name: \"Ann\") { greeting } }"}"#)?;
//! let response = engine.run(request, &Greeter);
//! assert_eq!(response.body, br#"{"data":{"person":{"greeting":"Hello Ann"}}}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
