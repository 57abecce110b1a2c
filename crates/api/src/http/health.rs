//! `GET /health` for those who watch the process, `GET /metrics` for those who count.

use std::fmt::Write;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrocti_store::Visibility;
use serde::Deserialize;
use serde_json::json;

use super::Plain;
use crate::AppState;
use crate::fault::Fault;

/// Query part of `/health`.
#[derive(Debug, Deserialize)]
pub(super) struct Access {
    health_access_key: Option<String>,
}

/// 200 when the store and the queues answer, 503 when one does not, 401 without the configured key.
pub(super) async fn health(
    State(state): State<AppState>,
    Query(access): Query<Access>,
) -> Response {
    if let Some(key) = &state.options().health_key
        && access.health_access_key.as_ref() != Some(key)
    {
        return Plain::new(
            StatusCode::UNAUTHORIZED,
            "This address needs the parameter health_access_key.",
        )
        .into_response();
    }
    let checked = tokio::task::spawn_blocking(move || check(&state)).await;
    match checked {
        Ok(None) => Json(json!({ "status": "success" })).into_response(),
        Ok(Some(failed)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "error", "error": failed })),
        )
            .into_response(),
        Err(_) => {
            Plain::new(StatusCode::INTERNAL_SERVER_ERROR, "The check failed.").into_response()
        }
    }
}

/// What does not answer; `None`: all is well.
fn check(state: &AppState) -> Option<&'static str> {
    let services = state.services();
    let store: Result<_, Fault> = services.store.read(|snapshot| Ok(snapshot.user(0)?));
    if store.is_err() {
        return Some("the store does not answer");
    }
    services
        .queues
        .flush()
        .wait()
        .is_err()
        .then_some("the queues do not answer")
}

/// Counts in the text format of Prometheus, when they are switched on.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    if !state.options().metrics {
        return Plain::new(StatusCode::NOT_FOUND, "Metrics are switched off.").into_response();
    }
    match tokio::task::spawn_blocking(move || collect(&state)).await {
        Ok(Ok(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
        }
        _ => Plain::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The counts cannot be read.",
        )
        .into_response(),
    }
}

fn collect(state: &AppState) -> Result<String, Fault> {
    let services = state.services();
    let (objects, parked) = services.store.read(|snapshot| {
        let objects: u64 = snapshot.counts(&Visibility::All)?.values().sum();
        let (references, elements) = snapshot.parked_counts()?;
        Ok::<_, Fault>((objects, references + elements))
    })?;
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    };
    gauge("ferrocti_objects", "Objects in the store.", objects);
    gauge(
        "ferrocti_parked",
        "References and objects that wait for an identifier.",
        parked,
    );
    let _ = writeln!(
        out,
        "# HELP ferrocti_queue_messages Messages in a queue.\n# TYPE ferrocti_queue_messages gauge"
    );
    for queue in services.queues.list() {
        let _ = writeln!(
            out,
            "ferrocti_queue_messages{{queue={:?}}} {}",
            queue.name, queue.messages
        );
    }
    Ok(out)
}
