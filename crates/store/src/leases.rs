//! Leases: who may act as a connector, who was refused, and what happened in which order.

use ferrocti_model::clock::{Millis, format_date};
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Snapshot, StoreError, Tx,
    error::{Result, corrupt},
};

/// Events of one connector that are kept besides its changes of hands.
const EVENTS: i64 = 500;
/// Instances that are kept of those that were refused.
const INSTANCES: i64 = 200;

/// Who may act as a connector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// The connector.
    pub connector: String,
    /// Raised whenever the lease changes hands; 0: it never did.
    pub epoch: i64,
    /// The token whose requests act as the connector; `None`: whoever may speak for it.
    pub token: Option<Uuid>,
    /// The holder in words, for those that are refused.
    pub holder: String,
    /// Since when.
    pub since: Millis,
    /// The token of the instance that it is given back to.
    pub former: Option<Uuid>,
    /// Version of the state when the lease changed hands.
    pub frozen_state: Option<i64>,
    /// Whether the state must not go back: the change of hands is not settled yet.
    pub guarded: bool,
}

impl Lease {
    /// Whether what comes with a token, or with none, acts as the connector.
    #[must_use]
    pub fn admits(&self, token: Option<Uuid>) -> bool {
        self.token.is_none() || self.token == token
    }
}

/// A request that does not act as the connector any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the connector `{name}` ({connector}) acts through {holder} since {}: this instance is no longer it, and nothing that it sends is taken. Stop it and remove it where it runs",
    format_date(*since)
)]
pub struct Fenced {
    /// Id of the connector.
    pub connector: String,
    /// Its name.
    pub name: String,
    /// Epoch of the lease.
    pub epoch: i64,
    /// Who has it, in words.
    pub holder: String,
    /// Since when.
    pub since: Millis,
}

/// Something that happened to a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseEvent {
    /// Its place in the order of all of them.
    pub seq: i64,
    /// The connector.
    pub connector: String,
    /// When.
    pub at: Millis,
    /// `granted`, `settled`, `state-refused`, `second-instance`, `discarded`.
    pub kind: String,
    /// Epoch of the lease.
    pub epoch: i64,
    /// More about it.
    pub detail: Value,
}

/// An instance that was refused because it does not act as the connector any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FencedInstance {
    /// The connector.
    pub connector: String,
    /// Its address; empty: unknown.
    pub address: String,
    /// Its token, masked; empty: unknown.
    pub token: String,
    /// How the client names itself.
    pub agent: String,
    /// What it asked for last.
    pub what: String,
    /// How often.
    pub calls: i64,
    /// First refusal.
    pub first_at: Millis,
    /// Last refusal.
    pub last_at: Millis,
}

const LEASE: &str = "connector, epoch, token, holder, since, former, frozen_state, guarded";
const EVENT: &str = "seq, connector, at, kind, epoch, detail";
const INSTANCE: &str = "connector, address, token, agent, what, calls, first_at, last_at";

impl Snapshot<'_> {
    /// The lease of a connector; one that never changed hands is open.
    pub fn lease(&self, connector: &str) -> Result<Lease> {
        let found = self
            .sql(&format!("SELECT {LEASE} FROM lease WHERE connector = ?1"))?
            .query_row([connector], lease)
            .optional()?;
        Ok(found.unwrap_or_else(|| Lease {
            connector: connector.to_owned(),
            ..Lease::default()
        }))
    }

    /// All leases that ever changed hands.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let mut statement = self.sql(&format!("SELECT {LEASE} FROM lease ORDER BY connector"))?;
        let rows = statement.query_map([], lease)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The lease of a connector, if what comes with a token, or with none, acts as the connector.
    ///
    /// # Errors
    /// [`Fenced`] if it does not.
    pub fn admit<E: From<StoreError> + From<Fenced>>(
        &self,
        connector: &str,
        token: Option<Uuid>,
    ) -> Result<Lease, E> {
        let lease = self.lease(connector)?;
        if lease.admits(token) {
            return Ok(lease);
        }
        Err(self.refusal(lease)?.into())
    }

    /// What somebody is told whom a lease does not admit.
    pub fn refusal(&self, lease: Lease) -> Result<Fenced> {
        let name: Option<String> = self
            .sql("SELECT name FROM connector WHERE id = ?1")?
            .query_row([&lease.connector], |row| row.get(0))
            .optional()?;
        Ok(Fenced {
            name: name.unwrap_or_default(),
            connector: lease.connector,
            epoch: lease.epoch,
            holder: lease.holder,
            since: lease.since,
        })
    }

    /// Whether a token acted as a connector and does not any more.
    pub fn is_former(&self, connector: &str, token: Uuid) -> Result<bool> {
        Ok(self
            .sql("SELECT 1 FROM lease_former WHERE connector = ?1 AND token = ?2")?
            .exists(params![connector, token.as_bytes()])?)
    }

    /// What happened to the lease of a connector, oldest first.
    pub fn lease_events(&self, connector: &str) -> Result<Vec<LeaseEvent>> {
        let mut statement = self.sql(&format!(
            "SELECT {EVENT} FROM lease_event WHERE connector = ?1 ORDER BY seq"
        ))?;
        let mut rows = statement.query([connector])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(event(row)?);
        }
        Ok(events)
    }

    /// Number of the push queue up to which messages of an epoch count: what it published later came from an instance that had been shut out.
    /// `None`: it still has the lease, or never lost it.
    pub fn epoch_end(&self, connector: &str, epoch: i64) -> Result<Option<i64>> {
        Ok(self
            .sql(
                "SELECT json_extract(detail, '$.push_seq') FROM lease_event
                 WHERE connector = ?1 AND kind = 'granted' AND epoch > ?2 ORDER BY epoch LIMIT 1",
            )?
            .query_row(params![connector, epoch], |row| row.get(0))
            .optional()?
            .flatten())
    }

    /// The instances that were refused as a connector, the last first.
    pub fn fenced_instances(&self, connector: &str) -> Result<Vec<FencedInstance>> {
        let mut statement = self.sql(&format!(
            "SELECT {INSTANCE} FROM fenced WHERE connector = ?1 ORDER BY last_at DESC, address, token, agent"
        ))?;
        let rows = statement.query_map([connector], instance)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How far everything has come that carries an epoch: numbers of the last version of the connector's state, the last work, the last pushed
    /// bundle and the last event of the history.
    pub fn lease_marks(&self, connector: &str) -> Result<[i64; 4]> {
        let one = |sql: &str| -> Result<i64> {
            let mut statement = self.sql(sql)?;
            let parameters: &[&str] = if statement.parameter_count() == 1 {
                &[connector]
            } else {
                &[]
            };
            Ok(statement.query_row(rusqlite::params_from_iter(parameters), |row| row.get(0))?)
        };
        Ok([
            one("SELECT coalesce(max(version), 0) FROM connector_state WHERE connector = ?1")?,
            one("SELECT coalesce(max(row), 0) FROM work")?,
            one("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'push'), 0)")?,
            one("SELECT coalesce(max(seq), 0) FROM history")?,
        ])
    }
}

impl Tx<'_> {
    /// Stores a lease, replacing the one of the same connector.
    pub fn put_lease(&mut self, lease: &Lease) -> Result<()> {
        let bytes = |token: &Option<Uuid>| token.as_ref().map(|token| token.as_bytes().to_vec());
        self.sql(&format!(
            "INSERT OR REPLACE INTO lease({LEASE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            lease.connector,
            lease.epoch,
            bytes(&lease.token),
            lease.holder,
            lease.since,
            bytes(&lease.former),
            lease.frozen_state,
            lease.guarded
        ])?;
        Ok(())
    }

    /// Notes that a token does not act as a connector any more, from an epoch on.
    pub fn add_former(&mut self, connector: &str, token: Uuid, epoch: i64) -> Result<()> {
        self.sql(
            "INSERT OR REPLACE INTO lease_former(connector, token, epoch) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![connector, token.as_bytes(), epoch])?;
        Ok(())
    }

    /// Notes that a token acts as a connector again.
    pub fn delete_former(&mut self, connector: &str, token: Uuid) -> Result<()> {
        self.sql("DELETE FROM lease_former WHERE connector = ?1 AND token = ?2")?
            .execute(params![connector, token.as_bytes()])?;
        Ok(())
    }

    /// Records something that happened to a lease; returns its number. Of what is no change of hands the last 500 of a connector are kept.
    pub fn add_lease_event(
        &mut self,
        connector: &str,
        kind: &str,
        epoch: i64,
        detail: &Value,
    ) -> Result<i64> {
        let now = self.now();
        self.sql("INSERT INTO lease_event(connector, at, kind, epoch, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![connector, now, kind, epoch, detail.to_string()])?;
        let seq = self.conn.last_insert_rowid();
        if kind != "granted" {
            self.sql(
                "DELETE FROM lease_event WHERE connector = ?1 AND kind <> 'granted' AND seq <=
                   (SELECT seq FROM lease_event WHERE connector = ?1 AND kind <> 'granted' ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![connector, EVENTS])?;
        }
        Ok(seq)
    }

    /// Adds refusals of an instance to those that are kept.
    pub fn add_fenced(&mut self, fenced: &FencedInstance) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO fenced({INSTANCE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT(connector, address, token, agent) DO UPDATE SET
               what = excluded.what, calls = calls + excluded.calls, last_at = max(last_at, excluded.last_at)"
        ))?
        .execute(params![
            fenced.connector,
            fenced.address,
            fenced.token,
            fenced.agent,
            fenced.what,
            fenced.calls,
            fenced.first_at,
            fenced.last_at
        ])?;
        self.sql(
            "DELETE FROM fenced WHERE connector = ?1 AND (address, token, agent) IN (
               SELECT address, token, agent FROM fenced WHERE connector = ?1 ORDER BY last_at DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![fenced.connector, INSTANCES])?;
        Ok(())
    }

    /// Forgets everything about the lease of a connector.
    pub(crate) fn delete_lease_parts(&mut self, connector: &str) -> Result<()> {
        for table in ["lease", "lease_former", "lease_event", "fenced"] {
            self.sql(&format!("DELETE FROM {table} WHERE connector = ?1"))?
                .execute([connector])?;
        }
        Ok(())
    }
}

fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let token = |index: usize| -> rusqlite::Result<Option<Uuid>> {
        Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(Uuid::from_bytes))
    };
    Ok(Lease {
        connector: row.get(0)?,
        epoch: row.get(1)?,
        token: token(2)?,
        holder: row.get(3)?,
        since: row.get(4)?,
        former: token(5)?,
        frozen_state: row.get(6)?,
        guarded: row.get(7)?,
    })
}

fn event(row: &Row<'_>) -> Result<LeaseEvent> {
    let detail: String = row.get(5)?;
    Ok(LeaseEvent {
        seq: row.get(0)?,
        connector: row.get(1)?,
        at: row.get(2)?,
        kind: row.get(3)?,
        epoch: row.get(4)?,
        detail: serde_json::from_str(&detail).map_err(|error| corrupt("lease_event", error))?,
    })
}

fn instance(row: &Row<'_>) -> rusqlite::Result<FencedInstance> {
    Ok(FencedInstance {
        connector: row.get(0)?,
        address: row.get(1)?,
        token: row.get(2)?,
        agent: row.get(3)?,
        what: row.get(4)?,
        calls: row.get(5)?,
        first_at: row.get(6)?,
        last_at: row.get(7)?,
    })
}
