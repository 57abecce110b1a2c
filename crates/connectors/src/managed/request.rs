//! What is asked of a managed connector, and what a composer of upstream's says of it.

use ferrocti_access::{Action, may, names};
use ferrocti_accounts::{Acting, Scope, may_direct};
use ferrocti_store::{Connector, Snapshot, Tx};
use serde_json::json;

use crate::{
    ConnectorError, Connectors,
    managed::{
        CurrentStatus, HealthReport, Managed, Reported, RequestedStatus, composers, logs, report,
    },
    registry::audit,
};

impl Connectors {
    /// Asks for a managed connector to run, or not to.
    ///
    /// # Errors
    /// [`ConnectorError::Denied`] without `MODULES_MODMANAGE`, [`ConnectorError::NotManaged`].
    pub fn request<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        requested: RequestedStatus,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let connector = self.store.write(|tx| {
            let (mut connector, mut managed) = steerable(tx, &acting, id)?;
            managed.requested = requested;
            managed.requested_at = tx.now();
            save(tx, &mut connector, &managed)?;
            let what = if requested.runs() {
                "starts connector"
            } else {
                "stops connector"
            };
            let data = json!({ "requested": requested });
            audit(tx, &acting, (Scope::Update, what), &connector, Some(data))?;
            Ok::<_, ConnectorError>(connector)
        })?;
        self.bump();
        Ok(connector)
    }

    /// Asks for a new instance of a managed connector without any other change.
    ///
    /// # Errors
    /// As [`Connectors::request`].
    pub fn restart<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        let connector = self.store.write(|tx| {
            let (mut connector, mut managed) = steerable(tx, &acting, id)?;
            let now = tx.now();
            managed.restarted_at = Some(now);
            managed.requested = RequestedStatus::Starting;
            managed.requested_at = now;
            save(tx, &mut connector, &managed)?;
            audit(
                tx,
                &acting,
                (Scope::Update, "restarts connector"),
                &connector,
                None,
            )?;
            Ok::<_, ConnectorError>(connector)
        })?;
        self.bump();
        Ok(connector)
    }

    /// A composer says whether an instance runs.
    ///
    /// # Errors
    /// [`ConnectorError::Denied`] for anybody but its composer's user and who may manage connectors.
    pub fn set_current<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        current: CurrentStatus,
    ) -> Result<Connector, ConnectorError> {
        let acting = acting.into();
        self.store.write(|tx| {
            let (mut connector, mut managed) = composed(tx, &acting, id)?;
            if managed.current != Some(current) {
                managed.current = Some(current);
                save(tx, &mut connector, &managed)?;
                let mut reported = Reported::of(tx, id)?.unwrap_or_default();
                reported.since = tx.now();
                report::put(tx, id, &reported)?;
            }
            tx.touch_composer(&managed.composer)?;
            Ok(connector)
        })
    }

    /// A composer gives the last lines of a log, as upstream's do each time; what is new of them is added to what is kept.
    ///
    /// # Errors
    /// As [`Connectors::set_current`].
    pub fn set_logs<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        lines: &[String],
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        self.store.write(|tx| {
            let (_, managed) = composed(tx, &acting, id)?;
            let kept = tx.connector_log(id, None, None, lines.len())?;
            let new = logs::fresh(&kept, lines);
            tx.append_connector_log(id, new.iter().map(String::as_str))?;
            Ok(tx.touch_composer(&managed.composer)?)
        })
    }

    /// A composer gives figures of an instance.
    ///
    /// # Errors
    /// As [`Connectors::set_current`].
    pub fn set_health<'a>(
        &self,
        acting: impl Into<Acting<'a>>,
        id: &str,
        health: HealthReport,
    ) -> Result<(), ConnectorError> {
        let acting = acting.into();
        self.store.write(|tx| {
            let (_, managed) = composed(tx, &acting, id)?;
            let mut reported = Reported::of(tx, id)?.unwrap_or_default();
            health.note(&mut reported, tx.now());
            report::put(tx, id, &reported)?;
            Ok(tx.touch_composer(&managed.composer)?)
        })
    }
}

/// The managed connector of an id, for whoever may say what runs as its user.
pub(crate) fn manageable(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    id: &str,
) -> Result<(Connector, Managed), ConnectorError> {
    let (connector, _) = steerable(snapshot, acting, id)?;
    // with a command, a proxy or a variable of one's own its token, and so its user's rights, are one's own
    if let Some(user) = connector.user {
        may_direct(snapshot, acting, user)?;
    }
    let managed = Managed::of(snapshot, &connector)?
        .ok_or_else(|| ConnectorError::NotManaged(connector.name.clone()))?;
    Ok((connector, managed))
}

/// The same without its definition, which may be unreadable: it can be stopped nevertheless.
fn steerable(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    id: &str,
) -> Result<(Connector, Managed), ConnectorError> {
    // not even a connector's own user: what it is allowed to do is to run, not to say what runs
    may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
    known(snapshot, id)
}

/// The managed connector of an id without its definition, for its composer and for whoever may manage connectors.
fn composed(
    snapshot: &Snapshot<'_>,
    acting: &Acting<'_>,
    id: &str,
) -> Result<(Connector, Managed), ConnectorError> {
    let own = snapshot.composer_of(acting.actor.user_row)?;
    if own.is_none() {
        may(acting.actor, Action::Use(names::MODULES_MANAGE))?;
    }
    let (connector, managed) = known(snapshot, id)?;
    if own.is_none_or(|own| own.id != managed.composer) {
        composers::speaking_for(snapshot, acting, &managed.composer)?;
    }
    Ok((connector, managed))
}

fn known(snapshot: &Snapshot<'_>, id: &str) -> Result<(Connector, Managed), ConnectorError> {
    let connector = snapshot
        .connector(id)?
        .ok_or_else(|| ConnectorError::NotFound(id.to_owned()))?;
    let managed = Managed::without_definition(&connector)?
        .ok_or_else(|| ConnectorError::NotManaged(connector.name.clone()))?;
    Ok((connector, managed))
}

/// Stores what a managed connector shall be.
pub(crate) fn save(
    tx: &mut Tx<'_>,
    connector: &mut Connector,
    managed: &Managed,
) -> Result<(), ConnectorError> {
    let manager = serde_json::to_value(managed)
        .map_err(|error| ConnectorError::Invalid(error.to_string()))?;
    connector.manager = Some(manager);
    connector.updated_at = tx.now();
    Ok(tx.put_connector(connector)?)
}
