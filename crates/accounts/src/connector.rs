//! Accounts of connectors: what a connector needs and nothing more.

use ferrocti_access::{Action, MAX_CONFIDENCE, may, names, token};
use ferrocti_store::{Group, Snapshot, Token, Tx, User};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Accounts, Acting,
    acting::{Scope, Subject, record},
    boot::{self, CONNECTORS_GROUP},
    error::{AccountError, Result},
};

/// Where the addresses of connectors' accounts end; nothing is ever sent there.
const MAIL_DOMAIN: &str = "connector.ferrocti.local";
/// Name of the token that comes with the account.
const TOKEN_NAME: &str = "default";

impl Accounts {
    /// Creates a service account for a connector: in the group of connectors, or, when `max_marking` limits what it may see, in a group of
    /// its own kind that is made once for each limit. Returns the user and its token, which is shown only now.
    ///
    /// `max_marking` is the definition of the strictest marking of its kind (`TLP:AMBER`); markings of other kinds are those of the group
    /// of connectors.
    ///
    /// # Errors
    /// [`AccountError::Denied`] without `SETTINGS_SETACCESSES`, [`AccountError::AlreadyExists`] when the name is taken,
    /// [`AccountError::Invalid`] for values that do not fit.
    pub fn add_connector(
        &self,
        acting: &Acting<'_>,
        name: &str,
        max_confidence: Option<u8>,
        max_marking: Option<&str>,
    ) -> Result<(User, String)> {
        let secret = token::generate(&*self.entropy);
        let user = self.store.write(|tx| {
            let user = add_service_account(tx, acting, name, max_confidence, max_marking)?;
            crate::tokens::insert(
                tx,
                &user,
                TOKEN_NAME,
                &secret,
                None,
                Some(acting.actor.user_row),
            )?;
            Ok::<_, AccountError>(user)
        })?;
        Ok((user, secret))
    }
}

/// Creates the service account of a connector without a token, in the caller's transaction: as [`Accounts::add_connector`].
///
/// # Errors
/// As [`Accounts::add_connector`].
pub fn add_service_account(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    name: &str,
    max_confidence: Option<u8>,
    max_marking: Option<&str>,
) -> Result<User> {
    may(acting.actor, Action::Use(names::SET_ACCESSES))?;
    let name = name.trim();
    if name.chars().count() < 2 {
        return Err(AccountError::invalid(
            "the name of an account has at least 2 characters",
        ));
    }
    if max_confidence.is_some_and(|level| level > MAX_CONFIDENCE) {
        return Err(AccountError::invalid(
            "the maximum confidence lies between 0 and 100",
        ));
    }
    let email = service_address(name)?;
    if tx.user_by_email(&email)?.is_some() {
        return Err(AccountError::AlreadyExists(format!(
            "There is an account {email} already; choose another name."
        )));
    }
    let group = connectors_group(tx, acting, max_marking)?;
    crate::guard::may_grant_group(tx, acting.actor, group.row)?;
    let mut user = User::new(tx.new_uuid(), &email, &format!("[C] {name}"), tx.now());
    user.service_account = true;
    user.max_confidence = max_confidence;
    tx.insert_user(&mut user)?;
    tx.add_member(group.row, user.row)?;
    record(
        tx,
        acting,
        Scope::Create,
        Some(boot::subject(&user, &user.id.to_string())),
        &format!("creates user `{}`", user.email),
        Some(
            json!({ "group": group.name, "max_confidence": max_confidence, "service_account": true }),
        ),
    )?;
    Ok(user)
}

/// The address of the account that [`add_service_account`] makes for a name.
///
/// # Errors
/// [`AccountError::Invalid`] for a name without letter or digit.
pub fn service_address(name: &str) -> Result<String> {
    let local = mail_name(name.trim());
    if local.is_empty() {
        return Err(AccountError::Invalid(format!(
            "the name {name:?} holds no letter or digit"
        )));
    }
    Ok(format!("{local}@{MAIL_DOMAIN}"))
}

/// The user of an internal or standard id or of an e-mail address, for whoever may let somebody else act in its name.
///
/// # Errors
/// [`AccountError::Denied`] without `SETTINGS_SETACCESSES`, or without `BYPASS` for a user who has it; [`AccountError::LoginRefused`] for a user that
/// is not let in.
pub fn lend(snapshot: &Snapshot<'_>, acting: &Acting<'_>, id: &str) -> Result<User> {
    crate::guard::may_administer(acting.actor)?;
    let known = match crate::ids::find_user(snapshot, id)? {
        None if id.contains('@') => snapshot.user_by_email(id)?,
        known => known,
    };
    let user = known.ok_or_else(|| AccountError::not_found("User", id))?;
    crate::guard::may_administer_user(snapshot, acting.actor, &user)?;
    crate::admitted(user.status, user.expires_at, snapshot.clock_now())
        .map_err(crate::LoginRefusal::from)?;
    Ok(user)
}

/// Whether the actor may say what a program does that acts as the user of this row: who administers accounts, or may do everything, is acted for
/// only by who may do as much. A user that is gone lends nothing.
///
/// # Errors
/// [`AccountError::Denied`].
pub fn may_direct(snapshot: &Snapshot<'_>, acting: &Acting<'_>, user: i64) -> Result<()> {
    match crate::rights_of_any(snapshot, user)? {
        Some(rights) if crate::guard::may_administer(&rights.actor).is_ok() => {
            crate::guard::may_grant(acting.actor, rights.actor.capabilities.iter())
        }
        _ => Ok(()),
    }
}

/// Makes an unlimited token for a user in the caller's transaction. Whether the caller may is the caller's decision.
///
/// # Errors
/// [`AccountError::AlreadyExists`] when the user has a token of that name.
pub fn issue_token(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    user: &User,
    name: &str,
    secret: &str,
) -> Result<Token> {
    crate::tokens::issue(tx, acting, user, name, secret)
}

/// Ends a token in the caller's transaction; whether there was one. Whether the caller may is the caller's decision.
///
/// # Errors
/// The store failed.
pub fn end_token(tx: &mut Tx<'_>, acting: &Acting<'_>, token: Uuid) -> Result<bool> {
    crate::tokens::end(tx, acting, token)
}

/// The group for a connector's account.
fn connectors_group(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    max_marking: Option<&str>,
) -> Result<Group> {
    let groups = tx.groups()?;
    let own = groups
        .iter()
        .find(|group| group.auto_integration)
        .or_else(|| groups.iter().find(|group| group.name == CONNECTORS_GROUP))
        .ok_or_else(|| {
            AccountError::invalid(
                "You have not defined a default group for ingestion users: make a group for connectors.",
            )
        })?;
    let Some(limit) = max_marking else {
        return Ok(own.clone());
    };
    let definitions = tx.marking_definitions()?;
    let limit = definitions
        .iter()
        .find(|marking| marking.definition.eq_ignore_ascii_case(limit.trim()))
        .ok_or_else(|| {
            let known: Vec<&str> = definitions
                .iter()
                .map(|marking| marking.definition.as_str())
                .collect();
            AccountError::Invalid(format!(
                "{limit:?} is no marking; there are {}",
                known.join(", ")
            ))
        })?;
    let name = format!("{} up to {}", own.name, limit.definition);
    if let Some(known) = groups.iter().find(|group| group.name == name) {
        return Ok(known.clone());
    }
    let mut group = Group::new(tx.new_uuid(), &name, tx.now());
    group.max_confidence = own.max_confidence;
    group.overrides = own.overrides.clone();
    group.profile.insert(
        "description".to_owned(),
        format!("Connectors that see nothing above {}", limit.definition).into(),
    );
    tx.insert_group(&mut group)?;
    for role in tx.roles_of(own.row)? {
        tx.add_group_role(group.row, role)?;
    }
    let granted = tx.markings_of_group(own.row)?;
    for marking in &definitions {
        let other_kind = marking.definition_type != limit.definition_type;
        if marking.iid == limit.iid || (other_kind && granted.contains(&marking.iid)) {
            tx.grant_marking(group.row, marking.iid)?;
        }
    }
    let id = group.id.to_string();
    let subject = Subject {
        kind: "Group",
        id: &id,
        name: &group.name,
    };
    record(
        tx,
        acting,
        Scope::Create,
        Some(subject),
        &format!("creates group `{name}`"),
        Some(json!({ "max_marking": limit.definition })),
    )?;
    Ok(group)
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
