//! What composers may do: speak as composers and nothing else. And the account of the one that runs inside of the platform.

use ferrocti_access::{Actor, names, token};
use ferrocti_store::{Group, Role, Tx, User};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Accounts, Acting,
    acting::{Scope, record},
    boot,
    error::{AccountError, Result},
    tokens,
};

/// The role and its capabilities: registering, asking for work and reporting. It sees no knowledge.
const ROLE: &str = "Composer";
const CAPABILITIES: &[&str] = &[names::CONNECTOR_API, names::USE_TOKEN];
/// The group that the role comes by.
const GROUP: &str = "Composers";
/// Says that both were made once: who deletes them does not get them back at the next start.
const MADE: &str = "accounts.composers_made";
const NAME: &str = "Built-in composer";
const EMAIL: &str = "composer@ferrocti.local";
const TOKEN_NAME: &str = "Until the platform stops";

impl Accounts {
    /// Id of the account of the composer inside; the same on every platform.
    pub const COMPOSER_ID: Uuid = Uuid::from_u128(0x1c0f_6c39_6a7e_5f0b_9d0e_7c2e_5a34_c0b1);

    /// Makes the role and the group of composers at the first start.
    pub fn make_composers(&self) -> Result<()> {
        self.store.write(|tx| {
            if tx.setting(MADE)?.is_none() {
                if tx.group_by_name(GROUP)?.is_none() {
                    make_group(tx)?;
                }
                tx.put_setting(MADE, &json!(true))?;
            }
            Ok(())
        })
    }

    /// A token for the composer inside, for as long as the platform runs; those of former runs end. The account, with its group and role, is made
    /// when there is none. Who locks it or takes rights from it is respected.
    ///
    /// # Errors
    /// [`AccountError::AlreadyExists`] when somebody else has the account's address.
    pub fn admit_composer(&self) -> Result<String> {
        let secret = token::generate(&*self.entropy);
        self.store.write(|tx| {
            let system = Actor::system(boot::system_row(tx)?);
            let acting = Acting::of(&system);
            let user = match tx.user_by_id(Self::COMPOSER_ID)? {
                Some(user) => user,
                None => make(tx, &acting)?,
            };
            end(tx, &acting, &user)?;
            tokens::issue(tx, &acting, &user, TOKEN_NAME, &secret)?;
            Ok::<_, AccountError>(())
        })?;
        Ok(secret)
    }

    /// Ends the token of the composer inside.
    pub fn dismiss_composer(&self) -> Result<()> {
        self.store.write(|tx| {
            let Some(user) = tx.user_by_id(Self::COMPOSER_ID)? else {
                return Ok(());
            };
            let system = Actor::system(boot::system_row(tx)?);
            end(tx, &Acting::of(&system), &user)
        })
    }
}

/// Ends the token of an earlier run.
fn end(tx: &mut Tx<'_>, acting: &Acting<'_>, user: &User) -> Result<()> {
    for token in tx.tokens_of(user.row)? {
        if token.name == TOKEN_NAME {
            tokens::end(tx, acting, token.id)?;
        }
    }
    Ok(())
}

fn make(tx: &mut Tx<'_>, acting: &Acting<'_>) -> Result<User> {
    if tx.user_by_email(EMAIL)?.is_some() {
        return Err(AccountError::AlreadyExists(format!(
            "The address {EMAIL} of the composer belongs to another user; give that user another one, or run no composer inside."
        )));
    }
    let group = match tx.group_by_name(GROUP)? {
        Some(group) => group,
        None => make_group(tx)?,
    };
    let mut user = User::new(Accounts::COMPOSER_ID, EMAIL, NAME, tx.now());
    user.service_account = true;
    tx.insert_user(&mut user)?;
    tx.add_member(group.row, user.row)?;
    let data = json!({ "group": group.name, "service_account": true });
    let id = user.id.to_string();
    let subject = boot::subject(&user, &id);
    let message = format!("creates user `{EMAIL}`");
    record(
        tx,
        acting,
        Scope::Create,
        Some(subject),
        &message,
        Some(data),
    )?;
    Ok(user)
}

fn make_group(tx: &mut Tx<'_>) -> Result<Group> {
    let known = tx.roles()?.into_iter().find(|role| role.name == ROLE);
    let role = match known {
        Some(role) => role.row,
        None => {
            let mut role = Role::new(tx.new_uuid(), ROLE, tx.now());
            role.description = Some("What a composer needs to run connectors".to_owned());
            role.capabilities = CAPABILITIES.iter().map(|&name| name.to_owned()).collect();
            tx.insert_role(&mut role)?;
            role.row
        }
    };
    let mut group = Group::new(tx.new_uuid(), GROUP, tx.now());
    let description = "Composers, which run connectors and see no knowledge";
    group
        .profile
        .insert("description".to_owned(), description.into());
    group.max_confidence = Some(0);
    tx.insert_group(&mut group)?;
    tx.add_group_role(group.row, role)?;
    Ok(group)
}
