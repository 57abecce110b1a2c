//! Users: made, changed, deleted; their groups, organizations and tokens; and what everybody changes of himself.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::{Lifetime, NewUser, SelfPatch, UserPatch};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::parse_date;
use ferrocti_store::{User, UserStatus};
use serde_json::{Map, Value};

use super::patch::{self, Change};
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};

/// Name of the token that older clients renew.
const RENEWED: &str = "default";
/// Members of the profile that are texts …
const TEXTS: [&str; 8] = [
    "firstname",
    "lastname",
    "description",
    "language",
    "theme",
    "unit_system",
    "default_time_field",
    "default_dashboard",
];
/// … truth values …
const FLAGS: [&str; 3] = [
    "submenu_show_icons",
    "submenu_auto_collapse",
    "monochrome_labels",
];
/// … and lists of texts.
const LISTS: [&str; 4] = [
    "default_dashboards",
    "default_hidden_types",
    "personal_notifiers",
    "unsubscribed_news_feed_types",
];

impl Resolution<'_> {
    pub(super) fn add_user(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let empty = Map::new();
        let input = call
            .argument("input")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let given = |name: &str| input.get(name).filter(|value| !value.is_null());
        let text = |name: &str| given(name).and_then(Value::as_str).map(str::to_owned);
        let texts = |name: &str| -> Vec<String> {
            let items = given(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let truth = |name: &str| given(name).and_then(Value::as_bool).unwrap_or(false);
        if given("email_template_id").is_some() {
            return Err(Fault::unsupported(
                "No mail is sent to new users; leave email_template_id out.",
            ));
        }
        let profile = TEXTS.iter().chain(&FLAGS).chain(&LISTS);
        let new = NewUser {
            name: text("name").unwrap_or_default(),
            email: text("user_email"),
            password: text("password"),
            service_account: truth("user_service_account"),
            groups: texts("groups"),
            prevent_default_groups: truth("prevent_default_groups"),
            organizations: texts("objectOrganization"),
            status: match text("account_status") {
                Some(name) => status(&name)?,
                None => UserStatus::Active,
            },
            expires_at: text("account_lock_after_date").and_then(|date| parse_date(&date)),
            level: match given("user_confidence_level") {
                Some(level) => patch::level_of(level)?,
                None => ferrocti_access::Level::default(),
            },
            profile: profile
                .filter_map(|name| Some(((*name).to_owned(), given(name)?.clone())))
                .collect(),
        };
        let accounts = &self.state.services().accounts;
        Ok(user(accounts.add_user(&self.caller.acting()?, new)?))
    }

    /// What is done with a user.
    pub(super) fn edit_user(&self, call: &FieldCall<'_>, id: &str) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let acting = self.caller.acting()?;
        let to = || {
            let input = call.argument("input");
            let input = input.and_then(|input| input.get("toId")?.as_str());
            input.or_else(|| call.text("toId")).unwrap_or_default()
        };
        let organization = call.text("organizationId").unwrap_or_default();
        Ok(match call.name {
            "delete" => {
                let deleted = accounts.delete_user(&acting, id)?;
                Resolved::leaf(deleted.id.to_string())
            }
            "fieldPatch" => {
                let known = self.user_of(id)?;
                let patch = user_patch(&known, &patch::changes(call)?)?;
                user(accounts.edit_user(&acting, id, patch)?)
            }
            "relationAdd" => match super::administer::relationship(call)? {
                "member-of" => {
                    let (user, group) = accounts.add_member(&acting, id, to())?;
                    let group = Node::Group(Arc::new(group));
                    self.relationship("member-of", Node::User(Arc::new(user)), Some(group))
                }
                "participate-to" => {
                    let user = accounts.add_organization(&acting, id, to())?;
                    let organization = self.find_one(to())?.map(Node::Object);
                    self.relationship("participate-to", Node::User(Arc::new(user)), organization)
                }
                other => return Err(super::administer::no_relationship(other, "a user")),
            },
            "relationDelete" => match super::administer::relationship(call)? {
                "member-of" => user(accounts.remove_member(&acting, id, to())?.0),
                "participate-to" => user(accounts.remove_organization(&acting, id, to())?),
                other => return Err(super::administer::no_relationship(other, "a user")),
            },
            "organizationAdd" => user(accounts.add_organization(&acting, id, organization)?),
            "organizationDelete" => {
                user(accounts.remove_organization(&acting, id, organization)?)
            }
            "tokenRenew" => {
                let known = self.user_of(id)?;
                if known.id == Actor::ADMIN_ID {
                    return Err(Fault::functional(
                        "Cannot renew token of admin user defined in configuration, please change configuration instead.",
                    ));
                }
                if let Some(former) = self.token_to_renew(&known)? {
                    accounts.revoke_token(&acting, id, &former)?;
                }
                let (_, secret) = accounts.add_token(&acting, id, RENEWED, Lifetime::Unlimited)?;
                Resolved::Node(Node::Renewed(Arc::new(known), secret.into()))
            }
            // where somebody's cursor is, is not kept
            _ => user(self.user_of(id)?),
        })
    }

    /// What the user that speaks changes of itself.
    pub(super) fn edit_me(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let acting = self.caller.acting()?;
        if call.name == "meTokenRenew" {
            let known = self.user_of(&acting.actor.user_id.to_string())?;
            if known.id == Actor::ADMIN_ID {
                return Err(Fault::functional(
                    "Cannot renew token of admin user defined in configuration, please change configuration instead.",
                ));
            }
            if let Some(former) = self.token_to_renew(&known)? {
                accounts.revoke_own_token(&acting, &former)?;
            }
            let (_, secret) = accounts.add_own_token(&acting, RENEWED, Lifetime::Unlimited)?;
            return Ok(Resolved::Node(Node::Renewed(
                Arc::new(known),
                secret.into(),
            )));
        }
        let mut patch = SelfPatch::default();
        for change in patch::changes(call)? {
            match change.key {
                "name" | "user_name" => patch.name = Some(change.some_text()?.to_owned()),
                "user_email" => patch.email = Some(change.some_text()?.to_owned()),
                "password" => patch.password = Some(secret(&change)?),
                _ => match profile_value(&change)? {
                    Some(value) => {
                        patch.profile.insert(change.key.to_owned(), value);
                    }
                    None => return Err(change.refused("one's own account")),
                },
            }
        }
        let current = call.argument("password").and_then(Value::as_str);
        Ok(user(accounts.edit_self(&acting, patch, current)?))
    }

    fn user_of(&self, id: &str) -> Result<User, Fault> {
        let found = self.read(|snapshot| Ok(ferrocti_accounts::ids::find_user(snapshot, id)?))?;
        found
            .filter(|user| !super::users::is_platform(user))
            .ok_or_else(|| {
                Fault::functional(format!("User not found: {id} is none of the platform's"))
            })
    }

    /// The id of the token that a renewal takes the place of.
    fn token_to_renew(&self, user: &User) -> Result<Option<String>, Fault> {
        let tokens = self.read(|snapshot| Ok(snapshot.tokens_of(user.row)?))?;
        let former = tokens.into_iter().find(|token| token.name == RENEWED);
        Ok(former.map(|token| token.id.to_string()))
    }
}

fn user(user: User) -> Resolved<'static, Node> {
    Resolved::Node(Node::User(Arc::new(user)))
}

fn status(name: &str) -> Result<UserStatus, Fault> {
    UserStatus::of(name).ok_or_else(|| {
        let known: Vec<&str> = UserStatus::ALL.iter().map(|status| status.name()).collect();
        Fault::functional(format!(
            "\"{name}\" is no status of an account; there are {}.",
            known.join(", ")
        ))
    })
}

/// A new password, with its blanks.
fn secret(change: &Change<'_>) -> Result<String, Fault> {
    match change.one() {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(Fault::functional("A password is a text.")),
    }
}

fn user_patch(known: &User, changes: &[Change<'_>]) -> Result<UserPatch, Fault> {
    let mut patch = UserPatch::default();
    for change in changes {
        match change.key {
            "name" => patch.name = Some(change.some_text()?.to_owned()),
            "user_email" => patch.email = Some(change.some_text()?.to_owned()),
            "password" => patch.password = Some(secret(change)?),
            "user_service_account" => patch.service_account = Some(change.truth()?),
            "account_status" => patch.status = Some(status(change.some_text()?)?),
            "account_lock_after_date" => patch.expires_at = Some(change.date()?),
            "user_confidence_level" => {
                let level = patch
                    .level
                    .take()
                    .unwrap_or_else(|| ferrocti_access::Level {
                        max: known.max_confidence,
                        overrides: known.overrides.clone(),
                    });
                patch.level = Some(change.level(&level)?);
            }
            _ => match profile_value(change)? {
                Some(value) => {
                    patch.profile.insert(change.key.to_owned(), value);
                }
                None => {
                    return Err(Fault::new(
                        code::FUNCTIONAL,
                        format!("\"{}\" of a user cannot be changed this way.", change.key),
                    ));
                }
            },
        }
    }
    Ok(patch)
}

/// The new value of a member of the profile; nothing for other keys.
fn profile_value(change: &Change<'_>) -> Result<Option<Value>, Fault> {
    Ok(if TEXTS.contains(&change.key) {
        Some(change.text()?.map_or(Value::Null, Value::from))
    } else if FLAGS.contains(&change.key) {
        Some(Value::Bool(change.truth()?))
    } else if LISTS.contains(&change.key) {
        Some(Value::from(change.texts()?))
    } else {
        None
    })
}
