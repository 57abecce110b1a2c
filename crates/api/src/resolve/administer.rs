//! Administration: users, groups, roles, tokens, sessions. Who may do what is decided by `ferrocti_accounts`, in the transaction of the change.

use std::sync::Arc;

use ferrocti_accounts::Lifetime;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::Token;
use serde_json::{Value, json};
use uuid::Uuid;

use super::node::Administered;
use super::record::{Record, Shown, value};
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};

impl Resolution<'_> {
    pub(super) fn administration(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let id = call.text("id").unwrap_or_default();
        let edit = |what: fn(Arc<str>) -> Administered| {
            Ok(Resolved::Node(Node::Administered(what(id.into()))))
        };
        match call.name {
            "userEdit" => edit(Administered::User),
            "groupEdit" => edit(Administered::Group),
            "roleEdit" => edit(Administered::Role),
            "settingsEdit" => Ok(Resolved::Node(Node::Administered(Administered::Settings))),
            "userAdd" => self.add_user(call),
            "groupAdd" => self.add_group(call),
            "roleAdd" => self.add_role(call),
            "meEdit" | "meTokenRenew" => self.edit_me(call),
            "connectorAccountAdd" => self.connector_account(call),
            "userTokenAdd" => {
                let (name, lifetime) = token_input(call)?;
                let made = accounts.add_own_token(&self.caller.acting()?, name, lifetime)?;
                Ok(generated(&made))
            }
            "userAdminTokenAdd" => {
                let (name, lifetime) = token_input(call)?;
                let user = call.text("userId").unwrap_or_default();
                let made = accounts.add_token(&self.caller.acting()?, user, name, lifetime)?;
                Ok(generated(&made))
            }
            "userTokenRevoke" => {
                let revoked = accounts.revoke_own_token(&self.caller.acting()?, id)?;
                Ok(Resolved::leaf(revoked.to_string()))
            }
            "userAdminTokenRevoke" => {
                let user = call.text("userId").unwrap_or_default();
                let revoked = accounts.revoke_token(&self.caller.acting()?, user, id)?;
                Ok(Resolved::leaf(revoked.to_string()))
            }
            other => Err(Fault::unsupported(format!("{other} is not served."))),
        }
    }

    /// What is done with a user, a group, a role or the settings.
    pub(super) fn administer<'p>(
        &'p self,
        call: &FieldCall<'_>,
        what: &Administered,
    ) -> Answer<'p> {
        match what {
            Administered::User(id) => self.edit_user(call, id),
            Administered::Group(id) => self.edit_group(call, id),
            Administered::Role(id) => self.edit_role(call, id),
            Administered::Settings => self.edit_settings(call),
        }
    }

    /// That one thing belongs to another, as it was just said.
    pub(super) fn relationship(
        &self,
        kind: &'static str,
        from: Node,
        to: Option<Node>,
    ) -> Resolved<'static, Node> {
        let ids = [Some(&from), to.as_ref()].map(|node| node.map(id_of).unwrap_or_default());
        let id = Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("{kind} {}", ids.join(" ")).as_bytes(),
        );
        let now = format_date(self.state.services().clock.now());
        Resolved::Node(Record::node(vec![
            ("id", value(id.to_string())),
            ("standard_id", value(format!("internal-relationship--{id}"))),
            ("entity_type", value(kind)),
            ("relationship_type", value(kind)),
            (
                "parent_types",
                value(vec!["basic-relationship", "internal-relationship"]),
            ),
            ("from", Shown::Node(Some(from))),
            ("to", Shown::Node(to)),
            ("created_at", value(now.clone())),
            ("updated_at", value(now)),
        ]))
    }

    fn connector_account(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let confidence = call
            .argument("max_confidence")
            .and_then(Value::as_i64)
            .map(|confidence| {
                u8::try_from(confidence)
                    .ok()
                    .filter(|confidence| *confidence <= ferrocti_access::MAX_CONFIDENCE)
                    .ok_or_else(|| {
                        Fault::new(code::VALIDATION, "max_confidence lies between 0 and 100.")
                    })
            })
            .transpose()?;
        let (user, token) = self.state.services().accounts.add_connector(
            &self.caller.acting()?,
            call.text("name").unwrap_or_default(),
            confidence,
            call.text("max_marking"),
        )?;
        Ok(Resolved::Node(Record::node(vec![
            ("user", Shown::Node(Some(Node::User(Arc::new(user))))),
            ("token", value(token)),
        ])))
    }
}

/// The id of a thing that can belong to another.
fn id_of(node: &Node) -> String {
    match node {
        Node::User(user) => user.id.to_string(),
        Node::Group(group) => group.id.to_string(),
        Node::Role(role) => role.id.to_string(),
        Node::Object(stored) => stored.internal.to_string(),
        Node::Data(_, data) => data["id"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// The type of relationship that a call is about.
pub(super) fn relationship<'a>(call: &FieldCall<'a>) -> Result<&'a str, Fault> {
    let input = call.argument("input");
    let named = input.and_then(|input| input.get("relationship_type")?.as_str());
    named
        .or_else(|| call.text("relationship_type"))
        .ok_or_else(|| Fault::functional("Name the relationship_type."))
}

/// The refusal of a relationship that things of this kind do not have.
pub(super) fn no_relationship(relationship: &str, of: &str) -> Fault {
    Fault::functional(format!(
        "Only internal-relationship can be added through this method, and {of} has no \"{relationship}\"."
    ))
}

/// Name and lifetime of a new token.
fn token_input<'a>(call: &FieldCall<'a>) -> Result<(&'a str, Lifetime), Fault> {
    let text = |name: &str| call.argument("input")?.get(name)?.as_str();
    let lifetime = text("duration").and_then(Lifetime::parse);
    Ok((
        text("name").unwrap_or_default(),
        lifetime.ok_or_else(|| Fault::functional("A token needs a duration."))?,
    ))
}

/// A new token, the only time that it is shown.
fn generated((token, secret): &(Token, String)) -> Resolved<'static, Node> {
    Resolved::Node(Node::Data(
        "TokenGenerated",
        json!({
            "token_id": token.id,
            "plaintext_token": secret,
            "masked_token": token.masked,
            "expires_at": token.expires_at.map(format_date),
        }),
    ))
}
