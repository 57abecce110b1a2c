//! What every way of giving rights asks: only who may do everything lets others do everything, and somebody must remain who can administer the platform.

use ferrocti_access::{Action, Actor, Capabilities, may, names};
use ferrocti_store::{Snapshot, Tx, User};

use crate::{
    error::{AccountError, Result},
    rights::{admitted, rights_of_any},
};

/// Whether the actor may administer accounts at all.
pub(crate) fn may_administer(actor: &Actor) -> Result<()> {
    Ok(may(actor, Action::Use(names::SET_ACCESSES))?)
}

/// Whether the actor may give somebody these capabilities, or take them away.
pub(crate) fn may_grant<'a>(
    actor: &Actor,
    capabilities: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let capabilities: Capabilities = capabilities.into_iter().collect();
    Ok(may(
        actor,
        Action::Grant {
            capabilities: &capabilities,
        },
    )?)
}

/// Whether the actor may decide who is in a group, and what the group is.
pub(crate) fn may_grant_group(snapshot: &Snapshot<'_>, actor: &Actor, group: i64) -> Result<()> {
    let mut capabilities = Vec::new();
    for role in snapshot.roles_of(group)? {
        if let Some(role) = snapshot.role(role)? {
            capabilities.extend(role.capabilities);
            capabilities.extend(role.draft_capabilities);
        }
    }
    may_grant(actor, capabilities.iter().map(String::as_str))
}

/// Whether the actor may administer this user: whoever may reset a password or make a token may act as the user.
pub(crate) fn may_administer_user(
    snapshot: &Snapshot<'_>,
    actor: &Actor,
    user: &User,
) -> Result<()> {
    if user.id == Actor::SYSTEM_ID {
        return Err(AccountError::not_found("User", user.id));
    }
    match rights_of_any(snapshot, user.row)? {
        Some(rights) => may_grant(actor, rights.actor.capabilities.iter()),
        None => may_administer(actor),
    }
}

/// Runs what may take rights away; fails when it leaves nobody who may do everything and is let in, although there was somebody.
pub(crate) fn keep_an_administrator<T>(
    tx: &mut Tx<'_>,
    change: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    let had = has_administrator(tx)?;
    let value = change(tx)?;
    if had && !has_administrator(tx)? {
        return Err(AccountError::LastAdministrator(
            "Nobody could administer the platform any more: make another user an administrator first.",
        ));
    }
    Ok(value)
}

fn has_administrator(snapshot: &Snapshot<'_>) -> Result<bool> {
    let now = snapshot.clock_now();
    for user in snapshot.users()? {
        let tokens = snapshot.tokens_of(user.row)?;
        let can_come_in = user.id != Actor::SYSTEM_ID
            && admitted(user.status, user.expires_at, now).is_ok()
            && (user.password.is_some()
                || tokens
                    .iter()
                    .any(|token| token.expires_at.is_none_or(|end| end > now)));
        if can_come_in
            && rights_of_any(snapshot, user.row)?.is_some_and(|rights| rights.actor.bypass())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fails for the first administrator, whose account is that of the configuration.
pub(crate) fn not_the_first_administrator(user: &User) -> Result<()> {
    if user.id == Actor::ADMIN_ID {
        return Err(AccountError::LastAdministrator(
            "The first administrator can neither be deleted nor locked out nor made a service account; its account is kept by the configuration.",
        ));
    }
    Ok(())
}
