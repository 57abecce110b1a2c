//! `GET /composer/changes?after=<version>&wait=<seconds>`: answers when a composer's work has changed. Who waits holds no thread and none of the
//! places of GraphQL requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrocti_access::{Action, may, names};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::Plain;
use crate::AppState;
use crate::caller::{self, Headers};
use crate::fault::Fault;

/// Longest wait that is granted.
const LONGEST: Duration = Duration::from_secs(30);
/// How many may wait at a time, of all users and of one.
const WAITERS: usize = 1024;
const WAITERS_OF_ONE: usize = 256;

/// Who waits, and what ends all waiting.
pub(crate) struct Waiting {
    of: Mutex<HashMap<i64, usize>>,
    over: watch::Sender<bool>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            of: Mutex::default(),
            over: watch::Sender::new(false),
        }
    }
}

impl Waiting {
    /// Answers everybody who waits, and lets nobody wait any more.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    /// A place to wait in; `None`: there is none left.
    fn enter(self: &Arc<Self>, user: i64) -> Option<Place> {
        let mut of = self.of.lock();
        let all: usize = of.values().sum();
        let own = of.get(&user).copied().unwrap_or(0);
        if all >= WAITERS || own >= WAITERS_OF_ONE {
            return None;
        }
        of.insert(user, own + 1);
        Some(Place {
            waiting: Arc::clone(self),
            user,
        })
    }
}

/// The place of one who waits; free again when it is dropped, also because the client went away.
struct Place {
    waiting: Arc<Waiting>,
    user: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.waiting.of.lock();
        match of.get_mut(&self.user) {
            Some(number) if *number > 1 => *number -= 1,
            _ => {
                of.remove(&self.user);
            }
        }
    }
}

/// Query part of the address.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// The version that the composer knows.
    after: Option<String>,
    /// How long it waits, in seconds.
    wait: Option<u64>,
}

/// 200 with `{"version": "…"}`: at once when it is not the one that was sent, otherwise when it changes or at the end of the wait. 401 without a
/// valid token, 403 for others than composers and those who manage connectors, 503 when too many wait.
pub(super) async fn changes(
    State(state): State<AppState>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let headers = Headers::of(&parts, state.options());
    let user = match identified(&state, headers).await {
        Ok(user) => user,
        Err(refused) => return *refused,
    };
    let wait = Duration::from_secs(asked.wait.unwrap_or(0)).min(LONGEST);
    let mut changes = state.services().connectors.changes();
    let mut over = state.waiting().over.subscribe();
    let known = asked.after.unwrap_or_default();
    let is_news = |number: u64| version(&state, number) != known;
    if !wait.is_zero() && !is_news(*changes.borrow()) {
        let Some(place) = state.waiting().enter(user) else {
            let plain = Plain::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many composers wait for changes. Ask without waiting, or later.",
            );
            return ([(header::RETRY_AFTER, "10")], plain).into_response();
        };
        tokio::select! {
            _ = changes.wait_for(|number| is_news(*number)) => {}
            _ = over.wait_for(|over| *over) => {}
            () = tokio::time::sleep(wait) => {}
        }
        drop(place);
    }
    let version = version(&state, *changes.borrow());
    Json(json!({ "version": version })).into_response()
}

/// The name of a state of affairs: a number counts from the start of the platform, so that its start is part of the name.
pub(crate) fn version(state: &AppState, number: u64) -> String {
    format!("{}-{number}", state.started_at())
}

/// The user that asks (`User.row`), if it may. Only this takes a place of a request: it reads the store, and may look at a password.
async fn identified(state: &AppState, headers: Headers) -> Result<i64, Box<Response>> {
    let slot = super::graphql::slot(state)
        .await
        .map_err(|busy| Box::new(busy.into_response()))?;
    let state = state.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let checked = check(&state, &headers);
        drop(slot);
        checked
    });
    checked
        .await
        .unwrap_or_else(|_| Err(Box::new(super::auth::failed())))
}

fn check(state: &AppState, headers: &Headers) -> Result<i64, Box<Response>> {
    let caller =
        caller::identify(state, headers).map_err(|refusal| super::auth::refused(&refusal))?;
    let fault = match caller.actor.as_deref() {
        None => Fault::login_required(),
        Some(actor) => {
            let composers = Action::Any(&[names::CONNECTOR_API, names::MODULES_MANAGE]);
            match may(actor, composers) {
                Ok(()) => return Ok(actor.user_row),
                Err(denial) => Fault::denied(&denial),
            }
        }
    };
    let status = if fault.is_forbidden() {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::UNAUTHORIZED
    };
    Err(Box::new(
        Plain::new(status, fault.into_inner().message).into_response(),
    ))
}
