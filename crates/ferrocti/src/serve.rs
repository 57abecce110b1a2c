//! `ferrocti serve` and `ferrocti quickstart`: listen, tell where, stop in order.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ferrocti_accounts::{Accounts, Generated};
use ferrocti_api::{AppState, Services};
use ferrocti_broker::amqp::{Listener, ListenerOptions};
use ferrocti_connectors::{BrokerLogin, Connectors, catalogs::Catalogs};
use ferrocti_store::Store;
use serde_json::json;
use tokio::{net::TcpListener, time::MissedTickBehavior};

use crate::{
    cli::ServerArgs,
    composer::Inside,
    config::{self, CatalogSettings, Settings, Sources},
    platform::Platform,
    quickstart,
};

/// How often works are tidied.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How long connections and requests may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long the batch that is being applied may take when the server stops.
const CLOSING: Duration = Duration::from_secs(15);
/// Threads that serve sockets; the work itself runs on blocking threads.
const SOCKET_THREADS: usize = 2;

/// Runs the server until it is told to stop.
pub fn run(args: &ServerArgs, with_example: bool) -> Result<()> {
    let env = environment();
    let file = args
        .config
        .clone()
        .or_else(|| env.get("FERROCTI_CONFIG").map(Into::into));
    let loaded = config::load(&Sources {
        file,
        env,
        flags: args.flags(),
    })?;
    let settings = loaded.settings;
    start_log(&settings);
    if !loaded.ignored.is_empty() {
        tracing::warn!(
            variables = loaded.ignored.join(", "),
            "these settings of OpenCTI have no meaning here and are ignored"
        );
    }
    let runtime = runtime()?;
    let served = runtime.block_on(serve(settings, args.json, with_example));
    // everything that must end has ended; a refresh of catalogs may still wait for somebody
    runtime.shutdown_background();
    served
}

/// The environment, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The threads of a server or an agent.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("cannot start the threads of the program")
}

/// Starts the log on standard error.
pub fn start_log(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::new(&settings.log);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // a second initialisation, as in tests, changes nothing
    let _ = if settings.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    };
}

async fn serve(settings: Settings, json: bool, with_example: bool) -> Result<()> {
    let say = Voice { json };
    // a taken port is told before anything is created
    let http_address = SocketAddr::new(settings.host, settings.port);
    let http = bind(http_address).await?;
    // told to stop while starting, the server still stops in order
    let stop = stop_signal()?;
    // opening waits for the disk and for queues, which a socket thread must not
    let (platform, generated, settings) = tokio::task::spawn_blocking(move || {
        let (platform, generated) = Platform::open(&settings)?;
        Ok::<_, anyhow::Error>((platform, generated, settings))
    })
    .await??;
    let listener_options = ListenerOptions::new(SocketAddr::new(settings.host, settings.amqp_port));
    let login = Arc::new(BrokerLogin::new(platform.connectors.clone()));
    let amqp = Listener::bind(listener_options, platform.queues.clone(), login).await?;
    let listener = amqp.clone();
    platform.connectors.on_change_of_hands(move |id| {
        listener.disconnect(id);
    });
    let http_address = http.local_addr().context("cannot tell the HTTP address")?;

    let mut options = ferrocti_api::Options::new(amqp.local_addr());
    options.base_path.clone_from(&settings.base_path);
    options.metrics = settings.metrics;
    options
        .trusted_proxies
        .clone_from(&settings.trusted_proxies);
    options.secure_cookie = settings.cookie_secure;
    options.max_body = (settings.max_body_mib as usize) << 20;
    options.health_key = settings
        .health_access_key
        .as_ref()
        .map(|key| key.expose().to_owned());
    options
        .broker
        .host
        .clone_from(&settings.amqp_advertised_host);
    env!("CARGO_PKG_VERSION").clone_into(&mut options.version);
    let services = Services {
        store: platform.store.clone(),
        queues: platform.queues.clone(),
        ingest: platform.ingest.clone(),
        connectors: platform.connectors.clone(),
        catalogs: platform.catalogs.clone(),
        accounts: platform.accounts.clone(),
        clock: platform.clock.clone(),
    };
    let state = AppState::new(services, options)?;
    let router = ferrocti_api::router(state.clone());

    let ingest = platform.ingest.clone();
    let ingesting = tokio::task::spawn_blocking(move || ingest.start())
        .await?
        .context("cannot start ingestion")?;
    let base = format!("http://{http_address}{}", settings.base_path);
    if let Some(generated) = &generated {
        say.administrator(&settings, generated);
    }
    say.listening(&base, amqp.local_addr());
    let stopped = tokio::sync::watch::channel(false);
    let server = tokio::spawn({
        let mut stop = stopped.1.clone();
        async move {
            let stop = async move {
                // an error means that the sender is gone, which is a reason to stop as well
                let _ = stop.wait_for(|stop| *stop).await;
            };
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(http, service)
                .with_graceful_shutdown(stop)
                .await
        }
    });
    let composer = Inside::start(&settings, &platform.accounts, http_address);
    let refreshing = tokio::spawn(refresh(platform.catalogs.clone(), settings.catalog.clone()));
    let keep_audit = Some(settings.audit_retention_days).filter(|days| *days > 0);
    let housekeeping = tokio::spawn(tidy(
        platform.store.clone(),
        platform.accounts.clone(),
        platform.connectors.clone(),
        keep_audit,
    ));
    tokio::pin!(stop);
    let mut sample = None;
    let mut told_to_stop = false;
    if with_example {
        let (ingest, store, connectors, accounts) = (
            platform.ingest.clone(),
            platform.store.clone(),
            platform.connectors.clone(),
            platform.accounts.clone(),
        );
        let report = tokio::task::spawn_blocking(move || {
            quickstart::load(&ingest, &store, &connectors, &accounts)
        })
        .await??;
        say.example(&report);
        let parts = sample.insert(Arc::new(quickstart::sample::Parts {
            store: platform.store.clone(),
            connectors: platform.connectors.clone(),
            accounts: platform.accounts.clone(),
            clock: platform.clock.clone(),
        }));
        told_to_stop = bring_up_sample(parts, settings.composer.enabled, say, &mut stop).await?;
        if !told_to_stop {
            say.next(&base);
        }
    }

    if !told_to_stop {
        stop.await;
    }
    if let Some(parts) = sample {
        tokio::task::spawn_blocking(move || quickstart::sample::pause(&parts)).await?;
    }
    tracing::info!("stopping");
    housekeeping.abort();
    refreshing.abort();
    // it tells what it knows while it is still listened to
    if let Some(composer) = composer {
        composer.stop().await;
    }
    state.end_waiting();
    // the receiver lives in the server's task, which may have ended by itself
    let _ = stopped.0.send(true);
    amqp.shutdown(GRACE).await;
    match tokio::time::timeout(GRACE, server).await {
        Ok(ended) => ended?.context("the HTTP server failed")?,
        Err(_) => tracing::warn!("some requests did not end in time and were cut off"),
    }
    let Platform { queues, store, .. } = platform;
    let closed = tokio::task::spawn_blocking(move || {
        ingesting.stop();
        queues.close();
        store.checkpoint()
    });
    match tokio::time::timeout(CLOSING, closed).await {
        Ok(closed) => closed??,
        Err(_) => {
            // nothing that was confirmed is lost by this: it is what a crash would do, and every start can deal with that
            tracing::warn!(
                "a batch is still being applied; it is given up and applied at the next start"
            );
            std::process::exit(0);
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Deploys the sample connector and tells what becomes of it. Whether the server was told to stop meanwhile.
async fn bring_up_sample(
    parts: &Arc<quickstart::sample::Parts>,
    enabled: bool,
    say: Voice,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<bool> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut deploying = tokio::task::spawn_blocking({
        let (parts, cancelled) = (Arc::clone(parts), Arc::clone(&cancelled));
        move || {
            quickstart::sample::deploy(&parts, enabled, &cancelled, |state| {
                say.sample_state(state);
            })
        }
    });
    tokio::select! {
        outcome = &mut deploying => {
            say.sample(&outcome?);
            Ok(false)
        }
        () = stop => {
            cancelled.store(true, Ordering::Relaxed);
            deploying.await?;
            Ok(true)
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "the HTTP port {address} is in use; stop the program that uses it or choose another one with --port"
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            bail!(
                "no permission to listen on {address}; ports below 1024 need privileges, choose another one with --port"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

/// Tidies works, sessions, accounts and the audit log now and then; entries of the log that are older than `keep_audit` days go.
async fn tidy(store: Store, accounts: Accounts, connectors: Connectors, keep_audit: Option<u32>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        let (store, accounts) = (store.clone(), accounts.clone());
        let connectors = connectors.clone();
        let tidied = tokio::task::spawn_blocking(move || {
            store.write(|tx| {
                let now = tx.now();
                ferrocti_ingest::works::housekeeping(tx, now)
            })?;
            accounts.tidy(keep_audit)?;
            connectors.flush_fenced()?;
            anyhow::Ok(())
        });
        if let Ok(Err(error)) = tidied.await {
            tracing::error!(%error, "works and accounts cannot be tidied");
        }
    }
}

/// Reads the catalogs again and again, first at once: what is there at the start is what was kept.
async fn refresh(catalogs: Catalogs, settings: CatalogSettings) {
    if settings.sources.is_empty() {
        return;
    }
    let every = Duration::from_millis(u64::try_from(settings.refresh).unwrap_or_default());
    let mut ticks = tokio::time::interval(every.max(HOUSEKEEPING));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let catalogs = catalogs.clone();
        let read = tokio::task::spawn_blocking(move || catalogs.refresh());
        for loaded in read.await.unwrap_or_default() {
            if let Some(error) = loaded.error {
                tracing::warn!(
                    source = loaded.source,
                    error,
                    "a catalog cannot be read; what was read before stays"
                );
            }
        }
    }
}

/// Catches SIGTERM and SIGINT from now on; the answer ends when one has come.
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What the server says on standard output, to people or to machines.
#[derive(Clone, Copy)]
struct Voice {
    json: bool,
}

impl Voice {
    fn administrator(&self, settings: &Settings, generated: &Generated) {
        if self.json {
            let event = json!({ "event": "administrator", "email": settings.admin_email, "password": generated.password, "token": generated.token });
            println!("{event}");
            return;
        }
        println!("The administrator was created. This is shown once; keep it:");
        println!("  e-mail    {}", settings.admin_email);
        println!(
            "  password  {}",
            generated.password.as_deref().unwrap_or("as configured")
        );
        println!(
            "  token     {}\n",
            generated.token.as_deref().unwrap_or("as configured")
        );
    }

    fn listening(&self, http: &str, amqp: SocketAddr) {
        if self.json {
            println!(
                "{}",
                json!({ "event": "listening", "http": http, "amqp": amqp.to_string() })
            );
        } else {
            println!("Ferrocti {} is running.", env!("CARGO_PKG_VERSION"));
            println!("  GraphQL  {http}/graphql\n  health   {http}/health\n  AMQP     {amqp}\n");
        }
    }

    fn example(&self, report: &quickstart::Report) {
        if self.json {
            println!(
                "{}",
                json!({ "event": "example", "loaded_now": report.loaded_now, "objects": report.objects, "processed": report.processed, "refused": report.refused })
            );
            return;
        }
        if report.loaded_now {
            println!(
                "Loaded a made-up intelligence picture: {} objects sent, {} stored in all.",
                report.processed, report.objects
            );
        } else {
            println!(
                "The example was loaded earlier; {} objects are stored.",
                report.objects
            );
        }
    }

    /// How far the sample connector is.
    fn sample_state(&self, state: &str) {
        if !self.json {
            println!("The sample connector: {state}");
        }
    }

    fn sample(&self, outcome: &quickstart::sample::Outcome) {
        if self.json {
            println!("{}", outcome.event());
        } else {
            println!("{}", outcome.told());
        }
    }

    /// What to try next.
    fn next(&self, base: &str) {
        if self.json {
            return;
        }
        println!(
            "\nTry next, in another terminal:\n  export FERROCTI_URL={base} FERROCTI_TOKEN=<the administrator's token>\n  \
             ferrocti status\n  ferrocti connector list                  # what runs, and how it is\n  \
             ferrocti connector logs \"{}\"\n  ferrocti connector catalog               # what can be deployed\n  \
             ferrocti import my-stix-bundle.json\n  ferrocti user add-connector \"My feed\"   # a token for a connector that runs elsewhere\n\
             \nStop with Ctrl-C.",
            quickstart::sample::NAME
        );
    }
}
