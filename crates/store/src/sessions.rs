//! Sessions of people, and failed logins. Only hashes of the sessions' secrets are stored.

use ferrocti_model::clock::Millis;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{Snapshot, Tx, error::Result};

/// A session: somebody who logged in with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the secret in the cookie.
    pub hash: [u8; 32],
    /// Public id.
    pub id: Uuid,
    /// The user (`User.row`).
    pub user: i64,
    /// When the user logged in.
    pub created_at: Millis,
    /// When it was used last, roughly.
    pub used_at: Millis,
    /// From when on it is refused, however much it is used.
    pub expires_at: Millis,
    /// Where the login came from.
    pub address: Option<String>,
    /// The browser, as it names itself.
    pub agent: Option<String>,
}

/// Failed logins of an account or from an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailures {
    /// Whose: the caller's naming.
    pub key: String,
    /// How many since the last success.
    pub failures: u32,
    /// The last one.
    pub last_at: Millis,
    /// Until when further logins are refused.
    pub locked_until: Option<Millis>,
}

const SESSION: &str = "hash, uuid, user, created_at, used_at, expires_at, address, agent";

impl Snapshot<'_> {
    /// The session of a hash.
    pub fn session_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Session>> {
        Ok(self
            .sql(&format!("SELECT {SESSION} FROM session WHERE hash = ?1"))?
            .query_row([hash.as_slice()], session)
            .optional()?)
    }

    /// The session of a public id.
    pub fn session(&self, id: Uuid) -> Result<Option<Session>> {
        Ok(self
            .sql(&format!("SELECT {SESSION} FROM session WHERE uuid = ?1"))?
            .query_row([id.as_bytes()], session)
            .optional()?)
    }

    /// The sessions of a user, or all, oldest first.
    pub fn sessions(&self, user: Option<i64>) -> Result<Vec<Session>> {
        let mut statement = self.sql(&format!(
            "SELECT {SESSION} FROM session WHERE ?1 IS NULL OR user = ?1 ORDER BY created_at, uuid"
        ))?;
        let rows = statement.query_map([user], session)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The failed logins of a key.
    pub fn login_failures(&self, key: &str) -> Result<Option<LoginFailures>> {
        Ok(self
            .sql("SELECT key, failures, last_at, locked_until FROM login_failure WHERE key = ?1")?
            .query_row([key], |row| {
                Ok(LoginFailures {
                    key: row.get(0)?,
                    failures: row.get(1)?,
                    last_at: row.get(2)?,
                    locked_until: row.get(3)?,
                })
            })
            .optional()?)
    }
}

impl Tx<'_> {
    /// Stores a session. Fails when its hash or id is taken.
    pub fn insert_session(&mut self, session: &Session) -> Result<()> {
        self.sql(&format!(
            "INSERT INTO session({SESSION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            session.hash.as_slice(),
            session.id.as_bytes(),
            session.user,
            session.created_at,
            session.used_at,
            session.expires_at,
            session.address,
            session.agent
        ])?;
        Ok(())
    }

    /// Notes that a session was used now.
    pub fn touch_session(&mut self, id: Uuid) -> Result<()> {
        let now = self.now();
        self.sql("UPDATE session SET used_at = ?2 WHERE uuid = ?1")?
            .execute(params![id.as_bytes(), now])?;
        Ok(())
    }

    /// Ends a session; whether there was one.
    pub fn delete_session(&mut self, id: Uuid) -> Result<bool> {
        Ok(self
            .sql("DELETE FROM session WHERE uuid = ?1")?
            .execute([id.as_bytes()])?
            > 0)
    }

    /// Ends all sessions of a user; their ids.
    pub fn delete_sessions_of(&mut self, user: i64) -> Result<Vec<Uuid>> {
        let ids = self
            .sessions(Some(user))?
            .into_iter()
            .map(|session| session.id)
            .collect();
        self.sql("DELETE FROM session WHERE user = ?1")?
            .execute([user])?;
        Ok(ids)
    }

    /// Forgets sessions that expired before `now` or were not used since `idle_since`; how many.
    pub fn prune_sessions(&mut self, now: Millis, idle_since: Option<Millis>) -> Result<usize> {
        Ok(self
            .sql("DELETE FROM session WHERE expires_at <= ?1 OR used_at < ?2")?
            .execute(params![now, idle_since.unwrap_or(Millis::MIN)])?)
    }

    /// Remembers the failed logins of a key.
    pub fn put_login_failures(&mut self, failures: &LoginFailures) -> Result<()> {
        self.sql("INSERT OR REPLACE INTO login_failure(key, failures, last_at, locked_until) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                failures.key,
                failures.failures,
                failures.last_at,
                failures.locked_until
            ])?;
        Ok(())
    }

    /// Forgets the failed logins of a key; whether there were any.
    pub fn clear_login_failures(&mut self, key: &str) -> Result<bool> {
        Ok(self
            .sql("DELETE FROM login_failure WHERE key = ?1")?
            .execute([key])?
            > 0)
    }

    /// Forgets failed logins whose last is older than `before`; how many keys.
    pub fn prune_login_failures(&mut self, before: Millis) -> Result<usize> {
        Ok(self
            .sql("DELETE FROM login_failure WHERE last_at < ?1")?
            .execute([before])?)
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        hash: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        user: row.get(2)?,
        created_at: row.get(3)?,
        used_at: row.get(4)?,
        expires_at: row.get(5)?,
        address: row.get(6)?,
        agent: row.get(7)?,
    })
}
