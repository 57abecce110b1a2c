//! What every request needs: the platform's services, the engine with the served schema, the settings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrocti_accounts::Accounts;
use ferrocti_broker::Queues;
use ferrocti_connectors::Connectors;
use ferrocti_connectors::catalogs::Catalogs;
use ferrocti_graphql::{Engine, Limits, Schema, SchemaError};
use ferrocti_ingest::Ingest;
use ferrocti_model::clock::{Clock, Millis};
use ferrocti_store::Store;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use crate::http::{Budget, Network, SecureCookie, Waiting};
use crate::{scalars, sdl};

/// How long a request may wait for memory for its body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The services behind the interface.
#[derive(Clone)]
pub struct Services {
    /// Knowledge, works, connectors, users.
    pub store: Store,
    /// Queues and dead letters.
    pub queues: Queues,
    /// Adding knowledge.
    pub ingest: Ingest,
    /// The life of connectors.
    pub connectors: Connectors,
    /// What connectors can be deployed.
    pub catalogs: Catalogs,
    /// Users and tokens.
    pub accounts: Accounts,
    /// The current time.
    pub clock: Arc<dyn Clock>,
}

/// Where connectors reach the broker; told to them when they register.
#[derive(Debug, Clone)]
pub struct BrokerAddress {
    /// Host name or address as connectors see it; `None`: the host by which a connector reached the platform.
    pub host: Option<String>,
    /// Where the broker listens, for clients that do not say how they reached the platform.
    pub listens: String,
    /// Port as connectors see it.
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
    /// Whether connectors must use TLS.
    pub use_ssl: bool,
}

/// Settings of the interface.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path in front of every address, for example behind a proxy; empty: none.
    pub base_path: String,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Memory that the bodies of all running requests may take together, in bytes.
    pub body_budget: usize,
    /// Most requests in one batch.
    pub max_batch: usize,
    /// Requests that are executed at the same time; others wait.
    pub concurrency: usize,
    /// How long a request may take before it is given up.
    pub timeout: Duration,
    /// Key that `/health` asks for; `None`: it answers everybody.
    pub health_key: Option<String>,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Proxies that are believed when they say where a request comes from.
    pub trusted_proxies: Vec<Network>,
    /// When the cookie of a login is for encrypted connections only.
    pub secure_cookie: SecureCookie,
    /// Where connectors reach the broker.
    pub broker: BrokerAddress,
    /// Version of the platform, as `about` tells it.
    pub version: String,
}

impl Options {
    /// The defaults, with the broker at the given address.
    #[must_use]
    pub fn new(broker: SocketAddr) -> Self {
        Self {
            base_path: String::new(),
            max_body: 150 << 20,
            body_budget: 640 << 20,
            max_batch: 50,
            concurrency: 16,
            timeout: Duration::from_secs(120),
            health_key: None,
            metrics: false,
            trusted_proxies: Vec::new(),
            secure_cookie: SecureCookie::Auto,
            broker: BrokerAddress {
                host: None,
                listens: broker.ip().to_string(),
                port: broker.port(),
                vhost: "/".to_owned(),
                use_ssl: false,
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Everything that requests share. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    services: Services,
    options: Options,
    engine: Engine,
    budget: Budget,
    slots: Arc<Semaphore>,
    /// Held while a password is looked at, which takes much memory and time on purpose: strangers must not make it take all.
    login: Mutex<()>,
    started_at: Millis,
    waiting: Arc<Waiting>,
}

impl AppState {
    /// Puts the interface together.
    ///
    /// # Errors
    /// The schema is not valid, which a test excludes.
    pub fn new(services: Services, options: Options) -> Result<Self, SchemaError> {
        let engine = scalars::register(Engine::new(
            Schema::parse(&sdl::build())?,
            Limits::default(),
        ));
        Ok(Self(Arc::new(Inner {
            budget: Budget::new(options.body_budget, BODY_PATIENCE),
            slots: Arc::new(Semaphore::new(options.concurrency.max(1))),
            login: Mutex::new(()),
            started_at: services.clock.now(),
            waiting: Arc::default(),
            engine,
            services,
            options,
        })))
    }

    /// Answers those who wait for changes, so that they do not keep the server from stopping.
    pub fn end_waiting(&self) {
        self.0.waiting.end();
    }

    pub(crate) fn waiting(&self) -> &Arc<Waiting> {
        &self.0.waiting
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(crate) fn slots(&self) -> &Arc<Semaphore> {
        &self.0.slots
    }

    /// The turn to look at a password; one at a time.
    pub(crate) fn login_turn(&self) -> MutexGuard<'_, ()> {
        self.0.login.lock()
    }

    pub(crate) fn started_at(&self) -> Millis {
        self.0.started_at
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
