//! Opening a data directory and putting the services on top of it together.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use ferrocti_accounts::{Accounts, AdminSettings, Generated, SessionLimits};
use ferrocti_broker::Queues;
use ferrocti_connectors::Connectors;
use ferrocti_connectors::catalogs::{self, Catalogs};
use ferrocti_ingest::Ingest;
use ferrocti_model::clock::Clock;
use ferrocti_store::Store;

use crate::{
    config::{Secret, Settings},
    system::{self, SystemClock, SystemEntropy},
};

/// File of the queues in the data directory.
const QUEUE_FILE: &str = "queue.db";
/// Directory of the copies of catalogs in the data directory.
const CATALOG_DIR: &str = "catalogs";

/// The services of one data directory.
pub struct Platform {
    /// Knowledge, works, connectors, users.
    pub store: Store,
    /// Queues and dead letters.
    pub queues: Queues,
    /// From message to knowledge.
    pub ingest: Ingest,
    /// The life of connectors.
    pub connectors: Connectors,
    /// What connectors can be deployed.
    pub catalogs: Catalogs,
    /// Users and tokens.
    pub accounts: Accounts,
    /// The clock of all of them.
    pub clock: Arc<dyn Clock>,
}

/// Opens the store of a directory alone; for commands that work on a stopped platform.
pub fn open_store(dir: &Path) -> Result<Store> {
    let options = ferrocti_store::Options::new(Arc::new(SystemClock), Arc::new(SystemEntropy));
    Store::open(dir, options)
        .with_context(|| format!("cannot open the data directory {}", dir.display()))
}

/// Opens the queues of a directory.
pub fn open_queues(dir: &Path, max_queue_mib: Option<u32>) -> Result<Queues> {
    let mut options = ferrocti_broker::Options::new(Arc::new(|| SystemClock.now()));
    if let Some(mib) = max_queue_mib {
        options.max_queue_bytes = u64::from(mib) << 20;
    }
    Queues::open(dir.join(QUEUE_FILE), options)
        .with_context(|| format!("cannot open the queues in {}", dir.display()))
}

/// The accounts of a store.
pub fn accounts(store: &Store) -> Accounts {
    Accounts::new(
        store.clone(),
        Arc::new(SystemEntropy),
        Arc::new(SystemClock),
    )
}

/// Makes a directory if there is none, so that only its own account may look into it: it holds marked knowledge, or secrets.
pub fn create_private(dir: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(dir)
        .with_context(|| format!("cannot create the directory {}", dir.display()))
}

impl Platform {
    /// Opens everything and makes sure that what every platform has is there: standard markings, vocabularies, the administrator.
    /// Returns what was generated for the administrator at the first start.
    pub fn open(settings: &Settings) -> Result<(Self, Option<Generated>)> {
        let dir = &settings.data_dir;
        create_private(dir)?;
        let store = open_store(dir)?;
        let queues = open_queues(dir, Some(settings.max_queue_mib))?;
        let key = system::platform_key(dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let accounts = accounts(&store).with_sessions(SessionLimits {
            idle: settings.session_timeout,
            lifetime: settings.session_lifetime,
        });
        let exposed =
            |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let generated = if settings.admin_externally_managed {
            accounts.remove_admin()?;
            None
        } else {
            accounts.ensure_admin(&AdminSettings {
                email: settings.admin_email.clone(),
                password: exposed(&settings.admin_password),
                token: exposed(&settings.admin_token),
            })?
        };
        accounts.make_composers()?;
        ferrocti_ingest::boot::run(&store, &accounts.system()?)
            .context("cannot create the standard markings and vocabularies")?;
        let connectors = Connectors::new(store.clone(), queues.clone(), key, clock.clone());
        connectors.declare_queues()?;
        let catalogs = Catalogs::open(catalogs::Options {
            dir: dir.join(CATALOG_DIR),
            sources: settings.catalog.sources.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: catalogs::COMPATIBLE_WITH.to_owned(),
            clock: clock.clone(),
            fetch: match settings.way.proxy()? {
                Some(way) => catalogs::over_http_through(&way)?,
                None => catalogs::over_http(),
            },
        })?;
        let ingest = Ingest::new(
            store.clone(),
            queues.clone(),
            clock.clone(),
            ferrocti_ingest::Options::default(),
        );
        Ok((
            Self {
                store,
                queues,
                ingest,
                connectors,
                catalogs,
                accounts,
                clock,
            },
            generated,
        ))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_data_directory_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        create_private(&dir).unwrap();
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
