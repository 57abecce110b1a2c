//! Sessions of people who logged in with a password: a fresh secret for each login, of which only the hash is stored.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ferrocti_access::Rights;
use ferrocti_model::clock::{Entropy, Millis};
use ferrocti_store::{Session, Snapshot, Tx, User};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Accounts, Acting, Origin,
    acting::{Scope, kept_agent, record},
    boot::subject,
    error::{AccountError, Result},
    guard, ids,
    rights::{admitted, rights_of_any},
};

/// A session that was used within this time, or within a tenth of how long it may be unused, is not marked as used again.
const TOUCH_AFTER: Millis = 60 * 1000;
/// Most sessions of one user; the oldest end when there would be more.
const MAX_SESSIONS: usize = 50;

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without being used, in milliseconds.
    pub idle: Millis,
    /// In all, in milliseconds.
    pub lifetime: Millis,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: 60 * 60 * 1000,
            lifetime: 12 * 60 * 60 * 1000,
        }
    }
}

/// A session that was just opened.
#[derive(Clone)]
pub struct OpenedSession {
    /// What the user may do.
    pub rights: Arc<Rights>,
    /// The session as stored.
    pub session: Session,
    /// What proves it; shown only now.
    pub secret: String,
}

impl std::fmt::Debug for OpenedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedSession")
            .field("session", &self.session.id)
            .finish_non_exhaustive()
    }
}

/// A secret that proves a session: 32 random bytes in URL-safe base64.
pub(crate) fn new_secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Stores a new session of a user; too many older ones end.
pub(crate) fn open(
    tx: &mut Tx<'_>,
    user: &User,
    secret: &str,
    limits: SessionLimits,
    origin: Origin<'_>,
) -> Result<Session> {
    let now = tx.now();
    let session = Session {
        hash: hash(secret),
        id: tx.new_uuid(),
        user: user.row,
        created_at: now,
        used_at: now,
        expires_at: now + limits.lifetime,
        address: origin.address.map(|address| address.to_string()),
        agent: origin.agent.map(kept_agent),
    };
    let known = tx.sessions(Some(user.row))?;
    let surplus = (known.len() + 1).saturating_sub(MAX_SESSIONS);
    for old in &known[..surplus] {
        tx.delete_session(old.id)?;
    }
    tx.insert_session(&session)?;
    Ok(session)
}

impl Accounts {
    /// How long a session lasts without being used, in milliseconds.
    #[must_use]
    pub fn session_idle(&self) -> Millis {
        self.sessions.idle
    }

    /// How long a session lasts at most, in milliseconds.
    #[must_use]
    pub fn session_lifetime(&self) -> Millis {
        self.sessions.lifetime
    }

    /// Whose session this is; `None` for one that is unknown, over or too long unused, and for users that are not let in any more.
    pub fn session(&self, secret: &str) -> Result<Option<(Arc<Rights>, Session)>> {
        let now = self.clock.now();
        let found = self.store.read(|snapshot| {
            let Some(session) = snapshot.session_by_hash(&hash(secret))? else {
                return Ok::<_, AccountError>(None);
            };
            if !self.lives(&session, now) {
                return Ok(None);
            }
            let rights = crate::rights::rights(snapshot, session.user)?;
            Ok(rights.map(|rights| (rights, session)))
        })?;
        if let Some((_, session)) = &found
            && now - session.used_at > TOUCH_AFTER.min(self.sessions.idle / 10)
        {
            self.store.write(|tx| tx.touch_session(session.id))?;
        }
        Ok(found)
    }

    fn lives(&self, session: &Session, now: Millis) -> bool {
        now < session.expires_at && now - session.used_at < self.sessions.idle
    }

    /// The sessions that are not over, of a user by row number or of all, oldest first.
    pub fn sessions(&self, snapshot: &Snapshot<'_>, user: Option<i64>) -> Result<Vec<Session>> {
        let now = self.clock.now();
        let mut sessions = snapshot.sessions(user)?;
        sessions.retain(|session| self.lives(session, now));
        Ok(sessions)
    }

    /// Ends the session with which somebody logs out; whether there was one.
    pub fn close_session(&self, session: Uuid, origin: Origin<'_>) -> Result<bool> {
        self.store.write(|tx| {
            let Some(session) = tx.session(session)? else {
                return Ok(false);
            };
            tx.delete_session(session.id)?;
            let user = tx.user(session.user)?;
            let rights = rights_of_any(tx, session.user)?;
            if let (Some(user), Some(rights)) = (user, rights) {
                let acting = Acting {
                    actor: &rights.actor,
                    applicant: None,
                    token: None,
                    origin,
                };
                let id = user.id.to_string();
                let subject = subject(&user, &id);
                record(tx, &acting, Scope::Logout, Some(subject), "logout", None)?;
            }
            Ok(true)
        })
    }

    /// Ends a session of anybody. Returns its id.
    pub fn kill_session(&self, acting: &Acting<'_>, session: &str) -> Result<Uuid> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let unknown = || AccountError::not_found("Session", session);
            let id: Uuid = session.parse().map_err(|_| unknown())?;
            let session = tx.session(id)?.ok_or_else(unknown)?;
            let user = tx.user(session.user)?.ok_or_else(unknown)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            tx.delete_session(id)?;
            killed(tx, acting, &user, "specific session")?;
            Ok(id)
        })
    }

    /// Ends all sessions of a user, by its internal or standard id. Returns their ids.
    pub fn kill_sessions_of(&self, acting: &Acting<'_>, user: &str) -> Result<Vec<Uuid>> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let user = ids::user(tx, user)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            let ids = tx.delete_sessions_of(user.row)?;
            killed(tx, acting, &user, "all sessions")?;
            Ok(ids)
        })
    }

    /// Forgets what is over: sessions, failed logins, audit lines older than `audit_days`; accounts whose time has passed become expired.
    /// To be called now and then.
    pub fn tidy(&self, audit_days: Option<u32>) -> Result<()> {
        /// Lines that are deleted in one transaction, so that others need not wait long.
        const LINES: usize = 5_000;
        let now = self.clock.now();
        self.store.write(|tx| {
            tx.prune_sessions(now, Some(now - self.sessions.idle))?;
            for mut user in tx.users()? {
                let due = admitted(user.status, None, now).is_ok()
                    && user.expires_at.is_some_and(|end| end <= now);
                if due {
                    user.status = ferrocti_store::UserStatus::Expired;
                    tx.delete_sessions_of(user.row)?;
                    tx.update_user(&user)?;
                }
            }
            Ok::<_, AccountError>(())
        })?;
        if let Some(days) = audit_days {
            let before = now - Millis::from(days) * 24 * 60 * 60 * 1000;
            while self.store.write(|tx| tx.prune_audit(before, LINES))? == LINES {}
        }
        Ok(())
    }
}

fn killed(tx: &mut Tx<'_>, acting: &Acting<'_>, user: &User, what: &str) -> Result<()> {
    let id = user.id.to_string();
    let message = format!("kills `{what}` for user `{}`", user.email);
    record(
        tx,
        acting,
        Scope::Update,
        Some(subject(user, &id)),
        &message,
        None,
    )?;
    Ok(())
}
