//! Errors: what a resolver reports, what a client reads, and the translation of the parser's diagnostics.

use std::borrow::Cow;
use std::fmt;

use apollo_compiler::parser::{SourceMap, SourceSpan};
use apollo_compiler::validation::DiagnosticList;
use serde_json::{Map, Value};

/// Error codes that the engine itself gives. A resolver may use any other.
pub mod code {
    /// The document is not GraphQL.
    pub const PARSE: &str = "GRAPHQL_PARSE_FAILED";
    /// The document does not fit the schema, or exceeds a limit.
    pub const VALIDATION: &str = "GRAPHQL_VALIDATION_FAILED";
    /// A variable or an argument has a value of the wrong form.
    pub const BAD_INPUT: &str = "BAD_USER_INPUT";
    /// The request body is not a GraphQL request.
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    /// The answer would be larger than allowed.
    pub const TOO_LARGE: &str = "RESPONSE_TOO_LARGE";
    /// A resolver broke its contract, for example null for a non-null field.
    pub const INTERNAL: &str = "INTERNAL_SERVER_ERROR";
}

/// Why a field could not be resolved. `code` and `data` reach the client in the [error envelope](Error).
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// For people.
    pub message: String,
    /// For programs, such as `FORBIDDEN_ACCESS`.
    pub code: Cow<'static, str>,
    /// Further facts, such as the HTTP status that the error stands for.
    pub data: Box<Map<String, Value>>,
}

impl FieldError {
    /// An error without further data.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: code.into(),
            data: Box::default(),
        }
    }

    /// Adds one member to the error's data.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for FieldError {}

/// One step on the way from the root of an answer to the field that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// Response key: the alias, or else the name.
    Key(String),
    /// Position in a list.
    Index(usize),
}

/// One entry of `errors` in an answer. Written as
/// `{"message", "name": code, "data", "extensions": {"code", "data"}, "path"?, "locations"?}`, because clients
/// of different generations read the code and the data from either place.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// For people.
    pub message: String,
    /// For programs.
    pub code: Cow<'static, str>,
    /// Further facts.
    pub data: Map<String, Value>,
    /// The field; empty when the request failed before execution.
    pub path: Vec<PathSegment>,
    /// Line and column in the document, both from 1.
    pub locations: Vec<(usize, usize)>,
}

impl Error {
    /// An error without data, path and locations.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        FieldError::new(code, message).into()
    }

    pub(crate) fn at(mut self, span: Option<SourceSpan>, sources: &SourceMap) -> Self {
        self.locations.extend(location(span, sources));
        self
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"message\":");
        write_json(out, &self.message);
        out.extend_from_slice(b",\"name\":");
        write_json(out, &self.code);
        out.extend_from_slice(b",\"data\":");
        write_json(out, &self.data);
        out.extend_from_slice(b",\"extensions\":{\"code\":");
        write_json(out, &self.code);
        out.extend_from_slice(b",\"data\":");
        write_json(out, &self.data);
        out.push(b'}');
        if !self.path.is_empty() {
            out.extend_from_slice(b",\"path\":[");
            for (i, segment) in self.path.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                match segment {
                    PathSegment::Key(key) => write_json(out, key),
                    PathSegment::Index(index) => write_json(out, index),
                }
            }
            out.push(b']');
        }
        if !self.locations.is_empty() {
            out.extend_from_slice(b",\"locations\":[");
            for (i, (line, column)) in self.locations.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(
                    format!("{{\"line\":{line},\"column\":{column}}}").as_bytes(),
                );
            }
            out.push(b']');
        }
        out.push(b'}');
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self {
            message: error.message,
            code: error.code,
            data: *error.data,
            path: Vec::new(),
            locations: Vec::new(),
        }
    }
}

/// A request that was refused before execution. The answer has `"data": null` and these errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// HTTP status: 400 for malformed requests, documents that do not parse or do not validate; 200 for wrong variables.
    pub status: u16,
    /// At least one.
    pub errors: Vec<Error>,
}

impl Refusal {
    /// A refusal with one error.
    pub fn new(status: u16, error: impl Into<Error>) -> Self {
        Self {
            status,
            errors: vec![error.into()],
        }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, Error::new(code::VALIDATION, message))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", error.code, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// At most this many diagnostics of one document are reported.
const MAX_DIAGNOSTICS: usize = 50;

/// The parser's diagnostics as plain sentences with line and column.
pub(crate) fn diagnostics(list: &DiagnosticList, code: &'static str) -> Vec<Error> {
    list.iter()
        .take(MAX_DIAGNOSTICS)
        .map(|diagnostic| {
            // The compatible wording is the reference implementation's, which client authors know.
            let message = diagnostic
                .error
                .unstable_compat_message()
                .unwrap_or_else(|| diagnostic.error.to_string());
            let mut error = Error::new(code, message);
            if let Some(range) = diagnostic.line_column_range() {
                error.locations.push((range.start.line, range.start.column));
            }
            error
        })
        .collect()
}

pub(crate) fn location(span: Option<SourceSpan>, sources: &SourceMap) -> Option<(usize, usize)> {
    let at = span?.line_column(sources)?;
    Some((at.line, at.column))
}

/// Appends a value as JSON text. Writing into memory cannot fail, and everything written here has string keys.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}
