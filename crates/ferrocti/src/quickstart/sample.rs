//! The managed connector that `ferrocti quickstart` deploys: the sample connector, as a process of the composer inside.
//!
//! A composer leaves connectors running when it stops. Whoever tries Ferrocti expects nothing to be left behind, so that this one connector is
//! stopped together with `quickstart`, and started again with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ferrocti_accounts::{Accounts, Acting};
use ferrocti_catalog::{Extra, launch::Runtime, local};
use ferrocti_connectors::{
    Connectors,
    managed::{Deploy, RequestedStatus, Shown, State, UserChoice, composer_is_active},
};
use ferrocti_model::clock::Clock;
use ferrocti_store::Store;
use serde_json::{Value, json};

use crate::wait;

/// Id of the connector: always the same, so that it is known again.
const CONNECTOR_ID: &str = "3f0f6a52-9c2a-5d1b-8f64-6b7a2c1d5e07";
/// Name of the connector.
pub const NAME: &str = "Ferrocti sample";
const DEPLOYED: &str = "quickstart.sample";
/// Set while the connector is stopped because `quickstart` is, and not because somebody wanted that.
const PAUSED: &str = "quickstart.sample_paused";
/// How long the connector may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// How long the composer and the connector may take. Its key is made at the first start, which takes slow machines long.
const PATIENCE: Duration = Duration::from_secs(90);

/// What became of the sample connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, and what it delivers arrives.
    Running,
    /// It is there and does not run; the text says why.
    NotRunning(String),
    /// Somebody stopped it, and so it stays.
    Stopped,
    /// Somebody removed it, and so it stays.
    Removed,
    /// The composer inside is disabled.
    NoComposer,
    /// It could not be deployed; the text says why.
    Failed(String),
}

impl Outcome {
    /// For people.
    pub fn told(&self) -> String {
        match self {
            Self::Running => format!(
                "The connector {NAME:?} runs, managed by the composer inside, and its first objects are here."
            ),
            Self::NotRunning(why) => format!("The connector {NAME:?} does not run: {why}"),
            Self::Stopped => format!(
                "The connector {NAME:?} was stopped earlier; start it with: ferrocti connector start {NAME:?}"
            ),
            Self::Removed => {
                format!("The connector {NAME:?} was removed earlier and is not deployed again.")
            }
            Self::NoComposer => {
                "No managed connector is deployed: the composer inside is disabled (composer.enabled)."
                    .to_owned()
            }
            Self::Failed(why) => format!("The connector {NAME:?} could not be deployed: {why}"),
        }
    }

    /// For programs: one event.
    pub fn event(&self) -> Value {
        let (outcome, reason) = match self {
            Self::Running => ("running", None),
            Self::NotRunning(why) => ("not-running", Some(why)),
            Self::Stopped => ("stopped", None),
            Self::Removed => ("removed", None),
            Self::NoComposer => ("no-composer", None),
            Self::Failed(why) => ("failed", Some(why)),
        };
        json!({ "event": "sample", "connector": CONNECTOR_ID, "name": NAME, "outcome": outcome, "reason": reason })
    }
}

/// What the sample connector needs of the platform.
pub struct Parts {
    /// Connectors, and what is known of them.
    pub store: Store,
    /// Where it is deployed.
    pub connectors: Connectors,
    /// In whose name.
    pub accounts: Accounts,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Deploys the sample connector, unless an earlier start did, and waits until it runs and has delivered. `say` is told each new state;
/// `cancelled` ends the waiting. Nothing that goes wrong here keeps the platform from running.
pub fn deploy(
    parts: &Parts,
    enabled: bool,
    cancelled: &AtomicBool,
    say: impl FnMut(&str),
) -> Outcome {
    let outcome = if enabled {
        bring_up(parts, cancelled, say)
    } else {
        Ok(Outcome::NoComposer)
    };
    outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
}

fn bring_up(parts: &Parts, cancelled: &AtomicBool, mut say: impl FnMut(&str)) -> Result<Outcome> {
    let store = &parts.store;
    let deployed = store.read(|snapshot| snapshot.setting(DEPLOYED))?.is_some();
    let known = store.read(|snapshot| snapshot.connector(CONNECTOR_ID))?;
    if deployed && known.is_none() {
        return Ok(Outcome::Removed);
    }
    let end = Instant::now() + PATIENCE;
    let over = || cancelled.load(Ordering::Relaxed) || Instant::now() >= end;
    if known.is_none() {
        say("the composer is starting; the first time it makes its key");
        let composer = wait::until(|| {
            let now = parts.clock.now();
            let composers = store.read(|snapshot| parts.connectors.composers(snapshot))?;
            let ready = composers
                .into_iter()
                .find(|composer| composer.own && composer_is_active(composer, now));
            match ready {
                Some(composer) => Ok(Some(Some(composer.id))),
                None if over() => Ok(Some(None)),
                None => anyhow::Ok(None),
            }
        })?;
        let Some(composer) = composer else {
            let why = "no composer has registered; the log says why";
            return Ok(Outcome::Failed(why.to_owned()));
        };
        add(parts, composer)?;
    }
    if !deployed {
        store.write(|tx| tx.put_setting(DEPLOYED, &json!(true)))?;
    }
    if store.read(|snapshot| snapshot.setting(PAUSED))?.is_some() {
        request(parts, RequestedStatus::Starting)?;
        store.write(|tx| tx.delete_setting(PAUSED))?;
    }
    let mut told = String::new();
    wait::until(|| {
        let Some((shown, delivered)) = look(parts)? else {
            return Ok(Some(Outcome::Removed));
        };
        let now = describe(&shown);
        if told != now {
            say(&now);
            told.clone_from(&now);
        }
        Ok(match verdict(&shown, delivered) {
            None if over() => Some(Outcome::NotRunning(now)),
            verdict => verdict,
        })
    })
}

/// Stops the sample connector, so that nothing is left behind, and remembers to start it again.
pub fn pause(parts: &Parts) {
    if let Err(error) = bring_down(parts) {
        tracing::warn!(%error, "the sample connector could not be stopped; it goes on and is taken up again at the next start");
    }
}

fn bring_down(parts: &Parts) -> Result<()> {
    let Some((shown, _)) = look(parts)? else {
        return Ok(());
    };
    if matches!(shown.state, State::Stopped | State::Stopping) {
        return Ok(());
    }
    parts
        .store
        .write(|tx| tx.put_setting(PAUSED, &json!(true)))?;
    request(parts, RequestedStatus::Stopping)?;
    let end = Instant::now() + ENDING;
    wait::until(|| {
        let stopped = look(parts)?.is_none_or(|(shown, _)| shown.state == State::Stopped);
        if !stopped && Instant::now() >= end {
            bail!("it takes more than {} s", ENDING.as_secs());
        }
        Ok(stopped.then_some(()))
    })
}

fn request(parts: &Parts, status: RequestedStatus) -> Result<()> {
    let system = parts.accounts.system()?;
    parts
        .connectors
        .request(Acting::of(&system), CONNECTOR_ID, status)?;
    Ok(())
}

fn describe(shown: &Shown) -> String {
    if shown.reason.is_empty() {
        shown.state.name().to_owned()
    } else {
        format!("{}: {}", shown.state.name(), shown.reason)
    }
}

/// What has become of it; `None`: that is not clear yet.
fn verdict(shown: &Shown, delivered: bool) -> Option<Outcome> {
    match shown.state {
        State::Running if delivered => Some(Outcome::Running),
        State::Failed | State::CrashLooping => Some(Outcome::NotRunning(describe(shown))),
        State::Stopped => Some(Outcome::Stopped),
        _ => None,
    }
}

/// Makes the connector, with an account of its own.
fn add(parts: &Parts, composer: String) -> Result<()> {
    let catalog = local::catalog(env!("CARGO_PKG_VERSION"))?;
    let contract = catalog
        .contracts
        .into_iter()
        .find(|contract| contract.slug == local::SAMPLE)
        .context("the sample connector is not in the catalog that comes with Ferrocti")?;
    let system = parts.accounts.system()?;
    let deploy = Deploy {
        id: Some(CONNECTOR_ID.to_owned()),
        name: NAME.to_owned(),
        catalog: local::CATALOG.to_owned(),
        contract,
        given: Vec::new(),
        extra: Extra::Refuse,
        user: UserChoice::Automatic {
            name: None,
            confidence: None,
        },
        composer: Some(composer),
        runtime: Runtime::default(),
        start: true,
        pinned: false,
        declared: false,
    };
    parts.connectors.deploy(Acting::of(&system), deploy)?;
    Ok(())
}

/// The state of the connector, and whether it has delivered something; `None`: it is gone.
fn look(parts: &Parts) -> Result<Option<(Shown, bool)>> {
    let now = parts.clock.now();
    parts.store.read(|snapshot| {
        let Some(connector) = snapshot.connector(CONNECTOR_ID)? else {
            return Ok(None);
        };
        let view = parts.connectors.view(snapshot, &connector)?;
        Ok::<_, anyhow::Error>(view.map(|view| {
            let shown = view.state(&connector, now);
            (shown, view.evidence.last_data.is_some())
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: State, reason: &str) -> Shown {
        Shown {
            state,
            reason: reason.to_owned(),
            since: 0,
        }
    }

    #[test]
    fn it_is_up_when_it_runs_and_has_delivered() {
        for (state, delivered, outcome) in [
            (State::Requested, false, None),
            (State::Starting, false, None),
            (State::Unreachable, true, None),
            (State::Degraded, true, None),
            (State::Running, false, None),
            (State::Running, true, Some(Outcome::Running)),
            (State::Stopped, true, Some(Outcome::Stopped)),
        ] {
            assert_eq!(verdict(&shown(state, ""), delivered), outcome, "{state:?}");
        }
    }

    #[test]
    fn why_it_does_not_run_is_told() {
        let failed = shown(State::Failed, "no such program");
        assert_eq!(
            verdict(&failed, false),
            Some(Outcome::NotRunning("failed: no such program".to_owned()))
        );
    }
}
