//! The example that `ferrocti quickstart` loads: a made-up intelligence picture, delivered as a connector would deliver it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use ferrocti_access::Actor;
use ferrocti_connectors::{Connectors, Registration};
use ferrocti_ingest::{Ingest, works};
use ferrocti_store::{NoteKind, Store, StoreError, Visibility, WorkStatus};
use serde_json::json;

use crate::wait;

const BUNDLE: &str = include_str!("../assets/quickstart-bundle.json");
const CONNECTOR_ID: &str = "0f5c1c52-2f3b-5f0e-9d53-6f5ab4f3a9c1";
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
pub fn load(ingest: &Ingest, store: &Store, connectors: &Connectors) -> Result<Report> {
    if store.read(|snapshot| snapshot.setting(LOADED))?.is_some() {
        return Ok(Report {
            loaded_now: false,
            objects: objects(store)?,
            processed: 0,
            refused: 0,
        });
    }
    let admin = store
        .read(|snapshot| match snapshot.user_by_id(Actor::ADMIN_ID)? {
            Some(user) => ferrocti_accounts::rights(snapshot, user.row),
            None => Ok(None),
        })?
        .map(|rights| Arc::clone(&rights.actor))
        .context("the administrator's account is missing or not active")?;
    connectors.register(
        &admin,
        Registration {
            id: CONNECTOR_ID.to_owned(),
            name: "Quickstart example".to_owned(),
            connector_type: TYPE.to_owned(),
            scope: vec!["example".to_owned()],
            ..Registration::default()
        },
    )?;
    let work = store.write(|tx| {
        works::add(
            tx,
            &admin,
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
    ingest.push_bundle(&admin, CONNECTOR_ID, BUNDLE, Some(&work.id))?;
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

fn objects(store: &Store) -> Result<u64> {
    Ok(store
        .read(|snapshot| Ok::<_, StoreError>(snapshot.counts(&Visibility::All)?.values().sum()))?)
}
