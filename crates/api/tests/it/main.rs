//! The interface as clients meet it: requests in, answers out, on a real store and real queues, without a socket.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod add;
mod auth;
mod composer;
mod derived;
mod edit;
mod errors;
mod leases;
mod lists;
mod protocol;
mod relationships;
mod schema;
mod security;
mod sessions;
mod transport;
mod visibility;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use ferrocti_access::Actor;
use ferrocti_accounts::{Accounts, Acting, AdminSettings};
use ferrocti_api::{AppState, Options, Services};
use ferrocti_broker::Queues;
use ferrocti_connectors::catalogs::{self, Catalogs};
use ferrocti_connectors::{Connectors, PlatformKey};
use ferrocti_ingest::Ingest;
use ferrocti_model::clock::{Clock, ManualClock, SeededEntropy};
use ferrocti_store::{Durability, Store};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The administrator's token.
pub(crate) const ADMIN: &str = "d434ce02-e58e-4cac-8b4c-42bf16748e84";

/// A platform in a directory of its own, with a clock that only moves when told.
pub(crate) struct Fixture {
    pub(crate) router: Router,
    pub(crate) state: AppState,
    pub(crate) store: Store,
    pub(crate) queues: Queues,
    pub(crate) accounts: Accounts,
    pub(crate) connectors: Connectors,
    pub(crate) admin: Arc<Actor>,
    pub(crate) clock: Arc<ManualClock>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::made(&[], change)
    }

    /// A platform with catalogs.
    pub(crate) fn with_catalogs(sources: &[String]) -> Self {
        Self::made(sources, |_| {})
    }

    fn made(sources: &[String], change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_760_000_000_000));
        let entropy = Arc::new(SeededEntropy::new(1));
        let options = ferrocti_store::Options {
            durability: Durability::Off,
            ..ferrocti_store::Options::new(clock.clone(), entropy.clone())
        };
        let store = Store::open(dir.path(), options).unwrap();
        let ticking = clock.clone();
        let queues = Queues::open(
            dir.path().join("queue.db"),
            ferrocti_broker::Options::new(Arc::new(move || ticking.now())),
        )
        .unwrap();
        let accounts = Accounts::new(store.clone(), entropy, clock.clone());
        let settings = AdminSettings {
            email: "admin@example.org".to_owned(),
            password: Some("a long password".to_owned()),
            token: Some(ADMIN.to_owned()),
        };
        accounts.ensure_admin(&settings).unwrap();
        let admin = Arc::clone(accounts.authenticate(ADMIN).unwrap().unwrap().actor());
        ferrocti_ingest::boot::run(&store, &accounts.system().unwrap()).unwrap();
        let connectors = Connectors::new(
            store.clone(),
            queues.clone(),
            PlatformKey::new([9; 32]),
            clock.clone(),
        );
        let ingest = Ingest::new(
            store.clone(),
            queues.clone(),
            clock.clone(),
            ferrocti_ingest::Options::default(),
        );
        let catalogs = Catalogs::open(catalogs::Options {
            dir: dir.path().join("catalogs"),
            sources: sources.to_vec(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: catalogs::COMPATIBLE_WITH.to_owned(),
            clock: clock.clone(),
            fetch: catalogs::over_http(),
        })
        .unwrap();
        let services = Services {
            store: store.clone(),
            queues: queues.clone(),
            ingest,
            connectors: connectors.clone(),
            catalogs,
            accounts: accounts.clone(),
            clock: clock.clone(),
        };
        let mut options = Options::new("127.0.0.1:5672".parse().unwrap());
        change(&mut options);
        let state = AppState::new(services, options).unwrap();
        let router = ferrocti_api::router(state.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            router,
            state,
            store,
            queues,
            accounts,
            connectors,
            admin,
            clock,
            runtime,
            _dir: dir,
        }
    }

    /// The token of a fresh service account of a connector.
    pub(crate) fn service(&self, name: &str) -> String {
        self.accounts
            .add_connector(&Acting::of(&self.admin), name, Some(60), None)
            .unwrap()
            .1
    }

    /// Sends any request; status, headers as text, and body.
    pub(crate) fn send(
        &self,
        request: Request<Body>,
    ) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            (parts.status, parts.headers, body.to_vec())
        })
    }

    /// Posts JSON with a token and further headers.
    pub(crate) fn post_json(&self, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request =
            Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, _, body) = self.send(request.body(Body::from(body.to_string())).unwrap());
        (
            status,
            serde_json::from_slice(&body)
                .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&body))),
        )
    }

    /// Runs an operation as the holder of a token; the whole answer.
    pub(crate) fn run_as(&self, token: &str, query: &str, variables: Value) -> Value {
        let bearer = format!("Bearer {token}");
        self.post_json(
            &json!({ "query": query, "variables": variables }),
            &[("authorization", &bearer)],
        )
        .1
    }

    /// Runs an operation as the administrator; the data, which must come without errors.
    pub(crate) fn run(&self, query: &str, variables: Value) -> Value {
        data(self.run_as(ADMIN, query, variables), query)
    }

    /// Runs an operation as the administrator that must fail; its first error.
    pub(crate) fn fail(&self, query: &str, variables: Value) -> Value {
        let answer = self.run_as(ADMIN, query, variables);
        let error = answer["errors"][0].clone();
        assert!(error.is_object(), "no error for {query}: {answer}");
        error
    }

    /// Adds a malware of that name; its internal id.
    pub(crate) fn malware(&self, name: &str) -> String {
        let added = self.run(
            "mutation M($input: MalwareAddInput!) { malwareAdd(input: $input) { id } }",
            json!({ "input": { "name": name } }),
        );
        added["malwareAdd"]["id"].as_str().unwrap().to_owned()
    }
}

/// The data of an answer without errors.
pub(crate) fn data(answer: Value, query: &str) -> Value {
    assert!(
        answer.get("errors").is_none(),
        "{query}\n{}",
        answer["errors"]
    );
    answer["data"].clone()
}
