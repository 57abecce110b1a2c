//! The body of a request: JSON text in, document, operation name and variables out.

use serde_json::{Map, Value};

use crate::coerce::Place;
use crate::error::{Error, Refusal, code};

/// One request: a document with variables. Made by [`Request::new`], [`Request::from_json`] or
/// [`multipart::read`](crate::multipart::read); uploads are put in by [`multipart::place`](crate::multipart::place) alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The document.
    pub query: String,
    /// Which operation of the document to run; needed when there are several.
    pub operation_name: Option<String>,
    /// Values for the operation's variables, as sent.
    pub variables: Map<String, Value>,
    /// Where the variables hold the index of an uploaded file. Kept apart from the values, so that no plain JSON
    /// can pretend to be an upload.
    pub(crate) uploads: Vec<Place>,
}

/// The body of a request: one, or a batch that is answered by a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Requests {
    /// A JSON object.
    One(Request),
    /// A JSON array.
    Batch(Vec<Request>),
}

/// A body that is not a GraphQL request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not UTF-8.
    #[error("The request body is not UTF-8 text (first invalid byte at {0}).")]
    NotUtf8(usize),
    /// Not JSON, or nested more than 127 levels deep.
    #[error("The request body is not valid JSON: {0}.")]
    NotJson(String),
    /// JSON of another form.
    #[error("{0}")]
    Form(String),
    /// More operations in one body than allowed.
    #[error(
        "The batch holds {found} requests; at most {max} are accepted. Send them in several batches."
    )]
    BatchTooLarge {
        /// Requests in the batch.
        found: usize,
        /// Allowed.
        max: usize,
    },
    /// The `map` part of an upload does not fit the rest.
    #[error("The upload map is wrong: {0}.")]
    Map(String),
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::new(400, Error::new(code::BAD_REQUEST, error.to_string()))
    }
}

impl Request {
    /// A request made by a program.
    pub fn new(query: impl Into<String>, variables: Map<String, Value>) -> Self {
        Self {
            query: query.into(),
            variables,
            ..Self::default()
        }
    }

    /// Reads one request: `{"query", "variables"?, "operationName"?}`; other members are ignored.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with the body.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        Self::from_value(parse(body)?)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, RequestError> {
        let Value::Object(mut members) = value else {
            return Err(form(
                "The request body must be a JSON object with the member \"query\".",
            ));
        };
        let query = match members.swap_remove("query") {
            Some(Value::String(query)) if !query.trim().is_empty() => query,
            Some(Value::String(_) | Value::Null) | None => {
                return Err(form("The request has no \"query\"."));
            }
            Some(_) => return Err(form("\"query\" must be a string.")),
        };
        let operation_name = match members.swap_remove("operationName") {
            Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
            Some(Value::Null) | None => None,
            Some(_) => return Err(form("\"operationName\" must be a string.")),
        };
        let variables = match members.swap_remove("variables") {
            Some(Value::Object(variables)) => variables,
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(form("\"variables\" must be an object.")),
        };
        Ok(Self {
            query,
            operation_name,
            variables,
            uploads: Vec::new(),
        })
    }
}

impl Requests {
    /// Reads a body that is one request or an array of at most `max_batch` requests.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with the body.
    pub fn from_json(body: &[u8], max_batch: usize) -> Result<Self, RequestError> {
        match parse(body)? {
            Value::Array(requests) if requests.is_empty() => Err(form("The batch is empty.")),
            Value::Array(requests) if requests.len() > max_batch => {
                Err(RequestError::BatchTooLarge {
                    found: requests.len(),
                    max: max_batch,
                })
            }
            Value::Array(requests) => requests
                .into_iter()
                .map(Request::from_value)
                .collect::<Result<_, _>>()
                .map(Self::Batch),
            value => Request::from_value(value).map(Self::One),
        }
    }
}

pub(crate) fn form(message: &str) -> RequestError {
    RequestError::Form(message.to_owned())
}

pub(crate) fn parse(body: &[u8]) -> Result<Value, RequestError> {
    let text =
        std::str::from_utf8(body).map_err(|error| RequestError::NotUtf8(error.valid_up_to()))?;
    serde_json::from_str(text).map_err(|error| RequestError::NotJson(error.to_string()))
}
