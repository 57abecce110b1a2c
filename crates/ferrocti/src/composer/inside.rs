//! The composer that runs inside of the server. It speaks to the platform over HTTP like every other, with an account of its own, and a
//! platform whose composer cannot start runs without.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use ferrocti_accounts::Accounts;
use ferrocti_composer::platform::{Access, Ferrocti};
use tokio::{sync::watch, task::JoinHandle};

use super::{Addresses, Parts, bracketed, loopback};
use crate::config::Settings;

/// Its name where nothing is said.
const NAME: &str = "Built-in composer";
/// Its directory in the data directory where nothing is said.
const DIRECTORY: &str = "composer";

/// A composer that runs.
pub struct Inside {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Inside {
    /// Starts it in the background, where the settings want one; `http` is where the server listens.
    pub fn start(settings: &Settings, accounts: &Accounts, http: SocketAddr) -> Option<Self> {
        if !settings.composer.enabled {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let (settings, accounts) = (settings.clone(), accounts.clone());
        let task = tokio::spawn(async move {
            // a task of its own, so that a panic is told when it happens
            let ran = tokio::spawn(run(settings, accounts, http, stopped)).await;
            if let Err(error) = ran.map_err(anyhow::Error::from).flatten() {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the built-in composer does not run, so nobody looks after the connectors on this machine; composer.enabled = false runs the platform without"
                );
            }
        });
        Some(Self { stop, task })
    }

    /// Stops it and ends its token. Connectors go on running.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // how it ended was told where it ended
        let _ = self.task.await;
    }
}

async fn run(
    mut settings: Settings,
    accounts: Accounts,
    http: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let composer = &mut settings.composer;
    composer.name.get_or_insert_with(|| NAME.to_owned());
    composer
        .dir
        .get_or_insert_with(|| settings.data_dir.join(DIRECTORY));
    let told = composer.connector_url.as_deref();
    let addresses = Addresses::beside(told, http.ip(), http.port(), &settings.base_path);
    let address = if http.ip().is_unspecified() {
        loopback(http.ip())
    } else {
        http.ip()
    };
    let url = format!(
        "http://{}:{}{}",
        bracketed(address),
        http.port(),
        settings.base_path
    );
    let admitting = accounts.clone();
    let (parts, token) = tokio::task::spawn_blocking(move || {
        let parts = Parts::open(&settings, addresses)?;
        anyhow::Ok((parts, admitting.admit_composer()?))
    })
    .await??;
    let platform = Ferrocti::open(&Access::new(url, token), &parts.id)?;
    tracing::info!(composer = parts.id, "the built-in composer runs");
    parts
        .engine(Arc::new(platform))
        .run(async move {
            // an error means that the sender is gone, which is a reason to stop as well
            let _ = stopped.wait_for(|stop| *stop).await;
        })
        .await;
    tokio::task::spawn_blocking(move || accounts.dismiss_composer()).await??;
    Ok(())
}
