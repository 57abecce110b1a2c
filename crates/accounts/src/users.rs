//! Users: made, changed and deleted by those who may, and what a user may change of itself.

use ferrocti_access::{Level, MAX_CONFIDENCE, password};
use ferrocti_model::{Key, clock::Millis};
use ferrocti_store::{Group, Snapshot, Tx, User, UserStatus};
use serde_json::{Map, Value, json};

use crate::{
    Accounts, Acting,
    acting::{Scope, record},
    boot::subject,
    change::Changes,
    check,
    error::{AccountError, Result},
    guard, ids, login, settings,
};

/// Where the addresses of service accounts end that were made without one.
const AUTOMATIC_DOMAIN: &str = "ferrocti.invalid";

/// A user to be made.
#[derive(Clone, Default)]
pub struct NewUser {
    /// Name, at least two characters.
    pub name: String,
    /// E-mail address; only service accounts may go without one.
    pub email: Option<String>,
    /// Password of a person; that of a service account is ignored.
    pub password: Option<String>,
    /// A program's account.
    pub service_account: bool,
    /// Groups, by internal or standard id.
    pub groups: Vec<String>,
    /// Do not join the groups that every new user joins.
    pub prevent_default_groups: bool,
    /// Organisations, by internal or standard id.
    pub organizations: Vec<String>,
    /// Whether it is let in.
    pub status: UserStatus,
    /// From when on it is refused.
    pub expires_at: Option<Millis>,
    /// Its own confidence level.
    pub level: Level,
    /// What is only shown.
    pub profile: Map<String, Value>,
}

/// What to change of a user; `None` leaves a part as it is.
#[derive(Clone, Default)]
pub struct UserPatch {
    /// Name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Whether it is a program's account.
    pub service_account: Option<bool>,
    /// Whether it is let in.
    pub status: Option<UserStatus>,
    /// From when on it is refused; `Some(None)`: never.
    pub expires_at: Option<Option<Millis>>,
    /// Its own confidence level.
    pub level: Option<Level>,
    /// What is only shown; `null` takes a value away.
    pub profile: Map<String, Value>,
}

/// What a user changes of itself; there is no way to anything else.
#[derive(Clone, Default)]
pub struct SelfPatch {
    /// Name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// New password; needs the current one.
    pub password: Option<String>,
    /// What is only shown.
    pub profile: Map<String, Value>,
}

impl Accounts {
    /// The users of the platform, oldest first, without the platform itself.
    pub fn users(&self, snapshot: &Snapshot<'_>) -> Result<Vec<User>> {
        let mut users = snapshot.users()?;
        users.retain(|user| user.id != ferrocti_access::Actor::SYSTEM_ID);
        Ok(users)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`AccountError::Denied`] without `SETTINGS_SETACCESSES`, or without `BYPASS` for a group that has it; otherwise what is wrong with the values.
    pub fn add_user(&self, acting: &Acting<'_>, new: NewUser) -> Result<User> {
        guard::may_administer(acting.actor)?;
        let name = check::name("user", &new.name)?;
        let email = match new.email.as_deref().map(str::trim) {
            Some(email) if !email.is_empty() => check::email(email)?,
            _ if new.service_account => {
                format!("automatic+{}@{AUTOMATIC_DOMAIN}", self.entropy.uuid())
            }
            _ => {
                return Err(AccountError::invalid(
                    "User cannot be created without email",
                ));
            }
        };
        check::level(&new.level)?;
        check::user_profile(&new.profile)?;
        self.store.read(|snapshot| free(snapshot, &email, None))?;
        let hash = if new.service_account {
            None
        } else {
            Some(self.hash(new.password.as_deref().unwrap_or_default())?)
        };
        self.store.write(|tx| {
            free(tx, &email, None)?;
            let now = tx.now();
            let mut user = User::new(tx.new_uuid(), &email, &name, now);
            user.password = hash;
            user.service_account = new.service_account;
            user.status = status_at(new.status, new.expires_at, now);
            user.expires_at = new.expires_at;
            user.max_confidence = new.level.max;
            user.overrides = new.level.overrides;
            user.profile = new.profile;
            user.profile.retain(|_, value| !value.is_null());
            tx.insert_user(&mut user)?;
            let mut groups = Vec::new();
            for id in &new.groups {
                groups.push(ids::group(tx, id)?);
            }
            if !new.prevent_default_groups {
                groups.extend(
                    tx.groups()?
                        .into_iter()
                        .filter(|group| group.default_assignation),
                );
            }
            for group in &groups {
                guard::may_grant_group(tx, acting.actor, group.row)?;
                tx.add_member(group.row, user.row)?;
            }
            for id in &new.organizations {
                let (organization, _) = organization(tx, id)?;
                tx.add_organization(user.row, organization)?;
            }
            let mut names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
            names.dedup();
            let data = json!({
                "name": user.name, "user_email": user.email, "user_service_account": user.service_account, "groups": names,
                "max_confidence": user.max_confidence, "account_status": user.status.name(), "account_lock_after_date": user.expires_at,
            });
            log(tx, acting, Scope::Create, &user, &format!("creates user `{}`", user.email), Some(data))?;
            Ok(user)
        })
    }

    /// Changes a user, by its internal or standard id. A new password and every status but `Active` end its sessions.
    pub fn edit_user(&self, acting: &Acting<'_>, id: &str, patch: UserPatch) -> Result<User> {
        guard::may_administer(acting.actor)?;
        self.store.read(|snapshot| {
            let user = ids::user(snapshot, id)?;
            guard::may_administer_user(snapshot, acting.actor, &user)
        })?;
        let hash = patch
            .password
            .as_deref()
            .map(|password| self.hash(password))
            .transpose()?;
        self.store.write(|tx| {
            let mut user = ids::user(tx, id)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            let former = user.email.clone();
            let mut changes = Changes::default();
            identity(tx, &mut changes, &mut user, patch.name, patch.email)?;
            login::move_failures(tx, &former, &user.email)?;
            set_level(&mut changes, &mut user, patch.level)?;
            check::user_profile(&patch.profile)?;
            changes.merge(&mut user.profile, patch.profile);
            admission(tx, &mut changes, &mut user, patch.status, patch.expires_at)?;
            become_service_account(&mut changes, &mut user, patch.service_account)?;
            if let Some(hash) = hash {
                set_password(tx, &mut changes, &mut user, hash)?;
            }
            apply(tx, acting, &mut user, changes)?;
            Ok(user)
        })
    }

    /// Changes the actor's own account. A new password needs the current one and ends all sessions.
    ///
    /// # Errors
    /// [`AccountError::CurrentPassword`], [`AccountError::LoginRefused`] after too many wrong ones.
    pub fn edit_self(
        &self,
        acting: &Acting<'_>,
        patch: SelfPatch,
        current_password: Option<&str>,
    ) -> Result<User> {
        let row = acting.actor.user_row;
        let me = |snapshot: &Snapshot<'_>| {
            snapshot
                .user(row)?
                .ok_or_else(|| AccountError::not_found("User", acting.actor.user_id))
        };
        let hash = match patch.password.as_deref() {
            Some(new) => {
                let user = self.store.read(me)?;
                self.prove_password(&user, current_password.unwrap_or_default(), acting.origin)?;
                Some(self.hash(new)?)
            }
            None => None,
        };
        self.store.write(|tx| {
            let mut user = me(tx)?;
            let former = user.email.clone();
            let mut changes = Changes::default();
            identity(tx, &mut changes, &mut user, patch.name, patch.email)?;
            login::move_failures(tx, &former, &user.email)?;
            check::user_profile(&patch.profile)?;
            changes.merge(&mut user.profile, patch.profile);
            if let Some(hash) = hash {
                set_password(tx, &mut changes, &mut user, hash)?;
            }
            apply(tx, acting, &mut user, changes)?;
            Ok(user)
        })
    }

    /// Deletes a user with its tokens, sessions and memberships. What it wrote stays, and names it.
    pub fn delete_user(&self, acting: &Acting<'_>, id: &str) -> Result<User> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let user = ids::user(tx, id)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            guard::not_the_first_administrator(&user)?;
            guard::keep_an_administrator(tx, |tx| Ok(tx.delete_user(user.row)?))?;
            let message = format!("deletes user `{}`", user.email);
            let data = json!({ "name": user.name, "user_email": user.email });
            log(tx, acting, Scope::Delete, &user, &message, Some(data))?;
            Ok(user)
        })
    }

    /// Makes a user a member of a group.
    pub fn add_member(
        &self,
        acting: &Acting<'_>,
        user: &str,
        group: &str,
    ) -> Result<(User, Group)> {
        self.membership(acting, user, group, true)
    }

    /// Ends a user's membership in a group.
    pub fn remove_member(
        &self,
        acting: &Acting<'_>,
        user: &str,
        group: &str,
    ) -> Result<(User, Group)> {
        self.membership(acting, user, group, false)
    }

    fn membership(
        &self,
        acting: &Acting<'_>,
        user: &str,
        group: &str,
        join: bool,
    ) -> Result<(User, Group)> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let (user, group) = (ids::user(tx, user)?, ids::group(tx, group)?);
            guard::may_administer_user(tx, acting.actor, &user)?;
            guard::may_grant_group(tx, acting.actor, group.row)?;
            let (changed, verb) = if join {
                (tx.add_member(group.row, user.row)?, "adds")
            } else {
                let removed = guard::keep_an_administrator(tx, |tx| {
                    Ok(tx.remove_member(group.row, user.row)?)
                })?;
                (removed, "removes")
            };
            if changed {
                let message = format!("{verb} Group `{}` for user `{}`", group.name, user.email);
                let data = Some(json!({ "group": group.id }));
                log(tx, acting, Scope::Update, &user, &message, data)?;
            }
            Ok((user, group))
        })
    }

    /// Makes a user a member of an organisation, by internal or standard ids.
    pub fn add_organization(
        &self,
        acting: &Acting<'_>,
        user: &str,
        organization: &str,
    ) -> Result<User> {
        self.participation(acting, user, organization, true)
    }

    /// Ends a user's membership in an organisation.
    pub fn remove_organization(
        &self,
        acting: &Acting<'_>,
        user: &str,
        organization: &str,
    ) -> Result<User> {
        self.participation(acting, user, organization, false)
    }

    fn participation(&self, acting: &Acting<'_>, user: &str, id: &str, join: bool) -> Result<User> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let user = ids::user(tx, user)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            let (iid, name) = organization(tx, id)?;
            let (changed, verb, to) = if join {
                (tx.add_organization(user.row, iid)?, "adds", "to")
            } else {
                (tx.remove_organization(user.row, iid)?, "removes", "from")
            };
            if changed {
                let message = format!("{verb} Organization `{name}` {to} user `{}`", user.email);
                let data = Some(json!({ "organization": id }));
                log(tx, acting, Scope::Update, &user, &message, data)?;
            }
            Ok(user)
        })
    }

    /// The hash of a password that satisfies the policy. Slow on purpose: not to be called within a transaction.
    fn hash(&self, password: &str) -> Result<String> {
        self.store
            .read(|snapshot| settings::check_password(snapshot, password))?;
        Ok(password::hash(password, &*self.entropy)?)
    }
}

/// Fails when an address belongs to somebody else.
fn free(snapshot: &Snapshot<'_>, email: &str, own: Option<i64>) -> Result<()> {
    match snapshot.user_by_email(email)? {
        Some(user) if Some(user.row) != own => Err(AccountError::AlreadyExists(
            "User already exists: the e-mail address belongs to somebody, whatever its case."
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The organisation of an id, with its name.
fn organization(snapshot: &Snapshot<'_>, id: &str) -> Result<(i64, String)> {
    let unknown = || AccountError::not_found("Organization", id);
    let key: Key = ferrocti_model::Ident::parse(id)
        .map_err(|_| unknown())?
        .key();
    let iid = snapshot.resolve_one(&key)?.ok_or_else(unknown)?;
    let stored = snapshot.load_one(iid)?.ok_or_else(unknown)?;
    if stored.kind.name != "Organization" {
        return Err(unknown());
    }
    let name = stored.attributes.get("name").and_then(Value::as_str);
    Ok((iid, name.unwrap_or_default().to_owned()))
}

fn identity(
    snapshot: &Snapshot<'_>,
    changes: &mut Changes,
    user: &mut User,
    name: Option<String>,
    email: Option<String>,
) -> Result<()> {
    let name = name.map(|name| check::name("user", &name)).transpose()?;
    let email = email.map(|email| check::email(&email)).transpose()?;
    changes.set("name", &mut user.name, name);
    changes.set("user_email", &mut user.email, email);
    for (key, what) in [("name", "Name"), ("user_email", "Email")] {
        if user.external && changes.has(key) {
            return Err(AccountError::Invalid(format!(
                "{what} cannot be updated for external user"
            )));
        }
    }
    free(snapshot, &user.email, Some(user.row))
}

fn set_level(changes: &mut Changes, user: &mut User, level: Option<Level>) -> Result<()> {
    let Some(level) = level else {
        return Ok(());
    };
    check::level(&level)?;
    let before = json!({ "max_confidence": user.max_confidence, "overrides": user.overrides });
    let after = json!({ "max_confidence": level.max, "overrides": level.overrides });
    if changes.note("user_confidence_level", before, after) {
        user.max_confidence = level.max.map(|max| max.min(MAX_CONFIDENCE));
        user.overrides = level.overrides;
    }
    Ok(())
}

/// The status that follows from what was asked for and from when the account ends.
fn status_at(status: UserStatus, expires_at: Option<Millis>, now: Millis) -> UserStatus {
    if expires_at.is_some_and(|end| end <= now) {
        UserStatus::Expired
    } else {
        status
    }
}

/// Changes whether and until when a user is let in.
fn admission(
    tx: &mut Tx<'_>,
    changes: &mut Changes,
    user: &mut User,
    status: Option<UserStatus>,
    expires_at: Option<Option<Millis>>,
) -> Result<()> {
    let now = tx.now();
    let mut end = expires_at.unwrap_or(user.expires_at);
    let mut new = status.unwrap_or(user.status);
    let over = end.is_some_and(|end| end <= now);
    match (expires_at, status) {
        // a date that is past expires the account …
        (Some(_), _) if over => new = UserStatus::Expired,
        // … and another status takes such a date away
        (None, Some(status)) if over && status != UserStatus::Expired => end = None,
        // a date that is not past lets an expired account in again
        (Some(_), None) if user.status == UserStatus::Expired => new = UserStatus::Active,
        _ => {}
    }
    if new != UserStatus::Active || end.is_some() {
        guard::not_the_first_administrator(user)?;
    }
    changes.note(
        "account_status",
        user.status.name().into(),
        new.name().into(),
    );
    changes.note(
        "account_lock_after_date",
        json!(user.expires_at),
        json!(end),
    );
    user.status = new;
    user.expires_at = end;
    if new != UserStatus::Active {
        tx.delete_sessions_of(user.row)?;
    } else if (status.is_some() || changes.has("account_status"))
        && login::forget_failures(tx, &user.email)?
    {
        // whoever lets a user in means it, also one that only failed to log in too often
        changes.note("failed_logins", json!("counted"), json!("forgotten"));
    }
    Ok(())
}

fn become_service_account(
    changes: &mut Changes,
    user: &mut User,
    service_account: Option<bool>,
) -> Result<()> {
    if service_account == Some(true) {
        guard::not_the_first_administrator(user)?;
    }
    changes.set(
        "user_service_account",
        &mut user.service_account,
        service_account,
    );
    if user.service_account {
        user.password = None;
    }
    Ok(())
}

fn set_password(
    tx: &mut Tx<'_>,
    changes: &mut Changes,
    user: &mut User,
    hash: String,
) -> Result<()> {
    if user.service_account {
        return Err(AccountError::invalid(
            "Cannot update password for Service account",
        ));
    }
    changes.secret("password");
    user.password = Some(hash);
    login::forget_failures(tx, &user.email)?;
    Ok(())
}

/// Writes what changed, if anything did.
fn apply(tx: &mut Tx<'_>, acting: &Acting<'_>, user: &mut User, changes: Changes) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    user.updated_at = tx.now();
    guard::keep_an_administrator(tx, |tx| Ok(tx.update_user(user)?))?;
    if changes.has("password") || changes.has("user_service_account") {
        tx.delete_sessions_of(user.row)?;
    }
    let whom = if acting.actor.user_row == user.row {
        "`themselves`".to_owned()
    } else {
        format!("user `{}`", user.email)
    };
    let message = format!("updates `{}` for {whom}", changes.keys());
    log(
        tx,
        acting,
        Scope::Update,
        user,
        &message,
        Some(changes.data()),
    )
}

fn log(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    scope: Scope,
    user: &User,
    message: &str,
    data: Option<Value>,
) -> Result<()> {
    let id = user.id.to_string();
    Ok(record(
        tx,
        acting,
        scope,
        Some(subject(user, &id)),
        message,
        data,
    )?)
}
