//! The engine: prepares documents, keeps them, and executes requests.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::coerce::{Coercion, Place, ScalarFn, Variables};
use crate::document::Prepared;
use crate::error::{Error, Refusal};
use crate::execute::{Execution, too_large};
use crate::introspect::Introspector;
use crate::limits::Limits;
use crate::request::{Request, RequestError};
use crate::resolver::{OperationKind, Resolver};
use crate::schema::Schema;

/// Answers to introspection are kept up to this many bytes.
const INTROSPECTION_BYTES: u64 = 16 * 1024 * 1024;

/// A schema with limits, scalar checks and caches. Shared between threads.
pub struct Engine {
    schema: Schema,
    limits: Limits,
    scalars: HashMap<String, ScalarFn>,
    documents: Cache<u128, Arc<Prepared>>,
    /// By document and field of the root.
    introspection: Cache<(u128, usize), Arc<[u8]>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status: 200, or 400 for requests that could not be understood.
    pub status: u16,
    /// JSON text.
    pub body: Vec<u8>,
    /// The errors in the body, for logs and metrics.
    pub errors: Vec<Error>,
}

impl Response {
    fn new(status: u16, data: &[u8], errors: Vec<Error>) -> Self {
        let mut body = Vec::with_capacity(data.len() + 16 + errors.len() * 256);
        body.extend_from_slice(b"{\"data\":");
        body.extend_from_slice(data);
        if !errors.is_empty() {
            body.extend_from_slice(b",\"errors\":[");
            for (i, error) in errors.iter().enumerate() {
                if i > 0 {
                    body.push(b',');
                }
                error.write(&mut body);
            }
            body.push(b']');
        }
        body.push(b'}');
        Self {
            status,
            body,
            errors,
        }
    }

    /// The answer to a batch: a list of the answers, with status 200.
    pub fn batch(responses: Vec<Self>) -> Self {
        let mut body = vec![b'['];
        let mut errors = Vec::new();
        for (i, response) in responses.into_iter().enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&response.body);
            errors.extend(response.errors);
        }
        body.push(b']');
        Self {
            status: 200,
            body,
            errors,
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, b"null", refusal.errors)
    }
}

impl From<RequestError> for Response {
    fn from(error: RequestError) -> Self {
        Refusal::from(error).into()
    }
}

impl Engine {
    /// An engine without checks for custom scalars.
    pub fn new(schema: Schema, limits: Limits) -> Self {
        let documents = Cache::builder()
            .max_capacity(limits.cached_document_bytes)
            .weigher(|_: &u128, prepared: &Arc<Prepared>| prepared.weight())
            .build();
        let introspection = Cache::builder()
            .max_capacity(INTROSPECTION_BYTES)
            .weigher(|_: &(u128, usize), text: &Arc<[u8]>| {
                u32::try_from(text.len()).unwrap_or(u32::MAX)
            })
            .build();
        Self {
            schema,
            limits,
            scalars: HashMap::new(),
            documents,
            introspection,
        }
    }

    /// Adds the check of a custom scalar: it gets every non-null input value, from variables and from literals, and
    /// returns the value to use, or a sentence (without full stop) about what is wrong with it.
    #[must_use]
    pub fn scalar(
        mut self,
        name: &str,
        check: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        self.scalars.insert(name.to_owned(), Box::new(check));
        self
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Parses and validates a document, or finds it among those prepared before. Only valid documents are kept.
    ///
    /// # Errors
    /// Syntax errors, validation errors, and exceeded limits.
    pub fn prepare(&self, query: &str) -> Result<Arc<Prepared>, Refusal> {
        let key = xxh3_128(query.as_bytes());
        let known = self.documents.get(&key);
        // The hash is not a cryptographic one: the text decides.
        if let Some(prepared) = known.as_ref().filter(|prepared| prepared.text() == query) {
            return Ok(prepared.clone());
        }
        let prepared = Arc::new(Prepared::new(query, key, &self.schema, &self.limits)?);
        if known.is_none() {
            self.documents.insert(key, prepared.clone());
        }
        Ok(prepared)
    }

    /// Documents that are kept now.
    pub fn cached_documents(&self) -> u64 {
        self.documents.run_pending_tasks();
        self.documents.entry_count()
    }

    /// Executes an operation of a prepared document. Of the request, the operation's name and the variables are used.
    pub fn execute<R: Resolver>(
        &self,
        prepared: &Prepared,
        request: Request,
        resolver: &R,
    ) -> Response {
        match self.try_execute(prepared, request, resolver) {
            Ok(response) => response,
            Err(refusal) => refusal.into(),
        }
    }

    /// Prepares and executes.
    pub fn run<R: Resolver>(&self, request: Request, resolver: &R) -> Response {
        match self.prepare(&request.query) {
            Ok(prepared) => self.execute(&prepared, request, resolver),
            Err(refusal) => refusal.into(),
        }
    }

    fn try_execute<R: Resolver>(
        &self,
        prepared: &Prepared,
        request: Request,
        resolver: &R,
    ) -> Result<Response, Refusal> {
        let prep = prepared.operation(request.operation_name.as_deref())?;
        let coercion = self.coercion(&request.uploads);
        let values = coercion
            .variables(
                &prep.operation,
                request.variables,
                &prepared.document.sources,
            )
            .map_err(|errors| Refusal {
                status: 200,
                errors,
            })?;
        let plan = prep.plan(&prepared.document, &values)?;
        let introspection_values = if prep.introspects {
            values.clone()
        } else {
            serde_json::Map::new()
        };
        let introspect = |_: &_, field: usize| {
            // Without variables the document alone decides about the answer.
            let cacheable = prep.operation.variables.is_empty();
            if cacheable && let Some(text) = self.introspection.get(&(prepared.key, field)) {
                return Ok(text);
            }
            let introspector = Introspector::new(&self.schema);
            let variables = Variables {
                values: introspection_values.clone(),
                used_once: &[],
            };
            let text: Arc<[u8]> = Execution::new(
                &introspector,
                coercion,
                &self.limits,
                &plan,
                OperationKind::Query,
                variables,
            )
            .run_field(field)?
            .into();
            if cacheable {
                self.introspection
                    .insert((prepared.key, field), text.clone());
            }
            Ok(text)
        };
        let variables = Variables {
            values,
            used_once: &prep.used_once,
        };
        let execution = Execution::new(
            resolver,
            coercion,
            &self.limits,
            &plan,
            prep.kind,
            variables,
        );
        let (data, errors) = execution.run(&introspect);
        Ok(match data {
            Some(data) => Response::new(200, &data, errors),
            None => Response::new(200, b"null", vec![too_large()]),
        })
    }

    fn coercion<'a>(&'a self, uploads: &'a [Place]) -> Coercion<'a> {
        Coercion {
            schema: &self.schema,
            scalars: &self.scalars,
            uploads,
        }
    }
}
