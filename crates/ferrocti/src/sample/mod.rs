//! The sample connector: `ferrocti connector sample`, deployed by the contract `ferrocti-sample`.
//!
//! It does what a connector should: registers, pings every 40 seconds with its state and with when it runs next, has a work for each run, keeps
//! its position, takes notice of a reset, waits while the platform is away, and ends within a second of SIGTERM.

mod connector;
mod feed;
mod settings;

use std::{
    collections::BTreeMap,
    io::Write,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ferrocti_model::clock::{Clock, format_date};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{client::Client, system::SystemClock};
use connector::{Connector, Now};
use settings::{Level, Settings};

/// How long an answer of the platform may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a run that is under way may take once the connector is told to stop.
const GRACE: Duration = Duration::from_millis(800);

/// Lines for whoever reads the standard output.
pub struct Log {
    least: Level,
}

impl Log {
    /// Writes a line, unless its level is below what is asked for.
    pub fn say(&self, level: Level, text: &str) {
        if level >= self.least {
            let now = format_date(SystemClock.now());
            // where nobody reads any more there is nobody to tell
            let _ = writeln!(std::io::stdout(), "{now} {level} {text}");
        }
    }
}

/// Runs the connector until it is told to stop, or until something is wrong that waiting does not cure. Its last line is then why, which is what
/// a composer shows.
pub fn run() -> Result<()> {
    if let Err(error) = start() {
        let log = Log {
            least: Level::Error,
        };
        log.say(Level::Error, &format!("{error:#}"));
        std::process::exit(1);
    }
    Ok(())
}

fn start() -> Result<()> {
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = Settings::read(&env).context("the settings cannot be used")?;
    let log = Log {
        least: settings.level,
    };
    log.say(
        Level::Info,
        &format!(
            "{} {} is starting; SAMPLE_API_KEY {}",
            settings.name,
            env!("CARGO_PKG_VERSION"),
            if settings.api_key.is_some() {
                "has arrived"
            } else {
                "is not set"
            }
        ),
    );
    if settings.fail {
        bail!("SAMPLE_FAIL is true: this connector ends with an error, as it was told to");
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("cannot wait for signals")?
        .block_on(supervise(settings, log))
}

/// Runs the connector on a thread of its own, so that an answer that does not come holds no signal up.
async fn supervise(settings: Settings, log: Log) -> Result<()> {
    let catch = |kind| signal(kind).context("cannot wait for signals");
    let mut terminate: Signal = catch(SignalKind::terminate())?;
    let mut interrupt: Signal = catch(SignalKind::interrupt())?;
    let client = Client::to(&settings.url, settings.token.expose(), PATIENCE)?;
    let (stop, stopped) = mpsc::channel::<()>();
    let (end, mut ended) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("connector".to_owned())
        .spawn(move || {
            // nobody waits for the answer once the grace is over
            let _ = end.send(work(&settings, &log, &client, &stopped));
        })
        .context("cannot start the thread of the connector")?;
    tokio::select! {
        result = &mut ended => return result.context("the connector's thread failed")?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(stop);
    match tokio::time::timeout(GRACE, ended).await {
        Ok(result) => result.context("the connector's thread failed")?,
        // what was not confirmed is sent again at the next start
        Err(_) => std::process::exit(0),
    }
}

fn work(
    settings: &Settings,
    log: &Log,
    client: &Client,
    stopped: &mpsc::Receiver<()>,
) -> Result<()> {
    let started = Instant::now();
    let call = |query: &str, variables| client.call(query, variables);
    let mut connector = Connector::new(settings, log, &call);
    loop {
        let now = Now {
            running: started.elapsed(),
            date: SystemClock.now(),
        };
        let pause = connector.step(now)?.saturating_sub(started.elapsed());
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                log.say(Level::Info, "stopping, as asked");
                return Ok(());
            }
        }
    }
}
