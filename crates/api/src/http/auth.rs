//! Logging in and out for pages: `POST /auth/login`, `POST /auth/logout`, `GET /auth/session`. A form is answered by sending the browser to the
//! platform's first page, JSON by JSON.

use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use ferrocti_accounts::AccountError;
use ferrocti_graphql::Refusal;
use ferrocti_model::clock::format_date;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Plain, body, graphql, session};
use crate::AppState;
use crate::caller::{self, Caller, Headers};
use crate::login::{self, Refused};

/// Longest body of a login or logout, in bytes.
const LIMIT: usize = 16 << 10;
/// Content type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// What a login sends.
#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

/// What a logout may send.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Leaving {
    csrf: Option<String>,
}

/// `POST /auth/login` with `email` and `password`: 200 with the user and the session's CSRF token, 401 for wrong ones, 429 after too many.
pub(super) async fn login(State(state): State<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let credentials: Credentials = match read(&state, &parts.headers, body).await {
        Ok(credentials) => credentials,
        Err(plain) => return plain.into_response(),
    };
    // the password is the proof here: a former session is only ended, and who logs in cannot know its token
    let headers = Headers::of(&parts, state.options()).for_login();
    let form = is_form(&parts.headers);
    blocking(state, move |state| {
        let caller = caller::identify(state, &headers).map_err(|refusal| refused(&refusal))?;
        let opened = login::log_in(state, &caller, &credentials.email, &credentials.password)
            .map_err(|refused| unsuccessful(state, &refused))?;
        let body = described(&opened.rights, &opened.session, &opened.secret);
        Ok(finish(state, &caller, form, body))
    })
    .await
}

/// `POST /auth/logout`: ends the session of the cookie and takes the cookie away; 204, also when there was no session any more. A form sends the
/// session's token as `csrf`.
pub(super) async fn logout(State(state): State<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let leaving: Leaving = match read(&state, &parts.headers, body).await {
        Ok(leaving) => leaving,
        Err(plain) => return plain.into_response(),
    };
    let headers = Headers::of(&parts, state.options()).with_csrf(leaving.csrf);
    let form = is_form(&parts.headers);
    blocking(state, move |state| {
        let caller = caller::identify(state, &headers).map_err(|refusal| refused(&refusal))?;
        login::log_out(state, &caller).map_err(|refused| unsuccessful(state, &refused))?;
        Ok(finish(state, &caller, form, Value::Null))
    })
    .await
}

/// `GET /auth/session`: who is logged in by the cookie, with the session's CSRF token; 401 for nobody.
pub(super) async fn session(State(state): State<AppState>, request: Request) -> Response {
    let secret = session::secret(request.headers());
    blocking(state, move |state| {
        let nobody = || {
            Box::new(Plain::new(StatusCode::UNAUTHORIZED, "Nobody is logged in.").into_response())
        };
        let secret = secret.ok_or_else(nobody)?;
        let found = state.services().accounts.session(&secret);
        let (rights, session) = found
            .map_err(|error| unsuccessful(state, &Refused::Account(error)))?
            .ok_or_else(nobody)?;
        Ok(Json(described(&rights, &session, &secret)).into_response())
    })
    .await
}

/// A session as pages need it.
fn described(
    rights: &ferrocti_access::Rights,
    session: &ferrocti_store::Session,
    secret: &str,
) -> Value {
    let actor = &rights.actor;
    json!({
        "user": { "id": actor.user_id, "name": actor.name, "user_email": actor.email },
        "session": { "id": session.id, "created_at": format_date(session.created_at), "expires_at": format_date(session.expires_at) },
        "csrf": session::csrf_token(secret),
    })
}

/// The answer of a login or logout that went well.
fn finish(state: &AppState, caller: &Caller, form: bool, body: Value) -> Response {
    let options = state.options();
    let mut response = if form {
        let first = format!("{}/", options.base_path.trim_end_matches('/'));
        (StatusCode::SEE_OTHER, [(header::LOCATION, first)]).into_response()
    } else if body.is_null() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Json(body).into_response()
    };
    if let Some(change) = caller.cookie.take() {
        let secure = session::is_secure(options.secure_cookie, &caller.peer);
        session::apply(&change, &options.base_path, secure, &mut response);
    }
    response
}

fn unsuccessful(state: &AppState, refused: &Refused) -> Box<Response> {
    let status = match refused {
        Refused::Foreign => StatusCode::FORBIDDEN,
        Refused::Twice => StatusCode::UNAUTHORIZED,
        Refused::Account(AccountError::LoginRefused(_)) if refused.until().is_some() => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Refused::Account(AccountError::LoginRefused(_)) => StatusCode::UNAUTHORIZED,
        Refused::Account(error) => {
            tracing::error!(%error, "a login failed inside");
            return Box::new(failed());
        }
    };
    let mut response = Plain::new(status, refused.to_string()).into_response();
    if let Some(until) = refused.until() {
        let seconds = (until - state.services().clock.now()).max(0) / 1000 + 1;
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Box::new(response)
}

/// A refusal of the whole request, said without GraphQL.
pub(super) fn refused(refusal: &Refusal) -> Box<Response> {
    let status = StatusCode::from_u16(refusal.status)
        .ok()
        .filter(|status| !status.is_success())
        .unwrap_or(StatusCode::BAD_REQUEST);
    let message = refusal.errors.first().map(|error| error.message.clone());
    Box::new(Plain::new(status, message.unwrap_or_default()).into_response())
}

pub(super) fn failed() -> Response {
    Plain::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Internal error. The platform's log tells more.",
    )
    .into_response()
}

fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).starts_with(FORM)
}

/// A body as JSON or as a form; nothing where `T` may be empty. What was sent is not repeated in the answer: it holds a password.
async fn read<T: DeserializeOwned + Send>(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Plain> {
    let held = body::read(body, LIMIT, 1, state.budget()).await?;
    let kind = content_type(headers);
    let parsed = if kind.starts_with(FORM) {
        let mut request = Request::new(Body::from(held.bytes));
        *request.method_mut() = Method::POST;
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
        let form = Form::<T>::from_request(request, &()).await;
        form.ok().map(|form| form.0)
    } else if kind.starts_with("application/json") {
        serde_json::from_slice(&held.bytes).ok()
    } else if held.bytes.is_empty() {
        serde_json::from_str("{}").ok()
    } else {
        None
    };
    parsed.ok_or_else(|| {
        Plain::new(
            StatusCode::BAD_REQUEST,
            "Send the fields as application/json, e.g. {\"email\": \"…\", \"password\": \"…\"}, or as a form.",
        )
    })
}

/// Runs what blocks on a thread of its own, when it is its turn. No cache keeps what these routes answer.
async fn blocking(
    state: AppState,
    work: impl FnOnce(&AppState) -> Result<Response, Box<Response>> + Send + 'static,
) -> Response {
    let slot = match graphql::slot(&state).await {
        Ok(slot) => slot,
        Err(busy) => return busy.into_response(),
    };
    let done = tokio::task::spawn_blocking(move || {
        let response = work(&state).unwrap_or_else(|refused| *refused);
        drop(slot);
        response
    });
    let mut response = done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request failed inside");
        failed()
    });
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
