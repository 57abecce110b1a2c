//! Groups and roles: made, changed, deleted, and what belongs to them.

use std::sync::Arc;

use ferrocti_access::Level;
use ferrocti_accounts::{GroupPatch, NewGroup, RolePatch, ids};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_store::{Group, Role};
use serde_json::{Map, Value, json};

use super::administer::{no_relationship, relationship};
use super::patch::{self, Change};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

impl Resolution<'_> {
    pub(super) fn add_group(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let given = |name: &str| {
            let value = call.argument("input")?.get(name)?;
            (!value.is_null()).then_some(value)
        };
        let truth = |name: &str| given(name).and_then(Value::as_bool).unwrap_or(false);
        let mut profile = Map::new();
        if let Some(description) = given("description") {
            profile.insert("description".to_owned(), description.clone());
        }
        let new = NewGroup {
            name: text(given("name")),
            level: match given("group_confidence_level") {
                Some(level) => patch::level_of(level)?,
                None => Level::default(),
            },
            default_assignation: truth("default_assignation"),
            auto_new_marking: truth("auto_new_marking"),
            no_creators: truth("no_creators"),
            restrict_delete: truth("restrict_delete"),
            profile,
            ..NewGroup::default()
        };
        let accounts = &self.state.services().accounts;
        Ok(group(accounts.add_group(&self.caller.acting()?, new)?))
    }

    /// What is done with a group.
    pub(super) fn edit_group(&self, call: &FieldCall<'_>, id: &str) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let acting = self.caller.acting()?;
        let from = || end(call, "fromId");
        let to = || end(call, "toId");
        Ok(match call.name {
            "delete" => {
                let deleted = accounts.delete_group(&acting, id)?;
                Resolved::leaf(deleted.id.to_string())
            }
            "fieldPatch" => {
                let patch = group_patch(&self.group_of(id)?, &patch::changes(call)?)?;
                group(accounts.edit_group(&acting, id, patch)?)
            }
            "editDefaultMarking" => {
                let input = call.argument("input");
                let member = |name: &str| input.and_then(|input| input.get(name));
                let values = member("values").and_then(Value::as_array);
                let values: Vec<String> = values
                    .into_iter()
                    .flatten()
                    .map(|value| text(Some(value)))
                    .collect();
                let entity_type = text(member("entity_type"));
                group(accounts.set_default_markings(&acting, id, &entity_type, &values)?)
            }
            "relationAdd" => match relationship(call)? {
                "member-of" => {
                    let (user, group) = accounts.add_member(&acting, from(), id)?;
                    let group = Node::Group(Arc::new(group));
                    self.relationship("member-of", Node::User(Arc::new(user)), Some(group))
                }
                "has-role" => {
                    let (group, role) = accounts.add_group_role(&acting, id, to())?;
                    let role = Node::Role(Arc::new(role));
                    self.relationship("has-role", Node::Group(Arc::new(group)), Some(role))
                }
                "accesses-to" => {
                    let (group, marking) = accounts.grant_marking(&acting, id, to())?;
                    let marking = self.object(marking.iid)?.map(Node::Object);
                    self.relationship("accesses-to", Node::Group(Arc::new(group)), marking)
                }
                other => return Err(no_relationship(other, "a group")),
            },
            "relationDelete" => group(match relationship(call)? {
                "member-of" => accounts.remove_member(&acting, from(), id)?.1,
                "has-role" => accounts.remove_group_role(&acting, id, to())?.0,
                "accesses-to" => accounts.revoke_marking(&acting, id, to())?.0,
                other => return Err(no_relationship(other, "a group")),
            }),
            // where somebody's cursor is, is not kept
            _ => group(self.group_of(id)?),
        })
    }

    fn group_of(&self, id: &str) -> Result<Group, Fault> {
        let found = self.read(|snapshot| Ok(ids::find_group(snapshot, id)?))?;
        found.ok_or_else(|| {
            Fault::functional(format!("Group not found: {id} is none of the platform's"))
        })
    }

    pub(super) fn add_role(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let given = |name: &str| call.argument("input")?.get(name)?.as_str();
        let accounts = &self.state.services().accounts;
        let name = given("name").unwrap_or_default();
        let acting = self.caller.acting()?;
        Ok(role(accounts.add_role(
            &acting,
            name,
            given("description"),
        )?))
    }

    /// What is done with a role.
    pub(super) fn edit_role(&self, call: &FieldCall<'_>, id: &str) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let acting = self.caller.acting()?;
        let in_draft = || match relationship(call)? {
            "has-capability" => Ok(false),
            "has-capability-in-draft" => Ok(true),
            other => Err(no_relationship(other, "a role")),
        };
        Ok(match call.name {
            "delete" => {
                let deleted = accounts.delete_role(&acting, id)?;
                Resolved::leaf(deleted.id.to_string())
            }
            "fieldPatch" => {
                let patch = role_patch(&patch::changes(call)?)?;
                role(accounts.edit_role(&acting, id, patch)?)
            }
            "relationAdd" => {
                let draft = in_draft()?;
                let (role, info) =
                    accounts.add_capability(&acting, id, end(call, "toId"), draft)?;
                let kind = if draft {
                    "has-capability-in-draft"
                } else {
                    "has-capability"
                };
                let to = super::roles::node(info);
                self.relationship(kind, Node::Role(Arc::new(role)), Some(to))
            }
            "relationDelete" => {
                let draft = in_draft()?;
                role(
                    accounts
                        .remove_capability(&acting, id, end(call, "toId"), draft)?
                        .0,
                )
            }
            // where somebody's cursor is, is not kept
            _ => {
                let found = self.read(|snapshot| Ok(ids::find_role(snapshot, id)?))?;
                role(found.ok_or_else(|| {
                    Fault::functional(format!("Role not found: {id} is none of the platform's"))
                })?)
            }
        })
    }
}

fn group(group: Group) -> Resolved<'static, Node> {
    Resolved::Node(Node::Group(Arc::new(group)))
}

fn role(role: Role) -> Resolved<'static, Node> {
    Resolved::Node(Node::Role(Arc::new(role)))
}

fn text(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// An end of a relationship, as an argument or in the input.
fn end<'a>(call: &FieldCall<'a>, name: &str) -> &'a str {
    let input = call.argument("input");
    let given = input.and_then(|input| input.get(name)?.as_str());
    given.or_else(|| call.text(name)).unwrap_or_default()
}

fn group_patch(known: &Group, changes: &[Change<'_>]) -> Result<GroupPatch, Fault> {
    let mut patch = GroupPatch::default();
    for change in changes {
        match change.key {
            "name" => patch.name = Some(change.some_text()?.to_owned()),
            "default_assignation" => patch.default_assignation = Some(change.truth()?),
            "auto_new_marking" => patch.auto_new_marking = Some(change.truth()?),
            "no_creators" => patch.no_creators = Some(change.truth()?),
            "restrict_delete" => patch.restrict_delete = Some(change.truth()?),
            "auto_integration_assignation" => {
                patch.auto_integration = Some(change.texts()?.contains(&"global"));
            }
            "group_confidence_level" => {
                let level = patch.level.take().unwrap_or_else(|| Level {
                    max: known.max_confidence,
                    overrides: known.overrides.clone(),
                });
                patch.level = Some(change.level(&level)?);
            }
            "max_shareable_markings" => patch.max_shareable = Some(limits(change)?),
            "description" => {
                let text = change.text()?.map_or(Value::Null, Value::from);
                patch.profile.insert("description".to_owned(), text);
            }
            "default_hidden_types" => {
                let types = json!(change.texts()?);
                patch.profile.insert(change.key.to_owned(), types);
            }
            other => {
                return Err(Fault::functional(format!(
                    "\"{other}\" of a group cannot be changed this way."
                )));
            }
        }
    }
    Ok(patch)
}

/// Limits to sharing by kind of marking: `{type, value}`, where `value` is a marking, `none`, or `all` for no limit.
fn limits(change: &Change<'_>) -> Result<Vec<(String, Option<String>)>, Fault> {
    let mut limits = Vec::new();
    for limit in change.objects() {
        let kind = text(limit.get("type"));
        let value = text(limit.get("value"));
        if kind.is_empty() {
            return Err(Fault::functional(
                "A limit to sharing has a type and a value.",
            ));
        }
        match value.as_str() {
            "all" => {}
            "none" | "" => limits.push((kind, None)),
            _ => limits.push((kind, Some(value))),
        }
    }
    Ok(limits)
}

fn role_patch(changes: &[Change<'_>]) -> Result<RolePatch, Fault> {
    let mut patch = RolePatch::default();
    for change in changes {
        match change.key {
            "name" => patch.name = Some(change.some_text()?.to_owned()),
            "description" => patch.description = Some(change.text()?.map(str::to_owned)),
            "can_manage_sensitive_config" => patch.sensitive = Some(change.truth()?),
            other => {
                return Err(Fault::functional(format!(
                    "\"{other}\" of a role cannot be changed this way."
                )));
            }
        }
    }
    Ok(patch)
}
