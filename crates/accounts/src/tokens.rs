//! API tokens: made by name and duration, shown once, revoked at once.

use ferrocti_access::{Action, may, names, token};
use ferrocti_model::clock::Millis;
use ferrocti_store::{Snapshot, Token, Tx, User};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Accounts, Acting,
    acting::{Scope, record},
    boot,
    error::{AccountError, Result},
    guard, ids,
};

/// One day in milliseconds.
const DAY: Millis = 24 * 60 * 60 * 1000;
/// Longest name of a token, in characters.
const MAX_NAME: usize = 200;
/// Most tokens of one user.
const MAX_TOKENS: usize = 200;
/// Longest life of a token that has an end, in days: a hundred years.
const MAX_DAYS: u32 = 36_500;

/// How long a token is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// For so many days.
    Days(u32),
    /// Until it is revoked.
    Unlimited,
}

impl Lifetime {
    /// The lifetime of a name that clients use: `DAYS_30`, `DAYS_60`, `DAYS_90`, `DAYS_365`, `UNLIMITED`, and any other number of days.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("DAYS_") {
            Some(days) => days.parse().ok().map(Self::Days),
            None => (name == "UNLIMITED").then_some(Self::Unlimited),
        }
    }

    fn end(self, now: Millis) -> Result<Option<Millis>> {
        match self {
            Self::Unlimited => Ok(None),
            Self::Days(days) if (1..=MAX_DAYS).contains(&days) => {
                Ok(Some(now + Millis::from(days) * DAY))
            }
            Self::Days(_) => Err(AccountError::Invalid(format!(
                "a token lives 1 to {MAX_DAYS} days, or without end"
            ))),
        }
    }
}

impl Accounts {
    /// Makes a token for a user, by its internal or standard id. Returns it with the secret, which is shown only now.
    ///
    /// # Errors
    /// [`AccountError::Denied`] without `SETTINGS_SETACCESSES`, or without `BYPASS` for a user who has it: whoever holds the token is the user.
    pub fn add_token(
        &self,
        acting: &Acting<'_>,
        user: &str,
        name: &str,
        lifetime: Lifetime,
    ) -> Result<(Token, String)> {
        guard::may_administer(acting.actor)?;
        self.make_token(acting, name, lifetime, |snapshot| {
            let user = ids::user(snapshot, user)?;
            guard::may_administer_user(snapshot, acting.actor, &user)?;
            Ok(user)
        })
    }

    /// Makes a token for the actor itself.
    pub fn add_own_token(
        &self,
        acting: &Acting<'_>,
        name: &str,
        lifetime: Lifetime,
    ) -> Result<(Token, String)> {
        may(acting.actor, Action::Use(names::USE_TOKEN))?;
        self.make_token(acting, name, lifetime, |snapshot| own(snapshot, acting))
    }

    fn make_token(
        &self,
        acting: &Acting<'_>,
        name: &str,
        lifetime: Lifetime,
        owner: impl FnOnce(&Snapshot<'_>) -> Result<User>,
    ) -> Result<(Token, String)> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control)
        {
            return Err(AccountError::Invalid(format!(
                "the name of a token has 1 to {MAX_NAME} characters"
            )));
        }
        let secret = token::generate(&*self.entropy);
        let token = self.store.write(|tx| {
            let user = owner(tx)?;
            let expires_at = lifetime.end(tx.now())?;
            let by = acting.actor.user_row;
            let token = insert(tx, &user, name, &secret, expires_at, Some(by))?;
            let message = format!("generated a new API token '{name}'{}", whose(acting, &user));
            let data = json!({ "token": token.id, "expires_at": expires_at });
            log(tx, acting, &user, &message, data)?;
            Ok::<_, AccountError>(token)
        })?;
        Ok((token, secret))
    }

    /// Ends a token of a user; it is refused from now on. Returns its id.
    pub fn revoke_token(&self, acting: &Acting<'_>, user: &str, token: &str) -> Result<Uuid> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let user = ids::user(tx, user)?;
            guard::may_administer_user(tx, acting.actor, &user)?;
            revoke(tx, acting, &user, token)
        })
    }

    /// Ends a token of the actor itself. Returns its id.
    pub fn revoke_own_token(&self, acting: &Acting<'_>, token: &str) -> Result<Uuid> {
        self.store.write(|tx| {
            let user = own(tx, acting)?;
            revoke(tx, acting, &user, token)
        })
    }
}

fn own(snapshot: &Snapshot<'_>, acting: &Acting<'_>) -> Result<User> {
    let row = acting.actor.user_row;
    snapshot
        .user(row)?
        .ok_or_else(|| AccountError::not_found("User", acting.actor.user_id))
}

fn revoke(tx: &mut Tx<'_>, acting: &Acting<'_>, user: &User, token: &str) -> Result<Uuid> {
    let unknown = || AccountError::not_found("Token", token);
    let id: Uuid = token.parse().map_err(|_| unknown())?;
    let found = tx
        .token(id)?
        .filter(|token| token.user == user.row)
        .ok_or_else(unknown)?;
    guard::keep_an_administrator(tx, |tx| Ok(tx.delete_token(found.id)?))?;
    let message = format!("revoked API token '{}'{}", found.name, whose(acting, user));
    log(tx, acting, user, &message, json!({ "token": found.id }))?;
    Ok(found.id)
}

/// Makes an unlimited token for a user, on the authority of the caller.
pub(crate) fn issue(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    user: &User,
    name: &str,
    secret: &str,
) -> Result<Token> {
    let token = insert(tx, user, name, secret, None, Some(acting.actor.user_row))?;
    let message = format!("generated a new API token '{name}'{}", whose(acting, user));
    let data = json!({ "token": token.id, "expires_at": null });
    log(tx, acting, user, &message, data)?;
    Ok(token)
}

/// Ends a token, on the authority of the caller; whether there was one.
pub(crate) fn end(tx: &mut Tx<'_>, acting: &Acting<'_>, id: Uuid) -> Result<bool> {
    let Some(found) = tx.token(id)? else {
        return Ok(false);
    };
    tx.delete_token(id)?;
    if let Some(user) = tx.user(found.user)? {
        let message = format!("revoked API token '{}'{}", found.name, whose(acting, &user));
        log(tx, acting, &user, &message, json!({ "token": id }))?;
    }
    Ok(true)
}

fn whose(acting: &Acting<'_>, user: &User) -> String {
    if acting.actor.user_row == user.row {
        String::new()
    } else {
        format!(" for user '{}'", user.email)
    }
}

fn log(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    user: &User,
    message: &str,
    data: serde_json::Value,
) -> Result<()> {
    let id = user.id.to_string();
    let subject = boot::subject(user, &id);
    Ok(record(
        tx,
        acting,
        Scope::Update,
        Some(subject),
        message,
        Some(data),
    )?)
}

/// Stores a fresh token.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    user: &User,
    name: &str,
    secret: &str,
    expires_at: Option<Millis>,
    created_by: Option<i64>,
) -> Result<Token> {
    let known = tx.tokens_of(user.row)?;
    if known.iter().any(|token| token.name == name) {
        return Err(AccountError::AlreadyExists(format!(
            "The user has a token named {name:?} already; revoke it first or choose another name."
        )));
    }
    if known.len() >= MAX_TOKENS {
        return Err(AccountError::Invalid(format!(
            "a user has at most {MAX_TOKENS} tokens; revoke those that are not used"
        )));
    }
    let token = Token {
        id: tx.new_uuid(),
        user: user.row,
        name: name.to_owned(),
        hash: token::hash(secret),
        masked: token::masked(secret),
        created_at: tx.now(),
        created_by,
        expires_at,
        last_used: None,
    };
    tx.insert_token(&token)?;
    Ok(token)
}
