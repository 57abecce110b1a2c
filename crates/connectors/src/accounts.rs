//! Accounts: the administrator, service accounts of connectors, and who a token belongs to.

use std::sync::Arc;

use ferrocti_access::{Action, Actor, Capabilities, may, names, password, token};
use ferrocti_ingest::actors;
use ferrocti_model::clock::{Clock, Entropy};
use ferrocti_store::{NewAudit, Snapshot, Store, Token, Tx, User};
use serde_json::json;

use crate::ConnectorError;

/// A token that was used within this time is not marked as used again: reading must not become writing.
const TOUCH_AFTER: i64 = 60 * 60 * 1000;

/// What an operator fixed for the administrator; what is not given is generated once.
#[derive(Clone)]
pub struct AdminSettings {
    /// E-mail.
    pub email: String,
    /// Password.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
}

/// Secrets that were generated and must be shown now, for they are stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Generated {
    /// Password, unless the operator gave one.
    pub password: Option<String>,
    /// Token, unless the operator gave one.
    pub token: Option<String>,
}

/// The accounts of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accounts")
    }
}

impl Accounts {
    /// The accounts kept in a store.
    #[must_use]
    pub fn new(store: Store, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            entropy,
            clock,
        }
    }

    /// The platform itself as an actor; its user is created at the first start. Nobody can log in as it.
    pub fn system(&self) -> Result<Arc<Actor>, ConnectorError> {
        self.store.write(|tx| {
            if let Some(user) = tx.user_by_id(Actor::SYSTEM_ID)? {
                return Ok(Arc::new(Actor::system(user.row)));
            }
            let now = tx.now();
            let mut user = User {
                row: 0,
                id: Actor::SYSTEM_ID,
                email: "system@ferrocti.local".to_owned(),
                name: "SYSTEM".to_owned(),
                password: None,
                service_account: true,
                capabilities: vec![names::BYPASS.to_owned()],
                max_confidence: 100,
                markings: None,
                status: "Active".to_owned(),
                created_at: now,
                updated_at: now,
            };
            tx.insert_user(&mut user)?;
            Ok(Arc::new(Actor::system(user.row)))
        })
    }

    /// Makes sure that there is an administrator, and that given settings are in force. Returns what was generated, once.
    pub fn ensure_admin(
        &self,
        settings: &AdminSettings,
    ) -> Result<Option<Generated>, ConnectorError> {
        let first = self.store.read(|snapshot| {
            Ok::<_, ConnectorError>(snapshot.user_by_id(Actor::ADMIN_ID)?.is_none())
        })?;
        if first {
            return self.set_admin(settings, true).map(Some);
        }
        if self.differs(settings)? {
            self.set_admin(settings, false)?;
        }
        Ok(None)
    }

    /// Gives the administrator a new password and a new token; the former ones stop working.
    pub fn reset_admin(&self, email: &str) -> Result<Generated, ConnectorError> {
        self.store.write(|tx| {
            if let Some(admin) = tx.user_by_id(Actor::ADMIN_ID)? {
                for old in tx.tokens_of(admin.row)? {
                    tx.delete_token(old.id)?;
                }
            }
            Ok::<_, ConnectorError>(())
        })?;
        let email = self.admin_email()?.unwrap_or_else(|| email.to_owned());
        self.set_admin(
            &AdminSettings {
                email,
                password: None,
                token: None,
            },
            true,
        )
    }

    fn admin_email(&self) -> Result<Option<String>, ConnectorError> {
        self.store
            .read(|snapshot| Ok(snapshot.user_by_id(Actor::ADMIN_ID)?.map(|user| user.email)))
    }

    /// Whether a given setting is not in force yet. The password check is slow on purpose and happens once per start.
    fn differs(&self, settings: &AdminSettings) -> Result<bool, ConnectorError> {
        self.store.read(|snapshot| {
            let Some(admin) = snapshot.user_by_id(Actor::ADMIN_ID)? else {
                return Ok(true);
            };
            let token_known = match &settings.token {
                Some(given) => snapshot.token_by_hash(&token::hash(given))?.is_some(),
                None => true,
            };
            let password_known = settings.password.as_deref().is_none_or(|given| {
                admin
                    .password
                    .as_deref()
                    .is_some_and(|hash| password::verify(given, hash))
            });
            Ok(!(token_known
                && password_known
                && admin.email.eq_ignore_ascii_case(&settings.email)))
        })
    }

    /// Writes the administrator; generates what is not given when `generate` is set.
    fn set_admin(
        &self,
        settings: &AdminSettings,
        generate: bool,
    ) -> Result<Generated, ConnectorError> {
        if let Some(given) = &settings.token {
            token::check(given)?;
        }
        let generated = Generated {
            password: (generate && settings.password.is_none())
                .then(|| password::generate(&*self.entropy)),
            token: (generate && settings.token.is_none()).then(|| token::generate(&*self.entropy)),
        };
        let secret = settings.password.as_ref().or(generated.password.as_ref());
        // hashed before the transaction: it takes a while
        let hash = secret
            .map(|secret| password::hash(secret, &*self.entropy))
            .transpose()?;
        let token = settings.token.as_ref().or(generated.token.as_ref());
        self.store.write(|tx| {
            let now = tx.now();
            let mut admin = match tx.user_by_id(Actor::ADMIN_ID)? {
                Some(known) => User {
                    email: settings.email.clone(),
                    password: hash.or(known.password.clone()),
                    updated_at: now,
                    ..known
                },
                None => User {
                    row: 0,
                    id: Actor::ADMIN_ID,
                    email: settings.email.clone(),
                    name: "admin".to_owned(),
                    password: hash,
                    service_account: false,
                    capabilities: Capabilities::administrator()
                        .iter()
                        .map(str::to_owned)
                        .collect(),
                    max_confidence: 100,
                    markings: None,
                    status: "Active".to_owned(),
                    created_at: now,
                    updated_at: now,
                },
            };
            if admin.row == 0 {
                tx.insert_user(&mut admin)?;
            } else {
                tx.update_user(&admin)?;
            }
            if let Some(token) = token {
                self.give_token(tx, admin.row, "default", token)?;
            }
            record(
                tx,
                admin.row,
                "user.set_administrator",
                &format!("administrator {} was set", admin.email),
                None,
            )
        })?;
        Ok(generated)
    }

    /// Creates a service account for a connector: what a connector needs, nothing more. Returns the user and its token, which is shown only now.
    pub fn add_connector_account(
        &self,
        actor: &Actor,
        name: &str,
        max_confidence: u8,
    ) -> Result<(User, String), ConnectorError> {
        may(actor, Action::Use(names::SET_ACCESSES))?;
        let name = name.trim();
        if name.chars().count() < 2 {
            return Err(ConnectorError::Invalid(
                "the name of an account has at least 2 characters".to_owned(),
            ));
        }
        if max_confidence > 100 {
            return Err(ConnectorError::Invalid(
                "the maximum confidence lies between 0 and 100".to_owned(),
            ));
        }
        let local = mail_name(name);
        if local.is_empty() {
            return Err(ConnectorError::Invalid(format!(
                "the name {name:?} holds no letter or digit"
            )));
        }
        let secret = token::generate(&*self.entropy);
        let user = self.store.write(|tx| {
            let email = format!("{local}@connector.ferrocti.local");
            if tx.user_by_email(&email)?.is_some() {
                return Err(ConnectorError::Invalid(format!(
                    "there is an account {email} already; choose another name"
                )));
            }
            let now = tx.now();
            let mut user = User {
                row: 0,
                id: tx.new_uuid(),
                email,
                name: format!("[C] {name}"),
                password: None,
                service_account: true,
                capabilities: Capabilities::connector()
                    .iter()
                    .map(str::to_owned)
                    .collect(),
                max_confidence,
                markings: None,
                status: "Active".to_owned(),
                created_at: now,
                updated_at: now,
            };
            tx.insert_user(&mut user)?;
            self.give_token(tx, user.row, "default", &secret)?;
            let message = format!("service account {} was created", user.email);
            record(
                tx,
                actor.user_row,
                "user.create",
                &message,
                Some(json!({ "user": user.id, "max_confidence": max_confidence })),
            )?;
            Ok(user)
        })?;
        Ok((user, secret))
    }

    fn give_token(
        &self,
        tx: &mut Tx<'_>,
        user: i64,
        name: &str,
        secret: &str,
    ) -> Result<(), ConnectorError> {
        let hash = token::hash(secret);
        if let Some((known, _)) = tx.token_by_hash(&hash)? {
            return if known.user == user {
                Ok(())
            } else {
                Err(ConnectorError::Invalid(
                    "this token belongs to another user already; choose another one".to_owned(),
                ))
            };
        }
        let id = tx.new_uuid();
        let created_at = tx.now();
        tx.insert_token(&Token {
            id,
            user,
            name: name.to_owned(),
            hash,
            masked: token::masked(secret),
            created_at,
            expires_at: None,
            last_used: None,
        })?;
        Ok(())
    }

    /// Whose token this is; `None` for an unknown or expired one, and for users that are not active.
    pub fn authenticate(&self, secret: &str) -> Result<Option<Actor>, ConnectorError> {
        let hash = token::hash(secret);
        let found = self.store.read(|snapshot| {
            let Some((token, user)) = snapshot.token_by_hash(&hash)? else {
                return Ok::<_, ConnectorError>(None);
            };
            let actor = actor(snapshot, &user)?;
            Ok(actor.map(|actor| (token, actor)))
        })?;
        let Some((token, actor)) = found else {
            return Ok(None);
        };
        let now = self.clock.now();
        if token.expires_at.is_some_and(|expiry| expiry <= now) {
            return Ok(None);
        }
        if token.last_used.is_none_or(|used| now - used > TOUCH_AFTER) {
            self.store.write(|tx| tx.touch_token(token.id))?;
        }
        Ok(Some(actor))
    }

    /// The user of an e-mail address and password; the same time passes for an unknown address as for a wrong password.
    pub fn login(&self, email: &str, secret: &str) -> Result<Option<Actor>, ConnectorError> {
        // a valid hash of nothing in particular
        const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$XyaXBYbEzGPc9sJ9xzlbOJ2sZkhHDwC0U5DAnvmvFnM";
        let user = self
            .store
            .read(|snapshot| Ok::<_, ConnectorError>(snapshot.user_by_email(email)?))?;
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let right = password::verify(secret, hash.as_deref().unwrap_or(NOBODY));
        match user.filter(|user| right && user.password.is_some()) {
            Some(user) => self.store.read(|snapshot| actor(snapshot, &user)),
            None => Ok(None),
        }
    }

    /// The actor of a user.
    pub fn actor(
        &self,
        snapshot: &Snapshot<'_>,
        row: i64,
    ) -> Result<Option<Actor>, ConnectorError> {
        match snapshot.user(row)? {
            Some(user) => actor(snapshot, &user),
            None => Ok(None),
        }
    }
}

fn actor(snapshot: &Snapshot<'_>, user: &User) -> Result<Option<Actor>, ConnectorError> {
    if user.status != "Active" {
        return Ok(None);
    }
    Ok(Some(actors::of_user(snapshot, user)?))
}

fn record(
    tx: &mut Tx<'_>,
    actor: i64,
    event: &str,
    message: &str,
    data: Option<serde_json::Value>,
) -> Result<(), ConnectorError> {
    tx.audit(&NewAudit {
        actor: Some(actor),
        event,
        status: "success",
        message,
        data: data.as_ref(),
    })?;
    Ok(())
}

/// The part of an address in front of `@`, as clients make it of a connector's name: lower case, one `-` for every run of other characters.
fn mail_name(name: &str) -> String {
    let mut mail = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() || "._+".contains(c) {
            mail.push(c);
        } else if !mail.ends_with('-') {
            mail.push('-');
        }
    }
    mail.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses() {
        for (name, address) in [
            ("MITRE ATT&CK", "mitre-att-ck"),
            ("  a  b ", "a-b"),
            ("ünï", "n"),
            ("x_y+z.1", "x_y+z.1"),
        ] {
            assert_eq!(mail_name(name), address);
        }
    }
}
