//! Who a token or a password belongs to. Only the hash of a token finds its user: ids and names never do.

use std::{net::IpAddr, sync::Arc};

use ferrocti_access::{Actor, Rights, names, password, token};
use ferrocti_model::clock::Millis;
use ferrocti_store::{LoginFailures, Tx, User, fold::fold};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Accounts, Origin,
    acting::{Acting, Scope, record, record_refusal},
    boot::subject,
    error::{AccountError, LoginRefusal, Result},
    rights::{admitted, rights_of_any},
    sessions::{self, OpenedSession},
};

/// A token that was used within this time is not marked as used again: reading must not become writing.
const TOUCH_AFTER: Millis = 60 * 60 * 1000;
/// Failed logins after which an account is locked …
const ACCOUNT_FAILURES: u32 = 10;
/// … and after which an address is, from which many people may come.
const ADDRESS_FAILURES: u32 = 100;
/// How long a lock lasts, and how long failures are remembered.
const LOCK: Millis = 15 * 60 * 1000;
/// Longest address of a person (RFC 5321, section 4.5.3.1), in bytes.
const MAX_EMAIL: usize = 254;
/// A valid hash of nothing in particular, so that an unknown address takes the same time as a wrong password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$XyaXBYbEzGPc9sJ9xzlbOJ2sZkhHDwC0U5DAnvmvFnM";

/// Somebody who proved who he is by a token.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// What the user may do.
    pub rights: Arc<Rights>,
    /// The token that was used.
    pub token: Uuid,
}

impl Authenticated {
    /// The user.
    #[must_use]
    pub fn actor(&self) -> &Arc<Actor> {
        &self.rights.actor
    }
}

impl Accounts {
    /// Whose token this is; `None` for an unknown or expired one, for users that are not let in, and for those that may not use tokens.
    pub fn authenticate(&self, secret: &str) -> Result<Option<Authenticated>> {
        let hash = token::hash(secret);
        let now = self.clock.now();
        let found = self.store.read(|snapshot| {
            let Some((token, user)) = snapshot.token_by_hash(&hash)? else {
                tracing::info!("a request with an unknown token was refused");
                return Ok::<_, AccountError>(None);
            };
            let refused = |why: &str| {
                tracing::warn!(user = %user.email, token = %token.name, why, "a request with a token was refused");
                Ok(None)
            };
            if token.expires_at.is_some_and(|expiry| expiry <= now) {
                return refused("the token has expired");
            }
            if let Err(barred) = admitted(user.status, user.expires_at, now) {
                return refused(&barred.to_string());
            }
            let Some(rights) = rights_of_any(snapshot, user.row)? else {
                return Ok(None);
            };
            if !rights.actor.capabilities.holds(names::USE_TOKEN) {
                return refused("the user lacks APIACCESS_USETOKEN");
            }
            Ok(Some((token, rights)))
        })?;
        let Some((token, rights)) = found else {
            return Ok(None);
        };
        if token.last_used.is_none_or(|used| now - used > TOUCH_AFTER) {
            self.store.write(|tx| tx.touch_token(token.id))?;
        }
        Ok(Some(Authenticated {
            rights,
            token: token.id,
        }))
    }

    /// Opens a session for an e-mail address and password. Failures are counted for the account and the address they come from, also when there is
    /// no such account; beyond a limit every login is refused for a while.
    ///
    /// # Errors
    /// [`AccountError::LoginRefused`]: the same, after the same time, for an unknown address and a wrong password.
    pub fn login(&self, email: &str, secret: &str, origin: Origin<'_>) -> Result<OpenedSession> {
        let email = shortened(email);
        let keys = throttle_keys(&email, origin.address);
        // counted before the password is looked at, so that many attempts at once are counted too
        self.store
            .write(|tx| attempt(tx, &keys, &email, origin))??;
        let user = self
            .store
            .read(|snapshot| Ok::<_, AccountError>(snapshot.user_by_email(&email)?))?;
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let right = password::verify(secret, hash.as_deref().unwrap_or(NOBODY));
        let user = user.filter(|user| right && user.password.is_some());
        self.store.write(|tx| match user {
            Some(user) => self.welcome(tx, &keys, &user, origin),
            None => {
                fail(tx, &email, origin)?;
                Ok::<_, AccountError>(Err(LoginRefusal::BadCredentials.into()))
            }
        })?
    }

    /// The user of an e-mail address and password that come with a single request. No session is opened and no login recorded; failures are,
    /// and count like those of logins. `None` for a wrong password, after too many of them, for users that are not let in, and for those that
    /// may not prove themselves this way.
    pub fn authenticate_password(
        &self,
        email: &str,
        secret: &str,
        origin: Origin<'_>,
    ) -> Result<Option<Arc<Rights>>> {
        let email = shortened(email);
        let keys = throttle_keys(&email, origin.address);
        if self
            .store
            .write(|tx| attempt(tx, &keys, &email, origin))?
            .is_err()
        {
            return Ok(None);
        }
        let user = self
            .store
            .read(|snapshot| Ok::<_, AccountError>(snapshot.user_by_email(&email)?))?;
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let right = password::verify(secret, hash.as_deref().unwrap_or(NOBODY));
        let user = user.filter(|user| right && user.password.is_some());
        self.store.write(|tx| {
            let Some(user) = user else {
                fail(tx, &email, origin)?;
                return Ok(None);
            };
            take_back(tx, &keys)?;
            let rights = crate::rights::rights(tx, user.row)?;
            Ok(rights.filter(|rights| rights.actor.capabilities.holds(names::USE_BASIC)))
        })
    }

    /// Fails unless this is the user's password. Wrong ones count like failed logins.
    pub(crate) fn prove_password(
        &self,
        user: &User,
        given: &str,
        origin: Origin<'_>,
    ) -> Result<()> {
        let keys = throttle_keys(&user.email, None);
        self.store
            .write(|tx| attempt(tx, &keys, &user.email, origin))??;
        let hash = user.password.as_deref().unwrap_or(NOBODY);
        if !(password::verify(given, hash) && user.password.is_some()) {
            return Err(AccountError::CurrentPassword);
        }
        self.store.write(|tx| forget_failures(tx, &user.email))?;
        Ok(())
    }

    /// The password is right: takes back what was counted, and lets the user in unless the account is barred.
    fn welcome(
        &self,
        tx: &mut Tx<'_>,
        keys: &[(String, u32)],
        user: &User,
        origin: Origin<'_>,
    ) -> Result<Result<OpenedSession>> {
        take_back(tx, keys)?;
        let id = user.id.to_string();
        if let Err(barred) = admitted(user.status, user.expires_at, tx.now()) {
            let message = format!("detects `login failure` for `{}`", user.email);
            let data = json!({ "provider": "local", "username": user.email, "reason": barred.to_string() });
            record_refusal(
                tx,
                Some(user.row),
                origin,
                Scope::Login,
                &message,
                Some(data),
            )?;
            return Ok(Err(LoginRefusal::Barred(barred).into()));
        }
        let Some(rights) = rights_of_any(tx, user.row)? else {
            return Ok(Err(LoginRefusal::BadCredentials.into()));
        };
        let acting = Acting {
            actor: &rights.actor,
            applicant: None,
            token: None,
            origin,
        };
        record(
            tx,
            &acting,
            Scope::Login,
            Some(subject(user, &id)),
            "login from provider `local`",
            Some(json!({ "provider": "local", "username": user.email })),
        )?;
        let secret = sessions::new_secret(&*self.entropy);
        let session = sessions::open(tx, user, &secret, self.sessions, origin)?;
        Ok(Ok(OpenedSession {
            rights,
            session,
            secret,
        }))
    }
}

/// What failures are counted for, with the limit.
fn throttle_keys(email: &str, address: Option<IpAddr>) -> Vec<(String, u32)> {
    let mut keys = vec![(account_key(email), ACCOUNT_FAILURES)];
    keys.extend(address.map(|address| (format!("address:{}", network(address)), ADDRESS_FAILURES)));
    keys
}

fn account_key(email: &str) -> String {
    format!("account:{}", fold(email.trim()))
}

/// The part of an address that one client may be assumed to hold: of IPv6 the first 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

fn shortened(email: &str) -> String {
    let mut end = email.len().min(MAX_EMAIL);
    while !email.is_char_boundary(end) {
        end -= 1;
    }
    email[..end].trim().to_owned()
}

/// Counts an attempt as a failure until it turns out to be none; refuses it where there were too many.
fn attempt(
    tx: &mut Tx<'_>,
    keys: &[(String, u32)],
    email: &str,
    origin: Origin<'_>,
) -> Result<Result<()>> {
    let now = tx.now();
    tx.prune_login_failures(now - LOCK)?;
    let mut counted = Vec::new();
    for (key, limit) in keys {
        let mut failures = tx.login_failures(key)?.unwrap_or(LoginFailures {
            key: key.clone(),
            failures: 0,
            last_at: now,
            locked_until: None,
        });
        if let Some(until) = failures.locked_until {
            if until > now {
                return Ok(Err(LoginRefusal::TooManyFailures { until }.into()));
            }
            failures.failures = 0;
            failures.locked_until = None;
        }
        failures.failures += 1;
        failures.last_at = now;
        if failures.failures >= *limit {
            failures.locked_until = Some(now + LOCK);
            let data = json!({ "username": email, "failures": failures.failures });
            let message = format!("locks logins of `{key}` for {} minutes", LOCK / 60_000);
            record_refusal(tx, None, origin, Scope::Login, &message, Some(data))?;
        }
        counted.push(failures);
    }
    for failures in &counted {
        tx.put_login_failures(failures)?;
    }
    Ok(Ok(()))
}

/// Takes back what was counted before a password turned out to be right.
fn take_back(tx: &mut Tx<'_>, keys: &[(String, u32)]) -> Result<()> {
    for (key, _) in keys {
        if key.starts_with("account:") {
            tx.clear_login_failures(key)?;
        } else if let Some(mut failures) = tx.login_failures(key)? {
            // somebody with an account must not make room for guesses at others
            failures.failures = failures.failures.saturating_sub(1);
            if failures.failures < ADDRESS_FAILURES {
                failures.locked_until = None;
            }
            tx.put_login_failures(&failures)?;
        }
    }
    Ok(())
}

/// Forgets the failures of an account; whether there were any.
pub(crate) fn forget_failures(tx: &mut Tx<'_>, email: &str) -> Result<bool> {
    Ok(tx.clear_login_failures(&account_key(email))?)
}

/// Keeps the failures of an account whose address changes: a new address must not make room for more guesses.
pub(crate) fn move_failures(tx: &mut Tx<'_>, from: &str, to: &str) -> Result<()> {
    let (from, to) = (account_key(from), account_key(to));
    if from == to {
        return Ok(());
    }
    if let Some(mut failures) = tx.login_failures(&from)? {
        tx.clear_login_failures(&from)?;
        failures.key = to;
        tx.put_login_failures(&failures)?;
    }
    Ok(())
}

fn fail(tx: &mut Tx<'_>, email: &str, origin: Origin<'_>) -> Result<()> {
    let message = format!("detects `login failure` for `{email}`");
    let data = json!({ "provider": "local", "username": email });
    record_refusal(tx, None, origin, Scope::Login, &message, Some(data))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_for_networks_that_one_client_may_hold() {
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(
                network(address.parse().unwrap()),
                counted.parse::<IpAddr>().unwrap()
            );
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shortened(&"é".repeat(200)).len(), 254);
    }
}
