//! What every platform has from the beginning: three roles, three groups, the platform's own user, and the first administrator.

use std::sync::Arc;

use ferrocti_access::{Actor, capability, names, password, token};
use ferrocti_store::{Group, Role, Token, Tx, User, UserStatus};
use serde_json::{Value, json};

use crate::{
    Accounts, Acting,
    acting::{Scope, Subject, record},
    error::{AccountError, Result},
};

/// Name of the group that new users join.
pub const DEFAULT_GROUP: &str = "Default";
/// Name of the group of administrators.
pub const ADMINISTRATORS_GROUP: &str = "Administrators";
/// Name of the group of connectors.
pub const CONNECTORS_GROUP: &str = "Connectors";
/// Name of the role of connectors.
pub const CONNECTOR_ROLE: &str = "Connector";

/// Says that roles and groups were made once: who deletes one later does not get it back at the next start.
const MADE: &str = "accounts.made";
/// Name of the token that the configuration gives to the administrator.
const CONFIGURED_TOKEN: &str = "default";

/// What an operator fixed for the administrator; what is not given is generated once.
#[derive(Clone)]
pub struct AdminSettings {
    /// E-mail.
    pub email: String,
    /// Password.
    pub password: Option<String>,
    /// Token; a UUID as upstream demands, or anything of 32 characters.
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

impl Accounts {
    /// The platform itself as an actor; its user is created at the first start. Nobody can log in as it.
    pub fn system(&self) -> Result<Arc<Actor>> {
        self.store
            .write(|tx| Ok(Arc::new(Actor::system(system_row(tx)?))))
    }

    /// Makes sure that there are the standard roles and groups and an administrator, and that given settings are in force. Returns what
    /// was generated, once.
    pub fn ensure_admin(&self, settings: &AdminSettings) -> Result<Option<Generated>> {
        self.make_groups()?;
        let first = self.store.read(|snapshot| {
            Ok::<_, AccountError>(snapshot.user_by_id(Actor::ADMIN_ID)?.is_none())
        })?;
        if first {
            return self.set_admin(settings, true).map(Some);
        }
        if self.differs(settings)? {
            self.set_admin(settings, false)?;
        }
        Ok(None)
    }

    /// Takes the first administrator's account away, for platforms whose administrators come from elsewhere. Whether there was one.
    pub fn remove_admin(&self) -> Result<bool> {
        self.make_groups()?;
        self.store.write(|tx| {
            let Some(admin) = tx.user_by_id(Actor::ADMIN_ID)? else {
                return Ok(false);
            };
            let system = Actor::system(system_row(tx)?);
            tx.delete_user(admin.row)?;
            record(
                tx,
                &Acting::of(&system),
                Scope::Delete,
                Some(subject(&admin, &admin.id.to_string())),
                &format!("deletes user `{}`", admin.email),
                None,
            )?;
            Ok(true)
        })
    }

    /// Gives the administrator a new password and a new token, and lets it in again whatever its account says; the former secrets, sessions
    /// and locks end.
    pub fn reset_admin(&self, email: &str) -> Result<Generated> {
        self.make_groups()?;
        let email = self.store.write(|tx| {
            let Some(admin) = tx.user_by_id(Actor::ADMIN_ID)? else {
                return Ok::<_, AccountError>(email.to_owned());
            };
            for old in tx.tokens_of(admin.row)? {
                tx.delete_token(old.id)?;
            }
            tx.delete_sessions_of(admin.row)?;
            crate::login::forget_failures(tx, &admin.email)?;
            Ok(admin.email)
        })?;
        self.set_admin(
            &AdminSettings {
                email,
                password: None,
                token: None,
            },
            true,
        )
    }

    /// Makes the standard roles and groups at the first start.
    fn make_groups(&self) -> Result<()> {
        self.store.write(|tx| {
            if tx.setting(MADE)?.is_some() {
                return Ok(());
            }
            let roles = [
                (
                    "Administrator",
                    "Administrator role that bypass every capabilities",
                    &[names::BYPASS][..],
                    true,
                ),
                (
                    "Default",
                    "Default role associated to the default group",
                    capability::DEFAULT,
                    false,
                ),
                (
                    CONNECTOR_ROLE,
                    "Connector role that has the recommended capabilities",
                    capability::CONNECTOR,
                    false,
                ),
            ];
            let mut rows = Vec::new();
            for (name, description, capabilities, sensitive) in roles {
                let mut role = Role::new(tx.new_uuid(), name, tx.now());
                role.description = Some(description.to_owned());
                role.capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
                role.sensitive = sensitive;
                tx.insert_role(&mut role)?;
                rows.push(role.row);
            }
            let groups = [
                (ADMINISTRATORS_GROUP, "Administrator group", rows[0]),
                (
                    DEFAULT_GROUP,
                    "Default group associated to all users",
                    rows[1],
                ),
                (CONNECTORS_GROUP, "Connector group", rows[2]),
            ];
            for (name, description, role) in groups {
                let mut group = Group::new(tx.new_uuid(), name, tx.now());
                group
                    .profile
                    .insert("description".to_owned(), description.into());
                group.default_assignation = name == DEFAULT_GROUP;
                group.auto_new_marking = name != DEFAULT_GROUP;
                group.auto_integration = name == CONNECTORS_GROUP;
                group.max_confidence = Some(ferrocti_access::MAX_CONFIDENCE);
                tx.insert_group(&mut group)?;
                tx.add_group_role(group.row, role)?;
                if group.auto_new_marking {
                    for marking in tx.marking_definitions()? {
                        tx.grant_marking(group.row, marking.iid)?;
                    }
                }
            }
            tx.put_setting(MADE, &json!(true))?;
            Ok(())
        })
    }

    /// Whether a given setting is not in force yet. The password check is slow on purpose and happens once per start.
    fn differs(&self, settings: &AdminSettings) -> Result<bool> {
        self.store.read(|snapshot| {
            let Some(admin) = snapshot.user_by_id(Actor::ADMIN_ID)? else {
                return Ok(true);
            };
            let token_known = match &settings.token {
                Some(given) => snapshot
                    .token_by_hash(&token::hash(given))?
                    .is_some_and(|(_, owner)| owner.id == Actor::ADMIN_ID),
                None => true,
            };
            let password_known = settings.password.as_deref().is_none_or(|given| {
                admin
                    .password
                    .as_deref()
                    .is_some_and(|hash| password::verify(given, hash))
            });
            let let_in = admin.status == UserStatus::Active && admin.expires_at.is_none();
            Ok(!(token_known
                && password_known
                && let_in
                && admin.email.eq_ignore_ascii_case(settings.email.trim())))
        })
    }

    /// Writes the administrator; generates what is not given when `generate` is set.
    fn set_admin(&self, settings: &AdminSettings, generate: bool) -> Result<Generated> {
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
            let system = Actor::system(system_row(tx)?);
            let known = tx.user_by_id(Actor::ADMIN_ID)?;
            let taken = tx
                .user_by_email(&settings.email)?
                .is_some_and(|user| user.id != Actor::ADMIN_ID);
            if taken {
                return Err(AccountError::AlreadyExists(format!(
                    "The address {} of the administrator belongs to another user; configure another one.",
                    settings.email
                )));
            }
            let now = tx.now();
            let (scope, mut admin) = match known {
                Some(known) => (Scope::Update, known),
                None => {
                    let mut admin = User::new(Actor::ADMIN_ID, &settings.email, "admin", now);
                    admin.profile = profile(json!({
                        "firstname": "Admin", "lastname": "OpenCTI", "description": "Principal admin account",
                    }));
                    (Scope::Create, admin)
                }
            };
            admin.email = ferrocti_store::fold::fold(settings.email.trim()).into_owned();
            // the configuration decides about this account at every start
            admin.external = true;
            admin.status = UserStatus::Active;
            admin.expires_at = None;
            admin.updated_at = now;
            if let Some(hash) = hash {
                admin.password = Some(hash);
                tx.delete_sessions_of(admin.row)?;
            }
            if admin.row == 0 {
                tx.insert_user(&mut admin)?;
                for group in [ADMINISTRATORS_GROUP, DEFAULT_GROUP] {
                    if let Some(group) = tx.group_by_name(group)? {
                        tx.add_member(group.row, admin.row)?;
                    }
                }
            } else {
                tx.update_user(&admin)?;
            }
            if let Some(secret) = token {
                configured_token(tx, admin.row, secret)?;
            }
            let id = admin.id.to_string();
            let message = match scope {
                Scope::Create => format!("creates user `{}`", admin.email),
                _ => format!("updates `configured credentials` for user `{}`", admin.email),
            };
            record(tx, &Acting::of(&system), scope, Some(subject(&admin, &id)), &message, None)?;
            Ok::<_, AccountError>(())
        })?;
        Ok(generated)
    }
}

/// Puts the token of the configuration in the place of the former one.
fn configured_token(tx: &mut Tx<'_>, user: i64, secret: &str) -> Result<()> {
    let hash = token::hash(secret);
    if let Some((known, _)) = tx.token_by_hash(&hash)? {
        return if known.user == user {
            Ok(())
        } else {
            Err(AccountError::invalid(
                "this token belongs to another user already; choose another one",
            ))
        };
    }
    let former = tx.tokens_of(user)?;
    if let Some(former) = former.iter().find(|token| token.name == CONFIGURED_TOKEN) {
        tx.delete_token(former.id)?;
    }
    let token = Token {
        id: tx.new_uuid(),
        user,
        name: CONFIGURED_TOKEN.to_owned(),
        hash,
        masked: token::masked(secret),
        created_at: tx.now(),
        created_by: None,
        expires_at: None,
        last_used: None,
    };
    tx.insert_token(&token)?;
    Ok(())
}

/// The row of the platform's own user.
pub(crate) fn system_row(tx: &mut Tx<'_>) -> Result<i64> {
    if let Some(user) = tx.user_by_id(Actor::SYSTEM_ID)? {
        return Ok(user.row);
    }
    let mut user = User::new(
        Actor::SYSTEM_ID,
        "system@ferrocti.local",
        "SYSTEM",
        tx.now(),
    );
    user.service_account = true;
    user.external = true;
    tx.insert_user(&mut user)?;
    Ok(user.row)
}

fn profile(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

/// A user as the audit names it.
pub(crate) fn subject<'a>(user: &'a User, id: &'a str) -> Subject<'a> {
    Subject {
        kind: "User",
        id,
        name: &user.name,
    }
}
