//! Connectors as registered, and the versions of their states.

use ferrocti_model::clock::Millis;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Snapshot, Tx,
    error::{Result, corrupt},
};

/// A connector: what it registered, and what the platform keeps about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// The id it was configured with, verbatim.
    pub id: String,
    /// Name.
    pub name: String,
    /// `EXTERNAL_IMPORT`, `INTERNAL_ENRICHMENT`, …
    pub kind: String,
    /// Scope entries.
    pub scope: Vec<String>,
    /// Runs by itself on matching objects.
    pub auto: bool,
    /// Runs again on updates.
    pub auto_update: bool,
    /// Only within a container.
    pub only_contextual: bool,
    /// May be used in playbooks.
    pub playbook_compatible: bool,
    /// `none` or `stix_bundle`.
    pub enrichment_resolution: Option<String>,
    /// Where it listens when it does not use the broker.
    pub listen_callback_uri: Option<String>,
    /// Intent given at registration.
    pub xtm_one_intent: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// Its short name in the catalogue.
    pub slug: Option<String>,
    /// User of its last registration (`User.row`).
    pub user: Option<i64>,
    /// Part of the platform.
    pub built_in: bool,
    /// Title given by an operator.
    pub title: Option<String>,
    /// Filters given by an operator, JSON as text.
    pub trigger_filters: Option<String>,
    /// Priority group.
    pub priority_group: String,
    /// Last `connector_info`.
    pub info: Option<Value>,
    /// State, verbatim.
    pub state: Option<String>,
    /// A reset was asked for and not yet taken.
    pub state_reset: bool,
    /// When the state was reset or first made.
    pub state_at: Millis,
    /// First registration.
    pub created_at: Millis,
    /// Last change of the row.
    pub updated_at: Millis,
    /// Last registration; `None`: made by an operator and not yet started.
    pub registered_at: Option<Millis>,
    /// Last sign of life.
    pub last_ping: Option<Millis>,
    /// Catalogue entry of a managed connector.
    pub catalog_id: Option<String>,
    /// What a connector manager keeps (requested and current status, configuration, …).
    pub manager: Option<Value>,
    /// Token of its last registration (`Token.id`); `None`: there was none, or it came without a token.
    pub registered_token: Option<Uuid>,
}

/// One version of a connector's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateVersion {
    /// Number, growing per connector.
    pub version: i64,
    /// Since when.
    pub at: Millis,
    /// Why it changed: `ping`, `reset`, `restore`, …
    pub reason: String,
    /// Who changed it.
    pub actor: Option<i64>,
    /// The state, verbatim.
    pub state: Option<String>,
    /// Epoch of the lease under which it was written.
    pub epoch: i64,
}

const COLUMNS: &str = "id, name, type, scope, auto, auto_update, only_contextual, playbook_compatible, enrichment_resolution, listen_callback_uri, \
     xtm_one_intent, version, slug, user, built_in, title, trigger_filters, priority_group, info, state, state_reset, state_at, created_at, updated_at, \
     registered_at, last_ping, catalog_id, manager, registered_token";

impl Snapshot<'_> {
    /// The connector of an id.
    pub fn connector(&self, id: &str) -> Result<Option<Connector>> {
        let mut statement = self.sql(&format!("SELECT {COLUMNS} FROM connector WHERE id = ?1"))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(connector).transpose()
    }

    /// All connectors by name.
    pub fn connectors(&self) -> Result<Vec<Connector>> {
        list(self, "")
    }

    /// The kept versions of a connector's state, newest first.
    pub fn state_versions(&self, connector: &str) -> Result<Vec<StateVersion>> {
        let mut statement =
            self.sql("SELECT version, at, reason, actor, state, epoch FROM connector_state WHERE connector = ?1 ORDER BY version DESC")?;
        let rows = statement.query_map([connector], state_version)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One version of a connector's state.
    pub fn state_version(&self, connector: &str, version: i64) -> Result<Option<StateVersion>> {
        Ok(self
            .sql("SELECT version, at, reason, actor, state, epoch FROM connector_state WHERE connector = ?1 AND version = ?2")?
            .query_row(params![connector, version], state_version)
            .optional()?)
    }
}

impl Tx<'_> {
    /// Stores a connector, replacing the row of the same id.
    pub fn put_connector(&mut self, c: &Connector) -> Result<()> {
        let json = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        let scope = serde_json::to_string(&c.scope).map_err(|error| corrupt("scope", error))?;
        self.sql(&format!(
            "INSERT OR REPLACE INTO connector({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
             ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)"
        ))?
        .execute(params![
            c.id,
            c.name,
            c.kind,
            scope,
            c.auto,
            c.auto_update,
            c.only_contextual,
            c.playbook_compatible,
            c.enrichment_resolution,
            c.listen_callback_uri,
            c.xtm_one_intent,
            c.version,
            c.slug,
            c.user,
            c.built_in,
            c.title,
            c.trigger_filters,
            c.priority_group,
            json(&c.info),
            c.state,
            c.state_reset,
            c.state_at,
            c.created_at,
            c.updated_at,
            c.registered_at,
            c.last_ping,
            c.catalog_id,
            json(&c.manager),
            c.registered_token.as_ref().map(|token| token.as_bytes().to_vec())
        ])?;
        Ok(())
    }

    /// Deletes a connector, the versions of its state, and its definitions, report and log, and its lease; whether there was one.
    pub fn delete_connector(&mut self, id: &str) -> Result<bool> {
        self.delete_managed_parts(id)?;
        self.delete_lease_parts(id)?;
        self.sql("DELETE FROM connector_state WHERE connector = ?1")?
            .execute([id])?;
        Ok(self
            .sql("DELETE FROM connector WHERE id = ?1")?
            .execute([id])?
            > 0)
    }

    /// Records a version of a connector's state under the epoch of its lease, and forgets all but the newest `keep`. Returns its number.
    pub fn add_state_version(
        &mut self,
        connector: &str,
        state: Option<&str>,
        reason: &str,
        actor: Option<i64>,
        keep: u32,
    ) -> Result<i64> {
        let version: i64 = self
            .sql("SELECT coalesce(max(version), 0) + 1 FROM connector_state WHERE connector = ?1")?
            .query_row([connector], |row| row.get(0))?;
        let now = self.now();
        self.sql(
            "INSERT INTO connector_state(connector, version, at, reason, actor, state, epoch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT epoch FROM lease WHERE connector = ?1), 0))",
        )?
            .execute(params![connector, version, now, reason, actor, state])?;
        // the one that a change of hands began with stays, so that it can be gone back to
        self.sql(
            "DELETE FROM connector_state WHERE connector = ?1 AND version <= ?2
               AND version IS NOT (SELECT frozen_state FROM lease WHERE connector = ?1)",
        )?
        .execute(params![connector, version - i64::from(keep.max(1))])?;
        Ok(version)
    }
}

/// The connectors that fulfil a condition, by name.
pub(crate) fn list(snapshot: &Snapshot<'_>, condition: &str) -> Result<Vec<Connector>> {
    let mut statement = snapshot.sql(&format!(
        "SELECT {COLUMNS} FROM connector {condition} ORDER BY name, id"
    ))?;
    let mut rows = statement.query([])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(connector(row)?);
    }
    Ok(list)
}

fn state_version(row: &Row<'_>) -> rusqlite::Result<StateVersion> {
    Ok(StateVersion {
        version: row.get(0)?,
        at: row.get(1)?,
        reason: row.get(2)?,
        actor: row.get(3)?,
        state: row.get(4)?,
        epoch: row.get(5)?,
    })
}

fn connector(row: &Row<'_>) -> Result<Connector> {
    let json = |index: usize| -> Result<Option<Value>> {
        row.get::<_, Option<String>>(index)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| corrupt("connector", error))
    };
    let scope: String = row.get(3)?;
    Ok(Connector {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        scope: serde_json::from_str(&scope).map_err(|error| corrupt("scope", error))?,
        auto: row.get(4)?,
        auto_update: row.get(5)?,
        only_contextual: row.get(6)?,
        playbook_compatible: row.get(7)?,
        enrichment_resolution: row.get(8)?,
        listen_callback_uri: row.get(9)?,
        xtm_one_intent: row.get(10)?,
        version: row.get(11)?,
        slug: row.get(12)?,
        user: row.get(13)?,
        built_in: row.get(14)?,
        title: row.get(15)?,
        trigger_filters: row.get(16)?,
        priority_group: row.get(17)?,
        info: json(18)?,
        state: row.get(19)?,
        state_reset: row.get(20)?,
        state_at: row.get(21)?,
        created_at: row.get(22)?,
        updated_at: row.get(23)?,
        registered_at: row.get(24)?,
        last_ping: row.get(25)?,
        catalog_id: row.get(26)?,
        manager: json(27)?,
        registered_token: row.get::<_, Option<[u8; 16]>>(28)?.map(Uuid::from_bytes),
    })
}
