//! HTTP: the router, and what surrounds a GraphQL request on its way to the engine.

mod auth;
mod body;
pub(crate) mod changes;
mod graphql;
mod health;
mod peer;
pub(crate) mod session;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::AppState;
pub(crate) use body::Budget;
pub(crate) use changes::Waiting;
pub(crate) use peer::Peer;
pub use peer::{Network, NetworkError};
pub use session::SecureCookie;
pub(crate) use session::{CookieChange, CookieSlot, Sender};

/// An answer that is not GraphQL's: a status and a sentence.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    status: StatusCode,
    message: String,
}

impl Plain {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// The whole interface: `/graphql`, `/auth/…` for logins, `/composer/changes`, `/health` and `/metrics`, under the base path and without it, with doubled slashes collapsed.
pub fn router(state: AppState) -> Router {
    let base = state.options().base_path.trim_matches('/').to_owned();
    let inner = Router::new()
        .route("/graphql", any(graphql::handle))
        .route("/auth/login", post(auth::login))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/session", get(auth::session))
        .route("/composer/changes", get(changes::changes))
        .route("/health", get(health::health))
        .route("/metrics", get(health::metrics))
        .fallback(not_found)
        .with_state(state);
    let normalised = tower::ServiceBuilder::new()
        .map_request(move |request: Request| normalise(&base, request))
        .service(inner);
    Router::new()
        .fallback_service(normalised)
        .layer(CompressionLayer::new().gzip(true))
        .layer(CatchPanicLayer::custom(panicked))
}

async fn not_found(uri: Uri) -> Plain {
    Plain::new(
        StatusCode::NOT_FOUND,
        format!(
            "There is nothing at {}. The API is at /graphql.",
            uri.path()
        ),
    )
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // What panicked is in the log; the client learns nothing about the inside.
    tracing::error!("a request handler panicked");
    let body = r#"{"data":null,"errors":[{"message":"Internal error.","name":"UNKNOWN_ERROR","extensions":{"code":"UNKNOWN_ERROR"}}]}"#;
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(body),
    )
        .into_response()
}

/// Collapses doubled slashes, which clients make when they join addresses, and takes the base path away.
fn normalise(base: &str, mut request: Request) -> Request {
    let path = clean(base, request.uri().path());
    if path != request.uri().path() {
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        if let Ok(uri) = format!("{path}{query}").parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn clean(base: &str, path: &str) -> String {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let base: Vec<&str> = base
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let rest = segments.strip_prefix(base.as_slice()).unwrap_or(&segments);
    format!("/{}", rest.join("/"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn addresses_are_found_with_and_without_base_path_and_with_doubled_slashes() {
        for (base, path, expected) in [
            ("", "/graphql", "/graphql"),
            ("", "//graphql", "/graphql"),
            ("cti/prod", "/cti/prod/graphql", "/graphql"),
            ("cti/prod", "/cti//prod//graphql/", "/graphql"),
            ("cti/prod", "/graphql", "/graphql"),
            ("", "/", "/"),
        ] {
            assert_eq!(clean(base, path), expected, "{base} {path}");
        }
    }
}
