//! A small client of the Docker Engine API over its unix socket: one connection for each request, answers as JSON or as a stream.

use std::{path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::orchestrator::Failure;

/// The oldest engine that is spoken to is 20.10.
const VERSION: &str = "v1.41";
/// How long a request may take that waits for nothing but the engine.
pub const SOON: Duration = Duration::from_secs(60);
/// An answer that is longer is not one.
pub const LONGEST: usize = 64 << 20;

/// Where the engine is.
#[derive(Debug, Clone)]
pub struct Client {
    pub socket: PathBuf,
}

/// An answer of the engine, whatever its status.
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Reply {
    /// The engine's words for what went wrong.
    pub fn message(&self) -> String {
        let message = serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        let message = message.unwrap_or_else(|| format!("the engine answered {}", self.status));
        if message.contains("no space left") {
            return format!("the engine says: {message}; make room on its disk");
        }
        message
    }

    /// The answer, or why there is none.
    pub fn json(self) -> Result<Value, Failure> {
        let reply = self.done()?;
        serde_json::from_slice(&reply.body).map_err(|error| {
            Failure::Unavailable(format!("the engine's answer is no JSON: {error}"))
        })
    }

    /// Success, or the engine's words. What is there already is success too.
    pub fn done(self) -> Result<Self, Failure> {
        match self.status.as_u16() {
            200..=299 | 304 => Ok(self),
            400..=499 => Err(Failure::Refused(self.message())),
            _ => Err(Failure::Unavailable(self.message())),
        }
    }
}

impl Client {
    /// Sends a request and reads the whole answer within a time.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let whole = async {
            let response = self.open(method, path, body, None).await?;
            let status = response.status();
            let mut stream = response.into_body();
            let mut body = Vec::new();
            while let Some(piece) = next(&mut stream).await? {
                if body.len() + piece.len() > LONGEST {
                    return Err(self.trouble("its answer is too long"));
                }
                body.extend_from_slice(&piece);
            }
            let body = body.into();
            Ok(Reply { status, body })
        };
        tokio::time::timeout(patience, whole)
            .await
            .unwrap_or_else(|_| Err(self.trouble("it did not answer in time")))
    }

    /// Sends a request; the answer is read piece by piece with [`next`].
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        registry: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.trouble(&error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.trouble(&error.to_string()))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/{VERSION}{path}"))
            .header(header::HOST, "docker");
        if let Some(registry) = registry {
            request = request.header("X-Registry-Auth", registry);
        }
        let content = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(content))
            .map_err(|error| self.trouble(&error.to_string()))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.trouble(&error.to_string()))
    }

    fn trouble(&self, why: &str) -> Failure {
        Failure::Unavailable(format!(
            "the Docker engine at {} cannot be asked: {why}",
            self.socket.display()
        ))
    }
}

/// The next piece of a streamed answer; `None`: it has ended.
pub async fn next(stream: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match stream.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(Failure::Unavailable(format!(
                    "the Docker engine broke off: {error}"
                )));
            }
        }
    }
}

/// A text as part of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
