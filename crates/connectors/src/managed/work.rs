//! What composers ask for: the connectors that they run.

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::Acting;
use ferrocti_catalog::{
    Entry,
    launch::{Launch, Runtime},
};
use ferrocti_model::clock::Millis;
use ferrocti_store::{Composer, Connector, Snapshot};

use crate::{
    ConnectorError, Connectors,
    managed::{
        CurrentStatus, Managed, Reported, RequestedStatus, composers, request, state, tokens,
    },
};

/// After so long, a composer of upstream's has asked at least once for its connectors and removed what is no longer among them.
const UPSTREAM_REMOVES: Millis = 60 * 1000;

/// What a composer that speaks our protocol has to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// [`Connectors::version`] from before it was read.
    pub version: u64,
    /// All its connectors.
    pub connectors: Vec<Assigned>,
    /// Connectors that it has to remove.
    pub tombstones: Vec<String>,
    /// Those of them that an operator has confirmed.
    pub approved: Vec<String>,
}

/// A connector for its composer.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it shall run now.
    pub requested: RequestedStatus,
    /// The contract hash.
    pub hash: String,
    /// How it is started.
    pub launch: Launch,
    /// What it may use.
    pub runtime: Runtime,
    /// Its environment; what is sealed stays sealed.
    pub configuration: Vec<Entry>,
    /// How long ago the platform has heard from it, in milliseconds; `None`: never.
    pub last_seen: Option<Millis>,
    /// Where the composer goes on reading its log.
    pub log_cursor: Option<String>,
    /// The hash of the definition that was given up for this one.
    pub retired_hash: Option<String>,
    /// Why it would not work although it could be started.
    pub obstacle: Option<String>,
}

/// A connector for a composer of upstream's.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The connector.
    pub connector: Connector,
    /// Image with tag.
    pub image: String,
    /// Whether it shall run now.
    pub requested: RequestedStatus,
    /// Whether an instance runs, as the composer said last.
    pub current: Option<CurrentStatus>,
    /// The contract hash.
    pub hash: String,
    /// Its environment; what is sealed stays sealed.
    pub configuration: Vec<Entry>,
}

impl Connectors {
    /// What a composer has to do, on one consistent view. A connector that has no token that its composer can open gets one.
    ///
    /// # Errors
    /// [`ConnectorError::UnknownComposer`]; [`ConnectorError::Denied`] for anybody but its own user and who may manage connectors. Never a part of
    /// the list.
    pub fn work_for<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        composer: &str,
    ) -> Result<Work, ConnectorError> {
        let acting = acting.into();
        let version = self.version();
        let composer = self
            .store
            .read(|snapshot| composers::speaking_for(snapshot, &acting, composer))?;
        composers::seen(self, &composer)?;
        self.mint(&acting, &composer)?;
        self.store.read(|snapshot| {
            let now = self.clock.now();
            let mut connectors = Vec::new();
            for (connector, managed) in whole(snapshot, &composer.id)? {
                connectors.push(self.assigned(snapshot, connector, managed, now)?);
            }
            let tombstones = snapshot.tombstones(&composer.id)?;
            let approved = tombstones.iter().filter(|tombstone| tombstone.approved);
            Ok(Work {
                version,
                connectors,
                approved: approved
                    .map(|tombstone| tombstone.connector.clone())
                    .collect(),
                tombstones: tombstones
                    .iter()
                    .map(|tombstone| tombstone.connector.clone())
                    .collect(),
            })
        })
    }

    fn assigned(
        &self,
        snapshot: &Snapshot<'_>,
        connector: Connector,
        managed: Result<Managed, Unreadable>,
        now: Millis,
    ) -> Result<Assigned, ConnectorError> {
        let reported = Reported::of(snapshot, &connector.id)?;
        let last_seen = connector.last_ping.map(|ping| (now - ping).max(0));
        let log_cursor = reported
            .as_ref()
            .and_then(|reported| reported.log_cursor.clone());
        let managed = match managed {
            Ok(managed) => managed,
            // what runs of it runs on, and nobody else waits for somebody to look at it
            Err(Unreadable { requested, error }) => {
                tracing::error!(connector = %connector.id, %error, "a managed connector cannot be read");
                return Ok(Assigned {
                    hash: reported.map(|reported| reported.hash).unwrap_or_default(),
                    requested,
                    obstacle: Some(format!("{error}; delete it and deploy it again")),
                    launch: Launch::Image {
                        image: String::new(),
                    },
                    runtime: Runtime::default(),
                    configuration: Vec::new(),
                    retired_hash: None,
                    id: connector.id,
                    name: connector.name,
                    last_seen,
                    log_cursor,
                });
            }
        };
        let configuration = managed.environment(&connector, &self.proxy);
        let let_in = tokens::user_let_in(snapshot, &connector)?.is_some();
        Ok(Assigned {
            hash: managed.hash_of(&configuration, &connector),
            requested: effective(snapshot, &connector, &managed)?,
            obstacle: (!let_in).then(|| state::NO_USER.to_owned()),
            retired_hash: managed.rolled_back.map(|back| back.hash),
            launch: managed.definition.launch,
            runtime: managed.definition.runtime,
            id: connector.id,
            name: connector.name,
            configuration,
            last_seen,
            log_cursor,
        })
    }

    /// The connectors of the caller's composer, as upstream's composers ask for them. Such a composer removes what it does not find here, so
    /// that there is no short answer: a caller that is no composer is refused.
    ///
    /// # Errors
    /// [`ConnectorError::Denied`] for who can be no composer; [`ConnectorError::Refused`] for who has not registered.
    pub fn listing_for<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
    ) -> Result<Vec<Listed>, ConnectorError> {
        let acting = acting.into();
        let composer = self.store.read(|snapshot| {
            Ok::<_, ConnectorError>(snapshot.composer_of(acting.actor.user_row)?)
        })?;
        let Some(composer) = composer else {
            may(
                acting.actor,
                Action::Any(&[names::SET_ACCESSES, names::CONNECTOR_API]),
            )?;
            return Err(ConnectorError::Refused(
                "this user is no composer: register with registerConnectorsManager first. Nothing is listed, so that nobody takes it for a list without connectors."
                    .to_owned(),
            ));
        };
        composers::seen(self, &composer)?;
        self.bury(&composer)?;
        self.mint(&acting, &composer)?;
        self.store.read(|snapshot| {
            whole(snapshot, &composer.id)?
                .into_iter()
                .map(|(connector, managed)| {
                    // a list without it, or with less of it, would make the composer destroy what runs
                    let managed = managed.map_err(|unreadable| unreadable.error)?;
                    let configuration = managed.environment(&connector, &self.proxy);
                    Ok(Listed {
                        hash: managed.hash_of(&configuration, &connector),
                        requested: effective(snapshot, &connector, &managed)?,
                        current: managed.current,
                        image: managed.definition.image,
                        connector,
                        configuration,
                    })
                })
                .collect()
        })
    }

    /// Gives the connectors of a composer the tokens that they lack. One that cannot get one keeps nobody else waiting.
    fn mint(&self, acting: &Acting<'_>, composer: &Composer) -> Result<(), ConnectorError> {
        let lacking = self.store.read(|snapshot| {
            let mut lacking = Vec::new();
            for (connector, managed) in composers::assigned(snapshot, &composer.id)? {
                if tokens::may_be_missing(snapshot, &connector, &managed, composer)? {
                    lacking.push(connector.id);
                }
            }
            Ok::<_, ConnectorError>(lacking)
        })?;
        for id in &lacking {
            if let Err(error) = self.mint_one(acting, id) {
                tracing::error!(connector = %id, %error, "a managed connector got no token");
            }
        }
        Ok(())
    }

    fn mint_one(&self, acting: &Acting<'_>, id: &str) -> Result<(), ConnectorError> {
        let minted = self.store.write(|tx| {
            let Some(mut connector) = tx.connector(id)? else {
                return Ok(None);
            };
            let Some(mut managed) = Managed::of(tx, &connector)? else {
                return Ok(None);
            };
            // the key may have changed in the meantime
            let Some(composer) = tx.composer(&managed.composer)? else {
                return Ok(None);
            };
            let minted = self.ensure_token(tx, acting, &connector, &mut managed, &composer)?;
            if minted.is_some() {
                request::save(tx, &mut connector, &managed)?;
            }
            Ok::<_, ConnectorError>(minted)
        })?;
        drop(minted);
        Ok(())
    }

    /// Forgets what a composer of upstream's has removed by now: it does not say so.
    fn bury(&self, composer: &Composer) -> Result<(), ConnectorError> {
        let now = self.clock.now();
        let tombstones = self
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.tombstones(&composer.id)?))?;
        let old: Vec<String> = tombstones
            .into_iter()
            .filter(|tombstone| now - tombstone.at >= UPSTREAM_REMOVES)
            .map(|tombstone| tombstone.connector)
            .collect();
        if composer.own || old.is_empty() {
            return Ok(());
        }
        self.store.write(|tx| {
            for connector in &old {
                tx.delete_tombstone(&composer.id, connector)?;
            }
            Ok::<_, ConnectorError>(())
        })?;
        self.bump();
        Ok(())
    }
}

/// A connector with what it shall be, or why that cannot be read.
type Whole = (Connector, Result<Managed, Unreadable>);

/// A connector whose definition cannot be read.
struct Unreadable {
    requested: RequestedStatus,
    error: ConnectorError,
}

/// The connectors of a composer with their definitions.
fn whole(snapshot: &Snapshot<'_>, composer: &str) -> Result<Vec<Whole>, ConnectorError> {
    let assigned = composers::assigned(snapshot, composer)?;
    Ok(assigned
        .into_iter()
        .filter_map(|(connector, light)| {
            let requested = light.requested;
            let managed = Managed::of(snapshot, &connector).transpose()?;
            let managed = managed.map_err(|error| Unreadable { requested, error });
            Some((connector, managed))
        })
        .collect())
}

/// Whether a connector shall run now: not before the composer that had it before has removed its instance.
fn effective(
    snapshot: &Snapshot<'_>,
    connector: &Connector,
    managed: &Managed,
) -> Result<RequestedStatus, ConnectorError> {
    let elsewhere = leaving(snapshot, &connector.id, &managed.composer)?;
    Ok(if elsewhere.is_empty() {
        managed.requested
    } else {
        RequestedStatus::Stopping
    })
}

/// The composers that have to remove their instance before another may run one.
pub(crate) fn leaving(
    snapshot: &Snapshot<'_>,
    connector: &str,
    composer: &str,
) -> Result<Vec<String>, ConnectorError> {
    Ok(snapshot
        .tombstones_of(connector)?
        .into_iter()
        .map(|tombstone| tombstone.composer)
        .filter(|other| other != composer)
        .collect())
}
