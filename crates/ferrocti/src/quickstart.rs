//! The example that `ferrocti quickstart` loads: a made-up intelligence picture, delivered as a connector would deliver it; and the managed
//! connector that it deploys.

pub mod sample;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use ferrocti_access::Actor;
use ferrocti_accounts::{Accounts, Acting, NewUser};
use ferrocti_connectors::{Connectors, Registration};
use ferrocti_ingest::{Ingest, works};
use ferrocti_store::{NoteKind, Store, StoreError, Visibility, WorkStatus};
use serde_json::json;

use crate::wait;

const BUNDLE: &str = include_str!("../assets/quickstart-bundle.json");
const CONNECTOR_ID: &str = "0f5c1c52-2f3b-5f0e-9d53-6f5ab4f3a9c1";
const NAME: &str = "Quickstart example";
const EMAIL: &str = "quickstart-example@connector.ferrocti.local";
const TYPE: &str = "EXTERNAL_IMPORT";
const LOADED: &str = "quickstart.loaded";

/// What loading the example came to.
pub struct Report {
    /// Whether it was loaded by this start.
    pub loaded_now: bool,
    /// Objects in the store.
    pub objects: u64,
    /// Objects of the bundle that were processed.
    pub processed: i64,
    /// Those that were refused.
    pub refused: i64,
}

/// Loads the example unless an earlier start did.
pub fn load(
    ingest: &Ingest,
    store: &Store,
    connectors: &Connectors,
    accounts: &Accounts,
) -> Result<Report> {
    if store.read(|snapshot| snapshot.setting(LOADED))?.is_some() {
        return Ok(Report {
            loaded_now: false,
            objects: objects(store)?,
            processed: 0,
            refused: 0,
        });
    }
    let feed = account(store, accounts)?;
    connectors.register(
        &*feed,
        Registration {
            id: CONNECTOR_ID.to_owned(),
            name: NAME.to_owned(),
            connector_type: TYPE.to_owned(),
            scope: vec!["example".to_owned()],
            ..Registration::default()
        },
    )?;
    let work = store.write(|tx| {
        works::add(
            tx,
            &feed,
            &works::NewWork {
                connector: CONNECTOR_ID,
                connector_type: TYPE,
                name: "Load the example",
                multipart: false,
                event_source: None,
                status: WorkStatus::Progress,
            },
        )
    })?;
    ingest.push_bundle(&*feed, CONNECTOR_ID, BUNDLE, Some(&work.id))?;
    let done = wait::until(|| {
        let work = store
            .read(|snapshot| snapshot.work(&work.id))?
            .context("the work of the example was deleted")?;
        anyhow::Ok((work.status == WorkStatus::Complete).then_some(work))
    })?;
    if done.errors > 0 {
        let notes = store.read(|snapshot| snapshot.work_notes(done.row, NoteKind::Error))?;
        let first = notes
            .first()
            .map(|note| note.message.clone())
            .unwrap_or_default();
        bail!(
            "{} objects of the example were refused; the first: {first}",
            done.errors
        );
    }
    store.write(|tx| tx.put_setting(LOADED, &json!(true)))?;
    Ok(Report {
        loaded_now: true,
        objects: objects(store)?,
        processed: done.processed,
        refused: done.errors,
    })
}

/// The account that delivers the example, as any connector's account does: without the administrator's rights. It has no token.
fn account(store: &Store, accounts: &Accounts) -> Result<Arc<Actor>> {
    let known = store.read(|snapshot| snapshot.user_by_email(EMAIL))?;
    let row = if let Some(user) = known {
        user.row
    } else {
        let group = store
            .read(|snapshot| snapshot.group_by_name("Connectors"))?
            .context("the group Connectors is missing: make it again, or start with an empty data directory")?;
        let new = NewUser {
            name: format!("[C] {NAME}"),
            email: Some(EMAIL.to_owned()),
            service_account: true,
            groups: vec![group.id.to_string()],
            prevent_default_groups: true,
            ..NewUser::default()
        };
        let system = accounts.system()?;
        accounts.add_user(&Acting::of(&system), new)?.row
    };
    let rights = store.read(|snapshot| ferrocti_accounts::rights(snapshot, row))?;
    rights
        .map(|rights| Arc::clone(&rights.actor))
        .with_context(|| format!("the account {EMAIL} of the example is not active"))
}

fn objects(store: &Store) -> Result<u64> {
    Ok(store
        .read(|snapshot| Ok::<_, StoreError>(snapshot.counts(&Visibility::All)?.values().sum()))?)
}
