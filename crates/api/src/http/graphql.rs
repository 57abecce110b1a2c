//! `POST /graphql`: body to requests, requests to answers, each on a blocking thread.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrocti_accounts::Scope;
use ferrocti_graphql::{
    OperationKind, Request as GraphQl, RequestError, Requests, Response as Answer, multipart,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{CookieChange, Plain, body, session};
use crate::AppState;
use crate::caller::{self, Caller, Headers};
use crate::fault::Fault;
use crate::resolve::{Resolution, View};

/// Bytes of memory per byte of a JSON body: the body itself, its parsed form, what is made of it.
const JSON_WEIGHT: usize = 4;
/// Largest body of somebody who is not logged in, and of anybody before that is known.
const STRANGER_BODY: usize = body::SHORT;
/// Queries that take snapshots of their own: a request must not hold one while it waits for another.
const READS_ITSELF: [&str; 5] = [
    "accessExplain",
    "doctor",
    "composerWork",
    "connectorsForManagers",
    "connectorsPlan",
];
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers a request, whatever its method.
pub(super) async fn handle(State(state): State<AppState>, request: Request) -> Response {
    match serve(state, request).await {
        Ok(answer) => answer,
        Err(plain) => plain.into_response(),
    }
}

async fn serve(state: AppState, request: Request) -> Result<Response, Plain> {
    if request.method() != Method::POST {
        let hint = Plain::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "GraphQL requests are sent with POST, as JSON: {\"query\": \"…\", \"variables\": {}}.",
        );
        let mut answer = hint.into_response();
        answer
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return Ok(answer);
    }
    let (parts, raw) = request.into_parts();
    let headers = Headers::of(&parts, state.options());
    let secure = headers.is_secure(state.options().secure_cookie);
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/json")
        .to_ascii_lowercase();
    let limit = body_limit(&state, &headers, raw.size_hint().upper()).await;
    let body::Held { bytes, share } = body::read(raw, limit, JSON_WEIGHT, state.budget()).await?;
    let slot = slot(&state).await?;
    let base = state.clone();
    let (answer, cookie) = if content_type.starts_with("multipart/form-data") {
        let upload = upload(parts, bytes).await;
        let engine = state.clone();
        let requests = move || upload?.into_requests(&engine);
        run(state, headers, requests, (slot, share)).await?
    } else if content_type.starts_with("application/json")
        || content_type.starts_with("application/graphql-response+json")
    {
        let max_batch = state.options().max_batch;
        let requests = move || Requests::from_json(&bytes, max_batch);
        run(state, headers, requests, (slot, share)).await?
    } else {
        return Err(Plain::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send application/json, or multipart/form-data for uploads.",
        ));
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (
        status,
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        answer.body,
    )
        .into_response();
    if let Some(change) = cookie {
        session::apply(&change, &base.options().base_path, secure, &mut response);
    }
    Ok(response)
}

/// Waits for the turn of a request.
pub(super) async fn slot(state: &AppState) -> Result<OwnedSemaphorePermit, Plain> {
    tokio::time::timeout(PATIENCE, state.slots().clone().acquire_owned())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| {
            Plain::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The platform is busy. Try again later.",
            )
        })
}

/// How long a body may be: strangers send nothing large, whatever they announce.
async fn body_limit(state: &AppState, headers: &Headers, announced: Option<u64>) -> usize {
    let limit = state.options().max_body;
    if announced.is_some_and(|bytes| bytes <= STRANGER_BODY as u64) {
        return limit;
    }
    let (state, headers) = (state.clone(), headers.clone());
    let known = tokio::task::spawn_blocking(move || caller::is_known(&state, &headers)).await;
    if known.unwrap_or(false) {
        limit
    } else {
        limit.min(STRANGER_BODY)
    }
}

/// Runs everything that blocks on a thread of its own.
async fn run(
    state: AppState,
    headers: Headers,
    requests: impl FnOnce() -> Result<Requests, RequestError> + Send + 'static,
    held: (OwnedSemaphorePermit, body::Share),
) -> Result<(Answer, Option<CookieChange>), Plain> {
    let work = move || {
        let answer = match requests() {
            Ok(requests) => answer(&state, &headers, requests),
            Err(error) => (error.into(), None),
        };
        drop(held);
        answer
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request failed inside");
        Plain::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error. The platform's log tells more.",
        )
    })
}

fn answer(
    state: &AppState,
    headers: &Headers,
    requests: Requests,
) -> (Answer, Option<CookieChange>) {
    let caller = match caller::identify(state, headers) {
        Ok(caller) => caller,
        Err(refusal) => return (refusal.into(), None),
    };
    let answer = match requests {
        Requests::One(request) => execute(state, &caller, request),
        Requests::Batch(requests) => Answer::batch(
            requests
                .into_iter()
                .map(|request| execute(state, &caller, request))
                .collect(),
        ),
    };
    (answer, caller.cookie.take())
}

/// Executes one operation: a query on one snapshot, a mutation with a fresh one after every change.
pub(crate) fn execute(state: &AppState, caller: &Caller, request: GraphQl) -> Answer {
    let prepared = match state.engine().prepare(&request.query) {
        Ok(prepared) => prepared,
        Err(refusal) => return refusal.into(),
    };
    let kind = match prepared.kind(request.operation_name.as_deref()) {
        Ok(kind) => kind,
        Err(refusal) => return refusal.into(),
    };
    // what the platform can do is nobody's business who is not logged in
    if caller.actor.is_none()
        && matches!(
            prepared.introspects(request.operation_name.as_deref()),
            Ok(true)
        )
    {
        let error = ferrocti_graphql::Error::from(Fault::login_required().into_inner());
        return ferrocti_graphql::Refusal::new(200, error).into();
    }
    let deadline = Instant::now() + state.options().timeout;
    let store = &state.services().store;
    let names = prepared.root_fields(request.operation_name.as_deref());
    let reads_itself =
        names.is_ok_and(|names| names.iter().any(|name| READS_ITSELF.contains(name)));
    if kind == OperationKind::Mutation || reads_itself {
        let resolution = Resolution::new(state, View::Fresh(store), caller, deadline);
        let answer = state.engine().execute(&prepared, request, &resolution);
        record_refused(state, caller, kind, &resolution.refused());
        return answer;
    }
    let read: Result<_, Fault> = store.read(|snapshot| {
        let resolution = Resolution::new(state, View::Fixed(snapshot), caller, deadline);
        let answer = state.engine().execute(&prepared, request, &resolution);
        Ok((answer, resolution.refused()))
    });
    match read {
        Ok((answer, refused)) => {
            record_refused(state, caller, kind, &refused);
            answer
        }
        Err(fault) => {
            ferrocti_graphql::Refusal::new(500, ferrocti_graphql::Error::from(fault.into_inner()))
                .into()
        }
    }
}

/// Writes into the audit log what a user tried without the right to.
fn record_refused(state: &AppState, caller: &Caller, kind: OperationKind, fields: &[String]) {
    let Some(actor) = caller.actor.as_deref().filter(|_| !fields.is_empty()) else {
        return;
    };
    let (scope, message) = match kind {
        OperationKind::Query => (Scope::UnauthorizedRead, "tries an `unauthorized read`"),
        OperationKind::Mutation => (Scope::Unauthorized, "tries an `unauthorized mutation`"),
    };
    let data = serde_json::json!({ "operation": fields });
    let recorded = state.services().store.write(|tx| {
        let row = Some(actor.user_row);
        ferrocti_accounts::record_refusal(tx, row, caller.origin(), scope, message, Some(data))
    });
    if let Err(error) = recorded {
        tracing::error!(%error, "a refusal could not be recorded");
    }
}

/// The parts of an upload. The files themselves are passed over: no operation takes them yet.
struct Upload {
    operations: Bytes,
    map: Bytes,
    /// Names of the file parts, in their order.
    files: Vec<String>,
}

impl Upload {
    /// A document that is not valid is left to be refused when it is executed, as that of a plain request: where its files would
    /// belong is of no interest then.
    fn into_requests(self, state: &AppState) -> Result<Requests, RequestError> {
        let mut request = multipart::read(&self.operations)?;
        if state.engine().prepare(&request.query).is_ok() {
            multipart::place(&mut request, &self.map, &self.files)?;
        }
        Ok(Requests::One(request))
    }
}

/// Takes an upload apart.
async fn upload(parts: axum::http::request::Parts, bytes: Vec<u8>) -> Result<Upload, RequestError> {
    let broken = |error: MultipartError| {
        RequestError::Form(format!(
            "The upload cannot be read: {}.",
            error.body_text().trim_end_matches('.')
        ))
    };
    let mut request = Request::from_parts(parts, Body::from(bytes));
    // how long a body may be was checked when it was read
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| RequestError::Form(format!("The upload cannot be read: {error}.")))?;
    let (mut operations, mut map, mut files) = (None, None, Vec::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let content = field.bytes().await.map_err(broken)?;
        match name.as_str() {
            "operations" => operations = Some(content),
            "map" => map = Some(content),
            _ => files.push(name),
        }
    }
    match (operations, map) {
        (Some(operations), Some(map)) => Ok(Upload {
            operations,
            map,
            files,
        }),
        _ => Err(RequestError::Form(
            "An upload needs the parts \"operations\" and \"map\".".to_owned(),
        )),
    }
}
